//! What `expire` will remove from a repository and when, and whether pgBackRest refuses to expire it.
//!
//! `expire` runs at the end of each backup, for the repository of the backup. With retention by number, a backup is removed by the
//! backup that makes it superfluous; with retention by time, by the first backup after another one has become old enough. Backups
//! can be removed now if the retention changed, or if `expire` was refused or does not run.
//!
//! From 2.60 on (pgBackRest pull request 2833), `expire` removes nothing from a repository, neither backups nor WAL, if the
//! full backup that would become the oldest one contains page checksum errors. It prints an error 26 for the repository
//! and exits with code 104. The check only warns if no full backup would be removed, and within `backup` unless
//! `checksum-page-error` is set for `backup`.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::{Feature, Version};

use super::archive::ArchiveRetention;
use super::backup::Backup;
use super::removal::{Aged, Expiry, Kept, Removal, Rules, oldest_to_keep, removal, turns};
use super::snapshot::{BlockedExpiry, Repo, RepoSettings, Retention, Snapshot};

mod words;

pub use words::{leftovers_words, lines};

/// How long `expire` may take after a backup.
const RUN_TIME: TimeDelta = TimeDelta::hours(1);

/// Writes into the snapshot what will be removed, and which repositories cannot be expired. Must run after the listings were
/// evaluated.
pub fn judge_into(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let Some(version) = snapshot.version else {
        for repo in snapshot.stanzas.iter_mut().flat_map(|stanza| &mut stanza.repos) {
            (repo.expiry, repo.expiry_blocked) = (None, None);
        }
        return;
    };
    for stanza in &mut snapshot.stanzas {
        // A backup that holds the lock may be about to expire others.
        let is_locked = stanza.backup_lock.held == Some(true);
        for repo in &mut stanza.repos {
            repo.expiry = outlook(repo, version, is_locked, now).map(Arc::new);
            let is_judged = version.has(Feature::ChecksumPageError) && !is_locked;
            repo.expiry_blocked = if is_judged { blocked(repo, now) } else { None };
        }
    }
}

/// What will be removed; None if the backups or the retention are unknown.
fn outlook(repo: &Repo, version: Version, is_locked: bool, now: DateTime<Utc>) -> Option<Expiry> {
    let settings = repo.settings.as_ref().filter(|_| repo.knows_backups())?;
    let rules = Rules::of(settings, version, repo.current_database_id())?;
    // In `backup`, the check of pages does not stop `expire`.
    let rules_after_backup = Rules { is_refused_for_errors: false, ..rules };
    let there: Vec<Kept<'_>> = repo.backups.iter().map(Kept::of).collect();
    let with_bytes = |removal: Removal| {
        let listed = |kept| repo.wal.as_deref().and_then(|wal| wal.stored.removed(kept));
        Removal { wal_bytes: removal.wal_kept.as_ref().map_or(Some(0), listed), ..removal }
    };
    let removal_at = |at| with_bytes(removal(&there, &rules, at));
    let present = removal_at(now);
    let after_backup = BackupType::ALL.into_iter().filter_map(|backup_type| {
        let next = Kept::next(backup_type, &repo.backups, now)?;
        let then: Vec<Kept<'_>> = there.iter().copied().chain([next]).collect();
        Some((backup_type, with_bytes(removal(&then, &rules_after_backup, now))))
    });
    let after_backup = after_backup.collect();
    let aged = ages(repo, settings, now).into_iter().map(|at| Aged { at, removal: removal_at(at) });
    let aged = aged.filter(|aged| aged.removal != present).find(|aged| !aged.removal.is_empty());
    // `expire` after the newest backup saw the same backups.
    let newest = repo.dated_backups().map(|backup| backup.stop).max();
    let overdue_since = newest.filter(|stop| {
        let is_due = !is_locked && *stop + RUN_TIME < now;
        is_due && !removal(&there, &rules_after_backup, *stop).backups.is_empty()
    });
    let is_retention_reached = settings.retention_full.map(|retention| {
        let stops: Vec<DateTime<Utc>> = full(repo).iter().map(|backup| backup.stop).collect();
        oldest_to_keep(&stops, retention, now).is_some()
    });
    Some(Expiry { now: present, after_backup, aged, is_retention_reached, overdue_since })
}

/// When backups become old enough after `now`, in order; none with retention by number.
fn ages(repo: &Repo, settings: &RepoSettings, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let Some(retention @ Retention::Days(_)) = settings.retention_full else { return Vec::new() };
    let stops: Vec<DateTime<Utc>> = full(repo).iter().map(|backup| backup.stop).collect();
    // pgBackRest compares whole seconds, and removes older backups.
    let due = turns(&stops, retention).into_iter().map(|(_, at)| at + TimeDelta::seconds(1));
    let mut due: Vec<DateTime<Utc>> = due.filter(|at| *at > now).collect();
    due.sort_unstable();
    due
}

