//! From which backup in which repository to restore to a point in time: proven if the WAL archive was listed, otherwise derived
//! from `info`.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};

use super::archive::{Branch, BranchState, Continuity, Fork, ReachEnd};
use super::recovery;
use super::snapshot::{Backup, Repo, Stanza};
use super::wal_range;

/// The start of a restore.
#[derive(Debug, Clone, PartialEq)]
pub struct Start<'a> {
    /// The repository.
    pub repo_key: u32,
    /// The newest backup that ended before the point in time.
    pub backup: &'a Backup,
    /// Whether the archived WAL is known to reach the point in time.
    pub reach: Reach,
    /// The timeline to recover along, if PostgreSQL might choose another one.
    pub timeline: Option<u32>,
    /// When a listing proved that nothing is missing on the path, or why that is not proven.
    pub proof: Result<DateTime<Utc>, Doubt>,
    /// The branch of history, if there is a listing.
    pub branch: Option<Chosen>,
    /// Other branches that contain the point in time.
    pub others: Vec<Chosen>,
    /// Major version of PostgreSQL.
    pub postgres_version: Option<u32>,
}

/// Why it is not proven that a restore leads to the point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Based on `info` alone, which does not detect gaps.
    NoScan,
    /// It is uncertain when a timeline began, and therefore which branch was live.
    Branch,
    /// The time of the last WAL is uncertain, because the file times contradict the backups.
    Clock,
    /// The next WAL file after the path has a wrong size, at which PostgreSQL stops with an error: when it reads ahead, or if
    /// nothing was committed between the point in time and that file.
    Damage,
}

/// A branch of history that contains a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// Its last timeline.
    pub timeline: u32,
    /// Its state.
    pub state: BranchState,
    /// Where it branched off from its parent.
    pub fork: Option<Fork>,
    /// When that was.
    pub began: Option<DateTime<Utc>>,
}

/// How far the archived WAL reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// WAL was archived after the newest backup. `info` does not contain its time, and a listing only when it arrived, so it may end
    /// too early.
    Unknown,
    /// A later backup needed WAL from after the point in time.
    Beyond,
}

/// Why the point in time cannot be restored from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It is in the future.
    #[error("that is in the future")]
    Future,
    /// The repository does not answer.
    #[error("it is unreadable now")]
    Down,
    /// There is no backup on which WAL can be replayed.
    #[error("it has no backup on which WAL can be replayed")]
    NoBackup,
    /// Every backup ended later.
    #[error("its oldest suitable backup completed later, at {}", .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    TooEarly(DateTime<Utc>),
    /// No WAL was archived after the last backup that ended before it.
    #[error("no WAL is archived after its newest backup, which completed at {}", .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    TooLate(DateTime<Utc>),
    /// WAL is missing on the path, or ends before it.
    #[error("the WAL of timeline {timeline} is only complete up to {}", .until.format("%Y-%m-%d %H:%M:%S UTC"))]
    Ends {
        /// The last timeline of the branch that was live then.
        timeline: u32,
        /// When its last usable segment was archived.
        until: DateTime<Utc>,
    },
    /// There are several timelines, and no listing that shows to which of them the backups belong.
    #[error(
        "its WAL has several timelines, and only a scan of the archive shows which backup leads there; use --wal"
    )]
    Timelines,
    /// The archive does not contain the requested timeline.
    #[error("timeline {0} is not in its archive, or its history file is missing")]
    NoTimeline(u32),
}

/// A point in time on a branch of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreTarget {
    /// The point in time.
    pub time: DateTime<Utc>,
    /// The last timeline of the branch; None: the one that was live then.
    pub timeline: Option<u32>,
}

/// The best start: one from which the archived WAL certainly reaches far enough, then the newest backup, then the lowest number.
/// An error contains the reason for each repository, by number.
pub fn start(
    stanza: &Stanza,
    target: RestoreTarget,
    now: DateTime<Utc>,
) -> Result<Start<'_>, Vec<(u32, Unreachable)>> {
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for repo in &stanza.repos {
        match start_in(stanza, repo, target, now) {
            Ok(start) => found.push(start),
            Err(why) => reasons.push((repo.key, why)),
        }
    }
    let is_proven = |start: &Start<'_>| start.proof.is_ok();
    let best = found
        .into_iter()
        .max_by_key(|one| (is_proven(one), one.reach, one.backup.stop, Reverse(one.repo_key)));
    best.ok_or(reasons)
}

/// Whether only a scan of the archives shows which backups lead to a point in time: some WAL or backup belongs to a timeline other
/// than the first.
#[must_use]
pub fn needs_scan(stanza: &Stanza) -> bool {
    stanza.repos.iter().any(|repo| recovery::proof(repo).is_none() && has_several_timelines(stanza, repo))
}

