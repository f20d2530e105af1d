//! Restore tests on the real API server, with the real CronJob and Job controllers. No node runs the pods: the test writes their
//! results as a kubelet would.

use std::collections::BTreeSet;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::jobs::{end_container, end_pod, end_with_message};
use super::rights_used::{self, Use};
use super::{
    assert_nothing_forbidden, in_bucket, nothing_to_do_is_nothing_done, open_namespace, signed_results,
    wait_for_event, wait_for_object,
};
use crate::operator::deploy::rights;
use crate::support::control_plane::ControlPlane;
use crate::support::evidence::{self, ED25519};
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, Operator};
use crate::support::process::wait_for;

const CRON_JOB: &str = "restore-test-nightly";

#[test]
fn clusters_have_their_turns_and_results_outlive_jobs_and_operators() {
    let test = "clusters_have_their_turns_and_results_outlive_jobs_and_operators";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    nothing_of_it_exists_where_it_is_not_asked_for(&installation);
    installation.add_restore_tests();
    let keys = tempfile::tempdir().unwrap();
    let [private, public] = evidence::key(keys.path(), "own", ED25519);
    let flags = ["--restore-tests=true", &format!("--signing-key-file={private}")];
    let operator = installation.start(&flags);
    open_namespace(&kubectl, "shop");
    let mut ledger = in_bucket("shop", "ledger");
    ledger["spec"]["backup"]["pgbackrest"]["global"] = json!({"repo1-retention-full": "2"});
    ledger["spec"]["backup"]["pgbackrest"]["repos"] = json!([{"name": "repo1", "storage": "pvc",
        "volume": {"size": "2Gi"}, "schedule": {"full": "0 1 * * 0"}}]);
    kubectl.apply(&ledger.to_string(), &[]);
    kubectl.apply(&in_bucket("shop", "orders").to_string(), &[]);
    kubectl.apply(&nightly().to_string(), &[]);

    wait_for_turn(&kubectl, "ledger");
    wait_for_object(&kubectl, "shop", "networkpolicy", "restore-test-nightly-repo-host");
    wait_for_condition(&kubectl, "Ready", "True", "AsDescribed");
    wait_for_condition(&kubectl, "Tested", "False", "NotTested");

    kubectl.run(&["--namespace=shop", "create", "job", "--from=cronjob/restore-test-nightly", "by-hand"]);
    end_test(&kubectl, "by-hand", &record("ledger", "passed", &Value::Null), 0);
    wait_for_turn(&kubectl, "orders");
    wait_for_condition(&kubectl, "Passed", "Unknown", "NotTested");
    wait_for("the policy of the repo host to go", || {
        kubectl.get("shop", "networkpolicy", "restore-test-nightly-repo-host").is_none().then_some(())
    });
    what_is_tested_is_among_the_metrics(&operator);
    by_annotation(&kubectl);
    without_result(&kubectl);
    beside_backups(&kubectl);
    let operator = results_stay(&kubectl, &installation, operator, &flags);
    signed_results::are_verified(&kubectl, &public);
    drift_is_mended(&kubectl);
    what_is_wrong_is_told(&kubectl, &operator);
    nothing_to_do_is_nothing_done(&installation);

    kubectl.run(&["--namespace=shop", "delete", "restoretest", "nightly"]);
    wait_for("its objects to go", || kubectl.get("shop", "cronjob", CRON_JOB).is_none().then_some(()));
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_nothing_forbidden(&installation);
    let used = rights_used::used(&installation.requests());
    let held = rights::rights(&rights::rules(rights::RESTORE_TESTS));
    let held: BTreeSet<Use> = held.into_iter().map(|(_, resource, verb)| (resource, verb)).collect();
    let unused: Vec<&Use> = held.difference(&used).collect();
    assert!(unused.is_empty(), "rights that nothing uses: {unused:?}");
}

fn nightly() -> Value {
    json!({
        "apiVersion": "pgbackrest-keeper.io/v1alpha1", "kind": "RestoreTest",
        "metadata": {"name": "nightly", "namespace": "shop"},
        "spec": {"clusters": {"selector": {}}, "schedule": "0 0 1 1 *",
            "pod": {"image": "registry.example/postgres:15"}, "history": {"timeToLive": "30d"}},
    })
}

/// The record of a test that has just ended.
fn record(cluster: &str, outcome: &str, reason: &Value) -> String {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({"format": 1, "source": {"kind": "cluster", "namespace": "shop", "pg_cluster": cluster},
        "stanza": "db", "repo": 1, "versions": {"keeper": "0.1.0"}, "start": now, "stop": now,
        "target": {"kind": "latest"}, "restored_bytes": 31_000_000, "outcome": outcome, "reason": reason})
    .to_string()
}

/// The pod of a test ends with this message.
fn end_test(kubectl: &Kubectl, job: &str, message: &str, code: i32) {
    end_with_message(kubectl, ("shop", job), "restore-test", code, Some(message));
}

