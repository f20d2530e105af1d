//! The one immutable picture of all backups that scrapes, the status page and `info` read.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::conf::{RepoOptions, RetentionType};
use crate::pgbackrest::label::BackupType;
pub use crate::pgbackrest::version::Version;
use crate::pgbackrest::wal::{Lsn, WalSegment};

use super::archive::{ArchiveRetention, Continuity};

/// Everything known at one moment. A new one replaces it whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Stanzas by name.
    pub stanzas: Vec<Stanza>,
    /// How the calls went that these facts come from.
    pub collection: Collection,
    /// Version of the pgBackRest that was asked.
    pub version: Option<Version>,
}

/// How collection goes: one entry per scope, which is a stanza or what one call asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Collection {
    /// By scope; kept when the facts of a stanza are dropped, so that an alert has a series to stand on.
    pub scopes: BTreeMap<Arc<str>, ScopeHealth>,
    /// The same of listing the WAL archives, by stanza; up where every repository of it could be listed.
    pub wal: BTreeMap<Arc<str>, ScopeHealth>,
}

/// Whether a scope answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScopeHealth {
    /// What the scope is.
    pub kind: ScopeKind,
    /// The last run answered for the whole scope.
    pub up: bool,
    /// End of the last run.
    pub last_run: DateTime<Utc>,
    /// End of the last run that answered.
    pub last_success: Option<DateTime<Utc>>,
    /// Why the last run failed.
    pub failure: Option<Failure>,
}

/// What a scope of collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// What a combined call asks for: `all-stanzas`, `all-stanzas-except-excluded` or an included name.
    Call,
    /// One stanza seen in an answer.
    Stanza,
}

/// Why a call to pgBackRest gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Bounded word.
    pub reason: FailureReason,
    /// pgBackRest's exit code, where there is one.
    pub exit_code: Option<i32>,
    /// One line for people, with the remedy; never a label value.
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
    /// Ended with a code other than 0.
    Exit,
    /// The output is not the document it should be.
    Parse,
    /// The program could not be started.
    Spawn,
    /// pgBackRest 2.60 and later refuse to run as root.
    RootRefused,
    /// Ended by a signal that was not ours.
    Killed,
    /// The output exceeded its cap.
    OutputTooLarge,
    /// There is no pod to ask.
    NoPod,
    /// The connection was lost; whether the command still runs is not known.
    Lost,
}

/// One stanza over its repositories.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stanza {
    /// The stanza's name.
    pub name: Arc<str>,
    /// pgBackRest's status code over all repositories.
    pub status_code: i64,
    /// That status in words; free text for code 99.
    pub status_message: String,
    /// Backup, expire or a stanza command holds the lock on the host that was asked.
    pub backup_lock: Activity,
    /// A restore holds its lock (2.56 and later).
    pub restore_lock: Activity,
    /// Repositories by key; one with key 0 stands for the only one of versions before 2.32.
    pub repos: Vec<Repo>,
}

/// A lock and how far its holder is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// The lock is held.
    pub held: bool,
    /// When it was first seen held without a break; an upper bound of the start.
    pub since: Option<DateTime<Utc>>,
    /// Progress over all repositories, once known.
    pub progress: Option<Progress>,
}

/// Bytes done of bytes to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Bytes done.
    pub complete: u64,
    /// Bytes to do.
    pub total: u64,
}

/// One stanza in one repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repo {
    /// Repository number.
    pub key: u32,
    /// How the repository answered when last asked.
    pub state: RepoState,
    /// pgBackRest's status code in the last answer; absent where there was none.
    pub status_code: Option<i64>,
    /// The status in words; free text, for people only.
    pub status_message: String,
    /// pgBackRest's error class found in the message, such as `CryptoError`.
    pub error: Option<&'static str>,
    /// When the facts below were read. Older than the last run where the repository no longer answers.
    pub collected_at: DateTime<Utc>,
    /// `none` or `aes-256-cbc`; the stanza's before 2.32.
    pub cipher: Option<String>,
    /// Clusters that have used the stanza, ascending by id; the last is the current one.
    pub databases: Vec<Database>,
    /// WAL ranges.
    pub archives: Vec<Archive>,
    /// Backups, oldest first, in pgBackRest's order.
    pub backups: Vec<Backup>,
    /// A backup into this repository runs (2.59 and later tell per repository).
    pub progress: Option<Progress>,
    /// When that was first seen.
    pub in_progress_since: Option<DateTime<Utc>>,
    /// What the configuration says of the repository, where it can be read.
    pub settings: Option<RepoSettings>,
    /// What a listing of its WAL archive proves; absent where there is none, or it has grown too old.
    pub wal: Option<Arc<Continuity>>,
    /// By how many segments archive max has grown since this process first saw it.
    #[serde(skip)]
    pub archived_segments: u64,
}

