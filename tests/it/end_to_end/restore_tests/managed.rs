//! Restore tests of a cluster that the operator manages, with a repo on a volume: restored over TLS into a pod of its own.

use serde_json::{Value, json};

use super::{Tests, assert_confined, repository};
use crate::support::example::{CLUSTER, Example, install_overlay};
use crate::support::node::Node;

const NAMESPACE: &str = "proofs";
const OPERATOR: &str = "keeper-proofs";
const TEST: &str = "restoretest/nightly";

#[test]
fn a_cluster_is_restored_in_a_pod_and_the_result_stays() {
    let Some(node) = Node::shared("a_cluster_is_restored_in_a_pod_and_the_result_stays") else { return };
    let arguments = ["--namespaces=proofs", "--collect.interval=5"];
    install_overlay(node, "restore-tests", OPERATOR, &arguments);
    let cluster = Example::apply(node, NAMESPACE);
    let kubectl = node.kubectl();
    kubectl.wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    let first = cluster.wait("the Job of the first full backup", || cluster.jobs().pop());
    cluster.wait_for_job(&first, "Complete");
    cluster.psql("create table kept_for_test as select generate_series(1, 1000) as id");
    cluster.archive();
    node.provide_volumes(3, "5Gi");
    kubectl.apply(&assertions().to_string(), &[]);
    kubectl.apply(&nightly().to_string(), &[]);
    cluster.wait("the CronJob", || kubectl.get(NAMESPACE, "cronjob", "restore-test-nightly"));

    let tests = Tests { kubectl, namespace: NAMESPACE, name: "nightly" };
    cluster.psql_all(&["alter system set log_connections = on", "select pg_reload_conf()"]);
    let before = repository::on_volume(&cluster);
    let job = tests.start("next");
    tests.wait_for_job(&job, "Complete");
    repository::assert_only_archived(&before, &repository::on_volume(&cluster));
    let pod = tests.pod(&job).unwrap();
    assert_confined(&pod);
    no_connection_from(&cluster, pod["status"]["podIP"].as_str().unwrap());
    // The database archives as before.
    cluster.archive();
    kubectl.wait(NAMESPACE, TEST, "condition=Passed");
    kubectl.wait(NAMESPACE, TEST, "condition=Ready");
    let status = tests.status();
    let test = &status["results"][0]["tests"][0];
    assert_eq!((&test["outcome"], &test["target"]), (&json!("passed"), &json!("latest")), "{status}");
    assert!(test["bytes"].as_i64() > Some(10 << 20) && test["reachedLSN"].is_string(), "{status}");
    let checks: Vec<String> = test["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| format!("{} {}", check["check"].as_str().unwrap(), check["verdict"].as_str().unwrap()))
        .collect();
    for check in ["target passed", "relations passed", "assertion passed"] {
        assert!(checks.iter().any(|found| found == check), "{checks:?}");
    }
    shown(&cluster, "passed");

    outlived(&cluster, &tests, &status["results"]);
    without_a_file_of_the_backup(&cluster, &tests);
    kubectl.delete_namespaces(&[OPERATOR]);
}

fn nightly() -> Value {
    json!({
        "apiVersion": "pgbackrest-keeper.io/v1alpha1", "kind": "RestoreTest",
        "metadata": {"name": "nightly", "namespace": NAMESPACE},
        "spec": {"clusters": {"names": [CLUSTER]}, "schedule": "0 0 1 1 *",
            "storage": {"ephemeral": {"size": "5Gi"}}, "checks": {"assertions": {"configMap": "expectations"}},
            "pod": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}},
    })
}

fn assertions() -> Value {
    let file = "- name: rows are there\n  database: postgres\n  query: SELECT count(*) FROM public.kept_for_test\n  equals: 1000\n";
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "expectations", "namespace": NAMESPACE},
        "data": {"assertions.yaml": file}})
}

/// The same metrics as on a host, with the labels of the cluster.
fn shown(cluster: &Example<'_>, outcome: &str) {
    cluster.wait_for_outcome(OPERATOR, CLUSTER, "pgbackrest_restore_test_last_outcome", outcome);
}

/// PostgreSQL logs every attempt, those of this test among them.
fn no_connection_from(cluster: &Example<'_>, address: &str) {
    let container = ["--namespace", NAMESPACE, "logs", "cluster-0", "--container=postgres"];
    let log = cluster.wait("the connections in the log", || {
        let log = cluster.kubectl().run(&container);
        log.contains("connection received: host=[local]").then_some(log)
    });
    assert!(!log.contains(address), "{log}");
}

/// A restart of the operator, and the deletion of all Jobs.
fn outlived(cluster: &Example<'_>, tests: &Tests<'_>, results: &Value) {
    let kubectl = cluster.kubectl();
    let of_tests = "--selector=pgbackrest-keeper.io/restore-test=nightly";
    kubectl.run(&["--namespace", NAMESPACE, "delete", "jobs", of_tests]);
    kubectl.run(&["--namespace", OPERATOR, "delete", "pods", "--all"]);
    kubectl.wait(OPERATOR, &format!("deployment/{OPERATOR}"), "condition=Available");
    shown(cluster, "passed");
    assert_eq!(tests.status()["results"], *results);
}

fn without_a_file_of_the_backup(cluster: &Example<'_>, tests: &Tests<'_>) {
    let remove = "rm -r /data/pgbackrest/repo1/backup/db/*F/pg_data";
    cluster.said("cluster-pgbackrest-repo-host-0", "pgbackrest", &["sh", "-c", remove]);
    let job = tests.start("cluster@repo1");
    tests.wait_for_job(&job, "Failed");
    cluster.kubectl().wait(NAMESPACE, TEST, "condition=Passed=False");
    let status = tests.status();
    let tests = &status["results"][0]["tests"];
    assert_eq!(
        (&tests[0]["outcome"], &tests[0]["class"]),
        (&json!("failed"), &json!("missing_backup")),
        "{status}"
    );
    assert_eq!(tests[1]["outcome"], "passed", "{status}");
    shown(cluster, "failed");
}
