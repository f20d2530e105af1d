//! The immutable snapshot of all backups that scrapes, the status page and `info` read.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::conf::{RepoOptions, RetentionType};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::Product;
pub use crate::pgbackrest::version::Version;

use super::archive::{ArchiveRetention, CLOCK_TOLERANCE, Continuity, Leftover};
use super::archiver::Archiver;
pub use super::backup::{
    AttemptEvidence, AttemptFailure, Backup, BackupAttempt, Backups, ByteCount, WatchedBackup,
};
use super::records::RecordsHealth;
pub use super::removal::{Expiry, Removal, Retention};
use super::test_history::RestoreTests;
use super::verification_history::VerificationHistory;

/// Everything that is known at one time. A new snapshot replaces it completely.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Stanzas by name.
    pub stanzas: Vec<Stanza>,
    /// The health of collecting these facts.
    pub collection: Collection,
    /// Version of pgBackRest.
    pub version: Option<Version>,
    /// The archivers of PostgreSQL clusters on this host, or of the cluster in Kubernetes, by stanza.
    pub archivers: BTreeMap<Arc<str>, Archiver>,
}

/// The health of collection: one entry per scope, which is a stanza or the target of a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Collection {
    /// By scope; kept when the facts of a stanza are dropped, so that alerts have a series.
    pub scopes: BTreeMap<Arc<str>, ScopeHealth>,
    /// The same for listing the WAL archives, by stanza; up if all its repositories could be listed.
    pub wal: BTreeMap<Arc<str>, ScopeHealth>,
    /// Reading pgBackRest's configuration; absent if none is known to be its own.
    pub configuration: Option<ConfigurationHealth>,
    /// Reading the records of restore tests; absent if there are none.
    pub restore_tests: Option<RecordsHealth>,
    /// Reading the records of verifications; absent if there are none.
    pub verifications: Option<RecordsHealth>,
}

/// Whether pgBackRest's configuration could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigurationHealth {
    /// Why not, and the remedy.
    pub problem: Option<String>,
}

/// The health of a scope.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScopeHealth {
    /// The kind of the scope.
    pub kind: ScopeKind,
    /// Whether the last run answered for the whole scope.
    pub up: bool,
    /// End of the last run.
    pub last_run: DateTime<Utc>,
    /// End of the last successful run.
    pub last_success: Option<DateTime<Utc>>,
    /// Why the last run failed.
    pub failure: Option<Failure>,
}

/// The kind of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// The target of a call: `all-stanzas`, `all-stanzas-except-excluded` or an included name.
    Call,
    /// One stanza in an answer.
    Stanza,
}

/// Why a call to pgBackRest failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The reason, as a label.
    pub reason: FailureReason,
    /// pgBackRest's exit code, if there is one.
    pub exit_code: Option<i32>,
    /// A message of one line with the remedy; never a label value.
    pub message: String,
}

impl Failure {
    /// A failure without an exit code.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, exit_code: None, message: message.into() }
    }
}

/// The `reason` label of failed collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Killed at the timeout.
    Timeout,
    /// Exited with a code other than 0.
    Exit,
    /// The output is not the expected document.
    Parse,
    /// The program could not be started.
    Spawn,
    /// pgBackRest 2.59 and later refuse to run as root.
    RootRefused,
    /// Ended by a signal of another process.
    Killed,
    /// The output exceeded its cap, in bytes or in what it takes to read it.
    OutputTooLarge,
    /// Other answers used the memory that there is for answers.
    NoMemory,
    /// There is no pod to query.
    NoPod,
    /// The connection was lost; the command may still be running.
    Lost,
}

/// One stanza over its repositories.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stanza {
    pub name: Arc<str>,
    /// pgBackRest's status code for all repositories.
    pub status_code: i64,
    /// The status message; free text for code 99.
    pub status_message: String,
    /// The lock of backup, expire and stanza commands on the queried host.
    pub backup_lock: Activity,
    /// The lock of restore (2.56 and later).
    pub restore_lock: Activity,
    /// Repositories by key; key 0 is the only repository in versions before 2.32.
    pub repos: Vec<Repo>,
    /// The last trace of another program that works on the stanza.
    pub other_program: Option<OtherProgram>,
    /// Stop files on the queried host, or in the pods where commands run; absent if it is not known whether there are any.
    pub stop_files: Option<Vec<StopFile>>,
}

/// A trace of a program other than the queried one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OtherProgram {
    /// Which one, if known.
    pub product: Option<Product>,
    pub evidence: Evidence,
    /// When the other program was last seen at work.
    pub seen_at: DateTime<Utc>,
}

/// Where a trace of another program is; the `evidence` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// A lock file for the stanza in a directory that only the other program uses.
    Lock,
    /// A backup.
    Backup,
}

