//! Jobs and schedules as metrics, with the real CronJob and Job controllers. No node runs the pods: the test
//! writes their results as a kubelet would.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::life::pretend_that_stanzas_were_seen;
use super::rights_used::{self, Use};
use super::{assert_nothing_forbidden, in_bucket, open_namespace, wait_for_object};
use crate::operator::deploy::rights;
use crate::support::control_plane::ControlPlane;
use crate::support::exposition::Samples;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::operator::{Installation, Operator, Request};
use crate::support::process::wait_for;

/// What is only used where pods run: to ask pgBackRest in them.
const WITH_PODS: [(&str, &str); 2] = [("pods/exec", "create"), ("pods/exec", "get")];

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// Labels of a repo and type of the one cluster, and more.
fn with<'a>(cluster: &'a str, backup_type: &'a str, more: &[(&'a str, &'a str)]) -> Labels<'a> {
    let mut labels = vec![("pg_cluster", cluster), ("repo_key", "1"), ("backup_type", backup_type)];
    labels.extend_from_slice(more);
    labels
}

fn wait_for_sample(operator: &Operator, name: &str, labels: &[(&str, &str)], value: f64) -> Samples {
    wait_for(&format!("{name}{labels:?} to be {value}"), || {
        let samples = operator.samples();
        (samples.find(name, labels) == Some(value)).then_some(samples)
    })
}

/// The CronJob's Job, as `kubectl create job --from` would make it.
fn job_of(kubectl: &Kubectl, namespace: &str, cron_job: &str, name: &str) -> Value {
    let from = format!("--from=cronjob/{cron_job}");
    let job = kubectl.run(&[
        "--namespace",
        namespace,
        "create",
        "job",
        &from,
        name,
        "--dry-run=client",
        "--output=json",
    ]);
    serde_json::from_str(&job).unwrap()
}

/// Makes a Job as the CronJob controller does, with another spec.
pub(super) fn start(kubectl: &Kubectl, namespace: &str, cron_job: &str, name: &str, spec: &Value) {
    let mut job = job_of(kubectl, namespace, cron_job, name);
    job["metadata"]["annotations"] = json!({});
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job["metadata"]["namespace"] = json!(namespace);
    kubectl.apply(&job.to_string(), &[]);
}

/// Gives the pod of a Job this status.
pub(super) fn patch_pod(kubectl: &Kubectl, namespace: &str, job: &str, status: &Value) {
    let selector = format!("--selector=batch.kubernetes.io/job-name={job}");
    let pod = wait_for(&format!("a pod of {job}"), || {
        let pods = kubectl.run(&["--namespace", namespace, "get", "pods", &selector, "--output=name"]);
        pods.lines().next().map(str::to_owned)
    });
    let patch = json!({"status": status}).to_string();
    let how = ["--subresource=status", "--type=merge", "--patch", &patch];
    kubectl.run(&[&["--namespace", namespace, "patch", &pod], &how[..]].concat());
}

/// The pod of a Job ends with this code.
pub(super) fn end_pod(kubectl: &Kubectl, namespace: &str, job: &str, code: i32) {
    end_with_message(kubectl, (namespace, job), "pgbackrest-backup", code, None);
}

/// The only container of the pod of a Job, given with its namespace, ends with this code and termination message.
pub(super) fn end_with_message(
    kubectl: &Kubectl,
    job: (&str, &str),
    container: &str,
    code: i32,
    message: Option<&str>,
) {
    let reason = if code == 0 { "Completed" } else { "Error" };
    let how = json!({"exitCode": code, "reason": reason, "message": message});
    end_container(kubectl, job, container, &how);
}

/// The only container of the pod of a Job, given with its namespace, ends like this.
pub(super) fn end_container(kubectl: &Kubectl, (namespace, job): (&str, &str), container: &str, how: &Value) {
    let mut ended = json!({"startedAt": "2026-11-23T02:00:00Z", "finishedAt": "2026-11-23T02:00:01Z"});
    ended.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
    let phase = if how["exitCode"] == 0 { "Succeeded" } else { "Failed" };
    let container = json!({"name": container, "image": "i", "imageID": "i", "ready": false,
        "restartCount": 0, "state": {"terminated": ended}});
    patch_pod(kubectl, namespace, job, &json!({"phase": phase, "containerStatuses": [container]}));
}