impl Rules {
    /// None if nothing is known of retention: another host may run `expire`.
    fn of(settings: &RepoSettings, version: Version, database_id: Option<u64>) -> Option<Self> {
        let RepoSettings { retention_full, retention_diff, retention_archive, .. } = *settings;
        let is_known = retention_full.is_some() || retention_diff.is_some() || retention_archive.is_some();
        is_known.then(|| Self {
            full: retention_full,
            diff: retention_diff,
            archive: retention_archive.unwrap_or(ArchiveRetention::Forever),
            is_refused_for_errors: version.has(Feature::ChecksumPageError),
            wal_goes_with_full: !version.removes_wal_once_retention_is_met(),
            database_id,
        })
    }
}

fn full(repo: &Repo) -> Vec<&Backup> {
    repo.backups.iter().filter(|backup| backup.backup_type == BackupType::Full).collect()
}

/// The blocking backup, and since when: since a full backup last became superfluous while the next oldest one was
/// intact.
fn blocked(repo: &Repo, now: DateTime<Utc>) -> Option<BlockedExpiry> {
    let retention = repo.settings.as_ref()?.retention_full?;
    let full = full(repo);
    let damaged = |oldest: usize| full.get(oldest).is_some_and(|backup| backup.error == Some(true));
    let stops: Vec<DateTime<Utc>> = full.iter().map(|backup| backup.stop).collect();
    // The full backups that became the oldest to keep, and when.
    let turns = turns(&stops, retention).into_iter().filter(|(oldest, _)| *oldest > 0);
    let is_due = |at: DateTime<Utc>| matches!(retention, Retention::Count(_)) || at < now;
    let turns: Vec<(usize, DateTime<Utc>)> = turns.take_while(|(_, at)| is_due(*at)).collect();
    let blocking: Vec<_> = turns.iter().rev().take_while(|(oldest, _)| damaged(*oldest)).collect();
    let (newest, first) = (blocking.first()?, blocking.last()?);
    Some(BlockedExpiry { by: full.get(newest.0)?.label.clone(), since: first.1 })
}

#[cfg(test)]
mod tests {
    use super::super::examples::{backup, day, repo};
    use super::super::snapshot::RepoSettings;
    use super::*;

    /// Full backups of one day each, `x` with page checksum errors, and an incremental one after each.
    fn judged(backups: &str, retention: Retention, now: i64) -> Option<(String, DateTime<Utc>)> {
        let mut all = Vec::new();
        for (at, letter) in backups.chars().enumerate() {
            let at = i64::try_from(at).unwrap();
            let label = format!("202601{:02}-000000F", at + 1);
            let error = Some(letter == 'x');
            all.push(Backup { error, ..backup(&label, day(at), 1) });
            all.push(Backup { error, ..backup(&format!("{label}_202601{:02}-010000I", at + 1), day(at), 1) });
        }
        let settings = RepoSettings { retention_full: Some(retention), ..RepoSettings::default() };
        let repo = Repo { settings: Some(settings), ..repo(1, all) };
        blocked(&repo, day(now)).map(|blocked| (blocked.by.to_string(), blocked.since))
    }

    #[test]
    fn a_damaged_backup_that_would_be_the_oldest_blocks_by_count() {
        let by = |label: &str, since| Some((label.to_owned(), day(since)));
        // As the real 2.60.0 answers `expire --dry-run`, with the time that follows.
        for (backups, kept, expected) in [
            (".", 1, None),
            ("x", 1, None),
            (".x", 2, None),
            (".x", 1, by("20260102-000000F", 1)),
            ("xx", 1, by("20260102-000000F", 1)),
            (".x.", 1, None),
            (".x.", 2, by("20260102-000000F", 2)),
            (".x..", 2, None),
            (".xxx", 1, by("20260104-000000F", 1)),
            (".x.x", 1, by("20260104-000000F", 3)),
        ] {
            assert_eq!(judged(backups, Retention::Count(kept), 9), expected, "{backups} {kept}");
        }
        assert_eq!(judged(".x", Retention::Count(u32::MAX), 9), None);
    }

    #[test]
    fn by_time_the_newest_that_is_old_enough_would_be_the_oldest() {
        let by = |label: &str, since| Some((label.to_owned(), day(since)));
        for (backups, now, expected) in [
            (".x..", 3, None),
            (".x..", 4, None),
            // The second backup is three days old at day 4.
            (".x..", 5, by("20260102-000000F", 4)),
            (".x..", 6, None),
            (".xx.", 6, by("20260103-000000F", 4)),
            ("x...", 4, None),
        ] {
            assert_eq!(judged(backups, Retention::Days(3), now), expected, "{backups} {now}");
        }
        assert_eq!(judged(".x", Retention::Days(u32::MAX), 9), None);
    }

