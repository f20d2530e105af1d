//! The reason of a failed Job, from its pods.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::time::sleep;

use crate::job::outcome;
use crate::kubernetes::client::call;
use crate::state::jobs::{JobFact, JobFailure};

/// The timeout of one list.
const DEADLINE: Duration = Duration::from_secs(15);
/// Pauses before retries; after the last one, the reason stays unknown.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];
/// The maximum number of pods of a backup job.
const MOST_PODS: u32 = 50;
/// A label on the pods of a Job since Kubernetes 1.27.
const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// The container that backs up: CPO's name, and ours.
const CONTAINER: &str = "pgbackrest-backup";
/// Why a container without an image is waiting.
const NO_IMAGE: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];

/// The reason is unknown.
pub(super) const OTHER: JobFailure = JobFailure { reason: "other", exit_code: None };
/// It exceeded its deadline.
pub(super) const TIME_UP: JobFailure = JobFailure { reason: "deadline", exit_code: None };

/// Lists the pods of the Job.
pub(super) async fn failure(client: &kube::Client, fact: &JobFact) -> JobFailure {
    let api: Api<Pod> = Api::namespaced(client.clone(), &fact.cluster.namespace);
    let params = ListParams::default().labels(&format!("{JOB_UID}={}", fact.uid)).limit(MOST_PODS);
    let mut pauses = RETRIES.into_iter();
    loop {
        let answer = call("list pods of a Job", DEADLINE, api.list(&params)).await;
        let error = match answer {
            Ok(pods) => return of_pods(&pods.items),
            Err(error) => error,
        };
        let Some(pause) = pauses.next() else {
            let namespace = &*fact.cluster.namespace;
            tracing::warn!(namespace, %error, "Failed to determine why a backup job failed");
            return OTHER;
        };
        sleep(pause).await;
    }
}

/// The reason in the newest pod.
fn of_pods(pods: &[Pod]) -> JobFailure {
    let failed = |pod: &&Pod| phase(pod) != Some("Succeeded");
    let last = pods.iter().filter(failed).max_by_key(|pod| pod.creation_timestamp());
    last.and_then(|pod| pod.status.as_ref()).map_or(OTHER, of_status)
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn of_status(status: &PodStatus) -> JobFailure {
    let ended = ended(status);
    let exit_code = ended.map(|(code, _)| code);
    let reason = if status.reason.as_deref() == Some("Evicted") || has(status, "DisruptionTarget", "True") {
        "evicted"
    } else if let Some((code, reason)) = ended {
        if reason == Some("OOMKilled") { "oom_or_kill" } else { outcome::reason(code) }
    } else {
        waits_for(status).unwrap_or(OTHER.reason)
    };
    JobFailure { reason, exit_code }
}

/// Why a pod is not starting.
pub(super) fn waits_for(status: &PodStatus) -> Option<&'static str> {
    if containers(status).any(waits_for_image) {
        return Some("image_pull");
    }
    let unschedulable = has(status, "PodScheduled", "False");
    unschedulable.then_some("unschedulable")
}

fn has(status: &PodStatus, kind: &str, value: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == kind && condition.status == value)
}

/// The exit of the backup container; that of another container if this one has not failed.
fn ended(status: &PodStatus) -> Option<(i32, Option<&str>)> {
    let failed = containers(status).filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then_some((container, ended))
    });
    let (_, ended) = failed.max_by_key(|(container, _)| container.name == CONTAINER)?;
    Some((ended.exit_code, ended.reason.as_deref()))
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn waits_for_image(container: &ContainerStatus) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    waiting.and_then(|waiting| waiting.reason.as_deref()).is_some_and(|reason| NO_IMAGE.contains(&reason))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(created: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"creationTimestamp": created}, "status": status})).unwrap()
    }

    fn ended(name: &str, code: i32, reason: &str) -> Value {
        json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "reason": reason}}})
    }

    fn waits(reason: &str) -> Value {
        json!({"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason}}})
    }

    #[test]
    fn a_pod_tells_why_it_failed() {
        let table = [
            (json!({"containerStatuses": [ended(CONTAINER, 50, "Error")]}), ("lock_conflict", Some(50))),
            (json!({"containerStatuses": [ended(CONTAINER, 1, "Error")]}), ("other", Some(1))),
            (json!({"containerStatuses": [ended(CONTAINER, 12, "Error")]}), ("deadline", Some(12))),
            (json!({"containerStatuses": [ended(CONTAINER, 1, "OOMKilled")]}), ("oom_or_kill", Some(1))),
            (json!({"containerStatuses": [ended(CONTAINER, 137, "Error")]}), ("oom_or_kill", Some(137))),
            (
                json!({"containerStatuses": [ended("mesh", 1, "Error"), ended(CONTAINER, 82, "Error")]}),
                ("archive_timeout", Some(82)),
            ),
            (
                json!({"containerStatuses": [ended("mesh", 3, "Error"), ended(CONTAINER, 0, "Completed")]}),
                ("other", Some(3)),
            ),
            (json!({"reason": "Evicted"}), ("evicted", None)),
            (
                json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}],
                    "containerStatuses": [ended(CONTAINER, 143, "Error")]}),
                ("evicted", Some(143)),
            ),
            (json!({"containerStatuses": [waits("ImagePullBackOff")]}), ("image_pull", None)),
            (json!({"conditions": [{"type": "PodScheduled", "status": "False"}]}), ("unschedulable", None)),
            (json!({}), ("other", None)),
        ];
        for (status, (reason, exit_code)) in table {
            let pods = [pod("2026-11-23T02:00:00Z", &status)];
            assert_eq!(of_pods(&pods), JobFailure { reason, exit_code }, "{status}");
        }
        assert_eq!(of_pods(&[]), OTHER);
    }

    #[test]
    fn the_last_pod_counts() {
        let status = |code| json!({"containerStatuses": [ended(CONTAINER, code, "Error")]});
        let mut pods = [
            pod("2026-11-23T02:10:00Z", &status(82)),
            pod("2026-11-23T02:20:00Z", &status(50)),
            pod("2026-11-23T02:00:00Z", &status(95)),
        ];
        assert_eq!(of_pods(&pods).exit_code, Some(50));
        pods.reverse();
        assert_eq!(of_pods(&pods).exit_code, Some(50));
    }
}
