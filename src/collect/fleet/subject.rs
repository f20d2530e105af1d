//! What of a cluster is asked for.

use crate::cluster::desired;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;
use crate::pgbackrest::conf::Conf;
use crate::state::snapshot::RepoSettings;

/// A cluster, as far as asking it needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// How many PostgreSQL pods it has.
    pub instances: u32,
    /// Its repositories, ascending.
    pub repos: Vec<AskedRepo>,
}

/// One repository.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedRepo {
    /// Its number.
    pub key: u32,
    /// It is on a volume of the repo host, which alone can read it.
    pub on_volume: bool,
    /// What the configuration says of it.
    pub settings: Option<RepoSettings>,
}

impl Subject {
    /// What a resource asks for, and with `secret` what the options in its Secret add.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster, settings: &Settings, secret: &Conf) -> Self {
        let options = desired::repo_options(cluster, settings, secret);
        let repos = cluster.repos.iter().map(|repo| AskedRepo {
            key: repo.number.get().into(),
            on_volume: repo.storage.is_volume(),
            settings: options.get(&repo.number).map(RepoSettings::of),
        });
        Self { instances: cluster.instances, repos: repos.collect() }
    }
}
