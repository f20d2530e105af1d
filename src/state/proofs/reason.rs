//! Why a restore test did not pass.

use serde::{Deserialize, Serialize};

use super::{Outcome, Phase};

/// Why a test did not pass, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub class: ReasonClass,
    pub phase: Phase,
    /// What was found and the remedy, on one line, without secrets.
    pub message: String,
}

/// The class of a reason, as a label. It determines the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonClass {
    /// The repository answers, and has no backup that could be restored.
    NoBackup,
    /// Files of the backup are missing.
    MissingBackup,
    /// A file of the backup is damaged.
    DamagedBackup,
    /// A WAL segment or a history file that recovery needs is missing.
    MissingWal,
    /// A WAL segment is damaged.
    DamagedWal,
    /// The repository cannot be decrypted with the configured passphrase.
    WrongPassphrase,
    /// Backup, WAL and database do not belong together.
    Mismatch,
    /// Recovery ended elsewhere than at the target.
    WrongTarget,
    /// Pages of the restored database have wrong checksums.
    DamagedPages,
    /// A relation cannot be read.
    UnreadableRelation,
    /// `pg_amcheck` found corruption.
    CorruptRelation,
    /// An assertion of the user does not hold.
    Assertion,
    /// The user's program exited with an error.
    Hook,

    /// There is not enough space.
    NoSpace,
    /// PostgreSQL needs a library that is not installed here.
    MissingLibrary,
    /// PostgreSQL's programs of the version of the backup are not installed here.
    MissingPrograms,
    /// A file or directory may not be read or written.
    Permission,
    /// The repository, its host or the network does not answer.
    Repository,
    /// The configuration or the command line is wrong.
    Configuration,
    /// `expire` removed the backup during the test.
    Expired,
    /// The target lies outside of what can be recovered, or cannot be proven.
    UnreachableTarget,
    /// WAL since the backup creates a tablespace outside of the copy, where the original database has it.
    Tablespace,
    /// The settings of the copy are too small for the WAL, or are refused by PostgreSQL.
    Settings,
    /// The test was interrupted by a signal.
    Interrupted,
    /// A phase exceeded its deadline.
    Deadline,

    /// An error that is not known to be caused by the backup, or by anything else.
    #[serde(other)]
    Unclassified,
}

impl ReasonClass {
    pub const ALL: [Self; 26] = [
        Self::NoBackup,
        Self::MissingBackup,
        Self::DamagedBackup,
        Self::MissingWal,
        Self::DamagedWal,
        Self::WrongPassphrase,
        Self::Mismatch,
        Self::WrongTarget,
        Self::DamagedPages,
        Self::UnreadableRelation,
        Self::CorruptRelation,
        Self::Assertion,
        Self::Hook,
        Self::NoSpace,
        Self::MissingLibrary,
        Self::MissingPrograms,
        Self::Permission,
        Self::Repository,
        Self::Configuration,
        Self::Expired,
        Self::UnreachableTarget,
        Self::Tablespace,
        Self::Settings,
        Self::Interrupted,
        Self::Deadline,
        Self::Unclassified,
    ];

    /// The name in records, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoBackup => "no_backup",
            Self::MissingBackup => "missing_backup",
            Self::DamagedBackup => "damaged_backup",
            Self::MissingWal => "missing_wal",
            Self::DamagedWal => "damaged_wal",
            Self::WrongPassphrase => "wrong_passphrase",
            Self::Mismatch => "mismatch",
            Self::WrongTarget => "wrong_target",
            Self::DamagedPages => "damaged_pages",
            Self::UnreadableRelation => "unreadable_relation",
            Self::CorruptRelation => "corrupt_relation",
            Self::Assertion => "assertion",
            Self::Hook => "hook",
            Self::NoSpace => "no_space",
            Self::MissingLibrary => "missing_library",
            Self::MissingPrograms => "missing_programs",
            Self::Permission => "permission",
            Self::Repository => "repository",
            Self::Configuration => "configuration",
            Self::Expired => "expired",
            Self::UnreachableTarget => "unreachable_target",
            Self::Tablespace => "tablespace",
            Self::Settings => "settings",
            Self::Interrupted => "interrupted",
            Self::Unclassified => "unclassified",
            Self::Deadline => "deadline",
        }
    }

    /// Only what the backup or the WAL is to blame for is a failure.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::NoBackup
            | Self::MissingBackup
            | Self::DamagedBackup
            | Self::MissingWal
            | Self::DamagedWal
            | Self::WrongPassphrase
            | Self::Mismatch
            | Self::WrongTarget
            | Self::DamagedPages
            | Self::UnreadableRelation
            | Self::CorruptRelation
            | Self::Assertion
            | Self::Hook => Outcome::Failed,
            Self::NoSpace
            | Self::MissingLibrary
            | Self::MissingPrograms
            | Self::Permission
            | Self::Repository
            | Self::Configuration
            | Self::Expired
            | Self::UnreachableTarget
            | Self::Tablespace
            | Self::Settings
            | Self::Interrupted
            | Self::Unclassified => Outcome::Inconclusive,
            Self::Deadline => Outcome::TimedOut,
        }
    }
}
