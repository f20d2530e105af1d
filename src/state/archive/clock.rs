//! How far the times of files in a repository can be trusted.
//!
//! File times come from the repository's clock, or from a program that copied the files. Backups show the difference: the last
//! segment that a backup needs is archived while the backup runs, by the clock of the PostgreSQL host, which is the reference.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::backup::Backup;
use super::listing::{CLOCK_TOLERANCE, DirectoryFacts, Listing};

/// Clocks that differ by less count as equal.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// No clock is ahead by more than this; later times are wrong.
const MAX_AHEAD: TimeDelta = TimeDelta::days(1);

/// The repository's clock compared with that of the PostgreSQL host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// How far it is behind according to the newest backup; negative if it is ahead.
    pub(super) behind: TimeDelta,
    /// The remaining uncertainty: the clock may have been set since.
    pub(super) uncertainty: TimeDelta,
    /// Whether all backups agree. Otherwise files were copied without their times, or the clock was set.
    pub(super) is_reliable: bool,
    /// Whether it was set back after the newest backup.
    was_set_back: bool,
    /// Whether a backup shows how far it is behind.
    is_known: bool,
    /// Earlier times prove nothing.
    since: DateTime<Utc>,
    /// No file can be newer.
    latest: DateTime<Utc>,
}

/// The period in which a file arrived in the repository, by the clock of the PostgreSQL host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// None if the time proves nothing.
    pub(super) earliest: Option<DateTime<Utc>>,
    pub(super) latest: DateTime<Utc>,
}

impl Clock {
    /// The clock according to the backups.
    pub(super) fn of(backups: &[&Backup], listing: &Listing) -> Self {
        let latest = listing.listed_at + CLOCK_TOLERANCE;
        let timed = backups.iter().filter_map(|backup| Some((*backup, listing.time(backup.wal_stop?)?)));
        let timed: Vec<(&Backup, DateTime<Utc>)> =
            timed.filter(|(_, time)| *time <= latest + MAX_AHEAD).collect();
        let newest = timed.iter().max_by_key(|(backup, _)| backup.stop);
        let zero = TimeDelta::zero();
        let (mut behind, mut uncertainty) = (zero, zero);
        if let Some((backup, time)) = newest {
            let ahead = *time - backup.stop;
            // Files that were copied without their times look like this too, but none of them is dated in the future.
            let is_ahead = (TOLERANCE..=MAX_AHEAD).contains(&ahead) && listing.future() > 0;
            if backup.start - *time > TOLERANCE || is_ahead {
                behind = backup.start - *time;
                uncertainty = behind.abs().max(backup.stop - *time);
            }
        }
        let agrees = |(backup, time): &(&Backup, DateTime<Utc>)| {
            let time = *time + behind;
            backup.start - TOLERANCE <= time && time <= backup.stop + TOLERANCE
        };
        let was_set_back = newest.is_some_and(|(backup, time)| {
            let last = backup.wal_stop.and_then(|stop| listing.last_modified(stop.timeline));
            last.is_some_and(|last| last + TOLERANCE < *time)
        });
        let is_reliable = !was_set_back && timed.iter().all(agrees);
        let since = match newest {
            _ if is_reliable => DateTime::<Utc>::MIN_UTC,
            Some(newest) if !was_set_back && agrees(newest) => newest.0.start - TOLERANCE,
            _ => DateTime::<Utc>::MAX_UTC,
        };
        Self { behind, uncertainty, is_reliable, was_set_back, is_known: newest.is_some(), since, latest }
    }

    /// How far it is behind, if a backup shows it.
    pub(super) fn known_behind(self) -> Option<TimeDelta> {
        self.is_known.then_some(self.behind)
    }

    /// The most likely time of a file by the clock of the PostgreSQL host; None if that would be in the future.
    pub(super) fn correct(self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        time.checked_add_signed(self.behind).filter(|time| *time <= self.latest)
    }

    /// When the repository received the last segment of each timeline, if its time is possible.
    pub(super) fn newest(self, listing: &Listing) -> BTreeMap<u32, DateTime<Utc>> {
        let last =
            |facts: &DirectoryFacts| facts.runs.iter().rev().find_map(|run| self.correct(run.last_modified));
        listing.directories().filter_map(|(name, facts)| Some((name.timeline, last(facts)?))).collect()
    }

    /// The period in which a file can have arrived. If its corrected time is in the future, the clock was set since the newest
    /// backup, and the time proves nothing.
    pub(super) fn bounds(self, time: DateTime<Utc>) -> Bounds {
        let Some(corrected) = self.correct(time) else {
            return Bounds { earliest: None, latest: self.latest };
        };
        let earliest = Some(time.min(corrected)).filter(|_| corrected >= self.since);
        // After the clock was set back, a newer file has an older time.
        let latest = if self.was_set_back { self.latest } else { time.max(corrected).min(self.latest) };
        Bounds { earliest, latest }
    }
}
