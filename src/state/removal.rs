//! What one run of `expire` removes, as `src/command/expire/expire.c` of pgBackRest decides it (2.45 to 2.60).
//!
//! Backups are in the order of their labels, as pgBackRest sorts them. Only the archive of the current
//! database is considered. `expire` also removes files that are not considered here: WAL of former databases without backups, history files of timelines, and
//! manifests (`repoN-retention-history`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::pgbackrest::label::BackupType;

use super::archive::{ArchiveRetention, KeptRange, KeptWal};
use super::backup::Backup;

/// How many full backups are kept, or how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// This many.
    Count(u32),
    /// For this many days.
    Days(u32),
}

/// What will be removed from a repository. Every entry includes what could be removed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// If `expire` ran now.
    pub now: Removal,
    /// After the next backup of each type; absent if the backup that it would depend on does not exist.
    pub after_backup: BTreeMap<BackupType, Removal>,
    /// Once the next backup is old enough; only with retention by time.
    pub aged: Option<Aged>,
    /// Whether there are as many full backups as `repoN-retention-full` specifies, or one that is old enough. Before that, `expire`
    /// usually removes no WAL. Absent without that option.
    pub is_retention_reached: Option<bool>,
    /// Since when backups exist that `expire` after the newest backup should have removed.
    pub overdue_since: Option<DateTime<Utc>>,
}

/// What is removed once a backup is old enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aged {
    /// When it is old enough. `expire` runs at the end of the first backup after that.
    pub at: DateTime<Utc>,
    #[serde(flatten)]
    pub removal: Removal,
}

/// What one run removes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// Labels of the backups, oldest first.
    pub backups: Vec<Arc<str>>,
    /// Bytes that only these occupy; absent if pgBackRest does not report them for one of them.
    pub backup_bytes: Option<u64>,
    /// The WAL that stays; absent if none is removed.
    pub wal_kept: Option<KeptWal>,
    /// Bytes of the WAL that is removed; absent if the archive was not listed.
    pub wal_bytes: Option<u64>,
    /// The backup with page checksum errors that prevents any removal.
    pub refused_by: Option<Arc<str>>,
}

impl Removal {
    /// Whether nothing is known to be removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.backups.is_empty() && self.wal_bytes.unwrap_or(0) == 0
    }
}

/// The rules for what is removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// `repoN-retention-full` and its type.
    pub(super) full: Option<Retention>,
    /// `repoN-retention-diff`.
    pub(super) diff: Option<u32>,
    /// The retention of WAL.
    pub(super) archive: ArchiveRetention,
    /// Nothing is removed if the full backup that would become the oldest one has page checksum errors.
    pub(super) is_refused_for_errors: bool,
    /// With a retention by time, WAL is removed only together with a full backup.
    pub(super) wal_goes_with_full: bool,
    /// The current database.
    pub(super) database_id: Option<u64>,
}

/// The relevant properties of an existing or future backup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    /// Absent for a future backup.
    backup: Option<&'a Backup>,
    backup_type: BackupType,
    stop: DateTime<Utc>,
    prior: Option<&'a str>,
}

impl<'a> Kept<'a> {
    pub(super) fn of(backup: &'a Backup) -> Self {
        let prior = backup.prior.as_deref();
        Self { backup: Some(backup), backup_type: backup.backup_type, stop: backup.stop, prior }
    }

    /// The next backup of a type after these, ending at `stop`. Without a full backup, pgBackRest makes a full one.
    pub(super) fn next(backup_type: BackupType, backups: &'a [Backup], stop: DateTime<Utc>) -> Option<Self> {
        let mut newest = backups.iter().rev();
        let prior = match backup_type {
            BackupType::Full => None,
            BackupType::Diff => Some(newest.find(|backup| backup.backup_type == BackupType::Full)?),
            BackupType::Incr => Some(newest.next()?),
        };
        Some(Self { backup: None, backup_type, stop, prior: prior.map(|prior| &*prior.label) })
    }

    fn label(&self) -> Option<&'a str> {
        self.backup.map(|backup| &*backup.label)
    }

    const fn is_full(&self) -> bool {
        matches!(self.backup_type, BackupType::Full)
    }

    /// Whether it belongs to a database; a future backup belongs to the current one.
    fn is_of(&self, database_id: Option<u64>) -> bool {
        self.backup.is_none_or(|backup| Some(backup.database_id) == database_id)
    }
}

/// The indices of the full backups that became the oldest to keep, and when, in the order of the backups. At a given time, all
/// backups before the last of these are removed. `stops` are those of full backups.
pub(super) fn turns(stops: &[DateTime<Utc>], retention: Retention) -> Vec<(usize, DateTime<Utc>)> {
    match retention {
        Retention::Count(kept) => {
            let kept = usize::try_from(kept).unwrap_or(usize::MAX);
            let enough = stops.iter().enumerate().skip(kept.saturating_sub(1));
            enough.map(|(newest, stop)| (newest + 1 - kept.max(1), *stop)).collect()
        }
        // The newest that is older than the time is kept, too.
        Retention::Days(days) => {
            let Some(time) = TimeDelta::try_days(days.into()) else { return Vec::new() };
            let aged = stops.iter().enumerate();
            aged.filter_map(|(at, stop)| Some((at, stop.checked_add_signed(time)?))).collect()
        }
    }
}

