//! What is known of a Job that has ended, and whose result the watches have not reported: a result that its pods have, or why there is
//! none.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::why::{self, Why};
use super::{JOB_UID, JobEnd, PodRecord, RunJob};
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

/// The maximum number of pods of a Job: one, and those that were evicted before it.
const MOST_PODS: u32 = 50;

/// Reads the pods of the Job. `before` is what the watch has reported of pods that may be gone.
pub(in crate::operator) async fn find<R: PodRecord>(
    client: &Client,
    namespace: &str,
    (job, end): &(RunJob, JobEnd),
    before: Option<Why>,
) -> Result<Result<R, Why>, CallError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{JOB_UID}={}", job.uid)).limit(MOST_PODS);
    let what = format!("list pods of Job {}", job.name);
    let pods = call(what, CALL_DEADLINE, api.list(&params)).await?.items;
    let found = pods.iter().find_map(|pod| super::result(pod, &job.turn));
    Ok(found.ok_or_else(|| why(job, *end, &pods, before)))
}

/// The message names the Job.
fn why(job: &RunJob, end: JobEnd, pods: &[Pod], before: Option<Why>) -> Why {
    let last = pods.iter().max_by_key(|pod| pod.creation_timestamp());
    let (class, why) = match last.and_then(|pod| pod.status.as_ref()) {
        Some(status) => why::of_status(status, end.is_time_up),
        None => before.unwrap_or_else(|| why::of_nothing(end.is_time_up)),
    };
    (class, format!("Job {}: {why}", job.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::restore_test::turn::Turn;
    use crate::cluster::validated::RepoNumber;
    use crate::state::examples::day;
    use crate::state::proofs::{Outcome, ReasonClass};

    fn container(state: &Value) -> Value {
        json!({"name": "restore-test", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    }

    #[test]
    fn a_pod_tells_why_there_is_no_result() {
        let turn = Turn { cluster: "ledger".to_owned(), repo: RepoNumber::of_name("repo1").unwrap() };
        let job = RunJob { uid: "u".into(), name: "j".to_owned(), turn, created: day(1), end: None };
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
            let (class, message) =
                why(&job, JobEnd { at: day(2), is_time_up, is_complete: false }, &pods, None);
            (class.outcome(), class, message)
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
