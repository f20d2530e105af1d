//! Why pods of jobs are waiting. A pod that never ran is deleted when its Job exceeds its deadline; then the reason
//! can no longer be read.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;

use super::why;

/// The field selector of waiting pods.
pub(super) const PENDING: &str = "status.phase=Pending";

/// By UID of the Job: why its pod is not starting.
#[derive(Debug, Default)]
pub(super) struct Pending {
    reasons: HashMap<Box<str>, &'static str>,
}

impl Pending {
    /// Handles an event of the watch of waiting pods.
    pub(super) fn take(&mut self, event: &Event<Pod>) {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => self.note(pod),
            // It is no longer waiting. One that is being deleted never ran.
            Event::Delete(pod) if pod.metadata.deletion_timestamp.is_none() => self.starts(pod),
            Event::Delete(_) | Event::Init | Event::InitDone => {}
        }
    }

    fn note(&mut self, pod: &Pod) {
        let reason = pod.status.as_ref().and_then(why::waits_for);
        match job_of(pod).zip(reason) {
            Some((job, reason)) => _ = self.reasons.insert(job.into(), reason),
            // It can start now.
            None if pod.metadata.deletion_timestamp.is_none() => self.starts(pod),
            None => {}
        }
    }

    fn starts(&mut self, pod: &Pod) {
        if let Some(job) = job_of(pod) {
            self.reasons.remove(job);
        }
    }

    /// Why the Job's pod did not start.
    pub(super) fn reason(&self, job: &str) -> Option<&'static str> {
        self.reasons.get(job).copied()
    }

    /// The Job has finished, or was deleted.
    pub(super) fn forget(&mut self, job: &str) {
        self.reasons.remove(job);
    }
}

fn job_of(pod: &Pod) -> Option<&str> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.kind == "Job").map(|owner| owner.uid.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value, deleted: bool) -> Pod {
        let mut pod = json!({"metadata": {"name": "p", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u1"}]}, "status": status});
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-23T02:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn what_a_pod_waited_for_is_known_after_its_end() {
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False"}]});
        let pulling = json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}}]});
        let mut pending = Pending::default();
        pending.take(&Event::Apply(pod(&json!({}), false)));
        assert_eq!(pending.reason("u1"), None);
        pending.take(&Event::Apply(pod(&unscheduled, false)));
        assert_eq!(pending.reason("u1"), Some("unschedulable"));
        pending.take(&Event::Apply(pod(&pulling, false)));
        pending.take(&Event::Apply(pod(&json!({}), true)));
        pending.take(&Event::Delete(pod(&pulling, true)));
        assert_eq!(pending.reason("u1"), Some("image_pull"));
        pending.take(&Event::Delete(pod(&json!({"phase": "Running"}), false)));
        assert_eq!(pending.reason("u1"), None, "it has started");
        pending.take(&Event::InitApply(pod(&unscheduled, false)));
        pending.forget("u1");
        assert_eq!(pending.reason("u1"), None);
    }
}
