//! How far the times of files in a repository can be trusted.
//!
//! They come from the repository's clock, or from whatever copied the files. Backups tell: the last segment that a backup
//! needs is archived while the backup runs, by the clock of the PostgreSQL host, on which all else rests.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::backup::Backup;
use super::listing::Listing;

/// Clocks that differ by less count as equal.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// The repository's clock beside that of the PostgreSQL host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// How far it is behind, by the newest backup.
    pub(super) behind: TimeDelta,
    /// All backups agree on that. Otherwise files were copied without their times, or the clock was set.
    pub(super) is_reliable: bool,
    /// A backup shows how far it is behind.
    is_known: bool,
}

impl Clock {
    /// What backups tell of the clock.
    pub(super) fn of(backups: &[&Backup], listing: &Listing) -> Self {
        let timed = backups.iter().filter_map(|backup| Some((backup, listing.time(backup.wal_stop?)?)));
        let timed: Vec<(&&Backup, DateTime<Utc>)> = timed.collect();
        let newest = timed.iter().max_by_key(|(backup, _)| backup.stop);
        let behind = newest.map(|(backup, time)| backup.start - *time).filter(|behind| *behind > TOLERANCE);
        let behind = behind.unwrap_or_else(TimeDelta::zero);
        let agrees = |(backup, time): &(&&Backup, DateTime<Utc>)| {
            let time = *time + behind;
            backup.start - TOLERANCE <= time && time <= backup.stop + TOLERANCE
        };
        Self { behind, is_reliable: timed.iter().all(agrees), is_known: newest.is_some() }
    }

    /// How far it is behind, if a backup shows it.
    pub(super) fn known_behind(self) -> Option<TimeDelta> {
        self.is_known.then_some(self.behind)
    }

    /// The time of a file by the clock of the PostgreSQL host.
    pub(super) fn correct(self, time: DateTime<Utc>) -> DateTime<Utc> {
        time.checked_add_signed(self.behind).unwrap_or(time)
    }
}
