//! What a collection asks for: everything in which a host and a cluster in Kubernetes differ, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::desired::Configurations;
use crate::cluster::resource::Postgresql;
use crate::cluster::settings::Settings as ClusterSettings;
use crate::cluster::validated::{RepoNumber, STANZA, ValidatedCluster};
use crate::pgbackrest::conf::{Archiving, Conf, HostOption};
use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::spool;
use crate::pgbackrest::version::{Feature, Product, Version};
use crate::source::config_files::Configuration;
use crate::source::pod_files::FilePaths;
use crate::source::pods;
use crate::state::archiver::Observation;
use crate::state::attempts::BackupLogs;
use crate::state::filter::{Filter, UNLISTED};
use crate::state::merge::{Configured, Target};
use crate::state::programs::LockFile;
use crate::state::records::Records;
use crate::state::snapshot::{ConfigurationHealth, Failure, FailureReason, RepoSettings, Snapshot};
use crate::state::stopped::StopPlace;
use crate::state::test_history::TestHistory;
use crate::state::verification_history::VerificationHistory;

use super::in_flight::CommandKey;
use super::plan::KnownTargets;
use super::settings::{DatabaseCounts, Settings};

/// pgBackRest's exit code for a value that an option does not take, such as the number of an unknown repository.
const INVALID_VALUE: i32 = 32;

/// A cluster in Kubernetes, as far as asking it needs to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subject {
    /// How many PostgreSQL pods it has.
    pub instances: u32,
    /// Its repositories, ascending.
    pub repos: Vec<AskedRepo>,
    /// Where the files in the primary's pod are; none if they are not read.
    pub database_files: Option<FilePaths>,
    /// The same of the repo host.
    pub repo_host_files: Option<FilePaths>,
}

/// One repository.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedRepo {
    /// Its number.
    pub key: u32,
    /// It is on a volume of the repo host, which alone can read it.
    pub on_volume: bool,
    /// Its backups are made on the repo host, which alone knows how far they are.
    pub on_repo_host: bool,
    /// What the configuration says of it.
    pub settings: Option<RepoSettings>,
}

/// What one collection asks for, and how.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// On a host the configuration, in Kubernetes the resource says what there is.
    pub(super) is_host: bool,
    /// Whether `info` is called at all.
    pub(super) wants_info: bool,
    /// The stanzas and repositories to ask for.
    pub(super) filter: Filter,
    /// The stanzas and repositories that should exist.
    pub(super) configured: Configured,
    /// Concurrent calls of `info`. In pods only the limit that all clusters share counts.
    pub(super) max_parallel: usize,
    /// The backups whose databases are counted, and by how many concurrent calls.
    pub(super) database_counts: (DatabaseCounts, usize),
    /// What has come in is published when nothing more has come for this long.
    pub(super) quiet: Duration,
    /// Whether pgBackRest's configuration on this host could be read, if there is one.
    pub(super) configuration_health: Option<ConfigurationHealth>,
    /// What the program on this host has just printed.
    pub(super) version: Option<Version>,
    /// Lock files of other programs on this host.
    pub(super) lock_files: Arc<[LockFile]>,
    /// Stop files on this host, or in the pods where commands run.
    pub(super) stop_places: Arc<[StopPlace]>,
    /// pgBackRest's logs of backups on this host.
    pub(super) backup_logs: BackupLogs,
    /// What records of restore tests and verifications show.
    pub(super) proofs: Proofs,
    /// What was read of the archivers on this host or in the primary's pod, by stanza.
    pub(super) archivers: Arc<BTreeMap<Arc<str>, Observation>>,
    details: Details,
}

/// What the records on this host show, or those of the tests of a cluster in Kubernetes.
#[derive(Debug, Clone, Default)]
pub(super) struct Proofs {
    pub(super) restore_tests: Arc<Records<TestHistory>>,
    pub(super) verifications: Arc<Records<VerificationHistory>>,
}

#[derive(Debug, Clone)]
enum Details {
    Configuration(Option<Arc<Configuration>>),
    Subject(Arc<Subject>),
}

