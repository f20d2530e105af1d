//! What a job asks of Kubernetes.

use std::future::Future;
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc;

use crate::cluster::target::Pod;
use crate::kubernetes::client::CallError;
use crate::kubernetes::exec::Heard;
use crate::source::pod::{NoEnd, Place, Pods, Ran, RunInPod};
use crate::source::pods;

/// Lists pods and runs commands in them. Tests use another implementation.
pub trait Access: RunInPod {
    /// The pods that a backup may be made from; there should be exactly one.
    fn pods(&self) -> impl Future<Output = Result<Vec<Pod>, CallError>> + Send;

    /// Runs a command for at most `timeout`, and passes on each line that it prints. Returns its exit code.
    fn follow(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        heard: &mpsc::Sender<Heard>,
    ) -> impl Future<Output = Result<i32, NoEnd>> + Send;
}

/// Through the API server.
pub struct ClusterAccess {
    client: Client,
    pods: Pods,
    namespace: String,
    selector: String,
}

impl std::fmt::Debug for ClusterAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cluster").field("selector", &self.selector).finish_non_exhaustive()
    }
}

impl ClusterAccess {
    /// The pods of a namespace that a selector matches.
    #[must_use]
    pub fn new(client: Client, namespace: &str, selector: &str) -> Self {
        let pods = Pods::new(client.clone());
        Self { client, pods, namespace: namespace.to_owned(), selector: selector.to_owned() }
    }
}

impl RunInPod for ClusterAccess {
    async fn run(&self, place: Place<'_>, command: &[&str], timeout: Duration) -> Result<Ran, NoEnd> {
        self.pods.run(place, command, timeout).await
    }
}

impl Access for ClusterAccess {
    async fn pods(&self) -> Result<Vec<Pod>, CallError> {
        pods::list(&self.client, &self.namespace, &self.selector).await
    }

    async fn follow(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<i32, NoEnd> {
        self.pods.follow(place, command, timeout, heard).await
    }
}
