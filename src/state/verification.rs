//! Records of verifications: which backups and WAL were read, what is missing or damaged, and how long it took.
//!
//! A record is stored like that of a restore test ([`super::proofs`]), and read as tolerantly.

mod message;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::pgbackrest::verify::FileCounts;

use super::chain::Link;
use super::proofs::{Outcome, ReasonClass, Record, Source, Versions, from_seconds, seconds};

/// The version of the format; increased when the meaning of a member changes.
pub const FORMAT: u32 = 1;
/// Backups with a fault in a record.
pub const MAX_BACKUPS: usize = 200;
/// Archives in a record.
pub const MAX_ARCHIVES: usize = 50;
/// Files with a fault in a record.
pub const MAX_FILES: usize = 100;

/// One verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    pub source: Source,
    pub stanza: String,
    /// Number of the repository.
    pub repo: u32,
    pub versions: Versions,
    pub start: DateTime<Utc>,
    pub stop: DateTime<Utc>,
    /// How long it was allowed to take.
    #[serde(rename = "timeout_seconds", serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub timeout: Duration,
    /// The label of the only backup that was verified; everything was if absent.
    #[serde(default)]
    pub set: Option<String>,
    /// What was read; absent if pgBackRest gave no result.
    #[serde(default)]
    pub totals: Option<Totals>,
    /// Backups that were not found to be valid, at most [`MAX_BACKUPS`].
    #[serde(default)]
    pub backups: Vec<BackupResult>,
    /// The WAL of each database, at most [`MAX_ARCHIVES`].
    #[serde(default)]
    pub archives: Vec<ArchiveResult>,
    /// Files that are missing or damaged, at most [`MAX_FILES`].
    #[serde(default)]
    pub files: Vec<FileResult>,
    /// Faults of files that are not listed.
    #[serde(default)]
    pub more_faults: u64,
    pub outcome: Outcome,
    /// Why it did not pass.
    #[serde(default)]
    pub reason: Option<Cause>,
    /// Its place among the records of this kind and repository, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Link>,
}

/// Why a verification did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub class: ReasonClass,
    /// What was found and the remedy, on one line, without secrets.
    pub message: String,
}

/// What was read of backups that exist, and of WAL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Backups that were verified.
    pub backups: u64,
    /// Those without a fault.
    pub valid_backups: u64,
    /// Files of backups. A file that several backups share counts for each.
    pub files: Files,
    /// WAL segments.
    pub wal: Files,
}

/// Files by what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    pub checked: u64,
    pub valid: u64,
    pub missing: u64,
    pub checksum: u64,
    pub size: u64,
    /// They could not be read to the end.
    pub other: u64,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupResult {
    pub label: String,
    pub state: BackupState,
    #[serde(default)]
    pub files: Files,
}

/// What is wrong with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    /// Files are missing or damaged, or the manifest cannot be used.
    Invalid,
    /// It is listed, but its manifest or all of it is missing.
    Missing,
    /// It depends on a backup with a fault, so it may lack files. pgBackRest does not tell whether it does if they are bundled.
    Dependent,
    /// It was removed in the meantime, probably by `expire`. This is no fault.
    Expired,
    /// pgBackRest reports faults that it may only have imagined.
    Doubtful,
    #[serde(other)]
    Unknown,
}

/// The WAL of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveResult {
    /// Such as `15-1`.
    pub id: String,
    pub files: Files,
    /// Segments with several files of different content.
    #[serde(default)]
    pub duplicates: u64,
    /// Places within a timeline where segments are missing, which may be older than what is kept; absent if unknown.
    #[serde(default)]
    pub gaps: Option<u64>,
}

/// One file that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileResult {
    /// Below the backups or the archive of the stanza.
    pub path: String,
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFault {
    Missing,
    Checksum,
    Size,
    Other,
    #[serde(other)]
    Unknown,
}

impl Record for Verification {
    const NAME: &'static str = "verification";
    const DIRECTORY: &'static str = "verifications";
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

impl Verification {
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        (self.stop - self.start).to_std().ok()
    }

    /// Whether everything in the repository was to be verified.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.set.is_none()
    }
}

impl Files {
    /// Each result with its name, which is the label value.
    #[must_use]
    pub const fn by_result(&self) -> [(&'static str, u64); 5] {
        [
            ("valid", self.valid),
            ("missing", self.missing),
            ("checksum", self.checksum),
            ("size", self.size),
            ("other", self.other),
        ]
    }
}

impl From<FileCounts> for Files {
    fn from(counts: FileCounts) -> Self {
        let FileCounts { checked, valid, missing, checksum, size, other } = counts;
        Self { checked, valid, missing, checksum, size, other }
    }
}

impl BackupState {
    /// The name in records, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::Dependent => "dependent",
            Self::Expired => "expired",
            Self::Doubtful => "doubtful",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is the fault of the backup.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Invalid | Self::Missing)
    }
}

impl FileFault {
    /// The name in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Checksum => "checksum",
            Self::Size => "size",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{day, verification};
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for outcome in Outcome::ALL {
            let record = verification(day(1), outcome);
            let document = record.document().unwrap();
            assert_eq!(Verification::parse(document.as_bytes()), Ok(record), "{document}");
        }
    }

    #[test]
    fn words_of_a_newer_version_are_unknown() {
        let mut value = serde_json::to_value(verification(day(1), Outcome::Failed)).unwrap();
        value["backups"][0]["state"] = "splendid".into();
        value["files"][0]["fault"] = "splendid".into();
        value["totals"]["wal"] = serde_json::json!({"checked": 7});
        value["more"] = 1.into();
        let read = Verification::parse(value.to_string().as_bytes()).unwrap();
        assert_eq!(
            (read.backups[0].state, read.files[0].fault, read.totals.unwrap().wal),
            (BackupState::Unknown, FileFault::Unknown, Files { checked: 7, ..Files::default() })
        );
    }

    #[test]
    fn every_word_is_written_as_it_is_labelled() {
        let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        let states = [
            BackupState::Invalid,
            BackupState::Missing,
            BackupState::Dependent,
            BackupState::Expired,
            BackupState::Doubtful,
        ];
        for state in states {
            assert_eq!(word(serde_json::to_value(state).unwrap()), state.as_str());
        }
        for fault in [FileFault::Missing, FileFault::Checksum, FileFault::Size, FileFault::Other] {
            assert_eq!(word(serde_json::to_value(fault).unwrap()), fault.as_str());
        }
    }
}