impl Subject {
    /// What a resource asks for, with the options that its Secret adds.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster, settings: &ClusterSettings, secret: &Conf) -> Self {
        let configurations = Configurations::of(cluster, settings, secret);
        let options = configurations.repo_options(cluster);
        let repos = cluster.repos.iter().map(|repo| AskedRepo {
            key: repo.number.get().into(),
            on_volume: repo.storage.is_volume(),
            on_repo_host: repo.on_repo_host,
            settings: options.get(&repo.number).map(RepoSettings::of),
        });
        let Configurations { instance, repo_host } = &configurations;
        Self {
            instances: cluster.instances,
            repos: repos.collect(),
            database_files: Some(database_files(instance)),
            repo_host_files: repo_host
                .as_ref()
                .map(|conf| FilePaths { lock: lock_path(conf), archiving: None }),
        }
    }

    /// What can be asked of a cluster although its resource is not valid: another operator may accept it, or accepted it before.
    /// None without a repository whose number is known.
    #[must_use]
    pub fn of_invalid(resource: &Postgresql, settings: &ClusterSettings, secret: &Conf) -> Option<Self> {
        let section = resource.pgbackrest()?;
        let storages: BTreeMap<RepoNumber, &str> = section
            .repos
            .iter()
            .rev()
            .filter_map(|repo| Some((RepoNumber::of_name(repo.name.as_deref()?)?, repo.storage.as_deref()?)))
            .collect();
        let types = storages.iter().filter(|(_, storage)| **storage != VOLUME);
        let mut global: BTreeMap<String, String> =
            types.map(|(number, storage)| (format!("{number}-type"), (*storage).to_owned())).collect();
        global.insert("spool-path".to_owned(), settings.database_spool_path.clone());
        global.extend(section.global.clone());
        let mut text = format!("[{STANZA}]\npg1-path={}\n[global]\n", settings.database_path);
        for (option, value) in global {
            if ![&option, &value].iter().any(|part| part.contains(char::is_control)) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{option}={value}");
            }
        }
        let conf = Conf::parse(&[("resource", &text)]).unwrap_or_default().including(secret.clone());
        let repos = storages.into_iter().map(|(number, storage)| AskedRepo {
            key: number.get().into(),
            on_volume: storage == VOLUME,
            on_repo_host: storage == VOLUME,
            settings: conf.repo_options(STANZA, number.get().into()).ok().as_ref().map(RepoSettings::of),
        });
        let repos: Vec<AskedRepo> = repos.collect();
        let instances = u32::try_from(resource.spec.number_of_instances.unwrap_or(1)).unwrap_or(1);
        let has_repo_host = repos.iter().any(|repo| repo.on_volume);
        (!repos.is_empty()).then(|| Self {
            instances: instances.min(pods::MOST),
            repos,
            database_files: Some(database_files(&conf)),
            repo_host_files: has_repo_host.then(|| FilePaths { lock: lock_path(&conf), archiving: None }),
        })
    }
}

/// The storage of a repository on a volume.
const VOLUME: &str = "pvc";
/// The files of a pod with PostgreSQL.
fn database_files(conf: &Conf) -> FilePaths {
    let with_default = |archiving: Archiving| {
        let spool_path = archiving.spool_path.or_else(|| Some(spool::DEFAULT_PATH.to_owned()));
        Archiving { spool_path, ..archiving }
    };
    let archiving = conf.archiving(STANZA).map_err(|error| error.to_string());
    let archiving = archiving.transpose().map(|archiving| archiving.map(with_default));
    FilePaths { lock: lock_path(conf), archiving }
}

/// Where pgBackRest has its locks and stop files in a pod; none where it would refuse the option.
fn lock_path(conf: &Conf) -> Option<PathBuf> {
    let set = conf.host_option(STANZA, HostOption::LockPath).ok()?;
    Some(set.map_or_else(|| Product::PgBackRest.default_paths().lock.into(), PathBuf::from))
}

