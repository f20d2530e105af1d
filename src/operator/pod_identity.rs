//! The image of the operator itself, which its jobs use too.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::time::sleep;

use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

/// The name of the operator's container in deploy/base.
const CONTAINER: &str = "operator";
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The pod of this process, according to the downward API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl PodIdentity {
    /// The image in the specification of the pod. Retries until it is known: with another image, every CronJob would
    /// be changed, and changed back later. `None`: no container is the operator's.
    pub async fn image(&self, client: &Client) -> Option<String> {
        let mut pause = FIRST_RETRY;
        loop {
            match self.read(client).await {
                Ok(pod) => return image(&pod),
                Err(error) => {
                    tracing::warn!(%error, "Failed to read the image of this pod; retrying");
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_RETRY);
                }
            }
        }
    }

    async fn read(&self, client: &Client) -> Result<Pod, CallError> {
        let api: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        call(format!("read Pod {}", self.name), CALL_DEADLINE, api.get(&self.name)).await
    }
}

/// The image of the container of that name, or of the only one.
fn image(pod: &Pod) -> Option<String> {
    let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
    let container = match containers {
        [only] => only,
        several => several.iter().find(|container| container.name == CONTAINER)?,
    };
    container.image.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_image_is_that_of_the_operators_container() {
        let pod = |containers| serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap();
        let proxy = json!({"name": "proxy", "image": "proxy:1"});
        let own = json!({"name": "operator", "image": "keeper:2"});
        assert_eq!(image(&pod(json!([proxy, own]))), Some("keeper:2".to_owned()));
        assert_eq!(image(&pod(json!([{"name": "main", "image": "keeper:3"}]))), Some("keeper:3".to_owned()));
        assert_eq!(image(&pod(json!([proxy, {"name": "other", "image": "x"}]))), None);
        assert_eq!(image(&Pod::default()), None);
    }
}
