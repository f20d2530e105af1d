//! Whether pgBackRest refuses to expire backups.
//!
//! From 2.60 on (pgBackRest pull request 2833), `expire` removes nothing from a repository, neither backups nor WAL, if the
//! full backup that would become the oldest one contains page checksum errors. It prints an error 26 for the repository
//! and ends with exit code 104. The same check only warns where no full backup would go, and in `expire` that runs
//! within `backup` unless `checksum-page-error` is set for `backup`.

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::Feature;

use super::backup::Backup;
use super::snapshot::{BlockedExpiry, Repo, Retention, Snapshot};

/// Writes into the snapshot which repositories cannot be expired.
pub fn judge_into(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let refuses = snapshot.version.is_some_and(|version| version.has(Feature::ChecksumPageError));
    for stanza in &mut snapshot.stanzas {
        // A backup that holds the lock may be about to expire others.
        let is_judged = refuses && stanza.backup_lock.held != Some(true);
        for repo in &mut stanza.repos {
            repo.expiry_blocked = if is_judged { blocked(repo, now) } else { None };
        }
    }
}

/// By which backup, and since when: since the last time that a full backup became superfluous while the next one to be
/// the oldest was good.
fn blocked(repo: &Repo, now: DateTime<Utc>) -> Option<BlockedExpiry> {
    let full: Vec<&Backup> = repo.backups.iter().filter(|b| b.backup_type == BackupType::Full).collect();
    let damaged = |oldest: &&usize| full.get(**oldest).is_some_and(|backup| backup.error == Some(true));
    // The full backups that became the oldest to keep, and when they did.
    let turns: Vec<(usize, DateTime<Utc>)> = match repo.settings.as_ref()?.retention_full? {
        Retention::Count(kept) => {
            let kept = usize::try_from(kept).ok()?;
            full.iter()
                .enumerate()
                .skip(kept)
                .map(|(newest, backup)| (newest + 1 - kept, backup.stop))
                .collect()
        }
        // The newest that is older than the time is kept, too.
        Retention::Days(days) => {
            let time = TimeDelta::try_days(days.into())?;
            let aged = full.iter().enumerate().skip(1);
            let aged = aged.filter_map(|(at, backup)| Some((at, backup.stop.checked_add_signed(time)?)));
            aged.take_while(|(_, at)| *at < now).collect()
        }
    };
    let blocking: Vec<_> = turns.iter().rev().take_while(|(oldest, _)| damaged(&oldest)).collect();
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
        blocked(&repo, day(now)).map(|blocked| (blocked.by, blocked.since))
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
        let told = |printed: &str, held: Option<bool>| {
            let mut stanza = stanza(vec![repo.clone()]);
            stanza.backup_lock.held = held;
            let version = version::parse(printed);
            let mut snapshot = Snapshot { stanzas: vec![stanza], version, ..Snapshot::default() };
            judge_into(&mut snapshot, day(2));
            snapshot.stanzas[0].repos[0].expiry_blocked.is_some()
        };
        assert!(told("pgBackRest 2.60.0", Some(false)) && told("pgBackRest 2.60.0", None));
        assert!(!told("pgBackRest 2.60.0", Some(true)), "expiry may be about to begin");
        assert!(!told("pgBackRest 2.59.1", None) && !told("pgBunker 2.60.0-bunker.1", None));
        assert!(!told("", None));
    }
}
