//! Lists pods, as choosing among them needs them.

use k8s_openapi::api::core::v1::Pod as Found;
use kube::api::{Api, ListParams};

use crate::cluster::target::Pod;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

use super::pod::Pods;

/// Finds the pods of a cluster. Tests find others.
pub trait FindPods: Sync {
    /// Those that a selector fits, or why they cannot be listed.
    fn find(
        &self,
        namespace: &str,
        selector: &str,
    ) -> impl Future<Output = Result<Vec<Pod>, CallError>> + Send;
}

impl FindPods for Pods {
    async fn find(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, CallError> {
        list(self.client(), namespace, selector).await
    }
}

/// More pods than this are not one cluster's.
pub const MOST: u32 = 500;

/// The pods of a namespace that a selector, in the words of `kubectl --selector`, fits.
pub async fn list(client: &kube::Client, namespace: &str, selector: &str) -> Result<Vec<Pod>, CallError> {
    let params = ListParams::default().labels(selector).limit(MOST);
    let api: Api<Found> = Api::namespaced(client.clone(), namespace);
    let pods = call("list Pods", CALL_DEADLINE, api.list(&params)).await?;
    Ok(pods.items.into_iter().map(pod).collect())
}

fn pod(found: Found) -> Pod {
    let status = found.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let containers = found.spec.map(|spec| spec.containers).unwrap_or_default();
    Pod {
        name: found.metadata.name.unwrap_or_default(),
        labels: found.metadata.labels.unwrap_or_default(),
        running: status.phase.as_deref() == Some("Running"),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        terminating: found.metadata.deletion_timestamp.is_some(),
        containers: containers.into_iter().map(|container| container.name).collect(),
    }
}
