//! Finds running backups before an action that would stop them.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::Owner;
use super::server::Server;
use crate::cluster::labels::{CLUSTER, MANAGED_BY, MANAGER};
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

/// A Job that has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunningJob {
    pub(super) name: String,
    /// UIDs of its owners, such as its CronJob.
    owners: Vec<String>,
    /// Whether it runs pgBackRest on the repo host.
    pub(super) on_repo_host: bool,
}

impl RunningJob {
    /// `None` if the Job has finished.
    fn of(job: &Job) -> Option<Self> {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ends =
            conditions.filter(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"));
        if ends.any(|condition| condition.status == "True") {
            return None;
        }
        let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let containers = pod.into_iter().flat_map(|pod| &pod.containers);
        let mut arguments = containers.flat_map(|container| container.args.iter().flatten());
        let owners = job.metadata.owner_references.iter().flatten();
        Some(Self {
            name: job.metadata.name.clone().unwrap_or_default(),
            owners: owners.map(|owner| owner.uid.clone()).collect(),
            on_repo_host: arguments.any(|argument| argument == "--target=repo-host"),
        })
    }

    /// Whether the object with this UID owns it.
    pub(super) fn is_owned_by(&self, uid: Option<&str>) -> bool {
        uid.is_some_and(|uid| self.owners.iter().any(|owner| owner == uid))
    }
}

/// All running Jobs of a cluster.
pub(super) async fn jobs(server: &Server, owner: Owner<'_>) -> Result<Vec<RunningJob>, CallError> {
    /// The API server omits finished Jobs as far as it can; the history may still contain many that have failed.
    const PAGE: u32 = 500;
    const MOST_PAGES: usize = 40;
    let api: Api<Job> = Api::namespaced(server.client.clone(), owner.namespace);
    let selector = format!("{MANAGED_BY}={MANAGER},{CLUSTER}={}", owner.name);
    let mut params = ListParams::default().labels(&selector).fields("status.successful=0").limit(PAGE);
    let mut running = Vec::new();
    for _ in 0..MOST_PAGES {
        let jobs = call(format!("list Jobs of {}", owner.name), CALL_DEADLINE, api.list(&params)).await?;
        running.extend(jobs.iter().filter_map(RunningJob::of));
        match jobs.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => break,
        }
    }
    Ok(running)
}

/// Whether anything can run in a pod: its containers have started.
pub(super) async fn is_up(server: &Server, namespace: &str, pod: &str) -> Result<bool, CallError> {
    let api: Api<Pod> = Api::namespaced(server.client.clone(), namespace);
    let found = call(format!("read Pod {pod}"), CALL_DEADLINE, api.get_opt(pod)).await?;
    let containers = found.and_then(|pod| pod.status?.container_statuses).unwrap_or_default();
    let mut states = containers.into_iter().filter_map(|container| container.state);
    Ok(states.any(|state| state.running.is_some()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(status: &Value) -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": "j", "ownerReferences":
                [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "u"}]},
            "spec": {"template": {"spec": {"containers": [{"name": "x", "args": ["backup", "--target=repo-host"]}]}}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_job_runs_until_it_says_otherwise() {
        for status in
            [json!({}), json!({"active": 1}), json!({"conditions": [{"type": "Failed", "status": "False"}]})]
        {
            let running = RunningJob::of(&job(&status)).unwrap();
            assert!(running.on_repo_host && running.is_owned_by(Some("u")) && !running.is_owned_by(None));
        }
        for end in ["Complete", "Failed"] {
            assert_eq!(RunningJob::of(&job(&json!({"conditions": [{"type": end, "status": "True"}]}))), None);
        }
    }
}