fn status(kubectl: &Kubectl) -> Value {
    kubectl.get("shop", "restoretest", "nightly").unwrap()["status"].clone()
}

pub(super) fn wait_for_condition(kubectl: &Kubectl, kind: &str, value: &str, reason: &str) {
    let so = format!("--for=condition={kind}={value}");
    kubectl.run(&["--namespace=shop", "wait", "restoretest/nightly", &so, "--timeout=10m"]);
    wait_for(&format!("{kind} to be {value} because of {reason}"), || {
        let status = status(kubectl);
        let condition = status["conditions"].as_array()?.iter().find(|known| known["type"] == kind)?.clone();
        (condition["status"] == value && condition["reason"] == reason).then_some(())
    });
}

/// Until the CronJob tests this cluster, and may start.
fn wait_for_turn(kubectl: &Kubectl, cluster: &str) {
    wait_for(&format!("the turn of {cluster}"), || {
        let cron_job = kubectl.get("shop", "cronjob", CRON_JOB)?;
        let labels = &cron_job["spec"]["jobTemplate"]["metadata"]["labels"];
        let is_awake = cron_job["spec"]["suspend"] != true;
        (labels["pgbackrest-keeper.io/tested-cluster"] == cluster && is_awake).then_some(())
    });
    wait_for("that in the status", || (status(kubectl)["next"]["cluster"] == cluster).then_some(()));
}

/// Results of a cluster, newest first.
fn outcomes(status: &Value, cluster: &str) -> Vec<String> {
    let results = status["results"].as_array().unwrap();
    let of_cluster = results.iter().find(|result| result["cluster"] == cluster);
    let tests = of_cluster.and_then(|result| result["tests"].as_array()).cloned().unwrap_or_default();
    tests.iter().map(|test| test["outcome"].as_str().unwrap().to_owned()).collect()
}

/// Both clusters are selected, and a test has started.
fn what_is_tested_is_among_the_metrics(operator: &Operator) {
    let of_test = [("namespace", "shop"), ("restore_test", "nightly")];
    wait_for("the restore test among the metrics", || {
        let samples = operator.samples();
        let value = |name: &str| samples.find(&format!("pgbackrest_operator_restore_test_{name}"), &of_test);
        let selected =
            samples.all("pgbackrest_operator_restore_test_cluster_selected_timestamp_seconds", &of_test);
        let is_known = value("created_timestamp_seconds") <= value("last_start_timestamp_seconds")
            && value("last_start_timestamp_seconds").is_some();
        // The schedule is that of the first of January.
        let is_scheduled =
            value("schedule_interval_seconds").is_some_and(|interval| interval >= 365.0 * 86_400.0);
        let is_ready = value("ready") == Some(1.0) && value("clusters_left_out") == Some(0.0);
        (selected.len() == 2 && is_known && is_scheduled && is_ready).then_some(())
    });
}

fn annotate(kubectl: &Kubectl, value: &str) {
    let annotation = format!("pgbackrest-keeper.io/test-now={value}");
    kubectl.run(&["--namespace=shop", "annotate", "--overwrite", "restoretest", "nightly", &annotation]);
}

fn nothing_of_it_exists_where_it_is_not_asked_for(installation: &Installation) {
    let operator = installation.start(&[]);
    operator.wait_until_ready();
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    let requests = installation.requests();
    assert!(requests.iter().all(|request| !request.resource.starts_with("restoretests")), "{requests:#?}");
}

/// The job of the cluster that is named, whosever turn it is; each value starts one.
fn by_annotation(kubectl: &Kubectl) {
    let jobs = || -> Vec<String> {
        let jobs = kubectl.list("shop", "job", "labelSelector=pgbackrest-keeper.io/restore-test=nightly");
        let names = jobs.iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with(CRON_JOB)).collect()
    };
    annotate(kubectl, "ledger@repo1");
    let job = wait_for("the Job that was requested", || jobs().pop());
    let labels = kubectl.get("shop", "job", &job).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["pgbackrest-keeper.io/tested-cluster"], "ledger", "{labels}");
    wait_for("that in the status", || (status(kubectl)["testNow"] == "ledger@repo1").then_some(()));
    let reason = json!({"class": "missing_wal", "phase": "replay", "message": "WAL segment 3 is missing"});
    end_test(kubectl, &job, &record("ledger", "failed", &reason), 3);
    wait_for_condition(kubectl, "Passed", "False", "TestFailed");
    wait_for_event(
        kubectl,
        "RestoreTestFailed",
        "ledger repo1 failed (missing_wal): WAL segment 3 is missing",
    );
    assert_eq!(outcomes(&status(kubectl), "ledger"), ["failed", "passed"]);
    wait_for_turn(kubectl, "orders");
    assert_eq!(jobs(), [job]);
    annotate(kubectl, "stock");
    wait_for_event(kubectl, "RestoreTestRefused", "stock");
    wait_for_turn(kubectl, "orders");
}

