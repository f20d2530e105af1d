//! What the real API server does not do on demand: conflicts at the wrong moment, refusals of single objects, refusals of
//! everything, silence. Each time it is looked at what was asked for, and that nobody else's object was touched. The clock
//! is paused, so that nothing takes longer than it should on a busy machine.

mod api;
mod keeping;
mod observing;
mod world;

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
use world::{
    CLAIM, CONFIG, CRON_JOB, KEYS, OWNER, SERVICE, STATEFUL_SET, World, codes, place, somebodys, writes,
};

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_made_without_force_and_written_once() {
    let world = World::new();
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert!(applied.in_place.iter().all(|(_, in_place)| *in_place), "{:?}", applied.in_place);
    let seen = world.api.take_seen();
    let written = writes(&seen);
    assert_eq!(written.len(), world.count());
    for write in written {
        assert!(write.query.contains(&format!("fieldManager={FIELD_MANAGER}")), "{}", write.query);
        assert!(!write.forces(), "{}", write.path);
        assert_eq!(write.body["metadata"].get("uid"), None);
    }
    let applied = world.apply().await.unwrap();
    assert_eq!(world.api.take_seen().len(), 0, "what was just written is not asked for");
    assert!(applied.deeds.is_empty() && applied.again_after.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_ours_is_forced_by_its_uid() {
    let world = World::new();
    world.apply().await.unwrap();
    let uids: Vec<Value> = [CONFIG, CRON_JOB, STATEFUL_SET].map(|path| world.api.get(path).unwrap()).into();
    world.api.take_seen();
    let writer = forgetful(&world);
    let applied = writer.apply(&world.cluster, &world.desired, world.conduct).await.unwrap();
    assert!(applied.deeds.is_empty() && applied.drift.is_empty(), "{:?}", applied.deeds);
    let seen = world.api.take_seen();
    for (path, before) in [CONFIG, CRON_JOB, STATEFUL_SET].into_iter().zip(uids) {
        let write = seen.iter().find(|seen| seen.writes() && seen.path == path).unwrap();
        assert!(write.forces());
        assert_eq!(write.body["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(world.api.get(path).unwrap(), before);
    }
    assert!(
        !seen.iter().any(|seen| seen.writes() && seen.path == CLAIM),
        "a claim that is there is not applied"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_comes_in_between_stays_as_it_is() {
    let world = World::new();
    // The look finds nothing, and then somebody is faster.
    world.api.judge(|seen| {
        (seen.method == "PATCH" && seen.path == CONFIG).then(|| Fault::After(somebodys("kubectl")))
    });
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert!(applied.findings[0].message.contains("kubectl"), "{}", applied.findings[0]);
    assert_eq!(world.api.get(CONFIG).unwrap()["spec"], json!({"mine": true}));
    assert!(!place(&applied, "ConfigMap") && place(&applied, "CronJob"));
    assert!(!world.api.take_seen().iter().any(|seen| seen.path == CONFIG && seen.forces()));
}

#[tokio::test(start_paused = true)]
async fn an_object_of_ours_that_was_replaced_is_not_forced_over() {
    let world = World::new();
    world.apply().await.unwrap();
    world.api.take_seen();
    let writer = forgetful(&world);
    // Ours at the look, somebody else's at the write.
    world.api.judge(|seen| {
        let now = seen.method == "PATCH" && seen.path == CONFIG;
        now.then(|| Fault::After(somebodys("kubectl")))
    });
    let applied = writer.apply(&world.cluster, &world.desired, world.conduct).await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert_eq!(world.api.get(CONFIG).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_changes_all_the_time_is_given_up_for_now() {
    let world = World::new();
    world.api.judge(|seen| {
        (seen.method == "PATCH" && seen.path == CONFIG).then_some(Fault::Status(409, "Conflict", "again"))
    });
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert!(applied.again_after.unwrap() <= Duration::from_mins(1));
    let tries = world.api.take_seen().iter().filter(|seen| seen.writes() && seen.path == CONFIG).count();
    assert_eq!(tries, 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_stops_no_other_and_its_reason_is_told() {
    for (fault, said) in [
        (Fault::Status(422, "Invalid", "spec.schedule: Invalid value"), "spec.schedule: Invalid value"),
        (Fault::Status(403, "Forbidden", "exceeded quota"), "exceeded quota"),
    ] {
        let world = World::new();
        world.api.judge(move |seen| (seen.method == "PATCH" && seen.path == CRON_JOB).then(|| fault.clone()));
        let applied = world.apply().await.unwrap();
        assert_eq!(codes(&applied), ["object-refused"]);
        assert!(applied.findings[0].message.contains(said), "{}", applied.findings[0]);
        assert_eq!(applied.findings[0].field, "CronJob pgbackrest-orders-repo1-full");
        assert!(!place(&applied, "CronJob") && place(&applied, "StatefulSet"));
        assert_eq!(writes(&world.api.take_seen()).len(), world.count());
        // It is tried again as soon as somebody looks.
        world.api.judge(|_| None);
        let applied = world.apply().await.unwrap();
        assert!(place(&applied, "CronJob") && applied.findings.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_about_a_secret_is_not_told() {
    let world = World::new();
    world.api.judge(|seen| {
        (seen.method == "PATCH" && seen.path == KEYS).then_some(Fault::Status(
            422,
            "Invalid",
            "data.ca.key: Invalid value: hunter2",
        ))
    });
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert!(!format!("{applied:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn trouble_with_everything_ends_the_pass_at_once() {
    for (fault, expected) in [
        (Fault::Status(429, "TooManyRequests", "later"), CallFailure::Throttled),
        (Fault::Status(503, "ServiceUnavailable", "later"), CallFailure::Unavailable),
    ] {
        let world = World::new();
        world.api.judge(move |_| Some(fault.clone()));
        let error = world.apply().await.unwrap_err();
        assert_eq!(error.failure, expected, "{error}");
        assert_eq!(world.api.take_seen().len(), 1, "the caller backs off, nobody else tries again");
        // Nothing of it is remembered.
        world.api.judge(|_| None);
        assert!(world.apply().await.unwrap().findings.is_empty());
        assert!(world.api.get(CRON_JOB).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_down_for_one_object_stops_no_other() {
    let world = World::new();
    let fault = Fault::Status(500, "InternalError", "failed calling webhook");
    let one = fault.clone();
    world.api.judge(move |seen| (seen.method == "PATCH" && seen.path == CONFIG).then(|| one.clone()));
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert!(applied.findings[0].message.contains("failed calling webhook"), "{}", applied.findings[0]);
    assert!(place(&applied, "CronJob") && place(&applied, "StatefulSet"));
    // For all of them it is no different from an API server that is down.
    world.writer.forget("shop", "orders");
    world.api.take_seen();
    world.api.judge(move |seen| (seen.method == "PATCH").then(|| fault.clone()));
    assert_eq!(world.apply().await.unwrap_err().failure, CallFailure::Unavailable);
    assert_eq!(writes(&world.api.take_seen()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_pass_within_the_deadline() {
    let world = World::new();
    world.api.judge(|seen| (seen.path == CRON_JOB).then_some(Fault::Silence));
    let start = Instant::now();
    let error = world.apply().await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(world.api.get(STATEFUL_SET).is_some(), "what came before it was made");
}

#[tokio::test(start_paused = true)]
async fn drift_is_undone_and_counted_and_a_persons_suspend_is_not_drift() {
    let world = World::new();
    world.apply().await.unwrap();
    let mut suspended = world.api.get(CRON_JOB).unwrap();
    suspended["spec"]["suspend"] = json!(true);
    world.api.put(CRON_JOB, suspended);
    world.api.remove(CONFIG);
    sleep(Duration::from_millis(3100)).await;
    let applied = world.apply().await.unwrap();
    assert_eq!(applied.drift, ["ConfigMap"]);
    assert_eq!(world.api.get(CRON_JOB).unwrap()["spec"]["suspend"], true);
    assert!(world.api.get(CONFIG).is_some());
    let mut rescheduled = world.api.get(CRON_JOB).unwrap();
    rescheduled["spec"]["schedule"] = json!("0 0 * * *");
    rescheduled["metadata"]["generation"] = json!(9);
    world.api.put(CRON_JOB, rescheduled);
    sleep(Duration::from_millis(3100)).await;
    let applied = world.apply().await.unwrap();
    assert_eq!(applied.drift, ["CronJob"]);
    let now = world.api.get(CRON_JOB).unwrap();
    assert_eq!((&now["spec"]["schedule"], &now["spec"]["suspend"]), (&json!("30 1 * * *"), &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_service_of_somebody_else_is_used_as_it_is() {
    let world = World::new();
    world.api.put(SERVICE, somebodys("helm"));
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert!(place(&applied, "Service"));
    assert_eq!(world.api.get(SERVICE).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn the_repo_host_waits_for_a_volume_that_is_ours() {
    let world = World::new();
    world.api.put(CLAIM, somebodys("cpo"));
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken", "object-waits"]);
    assert_eq!(world.api.get(STATEFUL_SET), None);
    assert_eq!(world.api.get(CLAIM).unwrap()["metadata"].get("labels"), None);
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_runs_is_not_ended_by_a_new_pod_template() {
    let mut world = World::new();
    world.apply().await.unwrap();
    world.start_job();
    world.start_pod();
    let pods = world.api.get(STATEFUL_SET).unwrap()["spec"]["template"].clone();
    world.ask_for(|document| document["spec"]["backup"]["pgbackrest"]["image"] = json!("pgbackrest:3"));
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert!(
        applied.findings[0].message.contains("Job pgbackrest-orders-repo1-full-1"),
        "{}",
        applied.findings[0]
    );
    assert_eq!(world.api.get(STATEFUL_SET).unwrap()["spec"]["template"], pods);
    assert!(applied.again_after.unwrap() <= Duration::from_mins(1));
    world.end_job();
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert_ne!(world.api.get(STATEFUL_SET).unwrap()["spec"]["template"], pods);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_came_up_waits_for_no_job() {
    let mut world = World::new();
    world.apply().await.unwrap();
    world.start_job();
    world.ask_for(|document| document["spec"]["backup"]["pgbackrest"]["image"] = json!("pgbackrest:3"));
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    let image = &world.api.get(STATEFUL_SET).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "pgbackrest:3");
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_is_made_anew_around_its_pod_only_for_what_cannot_change() {
    let world = World::new();
    let refuse = |seen: &Seen| {
        let other = seen.method == "PATCH" && seen.path == STATEFUL_SET && seen.forces();
        other.then_some(Fault::Status(422, "Invalid", "spec: Forbidden: updates to statefulset spec"))
    };
    world.apply().await.unwrap();
    let mut live = world.api.get(STATEFUL_SET).unwrap();
    live["spec"]["serviceName"] = json!("another");
    let before = world.api.put_and_get(STATEFUL_SET, live);
    world.writer.forget("shop", "orders");
    world.api.judge(refuse);
    world.api.take_seen();
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    let now = world.api.get(STATEFUL_SET).unwrap();
    assert_eq!(now["spec"]["serviceName"], "orders-clusterpods");
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    let seen = world.api.take_seen();
    let deletion = seen.iter().find(|seen| seen.method == "DELETE").unwrap();
    assert_eq!(deletion.body["propagationPolicy"], "Orphan");
    assert_eq!(deletion.body["preconditions"]["uid"], before["metadata"]["uid"]);
    // Anything else that the API server refuses is told.
    world.writer.forget("shop", "orders");
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert_eq!(world.api.get(STATEFUL_SET).unwrap(), now);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_made_once() {
    let world = World::new();
    let repo = world.cluster.repos[0].number;
    let full = pgbackrest_keeper::pgbackrest::label::BackupType::Full;
    let job = desired::one_time_job(&world.cluster, &Settings::default(), repo, full, "full@repo1").unwrap();
    assert!(world.writer.create_job(&job).await.unwrap());
    assert!(!world.writer.create_job(&job).await.unwrap());
    world.api.judge(|_| Some(Fault::Status(403, "Forbidden", "no")));
    assert_eq!(world.writer.create_job(&job).await.unwrap_err().failure, CallFailure::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn without_anything_of_ours_nothing_is_withdrawn_or_handed_back() {
    let world = World::new();
    world.api.put(CRON_JOB, somebodys("kubectl"));
    for authorized in [false, true] {
        let applied = world.writer.withdraw(OWNER, authorized).await.unwrap();
        assert!(applied.findings.is_empty() && applied.deeds.is_empty());
    }
    world.writer.release(OWNER).await.unwrap();
    assert!(world.api.take_seen().is_empty());
}

/// A writer that remembers nothing and watches nothing, as at a start.
fn forgetful(world: &World) -> Writer {
    Writer::new(world.api.client(), Arc::new(Inventory::default()), Arc::new(Settings::default()))
}