impl Request {
    /// This host, as its flags and pgBackRest's configuration say. If that names no repository, pgBackRest has the first.
    pub(super) fn of_host(
        settings: &Settings,
        configuration: Option<Arc<Configuration>>,
        configuration_health: Option<ConfigurationHealth>,
    ) -> Self {
        // A stanza that is named is expected to exist.
        let mut configured =
            Configured { stanzas: settings.filter.included().cloned().collect(), ..Configured::default() };
        if let Some(configuration) = &configuration {
            configured.stanzas.extend(configuration.stanzas().into_iter().map(Arc::from));
            configured.repos.extend(configuration.common_repo_keys());
        }
        Self {
            is_host: true,
            wants_info: settings.info,
            filter: settings.filter.clone(),
            configured,
            max_parallel: settings.pace.concurrency,
            database_counts: (settings.database_counts, settings.database_processes.max(1)),
            quiet: Duration::from_millis(500),
            configuration_health,
            version: None,
            lock_files: Arc::default(),
            stop_places: Arc::default(),
            backup_logs: BackupLogs::default(),
            proofs: Proofs::default(),
            archivers: Arc::default(),
            details: Details::Configuration(configuration),
        }
    }

    /// A cluster in Kubernetes, as its resource says.
    pub(super) fn of_cluster(subject: &Arc<Subject>) -> Self {
        let keys: Vec<u32> = subject.repos.iter().map(|repo| repo.key).collect();
        Self {
            is_host: false,
            wants_info: true,
            // Fails on patterns alone.
            filter: Filter::new(&[STANZA.to_owned()], &[], None, None, &keys).unwrap_or_default(),
            configured: Configured {
                stanzas: BTreeSet::from([STANZA.into()]),
                repos: keys.into_iter().collect(),
            },
            max_parallel: usize::MAX,
            database_counts: (DatabaseCounts::Off, 1),
            quiet: Duration::from_secs(2),
            configuration_health: None,
            version: None,
            lock_files: Arc::default(),
            stop_places: Arc::default(),
            backup_logs: BackupLogs::default(),
            proofs: Proofs::default(),
            archivers: Arc::default(),
            details: Details::Subject(Arc::clone(subject)),
        }
    }

    /// What is known to exist, for calls that ask for it piece by piece.
    pub(super) fn known(&self, previous: &Snapshot, version: Option<Version>) -> KnownTargets {
        let (mut stanzas, mut repos) = (self.configured.stanzas.clone(), BTreeSet::new());
        let mut apart = BTreeSet::new();
        for stanza in previous.stanzas.iter().filter(|stanza| &*stanza.name != UNLISTED) {
            stanzas.insert(stanza.name.clone());
            repos.extend(stanza.repos.iter().map(|repo| repo.key));
        }
        if let Details::Configuration(Some(configuration)) = &self.details {
            repos.extend(configuration.repo_keys());
            apart.clone_from(configuration.stanzas_apart());
        }
        let has_option = |version: Version| version.has(Feature::RepoOption);
        KnownTargets { stanzas, repos, repo_option: !self.is_host || version.is_none_or(has_option), apart }
    }

    /// Whether pgBackRest refuses the options of a call for all stanzas, but may not with those in the sections of stanzas: an
    /// S3 repository without its bucket, or two repositories with the same default path. If the options are wrong in any case,
    /// the calls for stanzas say so.
    pub(super) fn needs_stanza(&self, target: &Target, failure: &Failure) -> bool {
        let is_refused = failure.reason == FailureReason::Exit
            && failure.exit_code.is_some_and(|code| exit_code::reason(code) == Reason::Config);
        let has_sections = || match &self.details {
            Details::Configuration(Some(configuration)) => !configuration.stanzas_apart().is_empty(),
            Details::Configuration(None) | Details::Subject(_) => false,
        };
        target.stanza.is_none() && is_refused && has_sections()
    }

    /// What the configuration says of a repository.
    pub(super) fn repo_settings(&self, stanza: &str, key: u32) -> Option<RepoSettings> {
        match &self.details {
            Details::Configuration(configuration) => configuration.as_ref()?.settings(stanza, key),
            Details::Subject(subject) => subject.repos.iter().find(|repo| repo.key == key)?.settings.clone(),
        }
    }

