//! Which WAL has faults, and which is missing. Pure.

use crate::pgbackrest::verify::{FileCounts, LogFault, Place, Span};
use crate::state::faults::Reading;
use crate::state::human;
use crate::state::proofs::ReasonClass;
use crate::state::verification::{ArchiveResult, BackupResult, MAX_ARCHIVES};

use super::evidence::{Causes, Evidence, Listed, is_damage};

/// The WAL of each database. Segments that were listed and then missing were probably removed by `expire`.
pub(super) fn find(evidence: &Evidence<'_>, causes: &mut Causes) -> Vec<ArchiveResult> {
    let reports = evidence.report.into_iter().flat_map(|report| &report.archives);
    let mut damaged = 0;
    let mut unreadable = 0;
    let mut results = Vec::new();
    for report in reports {
        let duplicates = evidence.log.duplicates.get(&report.id).copied().unwrap_or_default();
        let FileCounts { checksum, size, other, .. } = report.files;
        damaged += checksum + size + duplicates;
        unreadable += other;
        let span = evidence.log.wal.get(&report.id).filter(|_| evidence.is_log_whole);
        if results.len() < MAX_ARCHIVES {
            results.push(ArchiveResult {
                id: report.id.to_string(),
                files: report.files.into(),
                duplicates,
                gaps: span.and_then(Span::gaps),
            });
        }
    }
    if evidence.report.is_none() {
        let is_damaged = |fault| match fault {
            LogFault::Checksum | LogFault::Size => true,
            LogFault::Missing => false,
            LogFault::Other(code) => is_damage(code, Reading::Wal),
        };
        let files = evidence.log.files.iter();
        let found =
            files.filter(|file| Place::of(&file.path) == Some(Place::Archive) && is_damaged(file.fault));
        damaged = found.count() as u64 + evidence.log.duplicates.values().sum::<u64>();
    } else if unreadable > 0 {
        match evidence.other_class(Reading::Wal) {
            None => damaged += unreadable,
            Some(class) => {
                let count = human::count(unreadable, "WAL segment");
                let message = format!(
                    "{count} could not be read, for a reason that is no fault of theirs; check the storage"
                );
                causes.add(class, message);
            }
        }
    }
    if damaged > 0 {
        let count = human::count(damaged, "WAL segment");
        let message =
            format!("{count} damaged; points in time that need them cannot be reached: make a full backup");
        causes.add(ReasonClass::DamagedWal, message);
    }
    results
}

/// Backups that exist, and lack WAL that makes them consistent.
pub(super) fn needed(evidence: &Evidence<'_>, found: &[BackupResult], causes: &mut Causes) {
    if !evidence.is_verified() || !evidence.is_log_whole {
        return;
    }
    let is_valid = |label: &str| found.iter().all(|backup| backup.label != label);
    let is_gone = |label: &str| evidence.is_listed(label) == Some(false);
    let lacks = |(label, listed): &(&String, &Listed)| {
        let Some((first, last)) = listed.wal.filter(|(first, last)| first.timeline == last.timeline) else {
            return false;
        };
        let mut spans = evidence.log.wal.iter().filter(|(id, _)| id.database_id == listed.database_id);
        let lacks = !spans.any(|(_, span)| span.contains(first, last) != Some(false));
        lacks && is_valid(label) && !is_gone(label)
    };
    let lacking: Vec<&String> = evidence.before.iter().filter(lacks).map(|(label, _)| label).collect();
    let Some(first) = lacking.first() else { return };
    // What is no longer listed may have gone for the same reason.
    if evidence.after.is_none() {
        causes.add(ReasonClass::Repository, "`info` did not tell which backups still exist; see --log.level");
        return;
    }
    let others = if lacking.len() > 1 { " and others" } else { "" };
    let count = human::count(lacking.len(), "backup");
    let message = format!(
        "{count} cannot be made consistent, because WAL is missing: {first}{others}; make a full backup"
    );
    causes.add(ReasonClass::MissingWal, message);
}
