//! Records of restore tests: what was restored, how far it was recovered, what was checked, and how long it took.
//!
//! A record is one JSON document in a file of its own (see [`mod@file`]). Reading is tolerant: members that a newer version added are
//! ignored, words that it added are read as `Unknown`, and everything that may be missing is optional.

pub mod envelope;
pub mod file;
pub mod message;
pub mod reason;
pub mod record;
pub mod signed;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::Lsn;

use super::chain::Link;

pub use reason::{Reason, ReasonClass};
pub use record::{Record, RecordError};

/// The version of the format; increased when the meaning of a member changes.
pub const FORMAT: u32 = 1;
/// Bytes of a record. A writer keeps below this by limiting [`MAX_CHECKS`] and all texts.
pub const MAX_BYTES: usize = 256 << 10;
/// Bytes of a record as it is stored: in an envelope, it is larger by a third.
pub const MAX_STORED: usize = 352 << 10;
/// Checks in a record: the built-in ones, and the user's assertions.
pub const MAX_CHECKS: usize = 256;
/// Databases in a record.
pub const MAX_DATABASES: usize = 64;
/// Characters of a name or a message.
pub const MAX_TEXT: usize = 300;

/// One restore test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreTest {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    pub source: Source,
    pub stanza: String,
    /// Number of the repository.
    pub repo: u32,
    pub versions: Versions,
    pub start: DateTime<Utc>,
    pub stop: DateTime<Utc>,
    pub target: Target,
    /// The restored backup; absent if none was chosen.
    #[serde(default)]
    pub backup: Option<TestedBackup>,
    /// The databases that were restored besides `postgres` and templates; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// Where recovery ended; absent if PostgreSQL never became consistent.
    #[serde(default)]
    pub reached: Option<Position>,
    /// In the order in which they ran. The last one is where the test ended.
    #[serde(default)]
    pub phases: Vec<PhaseRun>,
    /// In the order in which they were made.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Bytes of the restored data directory and its tablespaces.
    #[serde(default)]
    pub restored_bytes: Option<u64>,
    /// WAL segments that PostgreSQL fetched from the archive.
    #[serde(default)]
    pub wal_segments: Option<u64>,
    /// Bytes of WAL between the start of the backup and [`Self::reached`].
    #[serde(default)]
    pub wal_bytes: Option<u64>,
    pub outcome: Outcome,
    /// Why it did not pass.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// Its place among the records of this kind and repository, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Link>,
}

/// Where the tested database is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// The pgBackRest of this host.
    Host,
    /// A cluster in Kubernetes.
    Cluster { namespace: String, pg_cluster: String },
}

/// The programs of a test. The last two are absent if the test ended before they were known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub keeper: String,
    /// With the name of the product, such as `pgBackRest 2.60.0`.
    #[serde(default)]
    pub pgbackrest: Option<String>,
    /// As `postgres --version` prints it, such as `15.14`.
    #[serde(default)]
    pub postgres: Option<String>,
}

/// What recovery was to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub kind: TargetKind,
    /// The point in time; for [`TargetKind::Time`] only.
    #[serde(default)]
    pub time: Option<DateTime<Utc>>,
    /// Whether the point in time was chosen at random.
    #[serde(default)]
    pub random: bool,
}

/// The kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// The end of the archived WAL.
    Latest,
    /// The end of the backup.
    Immediate,
    /// A point in time.
    Time,
    #[serde(other)]
    Unknown,
}

/// The restored backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedBackup {
    pub label: String,
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    pub start: DateTime<Utc>,
    pub stop: DateTime<Utc>,
    #[serde(default)]
    pub lsn_start: Option<Lsn>,
    #[serde(default)]
    pub lsn_stop: Option<Lsn>,
    /// Size of the database in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Bytes in the repository that a restore reads.
    #[serde(default)]
    pub repo_size: Option<u64>,
}

/// A point in the history of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// End of the replayed WAL.
    pub lsn: Lsn,
    #[serde(default)]
    pub timeline: Option<u32>,
    /// Time of the last replayed commit; absent if there was none since the start of the backup.
    #[serde(default)]
    pub last_commit: Option<DateTime<Utc>>,
}

