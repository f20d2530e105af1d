//! Selects pods: the primary, the repo host, or all that run `pgbackrest server`.

use super::labels::{self, Labels, Selector};
use super::names;
use super::settings::Settings;

/// The dedicated container of pgBackRest: on the repo host, and the server next to PostgreSQL.
pub const PGBACKREST_CONTAINER: &str = "pgbackrest";

/// The relevant properties of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    pub name: String,
    pub labels: Labels,
    /// Whether its phase is Running.
    pub running: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The names of its containers.
    pub containers: Vec<String>,
}

/// Why there is no suitable pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// No pod has the labels.
    #[error("no pod has the labels {0}")]
    None(String),
    /// The pod exists but is not ready.
    #[error("pod {0} is not ready")]
    NotReady(String),
    /// Several are ready, as during a failover and after a node died. PostgreSQL knows which one is the primary.
    #[error("more than one ready pod has the labels: {}", .0.join(", "))]
    Several(Vec<String>),
}

/// The only pod with the labels of the primary that is ready and not being deleted.
pub fn primary<'pods>(
    pods: &'pods [Pod],
    cluster: &str,
    settings: &Settings,
) -> Result<&'pods Pod, NoTarget> {
    one_ready(pods, &labels::primary_selector(cluster, settings))
}

pub fn repo_host<'pods>(
    pods: &'pods [Pod],
    cluster: &str,
    settings: &Settings,
) -> Result<&'pods Pod, NoTarget> {
    one_ready(pods, &labels::repo_host_selector(cluster, settings).into())
}

/// PostgreSQL's running pods, as far as the repo host is configured for them.
#[must_use]
pub fn databases<'pods>(pods: &'pods [Pod], cluster: &str, instances: u32) -> Vec<&'pods Pod> {
    let names: Vec<String> = (0..instances).map(|index| names::database_pod(cluster, index)).collect();
    pods.iter().filter(|pod| names.contains(&pod.name) && pod.running && !pod.terminating).collect()
}

impl Pod {
    /// The container that runs `pgbackrest server`.
    #[must_use]
    pub fn server_container(&self, settings: &Settings) -> String {
        let own = self.containers.iter().any(|container| container == PGBACKREST_CONTAINER);
        if own { PGBACKREST_CONTAINER.to_owned() } else { settings.database_container.clone() }
    }
}

/// The only one of these pods that is ready and not being deleted. Pods that failed, were evicted or are on a node that died
/// keep their labels; they are not ready.
pub fn only<'pods>(
    pods: impl IntoIterator<Item = &'pods Pod>,
    selector: &str,
) -> Result<&'pods Pod, NoTarget> {
    let staying: Vec<&Pod> = pods.into_iter().filter(|pod| !pod.terminating).collect();
    let ready: Vec<&Pod> = staying.iter().copied().filter(|pod| pod.ready && pod.running).collect();
    match (ready.as_slice(), staying.as_slice()) {
        ([one], _) => Ok(one),
        ([], []) => Err(NoTarget::None(selector.to_owned())),
        ([], [first, ..]) => Err(NoTarget::NotReady(first.name.clone())),
        (several, _) => Err(NoTarget::Several(several.iter().map(|pod| pod.name.clone()).collect())),
    }
}

fn one_ready<'pods>(pods: &'pods [Pod], selector: &Selector) -> Result<&'pods Pod, NoTarget> {
    only(pods.iter().filter(|pod| selector.matches(&pod.labels)), &selector.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, role: &str) -> Pod {
        let settings = Settings::default();
        let mut labels = labels::cluster_selector("ledger", &settings);
        labels.insert(settings.role_label, role.to_owned());
        Pod {
            name: name.to_owned(),
            labels,
            running: true,
            ready: true,
            terminating: false,
            containers: vec!["postgres".to_owned()],
        }
    }

    #[test]
    fn exactly_one_primary_is_taken() {
        let settings = Settings::default();
        let (master, replica) = (pod("ledger-0", "master"), pod("ledger-1", "replica"));
        let name = |pods: &[Pod]| primary(pods, "ledger", &settings).map(|pod| pod.name.clone());
        assert_eq!(name(&[replica.clone(), master.clone()]), Ok("ledger-0".to_owned()));
        assert!(matches!(name(std::slice::from_ref(&replica)), Err(NoTarget::None(_))));
        let starting = Pod { ready: false, ..master.clone() };
        assert_eq!(name(&[starting]), Err(NoTarget::NotReady("ledger-0".to_owned())));
        let leaving = Pod { terminating: true, ..master.clone() };
        assert!(matches!(name(std::slice::from_ref(&leaving)), Err(NoTarget::None(_))));
        let second = pod("ledger-1", "master");
        assert_eq!(name(&[leaving, second.clone()]), Ok("ledger-1".to_owned()), "a failover that is over");
        assert!(matches!(name(&[master.clone(), second.clone()]), Err(NoTarget::Several(_))));
        let evicted = Pod { ready: false, running: false, ..second.clone() };
        assert_eq!(name(&[evicted.clone(), master.clone()]), Ok("ledger-0".to_owned()));
        let on_dead_node = Pod { ready: false, ..second };
        assert_eq!(name(&[on_dead_node.clone(), master.clone()]), Ok("ledger-0".to_owned()));
        assert_eq!(name(&[on_dead_node, evicted]), Err(NoTarget::NotReady("ledger-1".to_owned())));
        let newer = pod("ledger-1", "primary");
        assert_eq!(name(std::slice::from_ref(&newer)), Ok("ledger-1".to_owned()), "newer Patronis");
        assert!(matches!(name(&[master.clone(), newer]), Err(NoTarget::Several(_))));
        assert!(primary(&[master], "other", &settings).is_err());
    }

    #[test]
    fn servers_are_asked_where_they_run() {
        let settings = Settings::default();
        let plain = pod("ledger-0", "master");
        assert_eq!(plain.server_container(&settings), "postgres");
        let both = Pod { containers: vec!["postgres".to_owned(), "pgbackrest".to_owned()], ..plain };
        assert_eq!(both.server_container(&settings), "pgbackrest");
        let pods = [both, Pod { running: false, ..pod("ledger-1", "replica") }, pod("ledger-2", "replica")];
        let names: Vec<&str> = databases(&pods, "ledger", 2).iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["ledger-0"]);
    }
}
