//! From a Kubernetes cluster without the CRD to a converged fleet, and to its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgbackrest_keeper::cluster::address::IpFamilies;
use pgbackrest_keeper::cluster::desired;
use pgbackrest_keeper::cluster::record::Record;
use pgbackrest_keeper::cluster::references::{Lookup, References, StorageClassFacts};
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate;
use pgbackrest_keeper::operator::certificates::Stored;
use serde_json::{Value, json};

use super::{
    assert_nothing_forbidden, in_bucket, open_namespace, ours, wait_for_object, wait_until_quiet, work_since,
};
use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, Operator, Request, image_of_deployment};
use crate::support::process::wait_for;

const EXAMPLES: [&str; 5] = ["azure", "encryption", "gcs", "pvc", "s3"];

#[test]
fn it_waits_for_the_kind_and_brings_every_example_to_rest() {
    let test = "it_waits_for_the_kind_and_brings_every_example_to_rest";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::without_kind(&plane);
    let operator = wait_for_the_kind(&installation);

    apply_examples(&kubectl);
    for namespace in EXAMPLES {
        let cron_job = wait_for_object(&kubectl, namespace, "cronjob", "pgbackrest-cluster-repo1-full");
        let pod = &cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], image_of_deployment(&kubectl), "the operator's own image");
    }
    for (namespace, kind, name) in [
        ("s3", "cronjob", "pgbackrest-cluster-repo1-incr"),
        ("pvc", "statefulset", "cluster-pgbackrest-repo-host"),
        ("pvc", "pvc", "repo1-cluster-pgbackrest-repo-host-0"),
        ("pvc", "secret", "cluster-pgbackrest-cert"),
    ] {
        wait_for_object(&kubectl, namespace, kind, name);
    }
    let good = [("namespace", "s3"), ("pg_cluster", "cluster")];
    what_is_invalid_stops_nothing_beside_it(&kubectl, &operator);
    operator.samples().assert("pgbackrest_operator_cluster_ok", &good, 1.0);
    let versions = it_rests(&kubectl, &installation);
    let operator = the_next_one_changes_nothing(&kubectl, &installation, operator, &versions);

    // What belongs to a resource goes with it, and is told no more.
    kubectl.run(&["--namespace=s3", "delete", "postgresql", "cluster"]);
    wait_for("the garbage to be collected", || {
        ours(&kubectl, "s3").keys().all(|key| !key.contains("CronJob")).then_some(())
    });
    wait_for("its series to end", || {
        operator.samples().all("pgbackrest_operator_cluster_ok", &good).is_empty().then_some(())
    });

    assert_nothing_forbidden(&installation);
    assert!(installation.leader().is_some());
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(installation.leader(), None, "the lease is given back");
}

/// What it waits for can be learned, and it can be ended meanwhile.
fn wait_for_the_kind(installation: &Installation) -> Operator {
    let operator = installation.start(&[]);
    let refusal = wait_for("the operator to miss the kind", || {
        let (status, text) = operator.ready();
        (status == 503 && text.contains("CustomResourceDefinition")).then_some(text)
    });
    assert!(refusal.contains("postgresql"), "{refusal}");
    assert_eq!(operator.get("/healthz").status.as_u16(), 200, "to wait is not to be ill");
    sleep(Duration::from_secs(3));
    assert_eq!(operator.log_lines("Failed to start watch"), 1, "{}", operator.log());
    // Which does not wait for long, and the kind never comes.
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(installation.leader(), None);

    let operator = installation.start(&[]);
    wait_for("the operator to lead", || operator.leads().then_some(()));
    installation.install_kind();
    operator.wait_until_ready();
    operator
}

fn what_is_invalid_stops_nothing_beside_it(kubectl: &Kubectl, operator: &Operator) {
    let mut invalid = in_bucket("s3", "invalid");
    invalid["spec"]["numberOfInstances"] = json!(999);
    kubectl.apply(&invalid.to_string(), &[]);
    let labels = [("namespace", "s3"), ("pg_cluster", "invalid")];
    wait_for("the invalid resource to be told", || {
        (operator.samples().find("pgbackrest_operator_cluster_ok", &labels) == Some(0.0)).then_some(())
    });
    kubectl.run(&["--namespace=s3", "delete", "postgresql", "invalid"]);
}

/// Versions of everything that was made, by example.
type Versions = [BTreeMap<String, String>; 5];