#[test]
fn jobs_and_schedules_are_told_and_told_again_after_a_restart() {
    let test = "jobs_and_schedules_are_told_and_told_again_after_a_restart";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    let operator = installation.start(&[]);
    open_namespace(&kubectl, "shop");
    let mut orders = in_bucket("shop", "orders");
    // What Kubernetes does without it: of failed Jobs the last alone is there after a restart.
    orders["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/failed-jobs-history": "10"});
    orders["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"]["diff"] = json!("* * * * *");
    kubectl.apply(&orders.to_string(), &[]);
    let full = "pgbackrest-orders-repo1-full";
    wait_for_object(&kubectl, "shop", "cronjob", full);
    wait_for_sample(&operator, "pgbackrest_schedule_suspended", &with("orders", "full", &[]), 1.0);
    pretend_that_stanzas_were_seen(&kubectl, "shop", "orders");
    wait_for_sample(&operator, "pgbackrest_schedule_suspended", &with("orders", "full", &[]), 0.0);
    // With the other schedule, which is resumed by another request.
    let samples =
        wait_for_sample(&operator, "pgbackrest_schedule_conflict", &with("orders", "full", &[]), 1.0);
    samples.assert(
        "pgbackrest_schedule_info",
        &with("orders", "full", &[("cronjob", full), ("schedule", "0 1 * * 0"), ("timezone", "")]),
        1.0,
    );
    samples.assert("pgbackrest_schedule_interval_seconds", &with("orders", "full", &[]), 604_800.0);
    samples.assert("pgbackrest_schedule_missed_runs", &with("orders", "full", &[]), 0.0);
    assert!(samples.find("pgbackrest_job_consecutive_failures", &with("orders", "full", &[])).is_none());

    by_hand_and_by_the_clock(&kubectl, &operator);
    people_see_and_wait(&kubectl, "Warning", "Succeeded");
    failures(&kubectl, &operator);
    people_see_and_wait(&kubectl, "Warning", "Failed");
    let described = wait_for("the failure among the Events", || {
        let described = kubectl.run(&["--namespace=shop", "describe", "postgresql", "orders"]);
        described.contains("BackupFailed").then_some(described)
    });
    let failure = "The last full backup into repo1 failed: ";
    assert!(described.contains(failure), "{described}");
    without_image(&kubectl, &operator);
    restarted(&kubectl, &installation, operator);
    assert_nothing_forbidden(&installation);
}

/// The commands of docs/operator.md.
fn people_see_and_wait(kubectl: &Kubectl, status: &str, jobs: &str) {
    let generation = kubectl.run(&[
        "--namespace=shop",
        "get",
        "postgresql",
        "orders",
        "--output=jsonpath={.metadata.generation}",
    ]);
    for (key, value) in
        [("BackupObservedGeneration", generation.as_str()), ("BackupStatus", status), ("BackupJobs", jobs)]
    {
        let so = format!("--for=jsonpath={{.status.{key}}}={value}");
        kubectl.run(&["--namespace=shop", "wait", "postgresql/orders", &so, "--timeout=10m"]);
    }
    let table = kubectl.run(&["--namespace=shop", "get", "postgresqls"]);
    let (head, row) = table.trim().split_once('\n').unwrap();
    assert!(head.contains("BACKUP") && head.contains("JOBS") && head.contains("LAST SUCCESS"), "{table}");
    assert!(row.contains(status) && row.contains(jobs), "{table}");
    let columns = "--output=custom-columns=NAME:.metadata.name,BACKUP:.status.BackupStatus,\
        JOBS:.status.BackupJobs,SUCCESS:.status.BackupLastSuccess";
    let table = kubectl.run(&["--namespace=shop", "get", "postgresqls", columns]);
    assert!(table.contains(jobs) && !table.contains("<none>"), "{table}");
}

