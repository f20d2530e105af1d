//! Everything that is known about a verification: what pgBackRest printed, and what `info` lists. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::pgbackrest::verify::{Log, LogFault, Place, Report};
use crate::pgbackrest::version::Version;
use crate::pgbackrest::wal::WalSegment;
use crate::state::faults::{self, Reading};
use crate::state::proofs::{MAX_TEXT, Outcome, ReasonClass};
use crate::state::snapshot::Backup;
use crate::state::verification::Cause;
use crate::text;

/// A backup that was listed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Whether pgBackRest before 2.47 looks for its files under wrong names (pgBackRest commit cdb7e2635).
    pub(super) has_block_files: bool,
    pub(super) prior: Option<String>,
    pub(super) database_id: u64,
    pub(super) wal: Option<(WalSegment, WalSegment)>,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// None if there is no result.
    pub(super) report: Option<&'a Report>,
    pub(super) log: &'a Log,
    /// Whether nothing of the log was dropped.
    pub(super) is_log_whole: bool,
    /// Why there is no result.
    pub(super) failure: Option<Cause>,
    pub(super) stanza: &'a str,
    /// The backups that were to be verified, by label.
    pub(super) before: &'a BTreeMap<String, Listed>,
    /// The backups that are listed now; None if unknown.
    pub(super) after: Option<&'a BTreeSet<String>>,
    pub(super) version: Option<Version>,
}

/// Why it did not pass, faults first.
#[derive(Debug, Default)]
pub(super) struct Causes(Vec<Cause>);

impl Causes {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, cause: Cause) {
        self.0.push(cause);
    }

    pub(super) fn add(&mut self, class: ReasonClass, message: impl AsRef<str>) {
        self.0.push(Cause { class, message: text::one_line(message.as_ref(), MAX_TEXT) });
    }

    pub(super) fn first(self) -> Option<Cause> {
        let is_fault = |cause: &Cause| cause.class.outcome() == Outcome::Failed;
        let fault = self.0.iter().find(|cause| is_fault(cause)).cloned();
        fault.or_else(|| self.0.into_iter().next())
    }
}

impl Listed {
    pub(super) fn of(backup: &Backup) -> Self {
        Self {
            has_block_files: backup.repo_size_map.is_some() || backup.repo_delta_map.is_some(),
            prior: backup.prior.as_deref().map(str::to_owned),
            database_id: backup.database_id,
            wal: backup.wal_start.zip(backup.wal_stop),
        }
    }
}

impl Evidence<'_> {
    /// Whether a backup is listed now; None if unknown.
    pub(super) fn is_listed(&self, label: &str) -> Option<bool> {
        self.after.map(|after| after.contains(label))
    }

    /// Whether the repository was verified, and all of the result is known.
    pub(super) fn is_verified(&self) -> bool {
        let is_complete = |report: &Report| report.obstacle.is_none() && report.is_understood();
        self.report.is_some_and(|report| report.stanza == self.stanza && is_complete(report))
    }

    /// The class of errors that are not the fault of the files. None if one is.
    pub(super) fn other_class(&self, reading: Reading) -> Option<ReasonClass> {
        let is_here = |path: &str| match Place::of(path) {
            Some(Place::Backup(_)) => reading == Reading::Backup,
            Some(Place::Archive) => reading == Reading::Wal,
            None => false,
        };
        let files = self.log.files.iter().filter(|file| is_here(&file.path));
        let codes = files.filter_map(|file| match file.fault {
            LogFault::Other(code) => Some(code),
            _ => None,
        });
        let mut class = None;
        for code in codes {
            if is_damage(code, reading) {
                return None;
            }
            class = class.or(code.map(|code| faults::of_exit(code, reading)));
        }
        Some(class.unwrap_or(ReasonClass::Unclassified))
    }
}

/// Whether this error is the fault of the file.
pub(super) fn is_damage(code: Option<i32>, reading: Reading) -> bool {
    code.is_some_and(|code| faults::of_exit(code, reading).outcome() == Outcome::Failed)
}
