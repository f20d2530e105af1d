//! The images of PostgreSQL's containers, which are not ours: those of the running pods.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::scope::Key;
use crate::cluster::labels;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

/// How long the image of a cluster is known.
const STAYS: Duration = Duration::from_mins(10);
/// Pods of a cluster that are looked at.
const MOST_PODS: u32 = 50;

/// By cluster.
pub(super) struct Images {
    client: Client,
    settings: Arc<Settings>,
    known: Mutex<HashMap<Key, (Instant, String)>>,
}

impl Images {
    pub(super) fn new(client: Client, settings: Arc<Settings>) -> Self {
        Self { client, settings, known: Mutex::default() }
    }

    /// None without a pod that shows it.
    pub(super) async fn of(&self, cluster: &ValidatedCluster) -> Result<Option<String>, CallError> {
        let key = Key::new(&cluster.namespace, &cluster.name);
        if let Some((read, image)) = self.known.lock().get(&key)
            && read.elapsed() < STAYS
        {
            return Ok(Some(image.clone()));
        }
        let selector = labels::selector_text(&labels::cluster_selector(&cluster.name, &self.settings));
        let params = ListParams::default().labels(&selector).limit(MOST_PODS);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let pods = call(format!("list pods of {}", cluster.name), CALL_DEADLINE, api.list(&params)).await?;
        let image = image_of(&pods.items, &cluster.name, &self.settings);
        let mut known = self.known.lock();
        known.retain(|_, (read, _)| read.elapsed() < STAYS);
        known.extend(image.clone().map(|image| (key, (Instant::now(), image))));
        Ok(image)
    }
}

/// That of the primary, or of any other pod with PostgreSQL.
fn image_of(pods: &[Pod], cluster: &str, settings: &Settings) -> Option<String> {
    let image = |pod: &Pod| {
        let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let database = containers.find(|container| container.name == settings.database_container)?;
        database.image.clone()
    };
    let primary = labels::primary_selector(cluster, settings);
    let is_primary = |pod: &&Pod| primary.matches(&pod.metadata.labels.clone().unwrap_or_default());
    pods.iter().find(is_primary).and_then(image).or_else(|| pods.iter().find_map(image))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::labels::Labels;

    fn pod(role: &str, container: &str, image: &str) -> Pod {
        let settings = Settings::default();
        let mut labels: Labels = labels::cluster_selector("ledger", &settings);
        labels.insert(settings.role_label, role.to_owned());
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": labels},
            "spec": {"containers": [{"name": "sidecar", "image": "sidecar:1"}, {"name": container, "image": image}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_image_is_that_of_the_primary() {
        let of = |pods: &[Pod]| image_of(pods, "ledger", &Settings::default());
        let (master, replica) = (pod("master", "postgres", "pg:2"), pod("replica", "postgres", "pg:1"));
        assert_eq!(of(&[replica.clone(), master.clone()]).as_deref(), Some("pg:2"));
        assert_eq!(of(&[pod("replica", "pgbackrest", "backrest:1"), replica]).as_deref(), Some("pg:1"));
        assert_eq!(of(&[pod("repo-host", "pgbackrest", "backrest:1")]), None);
    }
}