    #[test]
    fn nothing_is_said_of_programs_that_do_not_refuse() {
        use super::super::examples::stanza;
        use crate::pgbackrest::version;

        let settings = RepoSettings { retention_full: Some(Retention::Count(1)), ..RepoSettings::default() };
        let damaged = Backup { error: Some(true), ..backup("20260102-000000F", day(1), 2) };
        let repo = Repo {
            settings: Some(settings),
            ..repo(1, vec![backup("20260101-000000F", day(0), 1), damaged])
        };
        let reported = |printed: &str, held: Option<bool>| {
            let mut stanza = stanza(vec![repo.clone()]);
            stanza.backup_lock.held = held;
            let version = version::parse(printed);
            let mut snapshot = Snapshot { stanzas: vec![stanza], version, ..Snapshot::default() };
            judge_into(&mut snapshot, day(2));
            snapshot.stanzas[0].repos[0].expiry_blocked.is_some()
        };
        assert!(reported("pgBackRest 2.60.0", Some(false)) && reported("pgBackRest 2.60.0", None));
        assert!(!reported("pgBackRest 2.60.0", Some(true)), "expiry may be about to begin");
        assert!(!reported("pgBackRest 2.59.1", None) && !reported("pgBunker 2.60.0-bunker.1", None));
        assert!(!reported("", None));
    }

    fn outlook_of(repo: &Repo, now: DateTime<Utc>) -> Option<Expiry> {
        use crate::pgbackrest::version;

        outlook(repo, version::parse("pgBackRest 2.60.0").unwrap(), false, now)
    }

    fn weekly(full: Retention, count: i64) -> Repo {
        let archive = ArchiveRetention::Backups { backup_type: BackupType::Full, count: 2 };
        let archive = if matches!(full, Retention::Days(_)) { ArchiveRetention::All } else { archive };
        let (retention_full, retention_archive) = (Some(full), Some(archive));
        let settings = RepoSettings { retention_full, retention_archive, ..RepoSettings::default() };
        let made = |week: i64| {
            let segment = u32::try_from(week).unwrap() + 1;
            backup(&format!("202601{:02}-000000F", week + 1), day(7 * week), segment)
        };
        Repo { settings: Some(settings), ..repo(1, (0..count).map(made).collect()) }
    }

    #[test]
    fn by_number_the_next_backup_makes_another_one_superfluous() {
        let found = outlook_of(&weekly(Retention::Count(2), 2), day(10)).unwrap();
        assert!(found.now.is_empty() && found.aged.is_none() && found.overdue_since.is_none());
        assert_eq!(found.is_retention_reached, Some(true));
        let young = outlook_of(&weekly(Retention::Count(3), 2), day(10)).unwrap();
        assert_eq!(young.is_retention_reached, Some(false));
        assert_eq!(found.after_backup[&BackupType::Full].backups, ["20260101-000000F".into()]);
        assert_eq!(found.after_backup[&BackupType::Full].backup_bytes, Some(500));
        assert!(found.after_backup[&BackupType::Incr].is_empty());
        // `expire` should have followed the third one.
        let third = weekly(Retention::Count(2), 3);
        let found = outlook_of(&third, day(15)).unwrap();
        assert_eq!((found.now.backups.len(), found.overdue_since), (1, Some(day(14))));
        assert_eq!(outlook_of(&third, day(14)).unwrap().overdue_since, None);
    }

    #[test]
    fn by_time_a_backup_becomes_old_enough() {
        let repo = weekly(Retention::Days(10), 3);
        let found = outlook_of(&repo, day(15)).unwrap();
        let aged = found.aged.unwrap();
        assert_eq!((aged.at, aged.removal.backups.len()), (day(17) + TimeDelta::seconds(1), 1));
        assert!(found.now.is_empty());
        // No backup has been made since, so nothing is overdue.
        let found = outlook_of(&repo, day(18)).unwrap();
        assert_eq!((found.now.backups.len(), found.overdue_since), (1, None));
        assert_eq!(found.aged.unwrap().removal.backups.len(), 2);
    }

    #[test]
    fn bytes_are_reported_where_the_archive_was_listed() {
        use super::super::examples::listed;

        let repo = weekly(Retention::Count(2), 3);
        assert_eq!(outlook_of(&repo, day(15)).unwrap().now.wal_bytes, None);
        let repo = listed(repo, 1..=9);
        let found = outlook_of(&repo, day(15)).unwrap();
        assert_eq!(found.now.wal_bytes, Some(1 << 20));
        // The second backup keeps its own segment.
        assert_eq!(found.after_backup[&BackupType::Full].wal_bytes, Some(2 << 20));
    }

    #[test]
    fn without_retention_nothing_is_predicted() {
        let unknown = Repo { settings: None, ..weekly(Retention::Count(2), 2) };
        assert_eq!(outlook_of(&unknown, day(9)), None);
        let unset = Repo { settings: Some(RepoSettings::default()), ..unknown };
        assert_eq!(outlook_of(&unset, day(9)), None);
    }
}
