//! What is to be tested, and how.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::state::proofs::{MAX_DATABASES, MAX_TEXT, Phase, Source};
use crate::state::turns::RepoWish;
use crate::text;

use super::assertion::Assertion;

/// A restore test as the user wants it.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone)]
pub struct Order {
    /// Where the database is.
    pub source: Source,
    pub stanza: String,
    pub repo: RepoWish,
    pub backup: BackupWish,
    pub target: TargetWish,
    /// The directory of PostgreSQL's programs; searched in the usual places if absent.
    pub programs: Option<PathBuf>,
    pub deadlines: Deadlines,
    pub space: SpaceLimits,
    pub process_max: Option<u32>,
    /// Databases to restore; all if empty.
    pub databases: Vec<String>,
    /// A superuser of the database.
    pub user: String,
    /// Settings of PostgreSQL, by name.
    pub settings: Vec<(String, String)>,
    /// Whether `pg_amcheck` runs.
    pub amcheck: bool,
    pub assertions: Vec<Assertion>,
    /// The user's program.
    pub hook: Option<PathBuf>,
    pub keeps_failed: bool,
    /// Whether to go on if the kernel cannot keep the copy from writing elsewhere.
    pub allows_unsandboxed: bool,
    /// Whether progress is shown.
    pub tells_progress: bool,
}

impl Order {
    /// The databases in the record, within its bounds.
    pub(super) fn named_databases(&self) -> Vec<String> {
        self.databases.iter().take(MAX_DATABASES).map(|name| text::one_line(name, MAX_TEXT)).collect()
    }
}

/// Which backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupWish {
    /// The newest one; for a point in time, the newest one that leads there.
    Latest,
    Oldest,
    Random,
    Label(String),
}

/// Which target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetWish {
    /// The end of the archived WAL.
    Latest,
    /// A random point in time in the recovery window, if that is proven.
    Random,
    /// The end of the backup.
    Immediate,
    Time(DateTime<Utc>),
}

/// How long phases may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Of the whole test, without its end: stopping PostgreSQL and removing the copy.
    pub total: Option<Duration>,
    pub restore: Duration,
    pub replay: Duration,
    /// For each check that is made while PostgreSQL runs, and for that of the pages.
    pub check: Duration,
}

/// How much space a test may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLimits {
    /// Bytes of the copy with its WAL.
    pub most: Option<u64>,
    /// Bytes that must remain free.
    pub reserve: u64,
}

impl Deadlines {
    /// PostgreSQL takes this long to stop only where a file system hangs.
    const STOP: Duration = Duration::from_mins(5);
    const CLEAN: Duration = Duration::from_mins(10);
    const PLAN: Duration = Duration::from_mins(2);

    #[must_use]
    pub const fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Plan => Self::PLAN,
            Phase::Restore => self.restore,
            Phase::Replay => self.replay,
            Phase::Check | Phase::Pages | Phase::Unknown => self.check,
            Phase::Stop => Self::STOP,
            Phase::Clean => Self::CLEAN,
        }
    }
}