impl Evidence {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Backup => "backup",
        }
    }
}

/// A stop file that counts for a stanza.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopFile {
    pub scope: StopScope,
    /// When it was created; absent if the clock was wrong then.
    pub since: Option<DateTime<Utc>>,
    /// The pod that it is in, in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
}

/// What was stopped; the `scope` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StopScope {
    Stanza,
    All,
}

impl StopScope {
    /// In the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Stanza, Self::All];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stanza => "stanza",
            Self::All => "all",
        }
    }
}

/// A lock and the progress of its holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Whether the lock is held; absent if unknown.
    pub held: Option<bool>,
    /// Since when it has been seen held; an upper bound of the start time.
    pub since: Option<DateTime<Utc>>,
    /// Progress over all repositories, if known.
    pub progress: Option<Progress>,
}

/// Completed bytes and total bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub complete: u64,
    pub total: u64,
}

/// One stanza in one repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repo {
    /// Repository number.
    pub key: u32,
    /// The state according to the last answer.
    pub state: RepoState,
    /// pgBackRest's status code in the last answer; absent if there was none.
    pub status_code: Option<i64>,
    /// The status message; free text, only for display.
    pub status_message: String,
    /// pgBackRest's error class found in the message, such as `CryptoError`.
    pub error: Option<&'static str>,
    /// When the facts below were read. Older than the last run if the repository no longer answers.
    pub collected_at: DateTime<Utc>,
    /// `none` or `aes-256-cbc`, as of the last time that it could be read; before 2.32 that of the stanza.
    pub cipher: Option<String>,
    /// The same as printed in the last answer: that of the configuration, even if the repository cannot be read with it.
    #[serde(skip)]
    pub printed_cipher: Option<String>,
    /// Clusters that have used the stanza, ascending by id; the last is the current one.
    pub databases: Vec<Database>,
    /// WAL ranges.
    pub archives: Vec<Archive>,
    pub backups: Backups,
    /// Progress of a running backup to this repository (2.59 and later).
    pub progress: Option<Progress>,
    /// When the backup was first seen.
    pub in_progress_since: Option<DateTime<Utc>>,
    /// Settings from the configuration, if it can be read.
    pub settings: Option<RepoSettings>,
    /// What `expire` will remove; absent if the backups, the retention or the version are unknown.
    pub expiry: Option<Arc<Expiry>>,
    /// Why pgBackRest refuses to expire its backups and WAL, if it does.
    pub expiry_blocked: Option<BlockedExpiry>,
    /// The last backup attempt on the queried host; absent if its result is unknown.
    pub last_attempt: Option<BackupAttempt>,
    /// A running backup that is being watched.
    #[serde(skip)]
    pub watched: Option<WatchedBackup>,
    /// What a listing of its WAL archive proves; absent without a listing, or if it is too old.
    pub wal: Option<Arc<Continuity>>,
    /// Directories of incomplete backups, oldest first; absent without a listing, or if it is too old.
    pub leftovers: Option<Vec<Leftover>>,
    /// What the records on this host show about its restore tests; absent if there are none.
    pub restore_tests: Option<Arc<RestoreTests>>,
    /// What the records on this host show about its verifications; absent if there are none.
    pub verifications: Option<Arc<VerificationHistory>>,
    /// Growth of archive max in segments since this process first saw it.
    #[serde(skip)]
    pub archived_segments: u64,
}

/// A backup with page checksum errors because of which `expire` refuses to run: it would become the oldest one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockedExpiry {
    /// Its label.
    pub by: Arc<str>,
    pub since: DateTime<Utc>,
}

/// The state of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepoState {
    Ok,
    /// Code 1.
    MissingStanzaPath,
    /// Code 2: it answers, and contains no backup.
    NoValidBackups,
    /// Code 3.
    MissingStanzaData,
    /// Code 6.
    BackupNotFound,
    /// Code 99, or a call that failed for another reason than a timeout.
    Other,
    /// No answer within the timeout.
    Timeout,
}

/// A PostgreSQL cluster that uses or used the stanza.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// Number within the stanza.
    pub id: u64,
    /// PostgreSQL's system identifier.
    pub system_id: Option<u64>,
    pub version: String,
}

/// The WAL range of one database in the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// The database of this WAL.
    pub database_id: u64,
    /// Archive id, such as `15-1`.
    pub id: String,
    /// First segment by name, if any.
    pub min: Option<String>,
    /// Last segment by name, if any.
    pub max: Option<String>,
}