fn has_several_timelines(stanza: &Stanza, repo: &Repo) -> bool {
    let archived = wal_range::range(stanza, repo);
    let of_backups = || repo.backups.iter().filter_map(|backup| backup.wal_stop);
    archived.is_some_and(|archived| archived.max.timeline != archived.min.timeline)
        || of_backups().any(|stop| archived.is_none_or(|archived| stop.timeline != archived.max.timeline))
}

fn start_in<'a>(
    stanza: &Stanza,
    repo: &'a Repo,
    target: RestoreTarget,
    now: DateTime<Utc>,
) -> Result<Start<'a>, Unreachable> {
    if target.time > now {
        return Err(Unreachable::Future);
    }
    if !repo.is_up() {
        return Err(Unreachable::Down);
    }
    if let Some(wal) = recovery::proof(repo) {
        return proven(repo, wal, target);
    }
    if let Some(timeline) = target.timeline {
        return Err(Unreachable::NoTimeline(timeline));
    }
    let backups = recovery::replayable(repo);
    let backup = newest_before(&backups, target.time)?;
    if has_several_timelines(stanza, repo) {
        return Err(Unreachable::Timelines);
    }
    let is_passed = backups.iter().any(|backup| backup.stop > target.time);
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
    Ok(Start {
        repo_key: repo.key,
        backup,
        reach,
        timeline: None,
        proof: Err(Doubt::NoScan),
        branch: None,
        others: Vec::new(),
        postgres_version: repo.postgres_version(),
    })
}

/// A backup is consistent after its end; within the second of its end it may not be yet.
fn newest_before<'a>(backups: &[&'a Backup], target: DateTime<Utc>) -> Result<&'a Backup, Unreachable> {
    let oldest = backups.iter().map(|backup| backup.stop).min().ok_or(Unreachable::NoBackup)?;
    let before = backups.iter().copied().filter(|backup| backup.stop < target);
    before.max_by_key(|backup| backup.stop).ok_or(Unreachable::TooEarly(oldest))
}

/// The newest backup from which WAL leads to the point in time without a gap, on the branch that was live then.
fn proven<'a>(repo: &'a Repo, wal: &Continuity, target: RestoreTarget) -> Result<Start<'a>, Unreachable> {
    let (branch, is_certain) = match target.timeline {
        Some(timeline) => {
            let found = wal.branches.iter().find(|branch| branch.timeline == timeline);
            let found = found.or_else(|| wal.branches.iter().find(|b| b.timelines.contains(&timeline)));
            (found.ok_or(Unreachable::NoTimeline(timeline))?, true)
        }
        None => branch_at(repo, wal, target.time).ok_or(Unreachable::NoBackup)?,
    };
    let (backup, reach, doubt) = lead(repo, branch, target.time)?;
    let is_default = wal.newest_history.is_none_or(|newest| newest <= branch.timeline)
        && backup.wal_start.is_some_and(|start| start.timeline == branch.timeline);
    let contains = |other: &&Branch| {
        other.timeline != branch.timeline
            && lead(repo, other, target.time).is_ok()
            && !is_shared(repo, branch, other, target.time)
    };
    Ok(Start {
        repo_key: repo.key,
        backup,
        reach,
        timeline: (!is_default).then_some(branch.timeline),
        proof: match doubt {
            None if is_certain => Ok(wal.listed_at),
            None => Err(Doubt::Branch),
            Some(doubt) => Err(doubt),
        },
        branch: Some(chosen(branch)),
        others: wal.branches.iter().filter(contains).map(chosen).collect(),
        postgres_version: repo.postgres_version(),
    })
}

fn chosen(branch: &Branch) -> Chosen {
    let Branch { timeline, state, fork, began, .. } = *branch;
    Chosen { timeline, state, fork, began }
}

/// The branch that was live at a time. Before the live branch left another one, both are the same.
fn branch_at<'a>(repo: &Repo, wal: &'a Continuity, time: DateTime<Utc>) -> Option<(&'a Branch, bool)> {
    let (then, is_certain) = wal.branch_at(time)?;
    let live = wal.live()?;
    let mut own = wal.branches.iter().filter(|branch| branch.state != BranchState::Foreign);
    if own.all(|branch| is_shared(repo, live, branch, time)) {
        return Some((live, true));
    }
    Some((if is_shared(repo, live, then, time) { live } else { then }, is_certain))
}

/// Whether both branches still were the same at a time: they share a later backup.
fn is_shared(repo: &Repo, one: &Branch, other: &Branch, time: DateTime<Utc>) -> bool {
    let is_in_both = |label: &str| one.reach.contains_key(label) && other.reach.contains_key(label);
    one.timeline == other.timeline
        || repo.backups.iter().any(|backup| backup.stop > time && is_in_both(&backup.label))
}

