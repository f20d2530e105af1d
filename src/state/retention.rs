//! Whether a repository contains as many backups as its configuration requires.
//!
//! pgBackRest never expires below its retention, so a repository with too few backups is young, or has had no backups
//! for a long time, or some were removed. This module distinguishes the first case from the others.

use chrono::{DateTime, Duration, Utc};

use crate::pgbackrest::label::BackupType;

use super::snapshot::{Repo, RepoSettings, Retention};

/// The interval to assume while fewer than two backups exist: the longest in common use.
const UNKNOWN_INTERVAL: Duration = Duration::days(31);
/// Bounds of the interval between two backups: a first backup is often repeated within the hour.
const INTERVAL_OF_TWO: (Duration, Duration) = (Duration::days(7), Duration::days(31));
/// Bounds of the interval between three or more backups.
const INTERVAL_OF_MANY: (Duration, Duration) = (Duration::days(1), Duration::days(31));

/// The required number of backups of one type, and whether it is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionCheck {
    /// Full or differential.
    pub backup_type: BackupType,
    /// Backups that should be kept.
    pub required: u32,
    /// Whether they exist, or the repository is too young.
    pub satisfied: bool,
}

/// One check per configured retention; none if the contents of the repository are unknown.
///
/// Full backups by count: this many exist. A repository is young until its oldest full backup is as old as that many
/// backups at the interval so far, plus one interval.
///
/// Full backups by time: one exists. pgBackRest keeps one that is older than the time, so until there is one, nothing
/// has been expired; [`super::recovery::window`] returns how far back a restore is possible.
///
/// Differential backups: this many exist, including full ones as in pgBackRest (`expireDiffBackup`), or as many full
/// ones as are kept, since differentials expire with their full backup.
#[must_use]
pub fn checks(repo: &Repo, now: DateTime<Utc>) -> Vec<RetentionCheck> {
    let Some(settings) = &repo.settings else { return Vec::new() };
    if repo.backups.is_empty() && !repo.is_up() {
        return Vec::new();
    }
    [check_full(repo, settings, now), check_diff(repo, settings, now)].into_iter().flatten().collect()
}

/// The seconds covered by `repoN-retention-full` with type `time`.
#[must_use]
pub fn window(repo: &Repo) -> Option<u64> {
    match repo.settings.as_ref()?.retention_full? {
        Retention::Days(days) => Some(u64::from(days) * 86_400),
        Retention::Count(_) => None,
    }
}

fn check_full(repo: &Repo, settings: &RepoSettings, now: DateTime<Utc>) -> Option<RetentionCheck> {
    let stops = stops(repo, &[BackupType::Full]);
    let (required, satisfied) = match settings.retention_full? {
        Retention::Count(required) => (required, holds(&stops, required) || is_young(&stops, required, now)),
        Retention::Days(_) => (1, !stops.is_empty()),
    };
    Some(RetentionCheck { backup_type: BackupType::Full, required, satisfied })
}

fn check_diff(repo: &Repo, settings: &RepoSettings, now: DateTime<Utc>) -> Option<RetentionCheck> {
    let required = settings.retention_diff?;
    let stops_of_both = stops(repo, &[BackupType::Full, BackupType::Diff]);
    let full_stops = stops(repo, &[BackupType::Full]);
    let full_backups_rotate = match settings.retention_full {
        Some(Retention::Count(kept)) => holds(&full_stops, kept),
        Some(Retention::Days(days)) => {
            full_stops.first().is_some_and(|oldest| now - *oldest >= Duration::days(i64::from(days)))
        }
        None => false,
    };
    let satisfied =
        holds(&stops_of_both, required) || full_backups_rotate || is_young(&stops_of_both, required, now);
    Some(RetentionCheck { backup_type: BackupType::Diff, required, satisfied })
}

/// Stop times of the backups of these types, oldest first.
fn stops(repo: &Repo, types: &[BackupType]) -> Vec<DateTime<Utc>> {
    let is_wanted = |backup_type| types.contains(&backup_type);
    let mut stops: Vec<_> = repo
        .backups
        .iter()
        .filter(|backup| is_wanted(backup.backup_type))
        .map(|backup| backup.stop)
        .collect();
    stops.sort_unstable();
    stops
}

fn holds(stops: &[DateTime<Utc>], required: u32) -> bool {
    u32::try_from(stops.len()).is_ok_and(|held| held >= required)
}

fn is_young(stops: &[DateTime<Utc>], required: u32, now: DateTime<Utc>) -> bool {
    let Some(oldest) = stops.first() else { return false };
    let grace = i32::try_from(required).ok().and_then(|required| usual_interval(stops).checked_mul(required));
    grace.is_none_or(|grace| now - *oldest < grace)
}

