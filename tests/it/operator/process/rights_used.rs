//! Every permission in deploy/base is used, and no other is needed. `jobs` covers those of deploy/overlays/observe.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{assert_nothing_forbidden, in_bucket, open_namespace, ours, wait_for_object};
use crate::operator::deploy::rights;
use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, Operator, Request};
use crate::support::process::wait_for;

/// Resource and verb.
pub(super) type Use = (String, String);

/// What is only used where pods run, and the test in end_to_end::operator that fails without it.
const WITH_PODS: [(&str, &str, &str); 1] =
    [("jobs", "create", "the_complete_example_is_backed_up_and_outlives_new_certificates")];

#[test]
fn every_right_is_used_and_nothing_is_forbidden() {
    let Some(plane) = ControlPlane::start("every_right_is_used_and_nothing_is_forbidden") else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "fixed"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"});
    kubectl.apply(&class.to_string(), &[]);
    open_namespace(&kubectl, "shop");
    // It renews its lease meanwhile.
    let operator = installation.start(&["--lease-duration=30s"]);
    whole_life(&kubectl, &operator);
    let renewal = ("leases".to_owned(), "update".to_owned());
    wait_for("the lease to be renewed", || used(&installation.requests()).contains(&renewal).then_some(()));

    let used = used(&installation.requests());
    let with_pods: BTreeSet<Use> =
        WITH_PODS.iter().map(|(resource, verb, _)| ((*resource).to_owned(), (*verb).to_owned())).collect();
    let all = ["cluster-role.yaml", "role.yaml"].map(|file| rights::rights(&rights::rules(file)));
    // Nobody may give what he has not, so what the jobs get is used by giving it.
    let given = given_to_jobs(&kubectl);
    let unused: BTreeSet<Use> = all
        .into_iter()
        .flatten()
        .map(|(_, resource, verb)| (resource, verb))
        .filter(|right| !used.contains(right) && !given.contains(right))
        .collect();
    assert_eq!(unused, with_pods, "rights that nothing uses");
    assert_nothing_forbidden(&installation);
    let tests = include_str!("../../end_to_end/operator.rs");
    for (_, _, test) in WITH_PODS {
        assert!(tests.contains(&format!("fn {test}()")), "{test} is gone");
    }
}

/// Made, drifted, growing, handed back, taken over, deleted: with a volume, so that every kind is there.
fn whole_life(kubectl: &Kubectl, operator: &Operator) {
    let mut document = in_bucket("shop", "orders");
    let section = &mut document["spec"]["backup"]["pgbackrest"];
    section["global"] = json!({"repo1-retention-full": "2"});
    section["repos"] = json!([{"name": "repo1", "storage": "pvc", "volume": {"size": "2Gi", "storageClass": "fixed"},
        "schedule": {"full": "0 1 * * 0", "incr": "0 1 * * 1-6"}}]);
    let all = |count: usize| wait_for("all objects", || (ours(kubectl, "shop").len() == count).then_some(()));
    kubectl.apply(&document.to_string(), &[]);
    all(14);
    let (full, host) = ("pgbackrest-orders-repo1-full", "orders-pgbackrest-repo-host");
    let patch = r#"{"spec":{"schedule":"1 1 1 1 *"}}"#;
    kubectl.run(&["--namespace=shop", "patch", "cronjob", full, "--type=merge", "--patch", patch]);
    wait_for("the schedule again", || {
        let cron_job = wait_for_object(kubectl, "shop", "cronjob", full);
        (cron_job["spec"]["schedule"] == "0 1 * * 0").then_some(())
    });
    // A schedule goes, unless a Job of it runs; jobs are given a deadline; the repo host's pod is replaced.
    document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/job-deadline": "6h"});
    section_of(&mut document)["repos"][0]["schedule"] = json!({"full": "0 1 * * 0"});
    section_of(&mut document)["image"] = json!("registry.example/pgbackrest:3");
    kubectl.apply(&document.to_string(), &[]);
    wait_for("the new template", || {
        let host = wait_for_object(kubectl, "shop", "statefulset", host).to_string();
        host.contains("registry.example/pgbackrest:3").then_some(())
    });
    all(13);
    annotate(kubectl, "release=true");
    all(0);
    annotate(kubectl, "release-");
    let taken = [("pg_cluster", "orders"), ("code", "name-taken")];
    wait_for("what is nobody's to be in the way", || {
        operator.samples().find("pgbackrest_operator_findings", &taken).filter(|count| *count >= 9.0)
    });
    annotate(kubectl, "adopt=true");
    // The Service stays as it is.
    all(12);
    annotate(kubectl, "adopt-");
}

fn section_of(document: &mut Value) -> &mut Value {
    &mut document["spec"]["backup"]["pgbackrest"]
}

fn annotate(kubectl: &Kubectl, annotation: &str) {
    let annotation = format!("pgbackrest-keeper.io/{annotation}");
    kubectl.run(&["--namespace=shop", "annotate", "--overwrite", "postgresql", "orders", &annotation]);
}

/// What has been allowed. To apply what is not there yet takes the right to create as well.
pub(super) fn used(requests: &[Request]) -> BTreeSet<Use> {
    let allowed = requests.iter().filter(|request| request.code != 403);
    let right = |request: &Request| {
        let made = request.verb == "patch" && request.code == 201;
        let verbs = [Some(request.verb.clone()), made.then(|| "create".to_owned())];
        let resource = request.resource.clone();
        verbs.into_iter().flatten().map(move |verb| (resource.clone(), verb)).collect::<Vec<_>>()
    };
    allowed.flat_map(right).collect()
}

fn given_to_jobs(kubectl: &Kubectl) -> BTreeSet<Use> {
    let role = wait_for_object(kubectl, "shop", "role", "orders-pgbackrest-backup");
    let rules: Vec<_> = serde_json::from_value(role["rules"].clone()).unwrap();
    rights::rights(&rules).into_iter().map(|(_, resource, verb)| (resource, verb)).collect()
}
