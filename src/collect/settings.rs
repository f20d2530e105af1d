//! What the poller is told.

use std::time::Duration;

use chrono::TimeDelta;

use crate::pgbackrest::command::Program;
use crate::source::process::Limits;
use crate::state::filter::Filter;

/// How pgBackRest is polled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which pgBackRest.
    pub program: Program,
    /// Variables that it gets beside the usual few, by name.
    pub pass_environment: Vec<String>,
    /// From the begin of one run to the begin of the next. A little less in fact, so that many do not keep step.
    pub interval: Duration,
    /// What one call may use. The version has its own, shorter time.
    pub limits: Limits,
    /// Age at which facts that are not confirmed are dropped.
    pub max_staleness: Duration,
    /// Calls at the same time, at least 1.
    pub max_processes: usize,
    /// What is looked at.
    pub filter: Filter,
    /// `info` is called; else the version alone is asked for.
    pub info: bool,
    /// Which backups are asked for their databases (pgBackRest 2.41 and later).
    pub database_counts: DatabaseCounts,
    /// Calls for databases at the same time, at least 1.
    pub database_processes: usize,
    /// How WAL archives are listed (pgBackRest 2.32 and later); they are not where this is absent.
    pub wal: Option<WalSettings>,
}

/// How WAL archives are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalSettings {
    /// From the begin of one round over all archives to the begin of the next.
    pub interval: Duration,
    /// What a round may take. One that takes longer is gone on with in the next.
    pub timeout: Duration,
}

/// Which backups are asked for their databases, one call each.
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

impl Settings {
    /// The Go exporter's interval.
    pub const USUAL_INTERVAL: Duration = Duration::from_mins(10);

    /// The usual settings. Without a `timeout` it is a quarter of the interval, 120 s at most, so that even the run that
    /// isolates a hang step by step ends within the interval. Without a `max_staleness` that is three intervals, 1 h at
    /// least.
    #[must_use]
    pub fn new(
        program: Program,
        interval: Duration,
        timeout: Option<Duration>,
        max_staleness: Option<Duration>,
    ) -> Self {
        let timeout = timeout.unwrap_or((interval / 4).min(Duration::from_mins(2)));
        Self {
            program,
            pass_environment: Vec::new(),
            interval,
            limits: Limits::with_timeout(timeout),
            max_staleness: max_staleness.unwrap_or((interval * 3).max(Duration::from_hours(1))),
            max_processes: 4,
            filter: Filter::default(),
            info: true,
            database_counts: DatabaseCounts::Off,
            database_processes: 1,
            wal: None,
        }
    }

    /// Age at which a listing proves nothing any more: as for other facts, and three rounds at least.
    #[must_use]
    pub fn max_wal_staleness(&self) -> TimeDelta {
        let rounds = self.wal.map_or(Duration::ZERO, |wal| wal.interval * 3);
        TimeDelta::from_std(self.max_staleness.max(rounds)).unwrap_or(TimeDelta::MAX)
    }

    /// The longest that the poller is ever silent: three intervals and what a call may take until it is gone.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        self.interval * 3 + self.limits.timeout + self.limits.grace + Duration::from_secs(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_from_the_interval() {
        let of = |seconds, timeout| {
            let program = Program { binary: "x".into(), config: None, config_include_path: None };
            let settings = Settings::new(program, Duration::from_secs(seconds), timeout, None);
            (settings.limits.timeout.as_secs(), settings.max_staleness.as_secs())
        };
        assert_eq!(of(600, None), (120, 3600));
        assert_eq!(of(60, None), (15, 3600));
        assert_eq!(of(3600, Some(Duration::from_mins(5))), (300, 10800));
    }
}
