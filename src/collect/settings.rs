//! How often, of what and within which bounds is collected.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;

use crate::pgbackrest::command::Program;
use crate::source::process::Limits;
use crate::state::filter::Filter;

/// How often and within which bounds is collected, from a host as from a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the start of one collection to the start of the next. Slightly less in fact, so that many do not keep step.
    pub interval: Duration,
    /// What one command may use. `version` has its own, shorter timeout.
    pub limits: Limits,
    /// On a host the maximum number of processes, in Kubernetes of API server calls, commands in pods among them.
    pub concurrency: usize,
    /// Age at which facts that are not confirmed are dropped.
    pub max_staleness: Duration,
    /// How WAL archives are scanned (pgBackRest 2.32 and later); None if they are not.
    pub wal: Option<WalSettings>,
}

/// How WAL archives are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalSettings {
    /// From the start of one scan of all archives to the start of the next.
    pub interval: Duration,
    /// Maximum duration of a scan. The next one resumes an unfinished one.
    pub timeout: Duration,
}

/// What is collected from this host, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often, and within which bounds.
    pub pace: Pace,
    /// Which pgBackRest.
    pub program: Program,
    /// Variables that it gets besides the usual few, by name.
    pub pass_environment: Vec<String>,
    /// Stanzas and repositories to collect.
    pub filter: Filter,
    /// Whether to call `info`; otherwise only `version` is called.
    pub info: bool,
    /// The backups whose databases are counted (pgBackRest 2.41 and later).
    pub database_counts: DatabaseCounts,
    /// Concurrent calls that count databases, at least 1.
    pub database_processes: usize,
    /// Where the records of restore tests are.
    pub state_directory: PathBuf,
}

/// The backups whose databases are counted, with one call each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DatabaseCounts {
    /// None.
    #[default]
    Off,
    /// The newest of each type in each repository.
    Latest,
    /// Every one.
    All,
}

impl Pace {
    /// The usual interval in a fleet.
    pub const USUAL_INTERVAL: Duration = Duration::from_mins(5);
    /// The usual concurrency in a fleet: with it, 1,000 clusters of three repositories are collected within the interval
    /// as long as a call takes a second and a half.
    pub const USUAL_CONCURRENCY: u16 = 16;

    /// The pace in a fleet. Without a `timeout` it is a quarter of the interval, at most a minute. Without a
    /// `max_staleness` that is three intervals, at least 1 h.
    #[must_use]
    pub fn new(
        interval: Duration,
        timeout: Option<Duration>,
        concurrency: usize,
        max_staleness: Option<Duration>,
    ) -> Self {
        let timeout = timeout.unwrap_or((interval / 4).min(Duration::from_mins(1)));
        Self {
            interval,
            limits: Limits::with_timeout(timeout.max(Duration::from_secs(1))),
            concurrency: concurrency.max(1),
            max_staleness: max_staleness.unwrap_or((interval * 3).max(Duration::from_hours(1))),
            wal: None,
        }
    }

    /// Also scans WAL archives. In a fleet each scan follows a collection, and so is no more frequent.
    #[must_use]
    pub fn with_wal(self, wal: Option<WalSettings>) -> Self {
        let limited = |wal: WalSettings| WalSettings { interval: wal.interval.max(self.interval), ..wal };
        Self { wal: wal.map(limited), ..self }
    }

    pub(super) fn max_staleness(&self) -> TimeDelta {
        TimeDelta::from_std(self.max_staleness).unwrap_or(TimeDelta::MAX)
    }

    /// Age at which a listing proves nothing any more: as for other facts, and at least three scans.
    pub(super) fn max_wal_staleness(&self) -> TimeDelta {
        let scans = self.wal.map_or(Duration::ZERO, |wal| wal.interval * 3);
        TimeDelta::from_std(self.max_staleness.max(scans)).unwrap_or(TimeDelta::MAX)
    }

    /// The longest time without a sign of life: three intervals and what a call may take until its process is gone.
    pub(super) fn longest_silence(&self) -> Duration {
        self.interval * 3 + self.limits.timeout + self.limits.grace + Duration::from_secs(10)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(Self::USUAL_INTERVAL, None, usize::from(Self::USUAL_CONCURRENCY), None)
    }
}

impl Settings {
    /// The Go exporter's interval.
    pub const USUAL_INTERVAL: Duration = Duration::from_mins(10);
    /// The usual state directory.
    pub const STATE_DIRECTORY: &str = "/var/lib/pgbackrest-keeper";

    /// The usual settings. Without a `timeout` it is a quarter of the interval, at most 120 s, so that even the run that
    /// isolates a hang step by step ends within the interval. Without a `max_staleness` that is three intervals, at least
    /// 1 h.
    #[must_use]
    pub fn new(
        program: Program,
        interval: Duration,
        timeout: Option<Duration>,
        max_staleness: Option<Duration>,
    ) -> Self {
        let timeout = timeout.unwrap_or((interval / 4).min(Duration::from_mins(2)));
        let limits = Limits::with_timeout(timeout);
        Self {
            pace: Pace { limits, ..Pace::new(interval, None, 4, max_staleness) },
            program,
            pass_environment: Vec::new(),
            filter: Filter::default(),
            info: true,
            database_counts: DatabaseCounts::Off,
            database_processes: 1,
            state_directory: Self::STATE_DIRECTORY.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_from_the_interval() {
        let of = |seconds, timeout| {
            let program = Program { binary: "x".into(), config: None, config_include_path: None };
            let Settings { pace, .. } = Settings::new(program, Duration::from_secs(seconds), timeout, None);
            (pace.limits.timeout.as_secs(), pace.max_staleness.as_secs())
        };
        assert_eq!(of(600, None), (120, 3600));
        assert_eq!(of(60, None), (15, 3600));
        assert_eq!(of(3600, Some(Duration::from_mins(5))), (300, 10800));
    }
}