/// Settings of one stanza in one repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RepoSettings {
    /// `repoN-type`: posix, s3, azure, gcs, sftp, cifs; `tls` or `ssh` with `repoN-host`.
    pub storage: Option<String>,
    /// `repoN-retention-full` and its type.
    pub retention_full: Option<Retention>,
    /// `repoN-retention-diff`.
    pub retention_diff: Option<u32>,
    /// `repoN-retention-archive` and its type, or the default that follows from the others; absent if unknown.
    pub retention_archive: Option<ArchiveRetention>,
    /// When credentials expire.
    pub credentials: Vec<CredentialExpiry>,
}

/// The expiry of a credential, without the credential itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialExpiry {
    pub kind: CredentialKind,
    /// When it expires.
    pub not_after: DateTime<Utc>,
}

/// The `kind` label of credential expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// `repoN-host-cert-file`.
    TlsClient,
    /// `repoN-host-ca-file` or `repoN-storage-ca-file`.
    TlsCa,
    /// The `se` of `repoN-azure-key` with key type `sas`.
    AzureSas,
}

impl RepoSettings {
    /// Settings from options; the expiry of certificates is not known here.
    #[must_use]
    pub fn of(options: &RepoOptions) -> Self {
        let kind = CredentialKind::AzureSas;
        let signature = options.azure_sas_expiry.map(|not_after| CredentialExpiry { kind, not_after });
        Self {
            storage: Some(options.storage.to_owned()),
            retention_full: options.retention_full.map(|number| match options.retention_full_type {
                RetentionType::Count => Retention::Count(number),
                RetentionType::Time => Retention::Days(number),
            }),
            retention_diff: options.retention_diff,
            retention_archive: ArchiveRetention::of(options),
            credentials: signature.into_iter().collect(),
        }
    }
}

impl Snapshot {
    /// Finds a stanza.
    #[must_use]
    pub fn stanza(&self, name: &str) -> Option<&Stanza> {
        self.stanzas.iter().find(|stanza| *stanza.name == *name)
    }
}

impl Stanza {
    /// Whether a backup to this repository is running, if known.
    ///
    /// The lock alone is not enough: expire and the stanza commands hold it too. Sizes are (2.48 and later); with several
    /// repositories, only the sizes per repository are (2.59 and later).
    #[must_use]
    pub fn is_backing_up(&self, repo: &Repo) -> Option<bool> {
        // pgBackRest only checks locks if it could read the stanza, and since 2.59 separately for each repository.
        if !self.backup_lock.held? {
            let is_readable = !matches!(repo.state, RepoState::Other | RepoState::Timeout);
            return is_readable.then_some(false);
        }
        if self.repos.iter().any(|repo| repo.progress.is_some()) {
            return Some(repo.progress.is_some());
        }
        (self.repos.len() == 1 && self.backup_lock.progress.is_some()).then_some(true)
    }

    /// Finds a repository.
    #[must_use]
    pub fn repo(&self, key: u32) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.key == key)
    }
}

impl Repo {
    /// The cluster that currently uses the stanza.
    #[must_use]
    pub fn current_database(&self) -> Option<&Database> {
        self.databases.last()
    }

    /// Number of that cluster within the stanza; if clusters are not listed, the highest one of a backup or WAL.
    #[must_use]
    pub fn current_database_id(&self) -> Option<u64> {
        let named = || {
            let backups = self.backups.iter().map(|backup| backup.database_id);
            self.archives.iter().map(|archive| archive.database_id).chain(backups).max()
        };
        self.current_database().map(|database| database.id).or_else(named)
    }

    /// Major version of PostgreSQL of that cluster; before 10 only the first part.
    #[must_use]
    pub fn postgres_version(&self) -> Option<u32> {
        self.current_database()?.version.split('.').next()?.parse().ok()
    }

    /// Whether any contents are known, even if they are old.
    #[must_use]
    pub fn has_facts(&self) -> bool {
        !(self.databases.is_empty() && self.archives.is_empty() && self.backups.is_empty())
    }

    /// Whether the backups are known. Without an answer, it is not even known whether there are any.
    #[must_use]
    pub fn knows_backups(&self) -> bool {
        let is_told = self.status_code.is_some_and(|code| (1..=3).contains(&code));
        self.is_up() || is_told || !self.backups.is_empty()
    }

    /// Whether it answered and is ready for backups.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, RepoState::Ok | RepoState::NoValidBackups)
    }

    /// Backups that did not end in the future. The others must not make anything look recent.
    pub fn dated_backups(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|backup| !self.is_in_future(backup))
    }

    /// The clock that dated a backup was ahead of ours.
    #[must_use]
    pub fn is_in_future(&self, backup: &Backup) -> bool {
        backup.stop > self.collected_at + CLOCK_TOLERANCE
    }

    /// The newest backup of exactly this type.
    #[must_use]
    pub fn newest(&self, backup_type: BackupType) -> Option<&Backup> {
        self.dated_backups().filter(|b| b.backup_type == backup_type).max_by_key(|b| b.stop)
    }
}
