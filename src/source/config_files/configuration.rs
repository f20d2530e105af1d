//! What is known of pgBackRest's configuration, by stanza.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pgbackrest::conf::{Archiving, Conf, HostOption, RepoOptions};
use crate::pgbackrest::version::Product;
use crate::state::snapshot::{CredentialExpiry, CredentialKind, RepoSettings};

/// The levels of a log file that tell of the begin and the end of a command.
const LOG_LEVELS: [&str; 4] = ["info", "detail", "debug", "trace"];

/// The configuration as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// The program that it belongs to, whose defaults apply.
    pub(super) product: Product,
    pub(super) conf: Conf,
    /// See [`Conf::stanzas_apart`].
    pub(super) apart: BTreeSet<Arc<str>>,
    /// The stanzas that archive from this host, and how; or why that is unknown.
    pub(super) archiving: BTreeMap<Arc<str>, Result<Archiving, String>>,
    /// Ends of the certificates that the configuration names, by file.
    pub(super) ends: BTreeMap<(CredentialKind, PathBuf), DateTime<Utc>>,
}

impl Configuration {
    /// Names of the stanzas that have a section.
    #[must_use]
    pub fn stanzas(&self) -> Vec<&str> {
        self.conf.stanzas()
    }

    /// The stanzas for which `info` must be asked by name.
    #[must_use]
    pub const fn stanzas_apart(&self) -> &BTreeSet<Arc<str>> {
        &self.apart
    }

    /// The stanzas whose PostgreSQL cluster is on this host, and how it archives; or why that is unknown.
    #[must_use]
    pub const fn archiving(&self) -> &BTreeMap<Arc<str>, Result<Archiving, String>> {
        &self.archiving
    }

    /// Numbers of the repositories.
    #[must_use]
    pub fn repo_keys(&self) -> Vec<u32> {
        self.conf.repo_keys()
    }

    /// Numbers of the repositories that all stanzas share.
    #[must_use]
    pub fn common_repo_keys(&self) -> Vec<u32> {
        self.conf.repo_keys_of(None)
    }

    /// The directories of locks that are configured.
    pub fn lock_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.conf.lock_paths().map(PathBuf::from)
    }

    /// The directory in which commands for a stanza look for locks and stop files; none where pgBackRest would refuse it.
    #[must_use]
    pub fn lock_path(&self, stanza: &str) -> Option<PathBuf> {
        let set = self.conf.host_option(stanza, HostOption::LockPath).ok()?;
        Some(set.map_or_else(|| self.product.default_paths().lock.into(), PathBuf::from))
    }

    /// The directories of locks of all stanzas.
    #[must_use]
    pub fn lock_paths_in_use(&self) -> BTreeSet<PathBuf> {
        // Those without options of their own share what the global sections name.
        let stanzas = self.apart.iter().map(|stanza| &**stanza).chain([""]);
        stanzas.filter_map(|stanza| self.lock_path(stanza)).collect()
    }

    /// The log file of a stanza's backups; none if it does not tell what becomes of them, or if pgBackRest would refuse the options.
    #[must_use]
    pub fn backup_log(&self, stanza: &str) -> Option<PathBuf> {
        let set = |option| self.conf.host_option(stanza, option).ok();
        // From level info on, the default; no name has another directory in it.
        let is_told = set(HostOption::LogLevelFile)?.is_none_or(|level| LOG_LEVELS.contains(&&*level));
        let is_name = !stanza.is_empty() && !stanza.contains('/');
        let directory = set(HostOption::LogPath)?;
        let directory = directory.map_or_else(|| self.product.default_paths().log.into(), PathBuf::from);
        (is_told && is_name).then(|| directory.join(format!("{stanza}-backup.log")))
    }

    /// What is configured for one stanza in one repository; none where pgBackRest would refuse it.
    #[must_use]
    pub fn settings(&self, stanza: &str, key: u32) -> Option<RepoSettings> {
        // Before 2.32 the only repository had no number in answers, and 1 in the configuration.
        let options = self.conf.repo_options(stanza, key.max(1)).ok()?;
        let of_files = certificates(&options).filter_map(|(kind, path)| {
            let end = self.ends.get(&(kind, path))?;
            Some(CredentialExpiry { kind, not_after: *end })
        });
        let settings = RepoSettings::of(&options);
        let mut credentials: Vec<CredentialExpiry> = of_files.chain(settings.credentials).collect();
        // Of two certificates of one kind the one that ends first counts.
        credentials.sort_by_key(|credential| (credential.kind, credential.not_after));
        credentials.dedup_by_key(|credential| credential.kind);
        Some(RepoSettings { credentials, ..settings })
    }
}

pub(super) fn certificates(options: &RepoOptions) -> impl Iterator<Item = (CredentialKind, PathBuf)> {
    let file = |kind, path: &Option<String>| path.as_ref().map(|path| (kind, PathBuf::from(path)));
    [
        file(CredentialKind::TlsClient, &options.host_cert_file),
        file(CredentialKind::TlsCa, &options.host_ca_file),
        file(CredentialKind::TlsCa, &options.storage_ca_file),
    ]
    .into_iter()
    .flatten()
}
