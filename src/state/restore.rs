//! Which backup of which repository a restore to a point in time begins with: proven where the WAL archive was listed, else as
//! far as `info` alone can tell.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};

use super::archive::Continuity;
use super::recovery;
use super::snapshot::{Backup, Repo, Stanza};
use super::wal_range;

/// Where a restore begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Start<'a> {
    /// The repository.
    pub repo_key: u32,
    /// The newest backup that ended before the point in time.
    pub backup: &'a Backup,
    /// Whether what is archived is known to reach the point in time.
    pub reach: Reach,
    /// The timeline that leads there, where a listing shows that it is another than the backup's. PostgreSQL before 12 stays
    /// on that by itself, and later ones look for the newest one history by history.
    pub timeline: Option<u32>,
    /// When a listing proved that nothing is missing on the way; None where `info` alone tells, which sees no gaps.
    pub proven_at: Option<DateTime<Utc>>,
}

/// How far what is archived reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// WAL was archived after the newest backup. `info` does not tell of which time it is, and a listing only when it came, so
    /// it may end too early.
    Unknown,
    /// A later backup needed WAL from after the point in time.
    Beyond,
}

/// Why a repository does not lead to the point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It lies ahead.
    #[error("that is in the future")]
    Future,
    /// It does not answer.
    #[error("it is unreadable now")]
    Down,
    /// There is no backup that WAL can be replayed on.
    #[error("it has no backup on which WAL can be replayed")]
    NoBackup,
    /// Every backup ended later.
    #[error("its oldest suitable backup completed later, at {}", .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    TooEarly(DateTime<Utc>),
    /// Nothing was archived after the last backup that ended before it.
    #[error("no WAL is archived after its newest backup, which completed at {}", .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    TooLate(DateTime<Utc>),
    /// WAL is missing on the way, or ends before it.
    #[error("its WAL has no gap only up to {}", .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    Ends(DateTime<Utc>),
}

/// The best start: one where what is archived surely reaches far enough, then the newest backup, then the lowest number.
/// An error tells why each repository is none, by number.
pub fn start(
    stanza: &Stanza,
    target: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Start<'_>, Vec<(u32, Unreachable)>> {
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for repo in &stanza.repos {
        match start_in(stanza, repo, target, now) {
            Ok(start) => found.push(start),
            Err(why) => reasons.push((repo.key, why)),
        }
    }
    let best = found.into_iter().max_by_key(|one| (one.reach, one.backup.stop, Reverse(one.repo_key)));
    best.ok_or(reasons)
}

fn start_in<'a>(
    stanza: &Stanza,
    repo: &'a Repo,
    target: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Start<'a>, Unreachable> {
    if target > now {
        return Err(Unreachable::Future);
    }
    if !repo.is_up() {
        return Err(Unreachable::Down);
    }
    let backups = recovery::replayable(repo);
    let oldest = backups.iter().map(|backup| backup.stop).min().ok_or(Unreachable::NoBackup)?;
    // A backup is consistent from its end on; within the second of its end it may not be yet.
    let before = || backups.iter().copied().filter(|backup| backup.stop < target);
    let newest = before().max_by_key(|backup| backup.stop).ok_or(Unreachable::TooEarly(oldest))?;
    if let Some(wal) = recovery::proof(repo) {
        return proven(repo.key, wal, &backups, newest, target);
    }
    let backup = newest;
    let is_passed = backups.iter().any(|backup| backup.stop > target);
    let is_followed = || {
        let archived = wal_range::range(stanza, repo).map(|archived| archived.max);
        archived.zip(backup.wal_stop).is_some_and(|(last, needed)| last > needed)
    };
    let reach = if is_passed {
        Reach::Beyond
    } else if is_followed() {
        Reach::Unknown
    } else {
        return Err(Unreachable::TooLate(backup.stop));
    };
    Ok(Start { repo_key: repo.key, backup, reach, timeline: None, proven_at: None })
}

