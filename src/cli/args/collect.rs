//! How pgBackRest is asked, and for what.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use regex::Regex;

use crate::collect::settings::WalSettings;

use super::{SWITCH, duration, path, switch};

/// Which pgBackRest is asked for what. Shared by `exporter` and `info`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "pgBackRest")]
pub struct SourceArgs {
    /// The pgbackrest program: a name on PATH or a path.
    #[arg(
        long = "backrest.binary",
        env = "KEEPER_BACKREST_BINARY",
        value_name = "FILE",
        default_value = "pgbackrest"
    )]
    pub binary: PathBuf,

    /// Configuration file of pgBackRest. Unset: pgBackRest's own default.
    #[arg(long = "backrest.config", env = "KEEPER_BACKREST_CONFIG", value_name = "FILE", value_parser = path())]
    pub config: Option<PathBuf>,

    /// Directory of further configuration files of pgBackRest. Unset: pgBackRest's own default.
    #[arg(
        long = "backrest.config-include-path",
        env = "KEEPER_BACKREST_CONFIG_INCLUDE_PATH",
        value_name = "DIR",
        value_parser = path()
    )]
    pub config_include_path: Option<PathBuf>,

    /// Collect only this stanza. Can be repeated, or separated by commas.
    #[arg(
        long = "backrest.stanza-include",
        env = "KEEPER_BACKREST_STANZA_INCLUDE",
        value_name = "STANZA",
        value_delimiter = ','
    )]
    pub stanza_include: Vec<String>,

    /// Leave this stanza out, even where it is included. Can be repeated, or separated by commas.
    #[arg(
        long = "backrest.stanza-exclude",
        env = "KEEPER_BACKREST_STANZA_EXCLUDE",
        value_name = "STANZA",
        value_delimiter = ','
    )]
    pub stanza_exclude: Vec<String>,

    /// Keep only stanzas whose whole name matches.
    #[arg(
        long = "collect.stanza-include-regex",
        env = "KEEPER_COLLECT_STANZA_INCLUDE_REGEX",
        value_name = "REGEX",
        value_parser = pattern
    )]
    pub stanza_include_regex: Option<String>,

    /// Leave out stanzas whose whole name matches.
    #[arg(
        long = "collect.stanza-exclude-regex",
        env = "KEEPER_COLLECT_STANZA_EXCLUDE_REGEX",
        value_name = "REGEX",
        value_parser = pattern
    )]
    pub stanza_exclude_regex: Option<String>,

    /// Collect only this repository number. Can be repeated, or separated by commas.
    #[arg(
        long = "collect.repo",
        env = "KEEPER_COLLECT_REPO",
        value_name = "N",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=256)
    )]
    pub repo: Vec<u32>,

    /// How long one call may take.
    #[command(flatten)]
    pub timeout: TimeoutArgs,

    /// How many pgbackrest processes may run at once.
    #[arg(
        long = "collect.max-processes",
        env = "KEEPER_COLLECT_MAX_PROCESSES",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub max_processes: u32,

    /// Pass this environment variable on to pgbackrest, which otherwise gets a clean environment. Can be repeated, or
    /// separated by commas.
    #[arg(
        long = "collect.pass-env",
        env = "KEEPER_COLLECT_PASS_ENV",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub pass_env: Vec<String>,
}

/// How long one call of pgBackRest may take, wherever it runs.
#[derive(Debug, Clone, Copy, Args)]
pub struct TimeoutArgs {
    /// How long one call of pgbackrest may take before it is ended. Unset: a quarter of the interval, at most 2m, in pods
    /// at most 1m.
    #[arg(long = "collect.timeout", env = "KEEPER_COLLECT_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// How long facts are kept.
#[derive(Debug, Clone, Copy, Args)]
pub struct StalenessArgs {
    /// How long the last good facts are kept when collection fails. Unset: three intervals, at least 1h.
    #[arg(
        long = "collect.max-staleness",
        env = "KEEPER_COLLECT_MAX_STALENESS",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub max_staleness: Option<Duration>,
}

/// How often, and how much beyond `info`. For `exporter` alone.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collection")]
pub struct IntervalArgs {
    /// How often pgBackRest is asked: seconds (600) or a duration (10m).
    #[arg(
        long = "collect.interval",
        env = "KEEPER_COLLECT_INTERVAL",
        value_name = "DURATION",
        default_value = "600",
        value_parser = duration
    )]
    pub interval: Duration,

    /// How long facts are kept.
    #[command(flatten)]
    pub staleness: StalenessArgs,

    /// Count the databases in every backup: one call of pgbackrest per backup, once (pgBackRest 2.41 and later).
    #[arg(
        long = "backrest.database-count",
        env = "KEEPER_BACKREST_DATABASE_COUNT",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub database_count: bool,

    /// How many of those calls may run at once.
    #[arg(
        long = "backrest.database-parallel-processes",
        env = "KEEPER_BACKREST_DATABASE_PARALLEL_PROCESSES",
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub database_parallel_processes: u32,

    /// Count the databases in the newest backup of each type.
    #[arg(
        long = "backrest.database-count-latest",
        env = "KEEPER_BACKREST_DATABASE_COUNT_LATEST",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub database_count_latest: bool,

    /// Collect backups at all; off leaves the version and the program's own metrics.
    #[arg(
        long = "collector.pgbackrest",
        env = "KEEPER_COLLECTOR_PGBACKREST",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub collector: bool,

    /// What is listed of WAL archives.
    #[command(flatten)]
    pub wal: WalArgs,
}

/// Whether and how often WAL archives are listed.
#[derive(Debug, Clone, Args)]
pub struct WalArgs {
    /// List the WAL archives, and prove which backups can be restored and to which instants (pgBackRest 2.32 and later).
    #[arg(
        id = "wal_is_listed",
        long = "collector.wal",
        env = "KEEPER_COLLECTOR_WAL",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub is_listed: bool,

    /// How often the WAL archives are listed; a new archive, or one with a new backup, is listed at once.
    #[arg(
        id = "wal_interval",
        long = "collect.wal-interval",
        env = "KEEPER_COLLECT_WAL_INTERVAL",
        value_name = "DURATION",
        default_value = "15m",
        value_parser = duration
    )]
    pub interval: Duration,

    /// How long listing the WAL archives may take; the next time goes on from there. Each call has --collect.timeout. Unset:
    /// --collect.wal-interval; for a cluster of Kubernetes a quarter of --collect.interval.
    #[arg(
        id = "wal_timeout",
        long = "collect.wal-timeout",
        env = "KEEPER_COLLECT_WAL_TIMEOUT",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub timeout: Option<Duration>,
}

impl WalArgs {
    /// How archives are listed, if they are.
    #[must_use]
    pub fn settings(&self, usual_timeout: Duration) -> Option<WalSettings> {
        let timeout = self.timeout.unwrap_or(usual_timeout);
        self.is_listed.then_some(WalSettings { interval: self.interval, timeout })
    }
}

/// Refuses what is no regular expression, with the place of the mistake.
fn pattern(text: &str) -> Result<String, regex::Error> {
    Regex::new(text).map(|_| text.to_owned())
}