/// The states of a repository, one of which holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepoState {
    /// Code 0.
    Ok,
    /// Code 1.
    MissingStanzaPath,
    /// Code 2: it answers, and holds no backup.
    NoValidBackups,
    /// Code 3.
    MissingStanzaData,
    /// Code 6.
    BackupNotFound,
    /// Code 99, or a call that failed for another reason than time.
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
    /// PostgreSQL's version.
    pub version: String,
}

/// The WAL range of one database in the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// Whose WAL this is.
    pub database_id: u64,
    /// Archive id, such as `15-1`.
    pub id: String,
    /// First segment by name, as printed; absent where there is none.
    pub min: Option<String>,
    /// Last segment by name, as printed; absent where there is none.
    pub max: Option<String>,
}

/// One backup in one repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backup {
    /// The backup's label.
    pub label: String,
    /// Its type.
    pub backup_type: BackupType,
    /// When it began.
    pub start: DateTime<Utc>,
    /// When it ended.
    pub stop: DateTime<Utc>,
    /// Whose backup this is.
    pub database_id: u64,
    /// The pgBackRest that made it.
    pub backrest_version: Arc<str>,
    /// First WAL segment needed; absent for offline backups.
    pub wal_start: Option<WalSegment>,
    /// Last WAL segment needed; absent for offline backups.
    pub wal_stop: Option<WalSegment>,
    /// WAL position at start.
    pub lsn_start: Option<Lsn>,
    /// WAL position at stop.
    pub lsn_stop: Option<Lsn>,
    /// Bytes in the database.
    pub size: u64,
    /// Bytes copied out of the database.
    pub delta: u64,
    /// Bytes in the repository that a restore reads; absent with block incremental.
    pub repo_size: Option<u64>,
    /// Bytes that this backup stored in the repository.
    pub repo_delta: u64,
    /// Bytes of block incremental maps; present only for block incremental backups.
    pub repo_size_map: Option<u64>,
    /// Bytes of block incremental maps that this backup stored.
    pub repo_delta_map: Option<u64>,
    /// The backup that this one was made against.
    pub prior: Option<String>,
    /// How many backups of each type this one needs: full, diff, incr.
    pub references: [u32; 3],
    /// Pages with a wrong checksum were found; absent before 2.36.
    pub error: Option<bool>,
    /// Number of annotations.
    pub annotations: u32,
    /// Number of databases, where it was asked for with `--set`.
    pub databases: Option<u32>,
}

/// What the configuration says of one stanza in one repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RepoSettings {
    /// `repoN-type`: posix, s3, azure, gcs, sftp, cifs; `tls` or `ssh` where `repoN-host` is set.
    pub storage: Option<String>,
    /// `repoN-retention-full` and its type.
    pub retention_full: Option<Retention>,
    /// `repoN-retention-diff`.
    pub retention_diff: Option<u32>,
    /// `repoN-retention-archive` and its type, or what follows from the others; absent where nothing here tells.
    pub retention_archive: Option<ArchiveRetention>,
    /// When credentials end.
    pub credentials: Vec<CredentialExpiry>,
}

/// How many or how long full backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// That many.
    Count(u32),
    /// For that many days.
    Days(u32),
}

/// The end of a credential's life. Holds nothing of the credential itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialExpiry {
    /// Which kind.
    pub kind: CredentialKind,
    /// When it ends.
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
    /// What options say; the ends of certificates that they name are not known here.
    #[must_use]
    pub fn of(options: &RepoOptions) -> Self {
        let signature = options.azure_sas_expiry;
        let signature =
            signature.map(|not_after| CredentialExpiry { kind: CredentialKind::AzureSas, not_after });
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
    /// The stanza of that name.
    #[must_use]
    pub fn stanza(&self, name: &str) -> Option<&Stanza> {
        self.stanzas.iter().find(|stanza| *stanza.name == *name)
    }
}

impl Stanza {
    /// The repository of that number.
    #[must_use]
    pub fn repo(&self, key: u32) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.key == key)
    }
}

impl Repo {
    /// The cluster that uses the stanza now.
    #[must_use]
    pub fn current_database(&self) -> Option<&Database> {
        self.databases.last()
    }

    /// Number of that cluster within the stanza; where clusters are not listed, the highest that a backup or WAL names.
    #[must_use]
    pub fn current_database_id(&self) -> Option<u64> {
        let named = || {
            let backups = self.backups.iter().map(|backup| backup.database_id);
            self.archives.iter().map(|archive| archive.database_id).chain(backups).max()
        };
        self.current_database().map(|database| database.id).or_else(named)
    }

    /// Something is known of what it holds, be it old.
    #[must_use]
    pub const fn has_facts(&self) -> bool {
        !(self.databases.is_empty() && self.archives.is_empty() && self.backups.is_empty())
    }

    /// It answered, and can take or holds backups.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, RepoState::Ok | RepoState::NoValidBackups)
    }

    /// The newest backup of exactly that type.
    #[must_use]
    pub fn newest(&self, backup_type: BackupType) -> Option<&Backup> {
        self.backups.iter().filter(|b| b.backup_type == backup_type).max_by_key(|b| b.stop)
    }
}
