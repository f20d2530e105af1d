//! Faults that the real API server does not produce on demand: conflicts at the wrong moment, rejected objects, rejected requests,
//! no response. Each test checks the requests, and that no object of another owner was touched. The clock is paused, so that results
//! do not depend on the speed of the machine.

mod api;
mod fake_cluster;
mod keeping;
mod observing;

use std::sync::Arc;
use std::time::Duration;

use pgbackrest_keeper::cluster::desired;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::kubernetes::client::CallFailure;
use pgbackrest_keeper::operator::apply::{FIELD_MANAGER, Writer};
use pgbackrest_keeper::operator::inventory::Inventory;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use api::{Fault, Seen};
use fake_cluster::{
    CLAIM, CONFIG, CRON_JOB, FakeCluster, KEYS, OWNER, SERVICE, STATEFUL_SET, codes, place, somebodys, writes,
};

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_made_without_force_and_written_once() {
    let fake_cluster = FakeCluster::new();
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert!(applied.in_place.iter().all(|(_, in_place)| *in_place), "{:?}", applied.in_place);
    let seen = fake_cluster.api.take_seen();
    let written = writes(&seen);
    assert_eq!(written.len(), fake_cluster.count());
    for write in written {
        assert!(write.query.contains(&format!("fieldManager={FIELD_MANAGER}")), "{}", write.query);
        assert!(!write.forces(), "{}", write.path);
        assert_eq!(write.body["metadata"].get("uid"), None);
    }
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(fake_cluster.api.take_seen().len(), 0, "what was just written is not asked for");
    assert!(applied.actions.is_empty() && applied.again_after.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_ours_is_forced_by_its_uid() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    let uids: Vec<Value> =
        [CONFIG, CRON_JOB, STATEFUL_SET].map(|path| fake_cluster.api.get(path).unwrap()).into();
    fake_cluster.api.take_seen();
    let writer = forgetful(&fake_cluster);
    let applied =
        writer.apply(&fake_cluster.cluster, &fake_cluster.desired, fake_cluster.conduct).await.unwrap();
    assert!(applied.actions.is_empty() && applied.drift.is_empty(), "{:?}", applied.actions);
    let seen = fake_cluster.api.take_seen();
    for (path, before) in [CONFIG, CRON_JOB, STATEFUL_SET].into_iter().zip(uids) {
        let write = seen.iter().find(|seen| seen.writes() && seen.path == path).unwrap();
        assert!(write.forces());
        assert_eq!(write.body["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(fake_cluster.api.get(path).unwrap(), before);
    }
    assert!(
        !seen.iter().any(|seen| seen.writes() && seen.path == CLAIM),
        "a claim that is there is not applied"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_comes_in_between_stays_as_it_is() {
    let fake_cluster = FakeCluster::new();
    // The look finds nothing, and then somebody is faster.
    fake_cluster.api.judge(|seen| {
        (seen.method == "PATCH" && seen.path == CONFIG).then(|| Fault::After(somebodys("kubectl")))
    });
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert!(applied.findings[0].message.contains("kubectl"), "{}", applied.findings[0]);
    assert_eq!(fake_cluster.api.get(CONFIG).unwrap()["spec"], json!({"mine": true}));
    assert!(!place(&applied, "ConfigMap") && place(&applied, "CronJob"));
    assert!(!fake_cluster.api.take_seen().iter().any(|seen| seen.path == CONFIG && seen.forces()));
}

#[tokio::test(start_paused = true)]
async fn an_object_of_ours_that_was_replaced_is_not_forced_over() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    fake_cluster.api.take_seen();
    let writer = forgetful(&fake_cluster);
    // Ours at the look, somebody else's at the write.
    fake_cluster.api.judge(|seen| {
        let now = seen.method == "PATCH" && seen.path == CONFIG;
        now.then(|| Fault::After(somebodys("kubectl")))
    });
    let applied =
        writer.apply(&fake_cluster.cluster, &fake_cluster.desired, fake_cluster.conduct).await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert_eq!(fake_cluster.api.get(CONFIG).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_changes_all_the_time_is_given_up_for_now() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.judge(|seen| {
        (seen.method == "PATCH" && seen.path == CONFIG).then_some(Fault::Status(409, "Conflict", "again"))
    });
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert!(applied.again_after.unwrap() <= Duration::from_mins(1));
    let tries =
        fake_cluster.api.take_seen().iter().filter(|seen| seen.writes() && seen.path == CONFIG).count();
    assert_eq!(tries, 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_stops_no_other_and_its_reason_is_told() {
    for (fault, said) in [
        (Fault::Status(422, "Invalid", "spec.schedule: Invalid value"), "spec.schedule: Invalid value"),
        (Fault::Status(403, "Forbidden", "exceeded quota"), "exceeded quota"),
    ] {
        let fake_cluster = FakeCluster::new();
        fake_cluster
            .api
            .judge(move |seen| (seen.method == "PATCH" && seen.path == CRON_JOB).then(|| fault.clone()));
        let applied = fake_cluster.apply().await.unwrap();
        assert_eq!(codes(&applied), ["object-refused"]);
        assert!(applied.findings[0].message.contains(said), "{}", applied.findings[0]);
        assert_eq!(applied.findings[0].field, "CronJob pgbackrest-orders-repo1-full");
        assert!(!place(&applied, "CronJob") && place(&applied, "StatefulSet"));
        assert_eq!(writes(&fake_cluster.api.take_seen()).len(), fake_cluster.count());
        // It is tried again as soon as somebody looks.
        fake_cluster.api.judge(|_| None);
        let applied = fake_cluster.apply().await.unwrap();
        assert!(place(&applied, "CronJob") && applied.findings.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_about_a_secret_is_not_told() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.judge(|seen| {
        (seen.method == "PATCH" && seen.path == KEYS).then_some(Fault::Status(
            422,
            "Invalid",
            "data.ca.key: Invalid value: hunter2",
        ))
    });
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert!(!format!("{applied:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn trouble_with_everything_ends_the_pass_at_once() {
    for (fault, expected) in [
        (Fault::Status(429, "TooManyRequests", "later"), CallFailure::Throttled),
        (Fault::Status(503, "ServiceUnavailable", "later"), CallFailure::Unavailable),
    ] {
        let fake_cluster = FakeCluster::new();
        fake_cluster.api.judge(move |_| Some(fault.clone()));
        let error = fake_cluster.apply().await.unwrap_err();
        assert_eq!(error.failure, expected, "{error}");
        assert_eq!(fake_cluster.api.take_seen().len(), 1, "the caller backs off, nobody else tries again");
        // Nothing of it is remembered.
        fake_cluster.api.judge(|_| None);
        assert!(fake_cluster.apply().await.unwrap().findings.is_empty());
        assert!(fake_cluster.api.get(CRON_JOB).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_down_for_one_object_stops_no_other() {
    let fake_cluster = FakeCluster::new();
    let fault = Fault::Status(500, "InternalError", "failed calling webhook");
    let one = fault.clone();
    fake_cluster.api.judge(move |seen| (seen.method == "PATCH" && seen.path == CONFIG).then(|| one.clone()));
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert!(applied.findings[0].message.contains("failed calling webhook"), "{}", applied.findings[0]);
    assert!(place(&applied, "CronJob") && place(&applied, "StatefulSet"));
    // For all of them it is no different from an API server that is down.
    fake_cluster.writer.forget("shop", "orders");
    fake_cluster.api.take_seen();
    fake_cluster.api.judge(move |seen| (seen.method == "PATCH").then(|| fault.clone()));
    assert_eq!(fake_cluster.apply().await.unwrap_err().failure, CallFailure::Unavailable);
    assert_eq!(writes(&fake_cluster.api.take_seen()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_pass_within_the_deadline() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.judge(|seen| (seen.path == CRON_JOB).then_some(Fault::Silence));
    let start = Instant::now();
    let error = fake_cluster.apply().await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(fake_cluster.api.get(STATEFUL_SET).is_some(), "what came before it was made");
}

#[tokio::test(start_paused = true)]
async fn drift_is_undone_and_counted_and_a_persons_suspend_is_not_drift() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    let mut suspended = fake_cluster.api.get(CRON_JOB).unwrap();
    suspended["spec"]["suspend"] = json!(true);
    fake_cluster.api.put(CRON_JOB, suspended);
    fake_cluster.api.remove(CONFIG);
    sleep(Duration::from_millis(3100)).await;
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(applied.drift, ["ConfigMap"]);
    assert_eq!(fake_cluster.api.get(CRON_JOB).unwrap()["spec"]["suspend"], true);
    assert!(fake_cluster.api.get(CONFIG).is_some());
    let mut rescheduled = fake_cluster.api.get(CRON_JOB).unwrap();
    rescheduled["spec"]["schedule"] = json!("0 0 * * *");
    rescheduled["metadata"]["generation"] = json!(9);
    fake_cluster.api.put(CRON_JOB, rescheduled);
    sleep(Duration::from_millis(3100)).await;
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(applied.drift, ["CronJob"]);
    let now = fake_cluster.api.get(CRON_JOB).unwrap();
    assert_eq!((&now["spec"]["schedule"], &now["spec"]["suspend"]), (&json!("30 1 * * *"), &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_service_of_somebody_else_is_used_as_it_is() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.put(SERVICE, somebodys("helm"));
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert!(place(&applied, "Service"));
    assert_eq!(fake_cluster.api.get(SERVICE).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn the_repo_host_waits_for_a_volume_that_is_ours() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.put(CLAIM, somebodys("cpo"));
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken", "object-waits"]);
    assert_eq!(fake_cluster.api.get(STATEFUL_SET), None);
    assert_eq!(fake_cluster.api.get(CLAIM).unwrap()["metadata"].get("labels"), None);
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_runs_is_not_ended_by_a_new_pod_template() {
    let mut fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    fake_cluster.start_job();
    fake_cluster.start_pod();
    let pods = fake_cluster.api.get(STATEFUL_SET).unwrap()["spec"]["template"].clone();
    fake_cluster
        .ask_for(|document| document["spec"]["backup"]["pgbackrest"]["image"] = json!("pgbackrest:3"));
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert!(
        applied.findings[0].message.contains("Job pgbackrest-orders-repo1-full-1"),
        "{}",
        applied.findings[0]
    );
    assert_eq!(fake_cluster.api.get(STATEFUL_SET).unwrap()["spec"]["template"], pods);
    assert!(applied.again_after.unwrap() <= Duration::from_mins(1));
    fake_cluster.end_job();
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert_ne!(fake_cluster.api.get(STATEFUL_SET).unwrap()["spec"]["template"], pods);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_came_up_waits_for_no_job() {
    let mut fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    fake_cluster.start_job();
    fake_cluster
        .ask_for(|document| document["spec"]["backup"]["pgbackrest"]["image"] = json!("pgbackrest:3"));
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    let image =
        &fake_cluster.api.get(STATEFUL_SET).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "pgbackrest:3");
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_is_made_anew_around_its_pod_only_for_what_cannot_change() {
    let fake_cluster = FakeCluster::new();
    let refuse = |seen: &Seen| {
        let other = seen.method == "PATCH" && seen.path == STATEFUL_SET && seen.forces();
        other.then_some(Fault::Status(422, "Invalid", "spec: Forbidden: updates to statefulset spec"))
    };
    fake_cluster.apply().await.unwrap();
    let mut live = fake_cluster.api.get(STATEFUL_SET).unwrap();
    live["spec"]["serviceName"] = json!("another");
    let before = fake_cluster.api.put_and_get(STATEFUL_SET, live);
    fake_cluster.writer.forget("shop", "orders");
    fake_cluster.api.judge(refuse);
    fake_cluster.api.take_seen();
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    let now = fake_cluster.api.get(STATEFUL_SET).unwrap();
    assert_eq!(now["spec"]["serviceName"], "orders-clusterpods");
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    let seen = fake_cluster.api.take_seen();
    let deletion = seen.iter().find(|seen| seen.method == "DELETE").unwrap();
    assert_eq!(deletion.body["propagationPolicy"], "Orphan");
    assert_eq!(deletion.body["preconditions"]["uid"], before["metadata"]["uid"]);
    // Anything else that the API server refuses is told.
    fake_cluster.writer.forget("shop", "orders");
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert_eq!(fake_cluster.api.get(STATEFUL_SET).unwrap(), now);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_made_once() {
    let fake_cluster = FakeCluster::new();
    let repo = fake_cluster.cluster.repos[0].number;
    let full = pgbackrest_keeper::pgbackrest::label::BackupType::Full;
    let job =
        desired::one_time_job(&fake_cluster.cluster, &Settings::default(), repo, full, "full@repo1").unwrap();
    assert!(fake_cluster.writer.create_job(&job).await.unwrap());
    assert!(!fake_cluster.writer.create_job(&job).await.unwrap());
    fake_cluster.api.judge(|_| Some(Fault::Status(403, "Forbidden", "no")));
    assert_eq!(fake_cluster.writer.create_job(&job).await.unwrap_err().failure, CallFailure::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn without_anything_of_ours_nothing_is_withdrawn_or_handed_back() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.put(CRON_JOB, somebodys("kubectl"));
    for authorized in [false, true] {
        let applied = fake_cluster.writer.withdraw(OWNER, authorized).await.unwrap();
        assert!(applied.findings.is_empty() && applied.actions.is_empty());
    }
    fake_cluster.writer.release(OWNER).await.unwrap();
    assert!(fake_cluster.api.take_seen().is_empty());
}

/// A writer that remembers nothing and watches nothing, as at a start.
fn forgetful(fake_cluster: &FakeCluster) -> Writer {
    Writer::new(fake_cluster.api.client(), Arc::new(Inventory::default()), Arc::new(Settings::default()))
}