/// One phase of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRun {
    pub phase: Phase,
    #[serde(rename = "duration_seconds", serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub duration: Duration,
    #[serde(rename = "deadline_seconds", serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub deadline: Duration,
}

/// The phases, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Choosing the backup and the target, and checking that there is room.
    Plan,
    /// `pgbackrest restore`.
    Restore,
    /// From the start of PostgreSQL to the target.
    Replay,
    /// Everything that is checked while PostgreSQL runs.
    Check,
    /// The shutdown of PostgreSQL.
    Stop,
    /// `pg_checksums`.
    Pages,
    /// Removing the copy.
    Clean,
    #[serde(other)]
    Unknown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub kind: CheckKind,
    /// The name of an assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub verdict: Verdict,
    /// Why it failed or was not made, and the remedy; or a remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The kinds of checks, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Recovery reached the target, and nothing after it was replayed.
    Target,
    /// `pg_dump` read every relation of every database.
    Relations,
    /// `pg_amcheck` found nothing in any database that has the extension.
    Amcheck,
    /// An assertion of the user.
    Assertion,
    /// The user's program.
    Hook,
    /// `pg_checksums` found no wrong page.
    Pages,
    #[serde(other)]
    Unknown,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    NotChecked,
    #[serde(other)]
    Unknown,
}

/// What came of a restore test, or of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No fault was found: the backup was restored, the target reached, and no check failed.
    Passed,
    /// The backup or the WAL is bad.
    Failed,
    /// It is not known whether they are: something else prevented the test.
    Inconclusive,
    /// A phase exceeded its deadline.
    TimedOut,
}

impl Record for RestoreTest {
    const NAME: &'static str = "restore test";
    const DIRECTORY: &'static str = "restore-tests";
    const FORMAT: u32 = FORMAT;

    fn stanza(&self) -> &str {
        &self.stanza
    }

    fn repo(&self) -> u32 {
        self.repo
    }

    fn start(&self) -> DateTime<Utc> {
        self.start
    }

    fn stop(&self) -> DateTime<Utc> {
        self.stop
    }

    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn chain(&mut self) -> &mut Option<Link> {
        &mut self.chain
    }
}

impl RestoreTest {
    /// A test that has begun, and has not shown anything yet.
    #[must_use]
    pub fn begun(
        source: Source,
        stanza: String,
        repo: u32,
        versions: Versions,
        target: Target,
        start: DateTime<Utc>,
    ) -> Self {
        Self {
            format: FORMAT,
            source,
            stanza,
            repo,
            versions,
            start,
            stop: start,
            target,
            backup: None,
            databases: Vec::new(),
            reached: None,
            phases: Vec::new(),
            checks: Vec::new(),
            restored_bytes: None,
            wal_segments: None,
            wal_bytes: None,
            outcome: Outcome::Inconclusive,
            reason: None,
            chain: None,
        }
    }

    /// Whether all databases were restored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.databases.is_empty()
    }

    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        (self.stop - self.start).to_std().ok()
    }

    /// How long a phase took; None if it did not run.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.phases.iter().find(|run| run.phase == phase).map(|run| run.duration)
    }
}

impl Phase {
    pub const ALL: [Self; 7] =
        [Self::Plan, Self::Restore, Self::Replay, Self::Check, Self::Stop, Self::Pages, Self::Clean];

    /// The name in records, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Restore => "restore",
            Self::Replay => "replay",
            Self::Check => "check",
            Self::Stop => "stop",
            Self::Pages => "pages",
            Self::Clean => "clean",
            Self::Unknown => "unknown",
        }
    }
}

impl CheckKind {
    pub const ALL: [Self; 6] =
        [Self::Target, Self::Relations, Self::Amcheck, Self::Assertion, Self::Hook, Self::Pages];

    /// The name in records, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Relations => "relations",
            Self::Amcheck => "amcheck",
            Self::Assertion => "assertion",
            Self::Hook => "hook",
            Self::Pages => "pages",
            Self::Unknown => "unknown",
        }
    }
}

impl Verdict {
    /// The name in records, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "not_checked",
            Self::Unknown => "unknown",
        }
    }
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::Inconclusive, Self::TimedOut];

    /// The name in records, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::TimedOut => "timed_out",
        }
    }
}

/// To the millisecond.
pub(super) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

pub(super) fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
