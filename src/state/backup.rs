//! A backup, as everything that judges backups sees it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::{Lsn, WalSegment};

/// One backup in one repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backup {
    pub label: String,
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

impl Backup {
    /// How long it took; None where the clock went back meanwhile.
    #[must_use]
    pub fn duration(&self) -> Option<TimeDelta> {
        Some(self.stop - self.start).filter(|duration| *duration >= TimeDelta::zero())
    }
}
