//! The relevant contents of a CronJob and a Job.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::label::BackupType;

/// The key of a cluster. Cheap to clone: every fact contains it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ClusterKey {
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// The repo and the type of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub repo_key: u32,
    /// The requested type; without a prior backup, pgBackRest makes a full one.
    pub backup_type: BackupType,
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "repo{} {}", self.repo_key, self.backup_type.as_str())
    }
}

/// Whether a CronJob is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// Not suspended.
    None,
    /// Suspended by this program, which reports the reason elsewhere.
    Ours,
    /// Suspended by a user.
    Others,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronFact {
    pub cluster: ClusterKey,
    pub slot: Slot,
    pub uid: Box<str>,
    pub name: Box<str>,
    /// `schedule`, verbatim.
    pub expression: Box<str>,
    /// `timeZone`, verbatim; absent if that of the CronJob controller applies.
    pub time_zone: Option<Box<str>>,
    /// Whether it is suspended.
    pub suspension: Suspension,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// The deadline of its Jobs.
    pub deadline: Option<TimeDelta>,
    /// When one of its Jobs last succeeded, according to its status; the Job may be deleted.
    pub last_success: Option<DateTime<Utc>>,
}

/// How a Job was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// By its schedule.
    Schedule,
    /// By a user, or outside of the schedule.
    Manual,
}

impl Trigger {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFact {
    pub cluster: ClusterKey,
    pub slot: Slot,
    pub uid: Box<str>,
    /// How it was started.
    pub trigger: Trigger,
    /// When its first pod was created; absent if it is waiting.
    pub started: Option<DateTime<Utc>>,
    /// Number of failed pods.
    pub failed_pods: u64,
    /// Number of succeeded pods.
    pub succeeded_pods: u64,
    /// Its end, if it has finished.
    pub end: Option<JobEnd>,
}

impl JobFact {
    /// Its duration, if it has finished.
    #[must_use]
    pub fn duration(&self) -> Option<TimeDelta> {
        let length = self.end.as_ref()?.at - self.started?;
        (length >= TimeDelta::zero()).then_some(length)
    }
}

/// The end of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// The time.
    pub at: DateTime<Utc>,
    /// The failure, unless it succeeded.
    pub failure: Option<JobFailure>,
}

/// Why a Job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobFailure {
    /// The bounded reason.
    pub reason: &'static str,
    /// The exit code of the container of its last pod, if it has terminated.
    pub exit_code: Option<i32>,
}
