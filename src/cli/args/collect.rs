//! How and what to collect from pgBackRest.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use regex::Regex;

use crate::cli::output::Format;
use crate::collect::settings::{Settings, WalSettings};
use crate::pgbackrest::command::Program;
use crate::source::signing_key::{KeyFileError, SigningKey};

use super::{SWITCH, duration, path, switch};

/// Which pgBackRest to run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "pgBackRest")]
pub struct ProgramArgs {
    /// The pgbackrest program: a path, or a name to look up in PATH.
    #[arg(
        long = "backrest.binary",
        env = "KEEPER_BACKREST_BINARY",
        value_name = "FILE",
        default_value = "pgbackrest"
    )]
    pub binary: PathBuf,

    /// pgBackRest configuration file. Defaults to pgBackRest's own default. If --backrest.binary is a script, its
    /// configuration is read only if it is named here.
    #[arg(long = "backrest.config", env = "KEEPER_BACKREST_CONFIG", value_name = "FILE", value_parser = path())]
    pub config: Option<PathBuf>,

    /// Directory with additional pgBackRest configuration files. Defaults to pgBackRest's own default.
    #[arg(
        long = "backrest.config-include-path",
        env = "KEEPER_BACKREST_CONFIG_INCLUDE_PATH",
        value_name = "DIR",
        value_parser = path()
    )]
    pub config_include_path: Option<PathBuf>,
}

impl From<&ProgramArgs> for Program {
    fn from(args: &ProgramArgs) -> Self {
        let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        Self {
            binary: args.binary.clone(),
            config: given(&args.config),
            config_include_path: given(&args.config_include_path),
        }
    }
}

/// Which pgBackRest to query, and for what. Shared by `exporter` and `info`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "pgBackRest")]
pub struct SourceArgs {
    /// Which program.
    #[command(flatten)]
    pub program: ProgramArgs,

    /// Collect only this stanza. Can be repeated or comma-separated.
    #[arg(
        long = "backrest.stanza-include",
        env = "KEEPER_BACKREST_STANZA_INCLUDE",
        value_name = "STANZA",
        value_delimiter = ','
    )]
    pub stanza_include: Vec<String>,

    /// Skip this stanza, even if it is included. Can be repeated or comma-separated.
    #[arg(
        long = "backrest.stanza-exclude",
        env = "KEEPER_BACKREST_STANZA_EXCLUDE",
        value_name = "STANZA",
        value_delimiter = ','
    )]
    pub stanza_exclude: Vec<String>,

    /// Collect only stanzas whose full name matches.
    #[arg(
        long = "collect.stanza-include-regex",
        env = "KEEPER_COLLECT_STANZA_INCLUDE_REGEX",
        value_name = "REGEX",
        value_parser = pattern
    )]
    pub stanza_include_regex: Option<String>,

    /// Skip stanzas whose full name matches.
    #[arg(
        long = "collect.stanza-exclude-regex",
        env = "KEEPER_COLLECT_STANZA_EXCLUDE_REGEX",
        value_name = "REGEX",
        value_parser = pattern
    )]
    pub stanza_exclude_regex: Option<String>,

    /// Collect only this repository number. Can be repeated or comma-separated.
    #[arg(
        long = "collect.repo",
        env = "KEEPER_COLLECT_REPO",
        value_name = "N",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=256)
    )]
    pub repo: Vec<u32>,

    /// Timeout of one call.
    #[command(flatten)]
    pub timeout: TimeoutArgs,

    /// Maximum number of concurrent pgbackrest processes.
    #[arg(
        long = "collect.max-processes",
        env = "KEEPER_COLLECT_MAX_PROCESSES",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub max_processes: u32,

    /// What pgBackRest sees of the environment.
    #[command(flatten)]
    pub environment: EnvironmentArgs,

    /// Where the records are.
    #[command(flatten)]
    pub state: StateArgs,
}

/// What pgBackRest sees of the environment.
#[derive(Debug, Clone, Args)]
pub struct EnvironmentArgs {
    /// Pass this environment variable to pgbackrest, which otherwise runs with a clean environment. Can be repeated or
    /// comma-separated.
    #[arg(
        long = "collect.pass-env",
        env = "KEEPER_COLLECT_PASS_ENV",
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "pgBackRest"
    )]
    pub pass_env: Vec<String>,
}

