//! Jobs and pods that come, end and go.

use serde_json::{Value, json};

use super::*;
use crate::state::proofs::ReasonClass;

fn labels() -> Value {
    json!({RESTORE_TEST: "nightly", TESTED_CLUSTER: "ledger", REPO: "repo1"})
}

fn job(uid: &str, end: Option<&str>) -> Job {
    let conditions = end
        .map(|kind| json!([{"type": kind, "status": "True", "lastTransitionTime": "2026-11-23T03:10:00Z"}]));
    serde_json::from_value(json!({
        "metadata": {"name": "restore-test-nightly-1", "namespace": "shop", "uid": uid, "labels": labels(),
            "creationTimestamp": "2026-11-23T03:00:00Z"},
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn record(cluster: &str) -> String {
    let source = json!({"kind": "cluster", "namespace": "shop", "pg_cluster": cluster});
    json!({"format": 1, "source": source, "stanza": "db", "repo": 1, "versions": {"keeper": "0.1.0"},
        "start": "2026-11-23T03:00:05Z", "stop": "2026-11-23T03:09:00Z", "target": {"kind": "latest"},
        "outcome": "passed"})
    .to_string()
}

fn pod(uid: &str, message: Option<&str>) -> Pod {
    let ended = message.map(|message| json!({"terminated": {"exitCode": 0, "message": message}}));
    let status = json!({"containerStatuses": [{"name": "restore-test", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": ended}]});
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": uid, "labels": labels(),
            "creationTimestamp": "2026-11-23T03:00:01Z"},
        "status": status,
    }))
    .unwrap()
}

#[test]
fn a_result_outlives_its_job_and_its_pod() {
    let (runs, test) = (Runs::<RestoreTest>::of(1), Key::new("shop", "nightly"));
    let (mut jobs, mut pods) = (Seen::default(), Seen::default());
    assert_eq!(jobs.take(Event::Apply(job("j", None)), &runs), BTreeSet::from([test.clone()]));
    assert_eq!(runs.running(&test).unwrap().cluster, "ledger");
    assert_eq!(runs.tested_now("shop", "ledger"), [RepoNumber::of_name("repo1").unwrap()]);
    assert!(runs.tested_now("shop", "orders").is_empty() && runs.tested_now("bank", "ledger").is_empty());
    pods.take(Event::Apply(pod("p", None)), &runs);
    assert!(runs.results(&test).is_empty());
    pods.take(Event::Apply(pod("p", Some(&record("ledger")))), &runs);
    jobs.take(Event::Apply(job("j", Some("Complete"))), &runs);
    assert_eq!((runs.running(&test), runs.results(&test).len(), runs.ended(&test).len()), (None, 1, 1));
    // They go while the watches are interrupted.
    jobs.take(Event::<Job>::Init, &runs);
    assert!(!runs.are_listed());
    assert_eq!(jobs.take(Event::<Job>::InitDone, &runs), BTreeSet::from([test.clone()]));
    assert!(runs.are_listed());
    pods.take(Event::Delete(pod("p", Some(&record("ledger")))), &runs);
    assert_eq!(runs.results(&test).len(), 1);
    runs.written(&test, |_, _, _| false);
    assert_eq!((runs.results(&test).len(), runs.ended(&test).len()), (1, 1));
    runs.written(&test, |turn, start, _| turn.cluster == "ledger" && start.timestamp() > 0);
    assert!(runs.results(&test).is_empty() && runs.ended(&test).is_empty());
    assert!(runs.owners.lock().is_empty());
}

#[test]
fn what_is_older_than_its_owner_belonged_to_another_one() {
    let (runs, test) = (Runs::<RestoreTest>::of(1), Key::new("shop", "nightly"));
    let (mut jobs, mut pods) = (Seen::default(), Seen::default());
    let deleted = |jobs: &mut Seen, pods: &mut Seen| {
        jobs.take(Event::Delete(job("j", Some("Complete"))), &runs);
        pods.take(Event::Delete(pod("p", Some(&record("ledger")))), &runs);
        (runs.results(&test).len(), runs.has_result(&test, "j"))
    };
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    assert_eq!(deleted(&mut jobs, &mut pods).0, 1);
    runs.forget_before(&test, at("2026-11-23T03:00:00Z"));
    assert_eq!((runs.results(&test).len(), runs.ended(&test).len()), (1, 1));
    runs.forget_before(&test, at("2026-11-23T03:00:02Z"));
    assert!(runs.owners.lock().is_empty());
}

/// As the Job controller does with a Job whose time is up: its pod goes first.
#[test]
fn why_a_pod_did_not_start_is_known_when_it_is_gone() {
    let (runs, test) = (Runs::<RestoreTest>::of(0), Key::new("shop", "nightly"));
    let (mut jobs, mut pods) = (Seen::default(), Seen::default());
    let with = |state: Value| {
        let mut pod = pod("p", None);
        pod.metadata.labels.as_mut().unwrap().insert(JOB_UID.to_owned(), "j".to_owned());
        let statuses = pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        statuses[0].state = serde_json::from_value(state).unwrap();
        pod
    };
    let waits = || with(json!({"waiting": {"reason": "ImagePullBackOff"}}));
    let ends = || with(json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}));
    jobs.take(Event::Apply(job("j", None)), &runs);
    pods.take(Event::Apply(waits()), &runs);
    pods.take(Event::Apply(ends()), &runs);
    pods.take(Event::Delete(ends()), &runs);
    let known = || runs.waited(&test, "j").map(|(class, _)| class);
    assert_eq!(known(), Some(ReasonClass::Configuration));
    runs.written(&test, |_, _, _| false);
    assert!(known().is_some() && runs.waited(&test, "other").is_none());
    jobs.take(Event::Apply(job("j", Some("Failed"))), &runs);
    runs.written(&test, |_, _, _| true);
    assert_eq!(known(), None);

    // One that has started has another reason.
    pods.take(Event::Apply(waits()), &runs);
    pods.take(Event::Apply(with(json!({"running": {}}))), &runs);
    pods.take(Event::Apply(ends()), &runs);
    assert_eq!(known(), None);
}

#[test]
fn what_is_deleted_before_its_end_has_no_result() {
    let (runs, test) = (Runs::<RestoreTest>::of(0), Key::new("shop", "nightly"));
    let (mut jobs, mut pods) = (Seen::default(), Seen::default());
    jobs.take(Event::Apply(job("j", None)), &runs);
    pods.take(Event::Apply(pod("p", None)), &runs);
    jobs.take(Event::Delete(job("j", None)), &runs);
    pods.take(Event::Delete(pod("p", None)), &runs);
    assert_eq!((runs.running(&test), runs.ended(&test).len()), (None, 0));
    assert!(runs.owners.lock().is_empty());
}

#[test]
fn only_what_the_pod_was_to_test_is_its_result() {
    let (runs, test) = (Runs::<RestoreTest>::of(0), Key::new("shop", "nightly"));
    let mut pods = Seen::default();
    for message in ["", "PostgreSQL is starting", "{}", &record("orders")] {
        pods.take(Event::Apply(pod("p", Some(message))), &runs);
        assert!(runs.results(&test).is_empty(), "{message}");
    }
    let foreign: Pod =
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "shop", "uid": "q"}})).unwrap();
    assert!(pods.take(Event::Apply(foreign), &runs).is_empty());
}

#[test]
fn results_that_cannot_be_written_are_bounded() {
    let (runs, test) = (Runs::<RestoreTest>::of(0), Key::new("shop", "nightly"));
    let mut pods = Seen::default();
    for number in 0..=MOST_WAITING {
        let one = pod(&format!("p{number}"), Some(&record("ledger")));
        pods.take(Event::Apply(one.clone()), &runs);
        pods.take(Event::Delete(one), &runs);
    }
    assert_eq!(runs.results(&test).len(), MOST_WAITING);
    runs.forget(&test);
    assert!(runs.results(&test).is_empty());
}
