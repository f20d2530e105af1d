//! Verifications on the real API server, with the real CronJob and Job controllers. No node runs the pods: the test writes their
//! results as a kubelet would.

use std::thread;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::jobs::{end_container, end_with_message};
use super::{
    assert_nothing_forbidden, in_bucket, nothing_to_do_is_nothing_done, open_namespace, wait_for_event,
    wait_for_object,
};
use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, Operator};
use crate::support::process::{command, output, wait_for};

const CRON_JOB: &str = "pgbackrest-orders-verify";
const RESULTS: &str = "orders-pgbackrest-verifications";
const ARGUMENTS: [&str; 2] = ["--verify-schedule=0 0 1 1 *", "--verify-jitter=1h"];

#[test]
fn repos_have_their_turns_and_results_outlive_jobs_and_operators() {
    let test = "repos_have_their_turns_and_results_outlive_jobs_and_operators";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    let operator = installation.start(&ARGUMENTS);
    open_namespace(&kubectl, "shop");
    kubectl.apply(&orders(&json!({})).to_string(), &[]);
    wait_for_turn(&kubectl, "repo1");
    admitted_by_the_repo_host(&kubectl);

    // What runs has its turn behind it.
    start(&kubectl, "first");
    wait_for_turn(&kubectl, "repo2");
    end(&kubectl, "first", &record(1, "passed", &Value::Null), 0);
    wait_for_results(&kubectl, 1, &["passed"]);
    start(&kubectl, "second");
    let reason = json!({"class": "damaged_backup", "message": "1 backup cannot be restored completely"});
    end(&kubectl, "second", &record(2, "failed", &reason), 3);
    wait_for_results(&kubectl, 2, &["failed"]);
    wait_for_event(&kubectl, "VerificationNotPassed", "repo2 failed: 1 backup cannot be restored completely");
    wait_for_turn(&kubectl, "repo1");
    without_result(&kubectl);
    let operator = results_stay(&kubectl, &installation, operator);
    nothing_to_do_is_nothing_done(&installation);
    switched_off(&kubectl);
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_nothing_forbidden(&installation);
}

/// When observing, no CronJob of a cluster may be written.
#[test]
fn an_observer_verifies_nothing() {
    let mut operator = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    let refused = output(operator.args(["operator", "--mode=observe", "--verify-schedule=@monthly"]));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--verify-schedule needs --mode=manage"), "{said}");
}

/// With a bucket as repo1 and a volume as repo2.
fn orders(annotations: &Value) -> Value {
    let mut orders = in_bucket("shop", "orders");
    orders["metadata"]["annotations"] = annotations.clone();
    let section = &mut orders["spec"]["backup"]["pgbackrest"];
    section["global"]["repo2-retention-full"] = json!("2");
    section["repos"].as_array_mut().unwrap().push(json!({"name": "repo2", "storage": "pvc",
        "volume": {"size": "2Gi"}, "schedule": {"full": "0 2 * * 0"}}));
    orders
}

/// The record of a verification that has just ended.
fn record(repo: u32, outcome: &str, reason: &Value) -> String {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({"format": 1, "source": {"kind": "cluster", "namespace": "shop", "pg_cluster": "orders"},
        "stanza": "db", "repo": repo, "versions": {"keeper": "0.1.0"}, "start": now, "stop": now,
        "timeout_seconds": 86400.0, "outcome": outcome, "reason": reason})
    .to_string()
}

fn start(kubectl: &Kubectl, job: &str) {
    kubectl.run(&["--namespace=shop", "create", "job", &format!("--from=cronjob/{CRON_JOB}"), job]);
}

/// The pod of a Job ends with this message.
fn end(kubectl: &Kubectl, job: &str, message: &str, code: i32) {
    end_with_message(kubectl, ("shop", job), "verify", code, Some(message));
}

/// Until the CronJob verifies this repo.
fn wait_for_turn(kubectl: &Kubectl, repo: &str) {
    wait_for(&format!("the turn of {repo}"), || {
        let cron_job = kubectl.get("shop", "cronjob", CRON_JOB)?;
        let labels = &cron_job["spec"]["jobTemplate"]["metadata"]["labels"];
        (labels["pgbackrest-keeper.io/repo"] == repo).then_some(())
    });
}

