//! A backup in a repository.

use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::{fmt, slice};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use crate::pgbackrest::exit_code::Reason;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::{Lsn, WalSegment};

/// The backups of a repository, oldest first, in pgBackRest's order. Cheap to clone; copied when a clone is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Backups(Arc<Vec<Backup>>);

impl From<Vec<Backup>> for Backups {
    fn from(backups: Vec<Backup>) -> Self {
        Self(Arc::new(backups))
    }
}

impl FromIterator<Backup> for Backups {
    fn from_iter<I: IntoIterator<Item = Backup>>(backups: I) -> Self {
        Vec::from_iter(backups).into()
    }
}

impl Deref for Backups {
    type Target = Vec<Backup>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Backups {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a> IntoIterator for &'a Backups {
    type Item = &'a Backup;
    type IntoIter = slice::Iter<'a, Backup>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One backup in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Shared with what is concluded about it, and with the backups that depend on it.
    pub label: Arc<str>,
    pub backup_type: BackupType,
    pub start: DateTime<Utc>,
    pub stop: DateTime<Utc>,
    /// The database of the backup.
    pub database_id: u64,
    /// The version of pgBackRest that made it.
    pub backrest_version: Arc<str>,
    /// The first required WAL segment; absent for offline backups.
    pub wal_start: Option<WalSegment>,
    /// The last required WAL segment; absent for offline backups.
    pub wal_stop: Option<WalSegment>,
    /// WAL position at start.
    pub lsn_start: Option<Lsn>,
    /// WAL position at stop.
    pub lsn_stop: Option<Lsn>,
    /// Size of the database in bytes, if pgBackRest reports it.
    pub size: Option<ByteCount>,
    /// Bytes copied from the database, if pgBackRest reports them.
    pub delta: Option<ByteCount>,
    /// Bytes in the repository that a restore reads; absent with block incremental.
    pub repo_size: Option<ByteCount>,
    /// Bytes that this backup stored in the repository, if pgBackRest reports them.
    pub repo_delta: Option<ByteCount>,
    /// Bytes of block incremental maps; present only for block incremental backups.
    pub repo_size_map: Option<ByteCount>,
    /// Bytes of block incremental maps that this backup stored.
    pub repo_delta_map: Option<ByteCount>,
    /// The prior backup.
    pub prior: Option<Arc<str>>,
    /// The number of required backups of each type: full, diff, incr.
    pub references: [u32; 3],
    /// Whether page checksum errors were found; absent before 2.36.
    pub error: Option<bool>,
    /// Number of annotations.
    pub annotations: u32,
    /// Number of databases, if queried with `--set`.
    pub databases: Option<u32>,
}

/// A number of bytes; an optional one takes no more memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ByteCount(NonZeroU64);

impl ByteCount {
    /// None for 2^64 - 1, which is no size of anything.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        match NonZeroU64::new(!bytes) {
            Some(complement) => Some(Self(complement)),
            None => None,
        }
    }

    #[must_use]
    pub const fn get(self) -> u64 {
        !self.0.get()
    }
}

impl From<ByteCount> for u64 {
    fn from(count: ByteCount) -> Self {
        count.get()
    }
}

impl fmt::Debug for ByteCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}

impl Serialize for ByteCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl Backup {
    /// How long it took; None if the clock went back in the meantime.
    #[must_use]
    pub fn duration(&self) -> Option<TimeDelta> {
        Some(self.stop - self.start).filter(|duration| *duration >= TimeDelta::zero())
    }
}

/// An attempt to make a backup that has ended, seen on the host where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupAttempt {
    pub evidence: AttemptEvidence,
    /// As requested, if that is known.
    pub backup_type: Option<BackupType>,
    /// The start, or when it was first seen.
    pub began: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// Absent if the backup was made.
    pub failure: Option<AttemptFailure>,
}

/// Where an attempt was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptEvidence {
    /// pgBackRest's log file.
    Log,
    /// A lock with progress that was released without a new backup.
    Lock,
    /// The backup itself.
    Backup,
}

/// Why no backup was made, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AttemptFailure {
    pub reason: Option<Reason>,
    pub exit_code: Option<i32>,
    /// pgBackRest's error on one line, redacted.
    pub message: Option<String>,
}

/// A running backup that was seen by its lock, with what is needed to determine its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedBackup {
    pub since: DateTime<Utc>,
    /// The newest backup of the repository at that time.
    pub newest: Option<Arc<str>>,
    /// When the lock was first seen released. A later answer shows whether there is a new backup.
    pub released: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::ByteCount;

    #[test]
    fn every_size_is_kept_in_eight_bytes() {
        assert_eq!(size_of::<Option<ByteCount>>(), 8);
        for bytes in [0, 1, u64::MAX - 1] {
            assert_eq!(ByteCount::new(bytes).map(ByteCount::get), Some(bytes));
        }
        assert_eq!(ByteCount::new(u64::MAX), None);
    }
}
