//! A fleet that is divided by hash, on the real API server: each cluster has one operator, also while their number changes.

use std::collections::BTreeSet;
use std::path::Path;

use pgbackrest_keeper::kubernetes::shard::Shard;
use serde_json::json;

use super::{allow_leases, in_bucket, open_namespace, ours, wait_for_object, wait_until_quiet};
use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, Operator, Request};
use crate::support::process::wait_for;

const CLUSTERS: usize = 10;
const FULL: &str = "-repo1-full";

fn name(number: usize) -> String {
    format!("c{number}")
}

/// The clusters of a shard.
fn of_shard(index: u16, total: u16) -> BTreeSet<String> {
    let shard = Shard::new(index, total).unwrap();
    (0..CLUSTERS).map(name).filter(|name| shard.covers("fleet", name)).collect()
}

/// The clusters that an operator serves metrics of.
fn known_to(operator: &Operator) -> BTreeSet<String> {
    let samples = operator.samples();
    let all = samples.all("pgbackrest_operator_cluster_ok", &[]).into_iter();
    all.map(|sample| sample.labels["pg_cluster"].clone()).collect()
}

fn leads(operator: &Operator) {
    wait_for("a shard's operator to lead", || operator.leads().then_some(()));
}

fn cron_job(cluster: &str) -> String {
    format!("pgbackrest-{cluster}{FULL}")
}

fn overlay(kubectl: &Kubectl) {
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/overlays/shards");
    kubectl.apply(&kubectl.run(&["kustomize", &overlay.display().to_string()]), &["--validate=strict"]);
    kubectl.run(&["wait", "--for=condition=Established", "crd/postgresqls.cpo.opensource.cybertec.at"]);
}