/// Once everything is done, nothing is asked for any more, whatever others write beside.
fn it_rests(kubectl: &Kubectl, installation: &Installation) -> Versions {
    for example in EXAMPLES {
        pretend_that_stanzas_were_seen(kubectl, example, "cluster");
        wait_for(&format!("the CronJobs of {example} to go on"), || {
            let cron_job = kubectl.get(example, "cronjob", "pgbackrest-cluster-repo1-full")?;
            (cron_job["spec"]["suspend"] == false).then_some(())
        });
    }
    let quiet = wait_until_quiet(installation);
    let versions = EXAMPLES.map(|namespace| ours(kubectl, namespace));
    assert!(versions.iter().all(|objects| objects.len() >= 5), "{versions:#?}");
    let status = r#"{"status":{"PostgresClusterStatus":"Running"}}"#;
    let patch = ["--subresource=status", "--type=merge", "--patch", status];
    kubectl.run(&[&["--namespace=s3", "patch", "postgresql", "cluster"], &patch[..]].concat());
    kubectl.run(&["--namespace=s3", "label", "postgresql", "cluster", "of=somebody"]);
    sleep(Duration::from_secs(10));
    assert_eq!(EXAMPLES.map(|namespace| ours(kubectl, namespace)), versions);
    assert_eq!(work_since(installation, quiet), []);
    versions
}

/// After a crash the next operator finds everything as desired, checks each object once, and reports nothing.
fn the_next_one_changes_nothing(
    kubectl: &Kubectl,
    installation: &Installation,
    operator: Operator,
    versions: &Versions,
) -> Operator {
    operator.kill();
    // The lease of a killed operator expires only after its duration.
    installation.delete_lease();
    let quiet = installation.requests().len();
    let operator = installation.start(&[]);
    wait_for("the next operator to lead", || operator.leads().then_some(()));
    operator.wait_until_ready();
    wait_for("every cluster to be looked at", || {
        let clusters = operator.samples();
        let looked_at = clusters.all("pgbackrest_operator_cluster_ok", &[]);
        (looked_at.len() == EXAMPLES.len()).then_some(())
    });
    sleep(Duration::from_secs(3));
    assert_eq!(EXAMPLES.map(|namespace| ours(kubectl, namespace)), *versions);
    let mut writes = work_since(installation, quiet);
    writes.retain(Request::writes);
    let is_usual = |request: &&Request| {
        request.verb == "patch" && request.code == 200 && !request.resource.contains("postgresql")
    };
    let unusual: Vec<_> = writes.iter().filter(|request| !is_usual(request)).collect();
    assert!(unusual.is_empty(), "{unusual:#?}");
    let objects: usize = versions.iter().map(BTreeMap::len).sum();
    assert!(writes.len() <= 2 * objects, "{} requests for {objects} objects", writes.len());
    operator
}

/// Writes down what the operator does when it has looked into the pods, which never run here.
pub(super) fn pretend_that_stanzas_were_seen(kubectl: &Kubectl, namespace: &str, name: &str) {
    let settings = Settings::default();
    let document = kubectl.get(namespace, "postgresql", name).unwrap();
    let references = References {
        storage_classes: [(
            "default".to_owned(),
            Lookup::Found(StorageClassFacts { allows_expansion: false }),
        )]
        .into(),
        ..References::default()
    };
    let (cluster, findings) = validate::document(document, &references, &settings);
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
    let data = |secret: &str| -> BTreeMap<String, Vec<u8>> {
        let Some(secret) = kubectl.get(namespace, "secret", secret) else { return BTreeMap::new() };
        let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        secret["data"].as_object().unwrap().iter().map(|(key, value)| (key.clone(), decoded(value))).collect()
    };
    let stored = Stored {
        authority: data(&format!("{name}-pgbackrest-ca")),
        pods: data(&format!("{name}-pgbackrest-cert")),
    };
    let record = Record {
        stanzas: desired::repo_hashes(&cluster, &settings),
        servers: stored
            .pem()
            .and_then(|pem| desired::servers_hash(&cluster, &settings, IpFamilies::default(), &pem)),
        ..Record::default()
    };
    let annotations: Vec<String> =
        record.annotations().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments = vec!["--namespace", namespace, "annotate", "--overwrite", "configmap"];
    let config_map = format!("{name}-pgbackrest-config");
    arguments.push(&config_map);
    arguments.extend(annotations.iter().map(String::as_str));
    kubectl.run(&arguments);
}

/// Each in a namespace of its own.
fn apply_examples(kubectl: &Kubectl) {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "default"},
        "provisioner": "example.com/none",
    });
    kubectl.apply(&class.to_string(), &[]);
    for example in EXAMPLES {
        open_namespace(kubectl, example);
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(example);
        let manifests = kubectl.run(&["kustomize", &directory.display().to_string()]);
        let manifests = manifests.replace("namespace: cpo", &format!("namespace: {example}"));
        kubectl.apply(&manifests, &[]);
    }
}
