//! Which backups have faults. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::pgbackrest::verify::{BackupReport, BackupStatus, LogFault, Place, Report};
use crate::pgbackrest::version::Version;
use crate::state::faults::Reading;
use crate::state::human;
use crate::state::proofs::ReasonClass;
use crate::state::verification::{BackupResult, BackupState, Files};

use super::evidence::{Causes, Evidence, is_damage};

/// Labels in a message.
const NAMED: usize = 2;

/// The backups that were not found to be valid.
pub(super) fn find(evidence: &Evidence<'_>, causes: &mut Causes) -> Vec<BackupResult> {
    let reported = reported(evidence.report);
    // A backup that was completed in the meantime need not be verified, but its faults count.
    let is_new =
        |label: &&&str| !evidence.before.contains_key(**label) && evidence.is_listed(label) == Some(true);
    let new = reported.keys().filter(is_new).copied();
    let labels: BTreeSet<&str> = evidence.before.keys().map(String::as_str).chain(new).collect();
    let mut found = Vec::new();
    for label in labels {
        let report = reported.get(label).copied();
        let state = match evidence.report {
            Some(_) => state(evidence, label, report),
            None => named_state(evidence, label),
        };
        if let Some(state) = state {
            let files = report.map_or_else(Files::default, |report| report.files.into());
            found.push(BackupResult { label: label.to_owned(), state, files });
        }
    }
    let dependents = dependents(evidence, &found, &reported);
    let faulty: Vec<&BackupResult> = found.iter().filter(|backup| backup.state.is_fault()).collect();
    if !faulty.is_empty() {
        let is_missing = |backup: &&BackupResult| {
            let Files { missing, checksum, size, other, .. } = backup.files;
            backup.state == BackupState::Missing || missing > 0 && checksum + size + other == 0
        };
        let class = if faulty.iter().all(is_missing) {
            ReasonClass::MissingBackup
        } else {
            ReasonClass::DamagedBackup
        };
        let named: Vec<String> = faulty.iter().take(NAMED).map(|backup| fault_words(backup)).collect();
        let rest = if faulty.len() > NAMED { " and others" } else { "" };
        let count = human::count(faulty.len(), "backup");
        let named = named.join(", ");
        let others = match dependents.len() {
            0 => String::new(),
            others => format!(", and {} on them", human::count(others, "backup that depends")),
        };
        causes.add(
            class,
            format!("{count} cannot be restored completely: {named}{rest}{others}; make a full backup"),
        );
    }
    found.extend(dependents);
    if found.iter().any(|backup| backup.state == BackupState::Doubtful) {
        doubts(evidence, causes);
    }
    found
}

/// Backups that depend on one with a fault. From 2.47 on, pgBackRest takes files in its bundles for valid, since it looks for their own
/// names among the faults (`verifyBackup`).
fn dependents(
    evidence: &Evidence<'_>,
    found: &[BackupResult],
    reported: &BTreeMap<&str, &BackupReport>,
) -> Vec<BackupResult> {
    let finding = |label: &str| found.iter().find(|backup| backup.label == label);
    let is_faulty = |label: &str| finding(label).is_some_and(|backup| backup.state.is_fault());
    let prior = |label: &str| evidence.before.get(label)?.prior.as_deref();
    let depends = |label: &str| {
        let priors = std::iter::successors(prior(label), |label| prior(label));
        priors.take(evidence.before.len()).any(is_faulty)
    };
    let dependents = evidence.before.keys().filter(|label| finding(label).is_none() && depends(label));
    let result = |label: &String| BackupResult {
        label: label.clone(),
        state: BackupState::Dependent,
        files: reported.get(label.as_str()).map_or_else(Files::default, |report| report.files.into()),
    };
    dependents.map(result).collect()
}