/// The newest backup from which WAL leads to the point in time without a hole.
fn proven<'a>(
    repo_key: u32,
    wal: &Continuity,
    backups: &[&'a Backup],
    newest: &'a Backup,
    target: DateTime<Utc>,
) -> Result<Start<'a>, Unreachable> {
    let end = |backup: &Backup| wal.reach.get(&backup.label).copied().unwrap_or(backup.stop);
    let before = || backups.iter().copied().filter(|backup| backup.stop < target);
    // The times of files are whole seconds; one of 10:00:00 may have come a little later.
    let leads_there = |backup: &&Backup| end(backup) + TimeDelta::seconds(1) > target;
    let Some(backup) = before().filter(leads_there).max_by_key(|backup| backup.stop) else {
        return Err(Unreachable::Ends(before().map(end).max().unwrap_or(newest.stop)));
    };
    // What ends alike lies in the same run of segments.
    let is_passed = backups.iter().any(|other| other.stop > target && end(other) == end(backup));
    let reach = if is_passed { Reach::Beyond } else { Reach::Unknown };
    let own = backup.wal_start.map(|segment| segment.timeline);
    let timeline = wal.path.map(|path| path.timeline).filter(|newest| Some(*newest) != own);
    Ok(Start { repo_key, backup, reach, timeline, proven_at: Some(wal.listed_at) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::Duration;

    use super::super::examples::{archive, backup, day, listed, offline, repo, stanza};
    use super::super::snapshot::RepoState;
    use super::*;

    const FULL: &str = "20260102-000000F";
    const INCR: &str = "20260102-000000F_20260103-000000I";
    const NEXT: &str = "20260104-000000F";

    /// Backups end on day 1, 2 and 3; WAL goes on.
    fn usual(key: u32) -> Repo {
        repo(key, vec![backup(FULL, day(1), 3), backup(INCR, day(2), 5), backup(NEXT, day(3), 7)])
    }

    fn found(
        repos: Vec<Repo>,
        target: DateTime<Utc>,
    ) -> Result<(u32, String, Reach), Vec<(u32, Unreachable)>> {
        let stanza = stanza(repos);
        start(&stanza, target, day(9)).map(|start| (start.repo_key, start.backup.label.clone(), start.reach))
    }

    #[test]
    fn the_newest_backup_before_the_target_is_taken() {
        let second = Duration::seconds(1);
        for (target, label, reach) in [
            (day(1) + second, FULL, Reach::Beyond),
            (day(2), FULL, Reach::Beyond),
            (day(2) + second, INCR, Reach::Beyond),
            (day(3), INCR, Reach::Unknown),
            (day(3) + second, NEXT, Reach::Unknown),
            (day(9), NEXT, Reach::Unknown),
        ] {
            assert_eq!(found(vec![usual(1)], target), Ok((1, label.to_owned(), reach)), "{target}");
        }
    }

    #[test]
    fn what_cannot_be_reached_has_a_reason() {
        let mut without_more = usual(1);
        without_more.archives = vec![archive(1, "000000010000000000000001", "000000010000000000000007")];
        let mut down = usual(1);
        down.state = RepoState::Timeout;
        let mut without_wal = usual(1);
        without_wal.archives.clear();
        for (repo, target, why) in [
            (usual(1), day(1), Unreachable::TooEarly(day(1))),
            (usual(1), day(10), Unreachable::Future),
            (without_more, day(4), Unreachable::TooLate(day(3))),
            (down, day(2), Unreachable::Down),
            (without_wal, day(2), Unreachable::NoBackup),
            (repo(1, vec![offline(FULL, day(1))]), day(2), Unreachable::NoBackup),
            (repo(1, vec![]), day(2), Unreachable::NoBackup),
        ] {
            assert_eq!(found(vec![repo], target), Err(vec![(1, why)]), "{target}");
        }
        assert_eq!(found(vec![], day(2)), Err(vec![]));
    }

    #[test]
    fn the_surest_repository_is_taken_then_the_nearest_backup_then_the_lowest_number() {
        let only_full = repo(1, vec![backup(FULL, day(1), 3), backup(NEXT, day(3), 7)]);
        let without_later = repo(2, vec![backup(FULL, day(1), 3), backup(INCR, day(2), 5)]);
        let target = day(2) + Duration::hours(1);
        let key = |repos| found(repos, target).unwrap().0;
        assert_eq!(key(vec![only_full.clone(), without_later.clone()]), 1);
        assert_eq!(key(vec![only_full, without_later, usual(3), usual(4)]), 3);
        let mut down = usual(1);
        down.state = RepoState::Other;
        assert_eq!(key(vec![down, usual(2)]), 2);
    }

    #[test]
    fn another_timeline_than_the_backups_is_named() {
        let mut repo = listed(repo(1, vec![backup(FULL, day(3), 3)]), 1..=9);
        let timeline = |repo: &Repo| {
            let stanza = stanza(vec![repo.clone()]);
            start(&stanza, day(5), day(99)).unwrap().timeline
        };
        assert_eq!(timeline(&repo), None);
        Arc::make_mut(repo.wal.as_mut().unwrap()).path.as_mut().unwrap().timeline = 3;
        assert_eq!(timeline(&repo), Some(3));
    }

    #[test]
    fn a_listing_shows_which_backup_leads_there() {
        let made = || repo(1, vec![backup(FULL, day(3), 3), backup(NEXT, day(7), 7)]);
        let ask = |segments: &[u32], target| {
            let stanza = stanza(vec![listed(made(), segments.iter().copied())]);
            let start = start(&stanza, target, day(99));
            start.map(|start| (start.backup.label.clone(), start.reach, start.proven_at.is_some()))
        };
        let whole = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(ask(&whole, day(5)), Ok((FULL.to_owned(), Reach::Beyond, true)));
        assert_eq!(ask(&whole, day(8)), Ok((NEXT.to_owned(), Reach::Unknown, true)));
        assert_eq!(ask(&whole, day(10)), Err(vec![(1, Unreachable::Ends(day(9)))]));
        let holed = [1, 2, 3, 4, 6, 7, 8, 9];
        assert_eq!(ask(&holed, day(5)), Err(vec![(1, Unreachable::Ends(day(4)))]));
        assert_eq!(ask(&holed, day(4)), Ok((FULL.to_owned(), Reach::Unknown, true)));
        // The newer backup cannot be restored, but the older one leads on past it as far as there is WAL.
        assert_eq!(ask(&[1, 2, 3, 4, 5, 6], day(6)), Ok((FULL.to_owned(), Reach::Unknown, true)));
        assert_eq!(ask(&[1, 2, 3, 4, 5, 6, 8], day(8)), Err(vec![(1, Unreachable::Ends(day(6)))]));
    }
}
