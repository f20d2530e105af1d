//! The files of PostgreSQL and of pgBackRest's spool at one time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::PushError;

/// The files of one stanza. An error contains the reason why they could not be read, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub at: DateTime<Utc>,
    /// The pod whose files were read; none on this host, or without a pod.
    pub pod: Option<Arc<str>>,
    /// The same by a monotonic clock.
    pub uptime: Duration,
    /// `archive-push-queue-max`, bytes.
    pub queue_limit: Option<u64>,
    /// `pg_wal/archive_status`.
    pub queue: Result<Queue, String>,
    /// The spool of asynchronous archiving; empty if it does not exist.
    pub spool: Result<Spool, String>,
}

/// The WAL files that are waiting to be archived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// How many.
    pub files: u64,
    /// Whether there are more than could be counted.
    pub is_truncated: bool,
    /// Whether this is a standby that does not archive: no file has been added since it became one.
    pub is_idle: bool,
    /// The file that is archived next.
    pub next: Option<Next>,
    /// Bytes of the next file, if it can be read.
    pub file_bytes: Option<u64>,
    /// PostgreSQL's system identifier in the next file, if it is a readable segment.
    pub system_id: Option<u64>,
}

/// The file that is archived next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    pub file: String,
    /// When it started waiting.
    pub since: Option<DateTime<Utc>>,
}

/// The spool of asynchronous archiving.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spool {
    /// Number of `.ok` files; absent if not all could be counted.
    pub pushed_files: Option<u64>,
    /// Dropped files according to `.ok` files.
    pub dropped: Option<DroppedFiles>,
    pub errors: Vec<PushError>,
}

/// Dropped files.
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
    /// As pgBackRest computes it: the size of the first file for each. Before 2.59 (pgBackRest commit 7fe363658), the asynchronous
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