    /// Where commands for a stanza look for locks and stop files in a place.
    pub(super) fn lock_path(&self, place: &StopPlace, stanza: &str) -> Option<PathBuf> {
        match &self.details {
            Details::Configuration(configuration) => configuration.as_ref()?.lock_path(stanza),
            // Nothing else is listed in a pod.
            Details::Subject(_) => place.listing.keys().next().cloned(),
        }
    }

    /// What may not run twice while `info` of this target runs: in a pod no other command for the repository.
    pub(super) fn info_key(&self, target: &Target) -> CommandKey {
        let repo = target.repo.filter(|_| !self.is_host);
        repo.map_or_else(|| CommandKey::Info(target.clone()), CommandKey::Repo)
    }

    /// Whether pgBackRest says that there is no such repository. On a host that answers a question; a resource names
    /// repositories that should exist.
    pub(super) fn is_unknown_repo(&self, repo: Option<u32>, failure: &Failure) -> bool {
        let is_refused = failure.reason == FailureReason::Exit && failure.exit_code == Some(INVALID_VALUE);
        self.is_host && repo.is_some() && is_refused
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::resource;

    fn subject(pgbackrest: &Value, secret: &str) -> Option<Subject> {
        let spec = json!({"numberOfInstances": 2, "backup": {"pgbackrest": pgbackrest}});
        let (resource, _) = resource::read(json!({"metadata": {"name": "a"}, "spec": spec}));
        Subject::of_invalid(
            &resource,
            &ClusterSettings::default(),
            &Conf::parse(&[("secret", secret)]).unwrap(),
        )
    }

    #[test]
    fn a_cluster_is_known_although_its_resource_is_not_valid() {
        let of = |repo: Value, global: Value| {
            let subject =
                subject(&json!({"repos": [repo], "global": global}), "[global]\nrepo1-retention-full=3\n");
            let subject = subject.unwrap();
            assert_eq!(subject.instances, 2);
            let [repo] = &subject.repos[..] else { panic!("{subject:?}") };
            (repo.key, repo.on_volume, repo.settings.is_some())
        };
        let none = json!({});
        let repos = [
            (
                json!({"name": "repo1", "storage": "azure", "resource": "c", "account": "a", "key": "c2VjcmV0"}),
                none.clone(),
            ),
            (
                json!({"name": "repo1", "storage": "s3", "resource": "b", "schedule": {"incr": ""}}),
                none.clone(),
            ),
            (
                json!({"name": "repo1", "storage": "gcs", "resource": "b", "key": "/etc/key.json"}),
                none.clone(),
            ),
            (json!({"name": "repo1", "storage": "s3", "resource": "b"}), json!({"repo1-s3-key": "secret"})),
            (
                json!({"name": "repo1", "storage": "s3", "endpoint": 7}),
                json!({"repo1-path": "/a\nrepo1-cipher-type=x"}),
            ),
            (json!({"name": "repo1", "storage": "s3"}), none.clone()),
        ];
        for (repo, global) in repos {
            assert_eq!(of(repo.clone(), global), (1, false, true), "{repo}");
        }
        assert_eq!(of(json!({"name": "repo2", "storage": "pvc"}), none), (2, true, true));
    }

    #[test]
    fn without_a_repository_there_is_nothing_to_ask_for() {
        for section in
            [json!({}), json!({"repos": [{}]}), json!({"repos": [{"name": "first", "storage": "s3"}]})]
        {
            assert_eq!(subject(&section, ""), None);
        }
        let twice = json!([{"name": "repo1", "storage": "pvc"}, {"name": "repo1", "storage": "s3"}]);
        let subject = subject(&json!({"repos": twice}), "").unwrap();
        assert_eq!(
            subject.repos.iter().map(|repo| (repo.key, repo.on_volume)).collect::<Vec<_>>(),
            [(1, true)]
        );
    }
}
