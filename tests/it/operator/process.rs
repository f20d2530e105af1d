//! The life cycle of the operator on the real API server: start, standby, kill, loss of the API server, shutdown.

mod alerts;
mod collection;
mod defect;
mod fleet;
mod jobs;
mod life;
mod notifications;
mod parts;
mod replicas;
mod restless;
mod restore_tests;
mod rights_used;
mod shards;
mod signed_results;
mod verifications;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, NAMESPACE, Request};
use crate::support::process::wait_for;

/// Kinds of which the operator makes objects.
const KINDS: &str = "serviceaccounts,roles,rolebindings,secrets,configmaps,pvc,services,networkpolicies,statefulsets,cronjobs";

/// A cluster with two schedules in a bucket.
fn in_bucket(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"teamId": "team", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {"image": "registry.example/pgbackrest:2",
                "configuration": {"secret": "bucket"},
                "global": {"repo1-path": format!("/{namespace}/{name}"), "repo1-retention-full": "2"},
                "repos": [{"name": "repo1", "storage": "s3", "endpoint": "s3.example", "region": "eu",
                    "resource": "bucket", "schedule": {"full": "0 1 * * 0", "incr": "0 1 * * 1-6"}}]}}},
    })
}

/// A namespace with what the clusters in it refer to.
fn open_namespace(kubectl: &Kubectl, namespace: &str) {
    kubectl.create_restricted_namespace(namespace);
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bucket", "namespace": namespace},
        "stringData": {"s3.conf": "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\n"},
    });
    kubectl.apply(&secret.to_string(), &[]);
}

/// Version by kind and name of everything that carries our label in the namespace.
fn ours(kubectl: &Kubectl, namespace: &str) -> BTreeMap<String, String> {
    let found = kubectl.run(&[
        "--namespace",
        namespace,
        "get",
        KINDS,
        "--selector=app.kubernetes.io/managed-by=pgbackrest-keeper",
        "--output=json",
    ]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |item: &Value| {
        let metadata = &item["metadata"];
        (format!("{}/{}", text(&item["kind"]), text(&metadata["name"])), text(&metadata["resourceVersion"]))
    };
    found["items"].as_array().unwrap().iter().map(of).collect()
}

fn wait_for_object(kubectl: &Kubectl, namespace: &str, kind: &str, name: &str) -> Value {
    wait_for(&format!("{kind} {name} in {namespace}"), || kubectl.get(namespace, kind, name))
}

/// Waits for an Event in `shop` whose message contains this.
fn wait_for_event(kubectl: &Kubectl, reason: &str, text: &str) {
    wait_for(&format!("an Event {reason}"), || {
        let events = kubectl.list("shop", "event", "");
        let is_it = |event: &&Value| {
            event["reason"] == reason && event["message"].as_str().is_some_and(|said| said.contains(text))
        };
        events.iter().find(is_it).map(|_| ())
    });
}

/// Adds a rule for these Leases to the Role of the operator.
fn allow_leases(kubectl: &Kubectl, names: &[&str], verbs: &[&str]) {
    let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": names,
        "verbs": verbs});
    let patch = json!([{"op": "add", "path": "/rules/-", "value": leases}]).to_string();
    let role = ["--namespace", NAMESPACE, "patch", "role", "pgbackrest-keeper-operator"];
    kubectl.run(&[&role[..], &["--type=json", "--patch", &patch]].concat());
}

/// Waits until nothing was written for some seconds, and gives the number of requests until then.
fn wait_until_quiet(installation: &Installation) -> usize {
    let mut last = 0;
    let mut since = std::time::Instant::now();
    wait_for("the operator to have nothing to write", || {
        let writes = installation.requests().iter().filter(|request| request.writes()).count();
        if writes != last {
            (last, since) = (writes, std::time::Instant::now());
        }
        (since.elapsed().as_secs() >= 8).then(|| installation.requests().len())
    })
}

/// Requests since the first so many, other than watching and holding the lease.
fn work_since(installation: &Installation, first: usize) -> Vec<Request> {
    let requests = installation.requests().into_iter().skip(first);
    requests.filter(Request::is_work).collect()
}

fn nothing_to_do_is_nothing_done(installation: &Installation) {
    let first = wait_until_quiet(installation);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let work = work_since(installation, first);
    assert!(work.is_empty(), "{work:#?}");
}

/// # Panics
/// If the API server has refused anything for want of a right.
fn assert_nothing_forbidden(installation: &Installation) {
    assert_nothing_forbidden_since(installation, 0);
}

/// The same after the first so many requests.
fn assert_nothing_forbidden_since(installation: &Installation, first: usize) {
    let requests: Vec<Request> = installation.requests().into_iter().skip(first).collect();
    assert!(!requests.is_empty());
    let refused: Vec<&Request> =
        requests.iter().filter(|request| matches!(request.code, 401 | 403)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