/// The median of the intervals between backups, within bounds.
fn usual_interval(stops: &[DateTime<Utc>]) -> Duration {
    let mut intervals: Vec<Duration> =
        stops.iter().zip(stops.iter().skip(1)).map(|(one, next)| *next - *one).collect();
    intervals.sort_unstable();
    let bounds = if intervals.len() < 2 { INTERVAL_OF_TWO } else { INTERVAL_OF_MANY };
    intervals.get(intervals.len() / 2).map_or(UNKNOWN_INTERVAL, |median| (*median).clamp(bounds.0, bounds.1))
}

#[cfg(test)]
mod tests {
    use super::super::examples::{backup, day, repo};
    use super::super::snapshot::RepoState;
    use super::*;

    fn configured(full: Option<Retention>, diff: Option<u32>, full_days: &[i64], diff_days: &[i64]) -> Repo {
        let mut backups = Vec::new();
        for (days, letter) in [(full_days, 'F'), (diff_days, 'D')] {
            backups.extend(days.iter().map(|at| backup(&format!("20260101-{at:06}{letter}"), day(*at), 1)));
        }
        let settings = RepoSettings { retention_full: full, retention_diff: diff, ..RepoSettings::default() };
        Repo { settings: Some(settings), ..repo(1, backups) }
    }

    fn is_satisfied(repo: &Repo, backup_type: BackupType, now: i64) -> bool {
        checks(repo, day(now)).iter().find(|check| check.backup_type == backup_type).unwrap().satisfied
    }

    #[test]
    fn full_backups_are_counted() {
        let table: [(&[i64], i64, bool, &str); 8] = [
            (&[0, 7, 14, 21], 22, true, "all there"),
            (&[0, 7, 14, 21, 28], 400, true, "more than asked for"),
            (&[], 0, false, "none at all"),
            (&[0], 1, true, "the first day"),
            (&[0], 124, false, "one, and nothing since"),
            (&[0, 0], 20, true, "repeated by hand, weekly from then on"),
            (&[0, 7, 14], 20, true, "three weeks of weekly backups"),
            (&[0, 1, 2], 5, false, "daily backups that stopped"),
        ];
        for (days, now, satisfied, what) in table {
            let repo = configured(Some(Retention::Count(4)), None, days, &[]);
            let expected = RetentionCheck { backup_type: BackupType::Full, required: 4, satisfied };
            assert_eq!(checks(&repo, day(now)), [expected], "{what}");
        }
    }

    #[test]
    fn a_long_outage_does_not_prolong_the_grace() {
        let repo = configured(Some(Retention::Count(5)), None, &[0, 7, 14, 100], &[]);
        assert!(!is_satisfied(&repo, BackupType::Full, 101));
    }

    #[test]
    fn by_time_one_full_backup_is_enough() {
        let some = configured(Some(Retention::Days(30)), None, &[3], &[]);
        let expected = RetentionCheck { backup_type: BackupType::Full, required: 1, satisfied: true };
        assert_eq!(checks(&some, day(4)), [expected]);
        assert!(!is_satisfied(&configured(Some(Retention::Days(30)), None, &[], &[]), BackupType::Full, 4));
        assert_eq!(window(&some), Some(30 * 86_400));
        assert_eq!(window(&configured(Some(Retention::Count(30)), None, &[], &[])), None);
    }

    #[test]
    fn full_backups_count_as_differential_ones() {
        let enough = configured(None, Some(3), &[0], &[1, 2]);
        assert!(is_satisfied(&enough, BackupType::Diff, 300));
        let too_few = configured(None, Some(4), &[0], &[1, 2]);
        assert!(is_satisfied(&too_few, BackupType::Diff, 3));
        assert!(!is_satisfied(&too_few, BackupType::Diff, 300));
    }

    #[test]
    fn differential_backups_go_with_their_full_backup() {
        let rotated = configured(Some(Retention::Count(1)), Some(9), &[0], &[1, 2]);
        assert!(is_satisfied(&rotated, BackupType::Diff, 300));
        let by_time = configured(Some(Retention::Days(20)), Some(9), &[0], &[1, 2]);
        assert!(is_satisfied(&by_time, BackupType::Diff, 300));
        assert!(!is_satisfied(&by_time, BackupType::Diff, 19));
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known() {
        assert!(checks(&repo(1, vec![backup("20260101-000000F", day(0), 1)]), day(1)).is_empty());
        assert!(checks(&configured(None, None, &[0], &[]), day(1)).is_empty());
        let mut down = configured(Some(Retention::Count(2)), Some(2), &[], &[]);
        assert_eq!(checks(&down, day(1)).len(), 2);
        down.state = RepoState::Timeout;
        assert!(checks(&down, day(1)).is_empty());
    }

    #[test]
    fn absurd_settings_do_not_overflow() {
        let repo = configured(Some(Retention::Count(u32::MAX)), Some(u32::MAX), &[0, 1], &[]);
        assert_eq!(checks(&repo, day(1)).len(), 2);
        assert_eq!(
            window(&configured(Some(Retention::Days(u32::MAX)), None, &[], &[])),
            Some(371_085_174_288_000)
        );
    }
}
