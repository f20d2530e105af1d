//! What a CronJob and a Job say, and no more of it than is needed.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::label::BackupType;

/// A cluster of the fleet. Cheap to copy: each of its facts names it.
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

/// What a run backs up to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub repo_key: u32,
    /// The type that is asked for; pgBackRest makes a full backup where there is none to build on.
    pub backup_type: BackupType,
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "repo{} {}", self.repo_key, self.backup_type.as_str())
    }
}

/// Whether a CronJob starts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// It starts Jobs.
    None,
    /// This program has suspended it, and tells elsewhere why.
    Ours,
    /// Somebody else has.
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
    /// `timeZone`, verbatim; absent where that of Kubernetes' controller holds.
    pub time_zone: Option<Box<str>>,
    /// Whether it starts nothing.
    pub suspension: Suspension,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// How long each of its Jobs may take.
    pub deadline: Option<TimeDelta>,
    /// When a Job of it last succeeded, as Kubernetes remembers; the Job may be gone.
    pub last_success: Option<DateTime<Utc>>,
}

/// Why a Job was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// Its time had come.
    Schedule,
    /// A person, or an order outside of the schedule.
    Manual,
}

impl Trigger {
    /// The word for a label.
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
    /// Why it was made.
    pub trigger: Trigger,
    /// When its first pod was to start; absent for one that waits.
    pub started: Option<DateTime<Utc>>,
    /// Pods that have failed so far.
    pub failed_pods: u64,
    /// Pods that have succeeded so far.
    pub succeeded_pods: u64,
    /// Its end, if it has ended.
    pub end: Option<JobEnd>,
}

impl JobFact {
    /// How long it took, if it has ended.
    #[must_use]
    pub fn duration(&self) -> Option<TimeDelta> {
        let length = self.end.as_ref()?.at - self.started?;
        (length >= TimeDelta::zero()).then_some(length)
    }
}

/// The end of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// When.
    pub at: DateTime<Utc>,
    /// Absent where it succeeded.
    pub failure: Option<Failure>,
}

/// Why a Job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// In a word of a bounded list.
    pub reason: &'static str,
    /// Of the container of its last pod; absent where none has ended.
    pub exit_code: Option<i32>,
}