fn by_hand_and_by_the_clock(kubectl: &Kubectl, operator: &Operator) {
    let from = "--from=cronjob/pgbackrest-orders-repo1-full";
    kubectl.run(&["--namespace=shop", "create", "job", from, "by-hand"]);
    wait_for_sample(operator, "pgbackrest_job_active", &with("orders", "full", &[]), 1.0);
    end_pod(kubectl, "shop", "by-hand", 0);
    let success = [("outcome", "success"), ("trigger", "manual"), ("reason", "")];
    let samples =
        wait_for_sample(operator, "pgbackrest_job_runs_total", &with("orders", "full", &success), 1.0);
    samples.assert("pgbackrest_job_active", &with("orders", "full", &[]), 0.0);
    samples.assert("pgbackrest_job_attempts_total", &with("orders", "full", &[("outcome", "success")]), 1.0);
    samples.assert("pgbackrest_job_consecutive_failures", &with("orders", "full", &[]), 0.0);
    assert!(
        samples.value("pgbackrest_job_last_success_timestamp_seconds", &with("orders", "full", &[])) > 1e9
    );

    wait_for_sample(operator, "pgbackrest_job_active", &with("orders", "diff", &[]), 1.0);
    let jobs = kubectl.run(&["--namespace=shop", "get", "jobs", "--output=name"]);
    let of_the_clock = jobs.lines().find(|name| name.contains("-diff-")).unwrap();
    end_pod(kubectl, "shop", of_the_clock.trim_start_matches("job.batch/"), 0);
    let success = [("outcome", "success"), ("trigger", "schedule")];
    wait_for_sample(operator, "pgbackrest_job_runs_total", &with("orders", "diff", &success), 1.0);
    let suspend = ["patch", "cronjob", "pgbackrest-orders-repo1-diff", "--type=merge"];
    let suspend =
        [&["--namespace=shop"], &suspend[..], &["--patch", r#"{"spec":{"suspend":true}}"#]].concat();
    kubectl.run(&suspend);
    let samples =
        wait_for_sample(operator, "pgbackrest_schedule_suspended", &with("orders", "diff", &[]), 1.0);
    assert!(
        samples.find("pgbackrest_schedule_next_timestamp_seconds", &with("orders", "diff", &[])).is_none()
    );
}

fn failures(kubectl: &Kubectl, operator: &Operator) {
    let full = "pgbackrest-orders-repo1-full";
    let failed = |reason| [("outcome", "failure"), ("trigger", "schedule"), ("reason", reason)];
    start(kubectl, "shop", full, "wrong", &json!({}));
    // The failure policy: an error of configuration is not tried again.
    end_pod(kubectl, "shop", "wrong", 32);
    wait_for_sample(operator, "pgbackrest_job_runs_total", &with("orders", "full", &failed("config")), 1.0);
    start(kubectl, "shop", full, "locked", &json!({"backoffLimit": 0}));
    end_pod(kubectl, "shop", "locked", 50);
    let locked = with("orders", "full", &failed("lock_conflict"));
    let samples = wait_for_sample(operator, "pgbackrest_job_runs_total", &locked, 1.0);
    let info = with("orders", "full", &[("reason", "lock_conflict"), ("exit_code", "50")]);
    samples.assert("pgbackrest_job_last_failure_info", &info, 1.0);
    samples.assert("pgbackrest_job_consecutive_failures", &with("orders", "full", &[]), 2.0);
    start(kubectl, "shop", full, "slow", &json!({"activeDeadlineSeconds": 1}));
    let slow = with("orders", "full", &failed("deadline"));
    let samples = wait_for_sample(operator, "pgbackrest_job_runs_total", &slow, 1.0);
    let info = with("orders", "full", &[("reason", "deadline"), ("exit_code", "")]);
    samples.assert("pgbackrest_job_last_failure_info", &info, 1.0);
    samples.assert("pgbackrest_job_consecutive_failures", &with("orders", "full", &[]), 3.0);
}

/// A pod that never ran is gone with its Job's time.
fn without_image(kubectl: &Kubectl, operator: &Operator) {
    start(
        kubectl,
        "shop",
        "pgbackrest-orders-repo1-full",
        "imageless",
        &json!({"activeDeadlineSeconds": 15}),
    );
    let waits = json!([{"name": "pgbackrest-backup", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    patch_pod(kubectl, "shop", "imageless", &json!({"phase": "Pending", "containerStatuses": waits}));
    let failure = [("outcome", "failure"), ("reason", "image_pull")];
    wait_for_sample(operator, "pgbackrest_job_runs_total", &with("orders", "full", &failure), 1.0);
}

/// What Jobs tell is told again, the reason included; what was counted is not.
fn restarted(kubectl: &Kubectl, installation: &Installation, operator: Operator) {
    let before = operator.samples();
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    start(kubectl, "shop", "pgbackrest-orders-repo1-full", "meanwhile", &json!({"backoffLimit": 0}));
    end_pod(kubectl, "shop", "meanwhile", 82);
    kubectl.wait("shop", "job/meanwhile", "condition=Failed");

    let operator = installation.start(&[]);
    let info = with("orders", "full", &[("reason", "archive_timeout"), ("exit_code", "82")]);
    let samples = wait_for_sample(&operator, "pgbackrest_job_last_failure_info", &info, 1.0);
    samples.assert("pgbackrest_job_consecutive_failures", &with("orders", "full", &[]), 5.0);
    for backup_type in ["full", "diff"] {
        let (name, labels) =
            ("pgbackrest_job_last_success_timestamp_seconds", with("orders", backup_type, &[]));
        samples.assert(name, &labels, before.value(name, &labels));
    }
    assert!(samples.all("pgbackrest_job_runs_total", &[]).is_empty(), "counters start with the process");
    assert!(samples.all("pgbackrest_job_attempts_total", &[]).is_empty());
    // Jobs of a cluster go with its resource, and so does what was known of them.
    kubectl.run(&["--namespace=shop", "delete", "postgresql", "orders"]);
    wait_for("the series to end", || {
        let samples = operator.samples();
        (samples.all("pgbackrest_job_active", &[]).is_empty()
            && samples.all("pgbackrest_schedule_info", &[]).is_empty())
        .then_some(())
    });
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
}

/// As CPO makes it: labels on the CronJob and its pods, none on the Jobs, no owner.
fn cron_job_of_cpo(cluster: &str) -> Value {
    let labels = json!({"application": "cpo", "cluster.cpo.opensource.cybertec.at/name": cluster,
        "member.cpo.opensource.cybertec.at/type": "backup-job", "team": "team"});
    let env = json!([{"name": "USE_PGBACKREST", "value": "true"}, {"name": "MODE", "value": "backup"},
        {"name": "COMMAND_OPTS", "value": "--stanza=db --repo=1 --type=full"}]);
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": format!("pgbackrest-{cluster}-repo1-full"), "namespace": "cpo", "labels": labels},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"metadata": {}, "spec": {
            "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "pgbackrest-backup", "image": "registry.example/pgbackrest:2", "env": env}]}}}}},
    })
}

#[test]
fn clusters_of_cpo_are_observed_and_nothing_of_them_is_written() {
    let test = "clusters_of_cpo_are_observed_and_nothing_of_them_is_written";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    let installation = Installation::observing(&plane);
    let operator = installation.start(&["--mode=observe"]);
    kubectl.run(&["create", "namespace", "cpo"]);
    let mut ledger = in_bucket("cpo", "ledger");
    ledger["metadata"]["annotations"] = json!({"cpo.opensource.cybertec.at/controller": "cpo-7"});
    ledger["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"]["incr"] = json!("0 25 * * *");
    kubectl.apply(&ledger.to_string(), &[]);
    let cron_job = "pgbackrest-ledger-repo1-full";
    kubectl.apply(&cron_job_of_cpo("ledger").to_string(), &[]);

    wait_for_sample(&operator, "pgbackrest_job_active", &with("ledger", "full", &[]), 1.0);
    let jobs = kubectl.run(&["--namespace=cpo", "get", "jobs", "--output=name"]);
    end_pod(&kubectl, "cpo", jobs.lines().next().unwrap().trim_start_matches("job.batch/"), 0);
    let success = [("namespace", "cpo"), ("outcome", "success"), ("trigger", "schedule")];
    wait_for_sample(&operator, "pgbackrest_job_runs_total", &with("ledger", "full", &success), 1.0);
    start(&kubectl, "cpo", cron_job, "refused", &json!({"backoffLimit": 0}));
    end_pod(&kubectl, "cpo", "refused", 105);
    let failure = [("outcome", "failure"), ("reason", "access")];
    wait_for_sample(&operator, "pgbackrest_job_runs_total", &with("ledger", "full", &failure), 1.0);
    // What is wrong with the resource is told in an Event.
    let of_cluster = [("namespace", "cpo"), ("pg_cluster", "ledger")];
    wait_for_sample(&operator, "pgbackrest_operator_cluster_ok", &of_cluster, 0.0);
    let event = wait_for("an Event about the schedule", || {
        let events = kubectl.run(&["--namespace=cpo", "get", "events", "--output=json"]);
        let events: Value = serde_json::from_str(&events).unwrap();
        events["items"].as_array().unwrap().iter().find(|event| event["reason"] == "ScheduleInvalid").cloned()
    });
    assert_eq!(event["involvedObject"]["name"], "ledger");
    // It is queried all the same; there is no pod.
    wait_for_sample(&operator, "pgbackrest_collector_up", &of_cluster, 0.0);
    secrets_are_read_where_that_is_allowed(&kubectl, &installation, &operator);

    assert!(installation.leader().is_some());
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    let written: Vec<_> = installation.requests().into_iter().filter(Request::writes).collect();
    assert!(written.iter().all(|request| request.resource == "events"), "{written:#?}");
    let resource = kubectl.get("cpo", "postgresql", "ledger").unwrap();
    assert!(resource["status"].is_null(), "{resource}");
    let requests = installation.requests();
    let refused: Vec<_> = requests.iter().filter(|request| matches!(request.code, 401 | 403)).collect();
    assert!(refused.iter().all(|request| request.resource == "secrets"), "{refused:#?}");
    assert!(requests.iter().all(|request| request.resource != "configmaps"), "{requests:#?}");
    assert_eq!(unused(&requests), BTreeSet::from(WITH_PODS.map(|(what, verb)| (what.into(), verb.into()))));
}

/// Rights of whoever observes that nothing has used.
fn unused(requests: &[Request]) -> BTreeSet<Use> {
    let used = rights_used::used(requests);
    let held = rights::rights(&rights::rules(rights::OBSERVE));
    let held = held.into_iter().map(|(_, resource, verb)| (resource, verb));
    held.filter(|right| !used.contains(right)).collect()
}

/// The Secret that a valid resource names is asked for. That it may not be read is no failure.
fn secrets_are_read_where_that_is_allowed(
    kubectl: &Kubectl,
    installation: &Installation,
    operator: &Operator,
) {
    let codes = || -> Vec<i64> {
        let reads = installation.requests().into_iter().filter(|request| request.resource == "secrets");
        reads.inspect(|request| assert_eq!(request.verb, "get")).map(|request| request.code).collect()
    };
    let before = codes().len();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bucket", "namespace": "cpo"},
        "stringData": {"bucket.conf": "[global]\nrepo1-retention-diff=3\n"}});
    kubectl.apply(&secret.to_string(), &[]);
    let mut orders = in_bucket("cpo", "orders");
    kubectl.apply(&orders.to_string(), &[]);
    let ok = [("namespace", "cpo"), ("pg_cluster", "orders")];
    wait_for_sample(operator, "pgbackrest_operator_cluster_ok", &ok, 1.0);
    wait_for("a refusal", || codes().get(before..)?.contains(&403).then_some(()));
    let account = "--serviceaccount=pgbackrest-keeper:pgbackrest-keeper-operator";
    let reader = ["--namespace=cpo", "create", "role", "reader", "--verb=get", "--resource=secrets"];
    kubectl.run(&[&reader[..], &["--resource-name=bucket"]].concat());
    kubectl.run(&["--namespace=cpo", "create", "rolebinding", "reader", "--role=reader", account]);
    let user = "--as=system:serviceaccount:pgbackrest-keeper:pgbackrest-keeper-operator";
    wait_for("the right", || {
        let may = kubectl.output(&["--namespace=cpo", "auth", "can-i", "get", "secrets/bucket", user]);
        may.status.success().then_some(())
    });
    // It is asked again when the resource changes, or after an hour.
    orders["spec"]["numberOfInstances"] = json!(2);
    kubectl.apply(&orders.to_string(), &[]);
    wait_for("the Secret to be read", || codes().contains(&200).then_some(()));
    operator.samples().assert("pgbackrest_operator_cluster_ok", &ok, 1.0);
}
