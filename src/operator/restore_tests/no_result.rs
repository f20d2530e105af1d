//! What is known of a test whose Job has ended without a result: that it proves nothing, and as well as possible why.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::runs::{self, JOB_UID, JobEnd, TestJob};
use super::why::{self, Why};
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::validated::STANZA;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};
use crate::state::proofs::{Phase, Reason, RestoreTest, Source, Target, TargetKind, Versions};

/// The maximum number of pods of a Job: one, and those that were evicted before it.
const MOST_PODS: u32 = 50;

/// Reads the pods of the Job, whose result the watch may not have reported yet. `before` is what the watch has reported of pods that may
/// be gone.
pub(super) async fn find(
    client: &Client,
    namespace: &str,
    (job, end): &(TestJob, JobEnd),
    before: Option<Why>,
) -> Result<RestoreTest, CallError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{JOB_UID}={}", job.uid)).limit(MOST_PODS);
    let what = format!("list pods of Job {}", job.name);
    let pods = call(what, CALL_DEADLINE, api.list(&params)).await?.items;
    let found = pods.iter().find_map(|pod| runs::result(pod, &job.turn));
    Ok(found.unwrap_or_else(|| without(namespace, (job, *end), &pods, before)))
}

fn without(
    namespace: &str,
    (job, end): (&TestJob, JobEnd),
    pods: &[Pod],
    before: Option<Why>,
) -> RestoreTest {
    let Turn { cluster, repo } = &job.turn;
    let last = pods.iter().max_by_key(|pod| pod.creation_timestamp());
    let (class, why) = match last.and_then(|pod| pod.status.as_ref()) {
        Some(status) => why::of_status(status, end.is_time_up),
        None => before.unwrap_or_else(|| why::of_nothing(end.is_time_up)),
    };
    let source = Source::Cluster { namespace: namespace.to_owned(), pg_cluster: cluster.clone() };
    let target = Target { kind: TargetKind::Unknown, time: None, random: false };
    let begun = RestoreTest::begun(
        source,
        STANZA.to_owned(),
        repo.get().into(),
        Versions::default(),
        target,
        job.created,
    );
    RestoreTest {
        stop: end.at.max(job.created),
        outcome: class.outcome(),
        reason: Some(Reason { class, phase: Phase::Unknown, message: format!("Job {}: {why}", job.name) }),
        ..begun
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::validated::RepoNumber;
    use crate::state::examples::day;
    use crate::state::proofs::{Outcome, ReasonClass};

    fn container(state: &Value) -> Value {
        json!({"name": "restore-test", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    }

    #[test]
    fn a_pod_tells_why_there_is_no_result() {
        let turn = Turn { cluster: "ledger".to_owned(), repo: RepoNumber::of_name("repo1").unwrap() };
        let job = TestJob { uid: "u".into(), name: "j".to_owned(), turn, created: day(1), end: None };
        let look = |status: Option<Value>, is_time_up| {
            let pods: Vec<Pod> = status
                .into_iter()
                .map(|status| {
                    serde_json::from_value(
                        json!({"metadata": {"creationTimestamp": "2026-11-23T02:00:00Z"}, "status": status}),
                    )
                    .unwrap()
                })
                .collect();
            let test = without("shop", (&job, JobEnd { at: day(2), is_time_up }), &pods, None);
            assert_eq!((test.start, test.stop, test.is_whole()), (day(1), day(2), true));
            let reason = test.reason.unwrap();
            (test.outcome, reason.class, reason.message)
        };
        let ended = |code: i32, reason: &str| json!({"containerStatuses": [container(&json!({"terminated": {"exitCode": code, "reason": reason}}))]});
        let waits =
            json!({"containerStatuses": [container(&json!({"waiting": {"reason": "ImagePullBackOff"}}))]});
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False"}]});
        for (status, is_time_up, class, word) in [
            (None, false, ReasonClass::Interrupted, "deleted"),
            (None, true, ReasonClass::Deadline, "in time"),
            (Some(waits), true, ReasonClass::Configuration, "image"),
            (Some(unscheduled), true, ReasonClass::Configuration, "no node"),
            (
                Some(json!({"reason": "Evicted", "message": "low on x"})),
                false,
                ReasonClass::NoSpace,
                "low on x",
            ),
            (Some(ended(137, "OOMKilled")), false, ReasonClass::Interrupted, "memory"),
            (Some(ended(143, "Error")), true, ReasonClass::Deadline, "in time"),
            (Some(ended(1, "Error")), false, ReasonClass::Unclassified, "exit code 1"),
            (Some(ended(0, "Completed")), false, ReasonClass::Unclassified, "without a result"),
        ] {
            let (outcome, found, message) = look(status, is_time_up);
            assert_eq!((outcome, found), (class.outcome(), class), "{message}");
            assert!(message.starts_with("Job j: ") && message.contains(word), "{message}");
            assert_ne!(outcome, Outcome::Failed, "that says nothing about the backup");
        }
    }
}