/// How a result is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Output format.
    #[arg(long, env = "KEEPER_OUTPUT", value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub(in crate::cli) output: Format,

    /// Log level or filter directives for messages on standard error.
    #[arg(long = "log.level", env = "KEEPER_LOG_LEVEL", value_name = "FILTER", default_value = "warn")]
    pub log_level: String,
}

/// Directory of the records, which `restore-test` and `verify` write, and `exporter` and `info` read.
#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// Directory for the records of restore tests and verifications.
    #[arg(
        long = "state-directory",
        env = "KEEPER_STATE_DIRECTORY",
        value_name = "DIR",
        default_value = Settings::STATE_DIRECTORY
    )]
    pub state_directory: PathBuf,
}

/// How records are signed.
#[derive(Debug, Clone, Args)]
pub struct SigningArgs {
    /// Private key that signs records of restore tests and verifications: PEM (PKCS#8) of type Ed25519 or ECDSA with P-256, in a file that others cannot access.
    #[arg(long = "signing-key-file", env = "KEEPER_SIGNING_KEY_FILE", value_name = "FILE", value_parser = path())]
    pub signing_key_file: Option<PathBuf>,
}

impl SigningArgs {
    /// None: records are not signed.
    pub fn key(&self) -> Result<Option<SigningKey>, KeyFileError> {
        let given = self.signing_key_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        given.map(SigningKey::read).transpose()
    }
}

/// Timeout of one pgBackRest call, on a host or in a pod.
#[derive(Debug, Clone, Copy, Args)]
pub struct TimeoutArgs {
    /// Timeout of one pgbackrest call, after which it is terminated. Defaults to a quarter of the interval, but at most
    /// 2m (1m in pods).
    #[arg(long = "collect.timeout", env = "KEEPER_COLLECT_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// How long facts are kept.
#[derive(Debug, Clone, Copy, Args)]
pub struct StalenessArgs {
    /// How long to keep serving the last known facts while collection fails. Defaults to three intervals, but at least
    /// 1h.
    #[arg(
        long = "collect.max-staleness",
        env = "KEEPER_COLLECT_MAX_STALENESS",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub max_staleness: Option<Duration>,
}

/// How often to collect, and how much beyond `info`. Only for `exporter`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collection")]
pub struct IntervalArgs {
    /// Interval between collections, in seconds (600) or as a duration (10m).
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

    /// Count the databases in every backup. Takes one pgbackrest call per backup, made once (pgBackRest 2.41 and
    /// later).
    #[arg(
        long = "backrest.database-count",
        env = "KEEPER_BACKREST_DATABASE_COUNT",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub database_count: bool,

    /// Maximum number of concurrent calls that count databases.
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

    /// Collect facts about backups. If false, only the version of pgBackRest and the program's own metrics are served.
    #[arg(
        long = "collector.pgbackrest",
        env = "KEEPER_COLLECTOR_PGBACKREST",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub collector: bool,

    /// Scans of the WAL archives.
    #[command(flatten)]
    pub wal: WalArgs,
}

/// Whether and how often to scan the WAL archives.
#[derive(Debug, Clone, Args)]
pub struct WalArgs {
    /// Scan the WAL archives to prove which backups can be restored, and to which points in time (pgBackRest 2.32 and
    /// later).
    #[arg(
        id = "wal_is_listed",
        long = "collector.wal",
        env = "KEEPER_COLLECTOR_WAL",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub is_listed: bool,

    /// Interval between scans of the WAL archives. New archives, and archives with a new backup, are scanned
    /// immediately.
    #[arg(
        id = "wal_interval",
        long = "collect.wal-interval",
        env = "KEEPER_COLLECT_WAL_INTERVAL",
        value_name = "DURATION",
        default_value = "15m",
        value_parser = duration
    )]
    pub interval: Duration,

    /// Maximum duration of one scan of the WAL archives; an unfinished scan resumes in the next one. Each call is limited by
    /// --collect.timeout. Defaults to --collect.wal-interval, in Kubernetes to a quarter of --collect.interval per cluster.
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
    /// How to scan archives, if at all.
    #[must_use]
    pub fn settings(&self, usual_timeout: Duration) -> Option<WalSettings> {
        let timeout = self.timeout.unwrap_or(usual_timeout);
        self.is_listed.then_some(WalSettings { interval: self.interval, timeout })
    }
}

/// Rejects an invalid regular expression, pointing to the mistake.
fn pattern(text: &str) -> Result<String, regex::Error> {
    Regex::new(text).map(|_| text.to_owned())
}
