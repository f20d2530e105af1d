//! What a verification found. Pure.
//!
//! pgBackRest's own verdict is not enough: to it, a listed backup whose manifest or directory is missing is no error, nor is WAL that a
//! backup needs and that is not there; and a backup that `expire` removes in the meantime is one.

use crate::pgbackrest::verify::{BackupStatus, FileCounts, LogFault, Obstacle, Report, Status};
use crate::state::proofs::{Outcome, ReasonClass};
use crate::state::verification::{
    ArchiveResult, BackupResult, BackupState, Cause, FileFault, FileResult, MAX_BACKUPS, MAX_FILES, Totals,
};

use super::evidence::{Causes, Evidence};
use super::{backups, wal};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) totals: Option<Totals>,
    pub(super) backups: Vec<BackupResult>,
    pub(super) archives: Vec<ArchiveResult>,
    pub(super) files: Vec<FileResult>,
    pub(super) more_faults: u64,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Cause>,
}

/// Whether it matters which backups are listed now: something seems to be wrong with one.
pub(super) fn has_doubts(evidence: &Evidence<'_>) -> bool {
    let after = evidence.before.keys().cloned().collect();
    let failure = evidence.failure.clone();
    let judgement = judge(&Evidence { after: Some(&after), failure, ..*evidence });
    let mut reported = evidence.report.into_iter().flat_map(|report| &report.backups);
    judgement.outcome == Outcome::Failed
        || !judgement.backups.is_empty()
        || reported.any(|backup| backup.status == BackupStatus::Invalid)
}

/// Judges. A fault is never hidden by something else that went wrong.
pub(super) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let mut causes = Causes::default();
    let mut backups = backups::find(evidence, &mut causes);
    let archives = wal::find(evidence, &mut causes);
    wal::needed(evidence, &backups, &mut causes);
    other_faults(evidence, &backups, &mut causes);
    let log = evidence.log;
    let listed = log.files.iter().take(MAX_FILES).map(|file| FileResult {
        path: file.path.clone(),
        fault: match file.fault {
            LogFault::Missing => FileFault::Missing,
            LogFault::Checksum => FileFault::Checksum,
            LogFault::Size => FileFault::Size,
            LogFault::Other(_) => FileFault::Other,
        },
    });
    let totals = evidence.report.map(|report| totals(report, &backups, evidence));
    backups.truncate(MAX_BACKUPS);
    let reason = causes.first();
    Judgement {
        totals,
        backups,
        archives,
        files: listed.collect(),
        more_faults: log.more_faults,
        outcome: reason.as_ref().map_or(Outcome::Passed, |reason| reason.class.outcome()),
        reason,
    }
}

/// Everything that is not about single files.
fn other_faults(evidence: &Evidence<'_>, found: &[BackupResult], causes: &mut Causes) {
    let Some(report) = evidence.report else {
        let failure = evidence.failure.clone();
        causes.push(failure.unwrap_or_else(|| Cause {
            class: ReasonClass::Unclassified,
            message: "pgbackrest verify printed no result".to_owned(),
        }));
        return;
    };
    if report.stanza != evidence.stanza {
        causes.add(ReasonClass::Unclassified, "pgbackrest verify printed a result of another stanza");
        return;
    }
    if let Some(obstacle) = report.obstacle {
        let (class, message) = match obstacle {
            Obstacle::BackupInfo | Obstacle::ArchiveInfo if evidence.log.has_trouble => {
                (ReasonClass::Repository, "backup.info or archive.info could not be read; check the storage")
            }
            Obstacle::BackupInfo => {
                (ReasonClass::DamagedBackup, "backup.info and its copy are missing or damaged")
            }
            Obstacle::ArchiveInfo => {
                (ReasonClass::DamagedWal, "archive.info and its copy are missing or damaged")
            }
            Obstacle::Mismatch => {
                (ReasonClass::Mismatch, "backup.info and archive.info belong to different databases")
            }
            Obstacle::Empty => (ReasonClass::NoBackup, "the repository contains neither backups nor WAL"),
            Obstacle::Set if evidence.before.keys().any(|label| evidence.is_listed(label) == Some(true)) => {
                (ReasonClass::MissingBackup, "the backup is listed, but missing")
            }
            Obstacle::Set => {
                (ReasonClass::Expired, "the backup was removed in the meantime, probably by expire")
            }
        };
        causes.add(class, message);
        return;
    }
    if !report.is_understood() {
        let message = "pgbackrest verify printed a result that this version does not understand; update pgbackrest-keeper";
        causes.add(ReasonClass::Unclassified, message);
        return;
    }
    if evidence.log.has_unlisted_archives {
        let message = "the repository contains WAL of a database that archive.info does not list";
        causes.add(ReasonClass::Mismatch, message);
    }
    let is_expired = |backup: &BackupResult| backup.state == BackupState::Expired;
    if evidence
        .before
        .keys()
        .all(|label| found.iter().any(|backup| backup.label == *label && is_expired(backup)))
    {
        causes.add(ReasonClass::Expired, "all backups were removed in the meantime, probably by expire");
    } else if report.status == Some(Status::Error) && causes.is_empty() && !explains_error(evidence, found) {
        let message =
            "pgbackrest verify reports an error of a kind that is not known; run it by hand to see it";
        causes.add(ReasonClass::Unclassified, message);
    }
}

/// Whether backups that are not, or no longer, listed explain why pgBackRest reports an error.
fn explains_error(evidence: &Evidence<'_>, found: &[BackupResult]) -> bool {
    let is_expired = found.iter().any(|backup| backup.state == BackupState::Expired);
    let backups = evidence.report.into_iter().flat_map(|report| &report.backups);
    let mut faulty = backups.filter(|backup| backup.status == BackupStatus::Invalid);
    is_expired || faulty.any(|backup| !evidence.before.contains_key(&backup.label))
}

fn totals(report: &Report, found: &[BackupResult], evidence: &Evidence<'_>) -> Totals {
    let state = |label: &str| found.iter().find(|backup| backup.label == label).map(|backup| backup.state);
    let is_gone = |label: &str| state(label) == Some(BackupState::Expired);
    let mut files = FileCounts::default();
    for backup in &report.backups {
        let counts = evidence.before.contains_key(&backup.label) || state(&backup.label).is_some();
        if counts && !is_gone(&backup.label) {
            files.add(&backup.files);
        }
    }
    let mut wal = FileCounts::default();
    report.archives.iter().for_each(|archive| wal.add(&archive.files));
    let is_verified = evidence.is_verified();
    let existing = evidence.before.keys().filter(|label| is_verified && !is_gone(label));
    let valid = existing.clone().filter(|label| state(label).is_none());
    Totals {
        backups: existing.count() as u64,
        valid_backups: valid.count() as u64,
        files: files.into(),
        wal: wal.into(),
    }
}

#[cfg(test)]
mod tests;