/// The oldest full backup to keep at a time; None while the retention is not reached.
pub(super) fn oldest_to_keep(
    stops: &[DateTime<Utc>],
    retention: Retention,
    at: DateTime<Utc>,
) -> Option<usize> {
    let turns = turns(stops, retention);
    let is_due = |due: DateTime<Utc>| match retention {
        Retention::Count(_) => true,
        Retention::Days(_) => due < at,
    };
    turns.iter().rev().find(|(_, due)| is_due(*due)).map(|(oldest, _)| *oldest)
}

/// What a run at a time removes. The caller adds the bytes of WAL.
pub(super) fn removal(backups: &[Kept<'_>], rules: &Rules, at: DateTime<Utc>) -> Removal {
    let full: Vec<&Kept<'_>> = backups.iter().filter(|backup| backup.is_full()).collect();
    let stops: Vec<DateTime<Utc>> = full.iter().map(|backup| backup.stop).collect();
    let oldest = rules.full.and_then(|retention| oldest_to_keep(&stops, retention, at));
    let first = full.get(oldest.unwrap_or(0)).and_then(|oldest| oldest.backup);
    let goes = oldest.is_some_and(|oldest| oldest > 0);
    if let Some(damaged) =
        first.filter(|backup| goes && rules.is_refused_for_errors && backup.error == Some(true))
    {
        let refused_by = Some(damaged.label.clone());
        return Removal { refused_by, backup_bytes: Some(0), ..Removal::default() };
    }
    let mut gone: BTreeSet<&str> =
        full.iter().take(oldest.unwrap_or(0)).filter_map(|full| full.label()).collect();
    let mut left = without_dependents(backups, &mut gone);
    // Full backups count as differential ones, and are not removed as such.
    if let Some(kept) = rules.diff.and_then(|kept| usize::try_from(kept).ok()) {
        let counted: Vec<&Kept<'_>> =
            left.iter().filter(|backup| backup.backup_type != BackupType::Incr).collect();
        let excess = counted.iter().take(counted.len().saturating_sub(kept));
        gone.extend(excess.filter(|backup| !backup.is_full()).filter_map(|diff| diff.label()));
        left = without_dependents(&left, &mut gone);
    }
    let removed: Vec<&Backup> = backups
        .iter()
        .filter_map(|kept| kept.backup)
        .filter(|backup| gone.contains(&*backup.label))
        .collect();
    let sum = |sum: u64, backup: &&Backup| Some(sum.saturating_add(backup.repo_delta?.get()));
    Removal {
        backups: removed.iter().map(|backup| backup.label.clone()).collect(),
        backup_bytes: removed.iter().try_fold(0, sum),
        wal_kept: wal_kept(&left, rules, oldest),
        ..Removal::default()
    }
}

/// The backups that remain without `gone` and all backups that depend on it, which are added to `gone`.
fn without_dependents<'a>(backups: &[Kept<'a>], gone: &mut BTreeSet<&'a str>) -> Vec<Kept<'a>> {
    let mut left = Vec::with_capacity(backups.len());
    for backup in backups {
        let goes = backup.label().is_some_and(|label| gone.contains(label))
            || backup.prior.is_some_and(|prior| gone.contains(prior));
        if goes {
            gone.extend(backup.label());
        } else {
            left.push(*backup);
        }
    }
    left
}

/// The WAL that is kept for the remaining backups; None if nothing is removed.
fn wal_kept(left: &[Kept<'_>], rules: &Rules, oldest: Option<usize>) -> Option<KeptWal> {
    let (backup_type, count) = match rules.archive {
        ArchiveRetention::Unknown | ArchiveRetention::Forever => return None,
        ArchiveRetention::Backups { backup_type, count } => (backup_type, count),
        ArchiveRetention::All => {
            oldest.filter(|oldest| *oldest > 0 || !rules.wal_goes_with_full)?;
            (BackupType::Full, left.iter().filter(|backup| backup.is_full()).count())
        }
    };
    let counted: Vec<usize> = left
        .iter()
        .enumerate()
        .filter(|(_, backup)| backup.backup_type <= backup_type)
        .map(|(at, _)| at)
        .collect();
    let newest = counted.len().checked_sub(count).filter(|_| count > 0)?;
    let is_own = |at: &&usize| left.get(**at).is_some_and(|backup| backup.is_of(rules.database_id));
    let oldest = counted.iter().skip(newest).find(is_own).or_else(|| counted.iter().rev().find(is_own))?;
    let retained = left.get(*oldest)?;
    let start = retained.backup.map(|backup| backup.wal_start);
    // Offline backups do not cause WAL to expire.
    let rest = match start {
        Some(start) => Some(KeptRange { start: start?, stop: None }),
        None => None,
    };
    let older = left.iter().take(*oldest).filter(|backup| backup.is_of(rules.database_id));
    let range = |backup: &Backup| Some(KeptRange { start: backup.wal_start?, stop: backup.wal_stop });
    let ranges = older.filter_map(|kept| range(kept.backup?)).chain(rest).collect();
    Some(KeptWal { ranges })
}

#[cfg(test)]
mod tests;
