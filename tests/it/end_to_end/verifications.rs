//! Verifications in Kubernetes on a real node: of a cluster with a repo on a volume, read over TLS by a pod of its own.

use serde_json::{Value, json};

use crate::support::example::{CLUSTER, Example, install_overlay};
use crate::support::node::Node;
use crate::support::process::{call, successful};

const NAMESPACE: &str = "verified";
const OPERATOR: &str = "keeper-verified";
const CRON_JOB: &str = "pgbackrest-cluster-verify";
const RESULTS: &str = "cluster-pgbackrest-verifications";

#[test]
fn a_repo_is_verified_in_a_pod_and_damage_is_told() {
    let Some(node) = Node::shared("a_repo_is_verified_in_a_pod_and_damage_is_told") else { return };
    install_overlay(node, "verifications", OPERATOR, &["--namespaces=verified", "--collect.interval=5"]);
    let cluster = Example::apply(node, NAMESPACE);
    let kubectl = node.kubectl();
    kubectl.wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    let first = cluster.wait("the Job of the first full backup", || cluster.jobs().pop());
    cluster.wait_for_job(&first, "Complete");
    cluster.psql("create table kept as select generate_series(1, 1000) as id");
    cluster.archive();
    cluster.wait("the CronJob", || kubectl.get(NAMESPACE, "cronjob", CRON_JOB));

    let record = verified(&cluster, "good", "Complete");
    assert_eq!(
        (&record["outcome"], &record["totals"]["valid_backups"]),
        (&json!("passed"), &json!(1)),
        "{record}"
    );
    assert!(record["totals"]["files"]["checked"].as_u64() > Some(100), "{record}");
    assert!(record["totals"]["wal"]["checked"].as_u64() > Some(0), "{record}");
    confined(&cluster, "good");
    shown(&cluster, "passed");
    // The database archives as before.
    cluster.archive();

    let damage = "printf x >> $(find /data/pgbackrest/repo1/backup/db/*F/ -name '*.gz' | sort | head -n 1)";
    cluster.said("cluster-pgbackrest-repo-host-0", "pgbackrest", &["sh", "-c", damage]);
    let record = verified(&cluster, "damaged", "Failed");
    let class = &record["reason"]["class"];
    assert_eq!((&record["outcome"], class), (&json!("failed"), &json!("damaged_backup")), "{record}");
    assert_eq!(record["backups"][0]["state"], "invalid", "{record}");
    shown(&cluster, "failed");
    told_in_the_status(&cluster);

    // A restart of the operator, and the deletion of all Jobs.
    kubectl.run(&[
        "--namespace",
        NAMESPACE,
        "delete",
        "jobs",
        "--selector=pgbackrest-keeper.io/verified-cluster",
    ]);
    kubectl.run(&["--namespace", OPERATOR, "delete", "pods", "--all"]);
    kubectl.wait(OPERATOR, &format!("deployment/{OPERATOR}"), "condition=Available");
    shown(&cluster, "failed");
    assert_eq!(results(&cluster).unwrap().len(), 2);
    kubectl.delete_namespaces(&[OPERATOR]);
}

/// The records of repo1, oldest first.
fn results(cluster: &Example<'_>) -> Option<Vec<Value>> {
    let results = cluster.kubectl().get(NAMESPACE, "configmap", RESULTS)?;
    serde_json::from_str(results["data"]["repo1.json"].as_str()?).ok()
}

/// The new record of a Job from the CronJob, which has this condition in the end.
fn verified(cluster: &Example<'_>, job: &str, condition: &str) -> Value {
    let before = results(cluster).map_or(0, |records| records.len());
    let from = format!("--from=cronjob/{CRON_JOB}");
    cluster.kubectl().run(&["--namespace", NAMESPACE, "create", "job", &from, job]);
    cluster.wait_for_job(job, condition);
    cluster.wait("the result in the ConfigMap", || {
        let mut records = results(cluster)?;
        if records.len() > before { records.pop() } else { None }
    })
}

/// No token for the API server, and nothing that could write anywhere but to its own directory.
fn confined(cluster: &Example<'_>, job: &str) {
    let pod = cluster.pods(job).pop().unwrap();
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false, "{pod}");
    let container = &spec["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{container}");
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let writable: Vec<&Value> =
        mounts.filter(|mount| mount["readOnly"] != true).map(|mount| &mount["name"]).collect();
    assert_eq!(writable, ["state"], "{container}");
}

/// Among the operator's metrics, as on a host, and by `info`.
fn shown(cluster: &Example<'_>, outcome: &str) {
    cluster.wait_for_outcome(OPERATOR, CLUSTER, "pgbackrest_verify_last_outcome", outcome);
    let kubeconfig = format!("--kubeconfig={}", cluster.node.plane().kubeconfig().display());
    let said = cluster.node.in_network(|| {
        let mut command = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        successful(command.args(["info", &kubeconfig, "--namespaces=verified"]))
    });
    assert!(said.contains(&format!("verification {outcome} ")), "{said}");
}

fn told_in_the_status(cluster: &Example<'_>) {
    cluster.wait("the finding in the status", || {
        let resource = cluster.kubectl().get(NAMESPACE, "postgresql", CLUSTER)?;
        let message = resource["status"]["BackupMessage"].as_str()?.to_owned();
        message.contains("verification").then_some(())
    });
}
