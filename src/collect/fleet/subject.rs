//! What of a cluster is asked for.

use std::fmt::Write as _;

use crate::cluster::validated::{STANZA, Storage, ValidatedCluster};
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
    /// What the resource says of it. Options in the Secret are not known.
    pub settings: Option<RepoSettings>,
}

impl Subject {
    /// What a resource asks for.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster) -> Self {
        let mut options = String::from("[global]\n");
        for (name, value) in &cluster.global {
            // Writing to a String cannot fail.
            let _ = writeln!(options, "{name}={value}");
        }
        let options = Conf::parse(&[("global", &options)]).ok();
        let repos = cluster.repos.iter().map(|repo| {
            let key = u32::from(repo.number.get());
            let options = options.as_ref().and_then(|options| options.repo_options(STANZA, key).ok());
            let settings = options.map(|options| RepoSettings {
                storage: Some(storage(&repo.storage).to_owned()),
                ..RepoSettings::of(&options)
            });
            AskedRepo { key, on_volume: repo.storage.is_volume(), settings }
        });
        Self { instances: cluster.instances, repos: repos.collect() }
    }
}

/// `repoN-type`, in pgBackRest's words.
const fn storage(storage: &Storage) -> &'static str {
    match storage {
        Storage::Volume(_) => "posix",
        Storage::S3 { .. } => "s3",
        Storage::Azure { .. } => "azure",
        Storage::Gcs { .. } => "gcs",
    }
}
