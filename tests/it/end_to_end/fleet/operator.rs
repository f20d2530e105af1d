//! An operator for the fleet only, and what its leader serves.

use crate::support::example::{CLUSTER, Example};
use crate::support::exposition::Samples;
use crate::support::http;

/// Its own namespace, and the name of its Deployment.
pub(super) const NAMESPACE: &str = "fleet-operator";
/// The labels of all series of the cluster.
pub(super) const OURS: [(&str, &str); 2] = [("namespace", super::NAMESPACE), ("pg_cluster", CLUSTER)];

pub(super) struct Operator<'test> {
    pub(super) cluster: &'test Example<'static>,
}

impl Operator<'_> {
    /// Name and address of the pod that holds the lease.
    pub(super) fn leader(&self) -> (String, String) {
        self.cluster.wait("a leader", || {
            let pods = self.cluster.kubectl().list(NAMESPACE, "pod", "fieldSelector=status.phase=Running");
            pods.iter().find_map(|pod| {
                let address = format!("{}:9854", pod["status"]["podIP"].as_str()?);
                leads(&self.scrape(&address)?)
                    .then(|| (pod["metadata"]["name"].as_str().unwrap().to_owned(), address))
            })
        })
    }

    /// `None` where nobody answers.
    fn scrape(&self, address: &str) -> Option<Samples> {
        let url = format!("http://{address}/metrics");
        let answer = self.cluster.node.in_network(|| http::get(&url, &[])).ok()?;
        Some(Samples::parse(answer.text()))
    }

    /// Asks the leader until it tells so; `None` from `ask` is not yet.
    pub(super) fn wait<T>(&self, what: &str, mut ask: impl FnMut(&Samples) -> Option<T>) -> T {
        let mut address = self.leader().1;
        self.cluster.wait(what, || {
            let samples = self.scrape(&address).filter(leads);
            if samples.is_none() {
                address = self.leader().1;
            }
            ask(&samples?)
        })
    }
}

/// Whether a replica tells that it leads.
fn leads(samples: &Samples) -> bool {
    samples.find("pgbackrest_operator_leader", &[]) == Some(1.0)
}

/// The labels of the cluster and more.
pub(super) fn of<'label>(more: &[(&'label str, &'label str)]) -> Vec<(&'label str, &'label str)> {
    [&OURS[..], more].concat()
}