/// A pod that ends without a result has its turn behind it all the same.
fn without_result(kubectl: &Kubectl) {
    kubectl.run(&["--namespace=shop", "create", "job", "--from=cronjob/restore-test-nightly", "killed"]);
    end_container(
        kubectl,
        ("shop", "killed"),
        "restore-test",
        &json!({"exitCode": 137, "reason": "OOMKilled"}),
    );
    wait_for_turn(kubectl, "ledger");
    assert_eq!(outcomes(&status(kubectl), "orders"), ["inconclusive"]);
    wait_for_event(kubectl, "RestoreTestInconclusive", "container restore-test needs more memory");
}

/// A cluster with a backup is passed over; if there is no other, no test starts until it has ended.
fn beside_backups(kubectl: &Kubectl) {
    let backup = |cluster: &str, name: &str| {
        let from = format!("--from=cronjob/pgbackrest-{cluster}-repo1-full");
        kubectl.run(&["--namespace=shop", "create", "job", &from, name]);
    };
    backup("ledger", "backup-1");
    wait_for_turn(kubectl, "orders");
    backup("orders", "backup-2");
    let cron_job = wait_for("the CronJob to be suspended", || {
        let cron_job = kubectl.get("shop", "cronjob", CRON_JOB)?;
        (cron_job["spec"]["suspend"] == true).then_some(cron_job)
    });
    let because = &cron_job["metadata"]["annotations"]["pgbackrest-keeper.io/suspended-because"];
    assert_eq!(because, "backup-runs");
    wait_for_condition(kubectl, "Ready", "True", "BackupRuns");
    end_pod(kubectl, "shop", "backup-2", 0);
    wait_for_turn(kubectl, "orders");
    wait_for_condition(kubectl, "Ready", "True", "AsDescribed");
    end_pod(kubectl, "shop", "backup-1", 0);
    wait_for_turn(kubectl, "ledger");
}

fn results_stay(
    kubectl: &Kubectl,
    installation: &Installation,
    operator: Operator,
    flags: &[&str],
) -> Operator {
    let before = status(kubectl)["results"].clone();
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    // A test ends while no operator is there.
    kubectl.run(&["--namespace=shop", "create", "job", "--from=cronjob/restore-test-nightly", "meanwhile"]);
    end_test(kubectl, "meanwhile", &record("ledger", "passed", &Value::Null), 0);
    kubectl.wait("shop", "job/meanwhile", "condition=Complete");
    let operator = installation.start(flags);
    wait_for_turn(kubectl, "orders");
    assert_eq!(outcomes(&status(kubectl), "ledger"), ["passed", "failed", "passed"]);
    assert_eq!(status(kubectl)["results"][1], before[1]);
    let ours = "--selector=pgbackrest-keeper.io/restore-test=nightly";
    kubectl.run(&["--namespace=shop", "delete", "jobs", ours]);
    wait_for("the Jobs to go", || {
        let left = kubectl.list("shop", "job", "labelSelector=pgbackrest-keeper.io/restore-test=nightly");
        left.is_empty().then_some(())
    });
    assert_eq!(outcomes(&status(kubectl), "ledger"), ["passed", "failed", "passed"]);
    operator
}

fn drift_is_mended(kubectl: &Kubectl) {
    let patch = r#"{"spec":{"schedule":"1 1 1 1 *"}}"#;
    kubectl.run(&["--namespace=shop", "patch", "cronjob", CRON_JOB, "--type=merge", "--patch", patch]);
    wait_for("the schedule again", || {
        let cron_job = kubectl.get("shop", "cronjob", CRON_JOB)?;
        (cron_job["spec"]["schedule"] == "0 0 1 1 *").then_some(())
    });
    wait_for_event(kubectl, "RestoreTestObjectsRestored", CRON_JOB);
}

fn what_is_wrong_is_told(kubectl: &Kubectl, operator: &Operator) {
    let mut wrong = nightly();
    wrong["spec"]["schedule"] = json!("0 25 * * *");
    kubectl.apply(&wrong.to_string(), &[]);
    wait_for_condition(kubectl, "Ready", "False", "Invalid");
    wait_for_event(kubectl, "RestoreTestNotReady", "schedule-invalid");
    wait_for("the metric to say so", || {
        let ready = operator.samples().find("pgbackrest_operator_restore_test_ready", &[]);
        (ready == Some(0.0)).then_some(())
    });
    assert_eq!(outcomes(&status(kubectl), "ledger").len(), 3);
    wrong["spec"] = nightly()["spec"].clone();
    wrong["spec"]["clusters"] = json!({"names": ["stock"]});
    kubectl.apply(&wrong.to_string(), &[]);
    wait_for_condition(kubectl, "Ready", "False", "NoCluster");
    kubectl.apply(&nightly().to_string(), &[]);
    wait_for_condition(kubectl, "Ready", "True", "AsDescribed");
    wait_for_event(kubectl, "RestoreTestReady", "");
    wait_for_turn(kubectl, "orders");
}
