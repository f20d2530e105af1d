//! The pods of a cluster, as choosing among them needs them.

use k8s_openapi::api::core::v1::Pod as Found;
use kube::api::{Api, ListParams};

use crate::cluster::labels;
use crate::cluster::settings::Settings;
use crate::cluster::target::Pod;
use crate::cluster::validated::ValidatedCluster;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

/// More pods than this are not one cluster's.
const MOST: u32 = 500;

pub(super) async fn of_cluster(
    client: &kube::Client,
    cluster: &ValidatedCluster,
    settings: &Settings,
) -> Result<Vec<Pod>, CallError> {
    let selector = labels::cluster_selector(&cluster.name, settings);
    let params = ListParams::default().labels(&labels::selector_text(&selector)).limit(MOST);
    let api: Api<Found> = Api::namespaced(client.clone(), &cluster.namespace);
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