fn doubts(evidence: &Evidence<'_>, causes: &mut Causes) {
    if evidence.after.is_none() {
        let message =
            "faults were reported, but `info` did not tell which backups still exist; see --log.level";
        causes.add(ReasonClass::Repository, message);
    } else if has_wrong_names(evidence.version)
        && evidence.before.values().any(|backup| backup.has_block_files)
    {
        let message = "pgBackRest before 2.47 cannot verify block incremental backups; update it";
        causes.add(ReasonClass::Configuration, message);
    } else {
        let message =
            "files of backups could not be read, for a reason that is no fault of theirs; check the storage";
        let class = evidence.other_class(Reading::Backup).filter(|_| !evidence.log.has_trouble);
        causes.add(class.unwrap_or(ReasonClass::Repository), message);
    }
}

/// `20260101-000000F (2 missing, 1 damaged)`
fn fault_words(backup: &BackupResult) -> String {
    let Files { missing, checksum, size, other, .. } = backup.files;
    let counts = [(missing, "missing"), (checksum + size, "damaged"), (other, "unreadable")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match (backup.state, counts.is_empty()) {
        (BackupState::Missing, _) => format!("{} (missing)", backup.label),
        (_, true) => format!("{} (manifest unusable, or files damaged)", backup.label),
        (_, false) => format!("{} ({} files)", backup.label, counts.join(", ")),
    }
}

fn reported(report: Option<&Report>) -> BTreeMap<&str, &BackupReport> {
    let backups = report.into_iter().flat_map(|report| &report.backups);
    backups.map(|backup| (&*backup.label, backup)).collect()
}

/// What is wrong with a backup according to the result, if anything.
fn state(evidence: &Evidence<'_>, label: &str, report: Option<&BackupReport>) -> Option<BackupState> {
    // If nothing was verified, nothing is known about it.
    if !evidence.is_verified() {
        return None;
    }
    let fault = match report {
        Some(BackupReport { status: BackupStatus::Valid, files, .. }) if files.faulty() == 0 => return None,
        Some(BackupReport { status: BackupStatus::Valid | BackupStatus::Invalid, .. }) => {
            BackupState::Invalid
        }
        // It was not complete yet.
        _ if !evidence.before.contains_key(label) => return None,
        // It was listed, so it is not in progress.
        Some(_) | None => BackupState::Missing,
    };
    Some(match evidence.is_listed(label) {
        None => BackupState::Doubtful,
        Some(false) => BackupState::Expired,
        Some(true) if report.is_some_and(|report| is_doubtful(evidence, label, report)) => {
            BackupState::Doubtful
        }
        Some(true) => fault,
    })
}

fn is_doubtful(evidence: &Evidence<'_>, label: &str, report: &BackupReport) -> bool {
    if report.status == BackupStatus::ManifestMissing {
        return false;
    }
    let files = report.files;
    if files.checksum + files.size > 0 {
        return false;
    }
    let has_block_files = evidence.before.get(label).is_some_and(|backup| backup.has_block_files);
    if files.missing > 0 {
        return files.other == 0 && has_block_files && has_wrong_names(evidence.version);
    }
    if files.other > 0 {
        return evidence.other_class(Reading::Backup).is_some();
    }
    evidence.log.has_trouble
}

/// What is wrong with a backup according to the log alone.
fn named_state(evidence: &Evidence<'_>, label: &str) -> Option<BackupState> {
    let is_in = |path: &str| matches!(Place::of(path), Some(Place::Backup(of)) if of == label);
    let is_fault = |fault: LogFault| match fault {
        LogFault::Missing => !evidence.before.get(label).is_some_and(|backup| backup.has_block_files),
        LogFault::Checksum | LogFault::Size => true,
        LogFault::Other(code) => is_damage(code, Reading::Backup),
    };
    let has_fault = evidence.log.files.iter().any(|file| is_in(&file.path) && is_fault(file.fault));
    has_fault.then(|| match evidence.is_listed(label) {
        None => BackupState::Doubtful,
        Some(false) => BackupState::Expired,
        Some(true) => BackupState::Invalid,
    })
}

fn has_wrong_names(version: Option<Version>) -> bool {
    version.is_none_or(|version| !version.is_at_least((2, 47)))
}