/// The newest backup from which a branch leads to a time, and why that may fail.
fn lead<'a>(
    repo: &'a Repo,
    branch: &Branch,
    time: DateTime<Utc>,
) -> Result<(&'a Backup, Reach, Option<Doubt>), Unreachable> {
    let of_branch = repo.backups.iter().filter(|backup| branch.reach.contains_key(&backup.label));
    let backups: Vec<&Backup> = of_branch.collect();
    let newest = newest_before(&backups, time)?;
    let reach = |backup: &Backup| branch.reach.get(&backup.label).copied();
    let end = |backup: &Backup| reach(backup).map_or(backup.stop, |end| end.latest);
    let before = || backups.iter().copied().filter(|backup| backup.stop < time);
    // File times are whole seconds; a file of 10:00:00 may have arrived slightly later.
    let second = TimeDelta::seconds(1);
    let is_in = |end: ReachEnd| {
        let left = branch.until.filter(|_| branch.is_at_last(&end));
        time <= end.at
            || (end.is_of_file && time < end.at + second)
            || left.is_some_and(|left| time < left + second)
    };
    let is_surely_in = |backup: &Backup| reach(backup).is_some_and(is_in);
    let can_be_in =
        |backup: &Backup| reach(backup).is_some_and(|end| end.at < end.latest && time < end.latest + second);
    let leads_there = |backup: &&Backup| is_surely_in(backup) || can_be_in(backup);
    let best = before().filter(leads_there).max_by_key(|backup| (is_surely_in(backup), backup.stop));
    let Some(backup) = best else {
        let until = before().map(end).max().unwrap_or(newest.stop);
        return Err(Unreachable::Ends { timeline: branch.timeline, until });
    };
    // Backups with the same end are in the same run of segments.
    let is_passed = backups.iter().any(|other| other.stop > time && end(other) == end(backup));
    let found = if is_passed { Reach::Beyond } else { Reach::Unknown };
    let is_damage = reach(backup).is_some_and(|end| end.is_damage);
    let doubt = if is_damage { Some(Doubt::Damage) } else { (!is_surely_in(backup)).then_some(Doubt::Clock) };
    Ok((backup, found, doubt))
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

    fn at(time: DateTime<Utc>) -> RestoreTarget {
        RestoreTarget { time, timeline: None }
    }

    /// Backups end on day 1, 2 and 3; WAL continues.
    fn usual(key: u32) -> Repo {
        repo(key, vec![backup(FULL, day(1), 3), backup(INCR, day(2), 5), backup(NEXT, day(3), 7)])
    }

    fn found(
        repos: Vec<Repo>,
        target: DateTime<Utc>,
    ) -> Result<(u32, String, Reach), Vec<(u32, Unreachable)>> {
        let stanza = stanza(repos);
        start(&stanza, at(target), day(9))
            .map(|start| (start.repo_key, start.backup.label.to_string(), start.reach))
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
            start(&stanza, at(day(5)), day(99)).unwrap().timeline
        };
        assert_eq!(timeline(&repo), None);
        Arc::make_mut(repo.wal.as_mut().unwrap()).branches[0].timeline = 3;
        assert_eq!(timeline(&repo), Some(3));
    }

    #[test]
    fn a_listing_shows_which_backup_leads_there() {
        let made = || repo(1, vec![backup(FULL, day(3), 3), backup(NEXT, day(7), 7)]);
        let ask = |segments: &[u32], target| {
            let stanza = stanza(vec![listed(made(), segments.iter().copied())]);
            let start = start(&stanza, at(target), day(99));
            start.map(|start| (start.backup.label.to_string(), start.reach, start.proof.is_ok()))
        };
        let whole = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(ask(&whole, day(5)), Ok((FULL.to_owned(), Reach::Beyond, true)));
        assert_eq!(ask(&whole, day(8)), Ok((NEXT.to_owned(), Reach::Unknown, true)));
        assert_eq!(ask(&whole, day(10)), Err(vec![(1, Unreachable::Ends { timeline: 1, until: day(9) })]));
        let holed = [1, 2, 3, 4, 6, 7, 8, 9];
        assert_eq!(ask(&holed, day(5)), Err(vec![(1, Unreachable::Ends { timeline: 1, until: day(4) })]));
        assert_eq!(ask(&holed, day(4)), Ok((FULL.to_owned(), Reach::Unknown, true)));
        // The newer backup cannot be restored, but the older one leads on past it as far as there is WAL.
        assert_eq!(ask(&[1, 2, 3, 4, 5, 6], day(6)), Ok((FULL.to_owned(), Reach::Unknown, true)));
        assert_eq!(
            ask(&[1, 2, 3, 4, 5, 6, 8], day(8)),
            Err(vec![(1, Unreachable::Ends { timeline: 1, until: day(6) })])
        );
    }
}