#[test]
fn each_cluster_has_one_operator_whatever_the_number_of_shards() {
    let test = "each_cluster_has_one_operator_whatever_the_number_of_shards";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    open_namespace(&kubectl, "fleet");
    overlay(&kubectl);
    for number in 0..CLUSTERS {
        kubectl.apply(&in_bucket("fleet", &name(number)).to_string(), &[]);
    }
    let installations = [0, 1].map(|index| Installation::shard(&plane, index, 2));
    let [first, second] = installations.each_ref().map(Installation::start_as_deployed);
    let shares = [of_shard(0, 2), of_shard(1, 2)];
    assert!(shares.iter().all(|share| share.len() > 2), "{shares:?}");
    for number in 0..CLUSTERS {
        wait_for_object(&kubectl, "fleet", "cronjob", &cron_job(&name(number)));
    }
    for (operator, share) in [&first, &second].into_iter().zip(&shares) {
        operator.wait_until_ready();
        wait_for("what the operator tells of", || (known_to(operator).len() >= share.len()).then_some(()));
        assert_eq!(known_to(operator), *share);
    }
    let shard_of = |operator: &Operator| {
        let samples = operator.samples();
        (
            samples.all("pgbackrest_operator_shard_info", &[])[0].labels["shard"].clone(),
            samples.find("pgbackrest_operator_total_shards", &[]),
        )
    };
    assert_eq!(
        [shard_of(&first), shard_of(&second)],
        [("0".to_owned(), Some(2.0)), ("1".to_owned(), Some(2.0))]
    );
    wait_until_quiet(&installations[0]);

    of_two_in_one_place_the_younger_yields(&kubectl, shares[0].first().unwrap(), &second);

    // The replica of a shard takes over, and no other shard does its work meanwhile.
    let replica = installations[1].start_as_deployed();
    wait_for("the replica to follow", || (replica.log_lines("Following") > 0).then_some(()));
    second.kill();
    for share in &shares {
        let lost = cron_job(share.first().unwrap());
        kubectl.run(&["--namespace=fleet", "delete", "cronjob", &lost]);
    }
    wait_for_object(&kubectl, "fleet", "cronjob", &cron_job(shares[0].first().unwrap()));
    let is_gone = || kubectl.get("fleet", "cronjob", &cron_job(shares[1].first().unwrap())).is_none();
    assert!(is_gone() || replica.leads());
    installations[1].delete_lease();
    leads(&replica);
    wait_for_object(&kubectl, "fleet", "cronjob", &cron_job(shares[1].first().unwrap()));
    assert_eq!(known_to(&first), shares[0]);
    wait_until_quiet(&installations[0]);
    let before = ours(&kubectl, "fleet");

    // Three shards instead of two. Their Role has other names of Leases.
    let leases = [0, 1, 2].map(|index| format!("pgbackrest-keeper-operator-{index}-of-3"));
    allow_leases(&kubectl, &leases.each_ref().map(String::as_str), &["get", "update"]);
    let three =
        [0, 1, 2].map(|index| installations[0].start(&["--total-shards=3", &format!("--shard={index}")]));
    for operator in &three {
        wait_for("it to see the other shards", || (operator.log_lines("Following") > 0).then_some(()));
        operator.wait_until_ready();
        assert!(!operator.leads());
    }
    let (code, log) = first.stop();
    assert_eq!(code, Some(0), "{log}");
    for operator in &three {
        assert!(!operator.leads() && known_to(operator).is_empty());
    }
    assert!(replica.leads());
    let (code, log) = replica.stop();
    assert_eq!(code, Some(0), "{log}");
    for (index, operator) in (0..3).zip(&three) {
        leads(operator);
        let share = of_shard(index, 3);
        wait_for("what the operator tells of", || (known_to(operator).len() >= share.len()).then_some(()));
        assert_eq!(known_to(operator), share);
    }
    wait_until_quiet(&installations[0]);
    assert_eq!(ours(&kubectl, "fleet"), before, "nothing was written");

    let requests = installations[0].requests();
    let refused: Vec<&Request> =
        requests.iter().filter(|request| matches!(request.code, 401 | 403)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    for operator in three {
        let (code, log) = operator.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}

/// A check between clusters of different shards.
fn of_two_in_one_place_the_younger_yields(kubectl: &Kubectl, old: &str, second: &Operator) {
    let young = (0..100).map(|number| format!("young-{number}"));
    let young = young.into_iter().find(|name| Shard::new(1, 2).unwrap().covers("fleet", name)).unwrap();
    let mut rival = in_bucket("fleet", &young);
    rival["spec"]["backup"]["pgbackrest"]["global"]["repo1-path"] = json!(format!("/fleet/{old}"));
    kubectl.apply(&rival.to_string(), &[]);
    wait_for("the shared location to be seen", || {
        let about = [("code", "location-shared"), ("pg_cluster", young.as_str())];
        second.samples().find("pgbackrest_operator_findings", &about)
    });
    assert!(kubectl.get("fleet", "cronjob", &cron_job(&young)).is_none());
    kubectl.run(&["--namespace=fleet", "delete", "postgresql", &young]);
}

#[test]
fn restore_tests_reach_clusters_of_other_shards() {
    let test = "restore_tests_reach_clusters_of_other_shards";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    open_namespace(&kubectl, "fleet");
    Installation::whole(&plane).add_restore_tests();
    overlay(&kubectl);
    let installations = [0, 1].map(|index| Installation::shard(&plane, index, 2));
    let operators = [0, 1].map(|index: u16| {
        let shard = format!("--shard={index}");
        let arguments = ["--total-shards=2", &shard, "--restore-tests=true"];
        installations[usize::from(index)].start(&arguments)
    });
    operators.iter().for_each(leads);
    let owner = usize::from(Shard::new(1, 2).unwrap().covers_restore_tests("fleet"));
    let other = 1 - owner;
    // One of each shard, both of which are tested by the shard of the namespace.
    let own = of_shard(u16::try_from(owner).unwrap(), 2).pop_first().unwrap();
    let foreign = of_shard(u16::try_from(other).unwrap(), 2).pop_first().unwrap();
    for cluster in [&own, &foreign] {
        kubectl.apply(&in_bucket("fleet", cluster).to_string(), &[]);
        wait_for_object(&kubectl, "fleet", "cronjob", &cron_job(cluster));
    }
    for cluster in [&own, &foreign] {
        let resource = json!({
            "apiVersion": "pgbackrest-keeper.io/v1alpha1",
            "kind": "RestoreTest",
            "metadata": {"name": format!("test-{cluster}"), "namespace": "fleet"},
            "spec": {"clusters": {"names": [cluster]}, "schedule": "0 3 * * *", "pod": {"image": "registry.example/postgres:15"}},
        });
        kubectl.apply(&resource.to_string(), &["--validate=strict"]);
        let made = wait_for_object(&kubectl, "fleet", "cronjob", &format!("restore-test-test-{cluster}"));
        assert!(made.to_string().contains(&format!("--cluster={cluster}")), "{made}");
    }
    let ready =
        |operator: &Operator| operator.samples().all("pgbackrest_operator_restore_test_ready", &[]).len();
    wait_for("both to be told of", || (ready(&operators[owner]) == 2).then_some(()));
    assert_eq!(ready(&operators[other]), 0);
    for operator in operators {
        let (code, log) = operator.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}