/// Outcomes of a repo, oldest first.
fn outcomes(kubectl: &Kubectl, repo: u32) -> Option<Vec<String>> {
    let results = kubectl.get("shop", "configmap", RESULTS)?;
    let results = results["data"][format!("repo{repo}.json")].as_str()?.to_owned();
    let records: Vec<Value> = serde_json::from_str(&results).unwrap();
    Some(records.iter().map(|record| record["outcome"].as_str().unwrap().to_owned()).collect())
}

fn wait_for_results(kubectl: &Kubectl, repo: u32, wanted: &[&str]) {
    wait_for(&format!("{wanted:?} of repo{repo}"), || (outcomes(kubectl, repo)? == wanted).then_some(()));
}

fn admitted_by_the_repo_host(kubectl: &Kubectl) {
    wait_for_object(kubectl, "shop", "networkpolicy", "orders-pgbackrest-repo-host");
    let policy = kubectl.get("shop", "networkpolicy", "orders-pgbackrest-repo-host").unwrap();
    let labels = json!({"pgbackrest-keeper.io/verified-cluster": "orders"});
    assert_eq!(policy["spec"]["ingress"][0]["from"][1]["podSelector"]["matchLabels"], labels, "{policy}");
}

/// A pod that ends without a result has its turn behind it all the same.
fn without_result(kubectl: &Kubectl) {
    // Its start is known in whole seconds, and must be later than that of the run before.
    thread::sleep(Duration::from_secs(1));
    start(kubectl, "killed");
    end_container(kubectl, ("shop", "killed"), "verify", &json!({"exitCode": 137, "reason": "OOMKilled"}));
    wait_for_results(kubectl, 1, &["passed", "inconclusive"]);
    wait_for_turn(kubectl, "repo2");
    wait_for_event(kubectl, "VerificationNotPassed", "repo1 had no result: interrupted");
}

fn results_stay(kubectl: &Kubectl, installation: &Installation, operator: Operator) -> Operator {
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    // One ends while no operator is there.
    start(kubectl, "meanwhile");
    end(kubectl, "meanwhile", &record(2, "passed", &Value::Null), 0);
    kubectl.wait("shop", "job/meanwhile", "condition=Complete");
    let operator = installation.start(&ARGUMENTS);
    wait_for_results(kubectl, 2, &["failed", "passed"]);
    wait_for_turn(kubectl, "repo1");
    let ours = "pgbackrest-keeper.io/verified-cluster=orders";
    kubectl.run(&["--namespace=shop", "delete", "jobs", &format!("--selector={ours}")]);
    wait_for("the Jobs to go", || {
        kubectl.list("shop", "job", &format!("labelSelector={ours}")).is_empty().then_some(())
    });
    assert_eq!(outcomes(kubectl, 1).unwrap(), ["passed", "inconclusive"]);
    assert_eq!(outcomes(kubectl, 2).unwrap(), ["failed", "passed"]);
    operator
}

fn switched_off(kubectl: &Kubectl) {
    let wrong = json!({"pgbackrest-keeper.io/verify-schedule": "0 25 * * *"});
    kubectl.apply(&orders(&wrong).to_string(), &[]);
    wait_for_event(kubectl, "ScheduleInvalid", "verify-schedule");
    assert!(kubectl.get("shop", "cronjob", CRON_JOB).is_some());
    let own = json!({"pgbackrest-keeper.io/verify-schedule": "0 5 1 * *"});
    kubectl.apply(&orders(&own).to_string(), &[]);
    wait_for("its own schedule", || {
        let cron_job = kubectl.get("shop", "cronjob", CRON_JOB)?;
        (cron_job["spec"]["schedule"] == "0 5 1 * *").then_some(())
    });
    let off = json!({"pgbackrest-keeper.io/verify-schedule": "off"});
    kubectl.apply(&orders(&off).to_string(), &[]);
    wait_for("its objects to go", || {
        let is_gone = |kind: &str, name: &str| kubectl.get("shop", kind, name).is_none();
        (is_gone("cronjob", CRON_JOB) && is_gone("configmap", RESULTS)).then_some(())
    });
}
