//! What the files of PostgreSQL and of pgBackRest's spool say at one time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::PushError;

/// What was read for one stanza. An error says why it could not be, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub at: DateTime<Utc>,
    /// The same by a clock that is never set.
    pub uptime: Duration,
    /// `archive-push-queue-max`, bytes.
    pub queue_limit: Option<u64>,
    /// `pg_wal/archive_status`.
    pub queue: Result<Queue, String>,
    /// The spool of asynchronous archiving. Without one, it is empty.
    pub spool: Result<Spool, String>,
}

/// The WAL files that wait to be archived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// How many.
    pub files: u64,
    /// There are more: not all could be counted.
    pub is_truncated: bool,
    /// This is a standby, and nothing has begun to wait since it became one: it does not archive, and does not wait.
    pub is_idle: bool,
    /// The one that is archived next.
    pub next: Option<Next>,
    /// Bytes of the next one, if it can be read.
    pub file_bytes: Option<u64>,
    /// PostgreSQL's system identifier in the next one, if it is a segment that can be read.
    pub system_id: Option<u64>,
}

/// The file that is archived next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    pub file: String,
    /// Since when it waits.
    pub since: Option<DateTime<Utc>>,
}

/// The spool of asynchronous archiving.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spool {
    /// Files that are done; absent if not all could be counted.
    pub pushed_files: Option<u64>,
    /// Files that are done because they were dropped.
    pub dropped: Option<DroppedFiles>,
    pub errors: Vec<PushError>,
}

/// Files that were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedFiles {
    /// The first by name.
    pub first: String,
    /// When the first one was dropped.
    pub first_at: DateTime<Utc>,
    /// When the last one was dropped.
    pub last_at: DateTime<Utc>,
}

impl Queue {
    /// As pgBackRest measures it: the size of the first file for each. Before 2.59 (pgBackRest commit 7fe363658), the asynchronous
    /// `archive-push` did not count files that it had pushed.
    #[must_use]
    pub const fn bytes(&self) -> Option<u64> {
        match self.file_bytes {
            _ if self.files == 0 => Some(0),
            Some(bytes) => Some(bytes.saturating_mul(self.files)),
            None => None,
        }
    }
}
