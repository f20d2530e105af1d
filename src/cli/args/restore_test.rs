//! What `restore-test` restores, and how it tests that.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::collect::{EnvironmentArgs, OutputArgs, ProgramArgs, SigningArgs, StateArgs, TimeoutArgs};
use super::pod::PodArgs;
use super::repo::RepoArg;
use super::{SWITCH, duration, path, switch};
use crate::cli::restore_command::point_in_time;
use crate::pgbackrest::label::BackupLabel;
use crate::postgres::copy;
use crate::restore_test::order::{BackupWish, TargetWish};

/// Arguments of `restore-test`.
#[derive(Debug, Args)]
pub struct RestoreTestArgs {
    #[command(flatten)]
    pub what: WhatArgs,

    #[command(flatten)]
    pub place: PlaceArgs,

    #[command(flatten)]
    pub checks: CheckArgs,

    #[command(flatten)]
    pub limits: LimitArgs,

    #[command(flatten)]
    pub pod: PodArgs,

    #[command(flatten)]
    pub postgres: PostgresArgs,

    #[command(flatten)]
    pub program: ProgramArgs,

    /// Timeout of one query before the restore.
    #[command(flatten)]
    pub timeout: TimeoutArgs,

    /// What pgBackRest sees of the environment.
    #[command(flatten)]
    pub environment: EnvironmentArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is restored.
#[derive(Debug, Args)]
#[command(next_help_heading = "Restore")]
pub struct WhatArgs {
    /// Name of the pgBackRest stanza.
    #[arg(long, env = "KEEPER_STANZA", value_name = "NAME")]
    pub stanza: String,

    /// Number of the repository, or any: the one whose last test is the oldest.
    #[arg(long, env = "KEEPER_REPO", value_name = "N|any", default_value = "any")]
    pub repo: RepoArg,

    /// Backup to restore: latest, oldest, random, or a label. With a point in time, latest is the newest one that leads there.
    #[arg(long, env = "KEEPER_BACKUP", value_name = "BACKUP", default_value = "latest")]
    pub backup: BackupArg,

    /// How far to recover: latest (the end of the archived WAL), random (a point in time in the proven recovery window), immediate
    /// (the end of the backup), or a point in time with its time zone, such as '2026-11-23 05:00:00+00'.
    #[arg(long, env = "KEEPER_TARGET", value_name = "TARGET", default_value = "latest")]
    pub target: TargetArg,

    /// Restore only this database, besides postgres and templates; the others are not checked. Can be repeated or comma-separated.
    #[arg(long, env = "KEEPER_DB_INCLUDE", value_name = "NAME", value_delimiter = ',')]
    pub db_include: Vec<String>,

    /// Number of pgBackRest processes that restore. Defaults to pgBackRest's configuration.
    #[arg(long, env = "KEEPER_PROCESS_MAX", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=999))]
    pub process_max: Option<u32>,
}

/// Where the copy and the records are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Directories")]
pub struct PlaceArgs {
    /// Directory for the copy. It must not exist, be empty, or be that of an earlier test; everything in it is removed.
    #[arg(long, env = "KEEPER_DIRECTORY", value_name = "DIR", value_parser = path())]
    pub directory: PathBuf,

    /// Where the records are.
    #[command(flatten)]
    pub state: StateArgs,

    /// Whether the record is signed.
    #[command(flatten)]
    pub signing: SigningArgs,

    /// Keep the copy of a test that did not pass, until the next test in the same directory.
    #[arg(long, env = "KEEPER_KEEP_ON_FAILURE", default_value = "false", value_name = SWITCH, value_parser = switch())]
    pub keep_on_failure: bool,

    /// Test also if the kernel does not support Landlock (Linux 5.13), which keeps the copy from writing outside of its directory.
    /// Only for hosts that have no tablespaces of a database.
    #[arg(long, env = "KEEPER_ALLOW_UNSANDBOXED", default_value = "false", value_name = SWITCH, value_parser = switch())]
    pub allow_unsandboxed: bool,
}

/// What is checked besides the target, all relations and all pages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Checks")]
pub struct CheckArgs {
    /// Also check tables and indexes with pg_amcheck, in databases that have the extension amcheck. Takes longer than reading all tables.
    #[arg(long, env = "KEEPER_AMCHECK", default_value = "false", value_name = SWITCH, value_parser = switch())]
    pub amcheck: bool,

    /// YAML file with queries and their expected results.
    #[arg(long, env = "KEEPER_ASSERTIONS", value_name = "FILE")]
    pub assertions: Option<PathBuf>,

    /// Program that checks the copy. It finds the socket through PGHOST and the like, and fails the test with an exit code other than
    /// 0.
    #[arg(long, env = "KEEPER_HOOK", value_name = "PROGRAM")]
    pub hook: Option<PathBuf>,
}

/// How much time and space a test may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Wait so long for another restore test on this host to end. By default, a second one does not begin.
    #[arg(long, env = "KEEPER_WAIT", value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,

    /// Maximum duration of the whole test, in addition to those of its phases. PostgreSQL is stopped and the copy removed after that.
    #[arg(long, env = "KEEPER_DEADLINE", value_name = "DURATION", value_parser = duration)]
    pub deadline: Option<Duration>,

    /// Maximum duration of the restore.
    #[arg(long, env = "KEEPER_RESTORE_TIMEOUT", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub restore_timeout: Duration,

    /// Maximum duration of recovery.
    #[arg(long, env = "KEEPER_REPLAY_TIMEOUT", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub replay_timeout: Duration,

    /// Maximum duration of each check.
    #[arg(long, env = "KEEPER_CHECK_TIMEOUT", value_name = "DURATION", default_value = "6h", value_parser = duration)]
    pub check_timeout: Duration,

    /// Do not restore a copy that needs more than this, such as 500GiB.
    #[arg(long, env = "KEEPER_SPACE_LIMIT", value_name = "SIZE", value_parser = size)]
    pub space_limit: Option<u64>,

    /// Do not restore a copy that leaves less free space than this.
    #[arg(long, env = "KEEPER_SPACE_RESERVE", value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub space_reserve: u64,
}

/// How PostgreSQL runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresArgs {
    /// Directory of PostgreSQL's programs. Defaults to where Debian and postgresql.org's packages install the version of the backup.
    #[arg(long, env = "KEEPER_PG_BIN_DIR", value_name = "DIR")]
    pub pg_bin_dir: Option<PathBuf>,

    /// A superuser of the database.
    #[arg(long, env = "KEEPER_PG_USER", value_name = "NAME", default_value = "postgres")]
    pub pg_user: String,

    /// Start PostgreSQL with this setting, such as shared_preload_libraries=timescaledb. Can be repeated. Other settings of the
    /// database are not used.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub postgres_option: Vec<(String, String)>,
}

/// `latest`, `oldest`, `random` or a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupArg(pub BackupWish);

/// `latest`, `random`, `immediate` or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetArg(pub TargetWish);

impl FromStr for BackupArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "latest" => BackupWish::Latest,
            "oldest" => BackupWish::Oldest,
            "random" => BackupWish::Random,
            label if BackupLabel::parse(label).is_some() => BackupWish::Label(label.to_owned()),
            _ => return Err("must be latest, oldest, random, or a label such as 20261122-092719F"),
        }))
    }
}

impl FromStr for TargetArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "latest" => TargetWish::Latest,
            "random" => TargetWish::Random,
            "immediate" => TargetWish::Immediate,
            time => {
                let time: DateTime<Utc> = point_in_time(time)
                    .map_err(|error| format!("must be latest, random, immediate, or a time: {error}"))?;
                TargetWish::Time(time)
            }
        }))
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("must be NAME=VALUE".to_owned());
    }
    let name = name.to_ascii_lowercase();
    if !copy::is_free(&name) {
        return Err(format!("{name} cannot be set: restore-test needs its own value"));
    }
    Ok((name, value.to_owned()))
}

/// Bytes, or a number of KiB, MiB, GiB or TiB.
fn size(text: &str) -> Result<u64, String> {
    let wrong = "use bytes, or a size such as 512MiB or 20GiB";
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| wrong)?;
    number.checked_mul(1 << shift).ok_or_else(|| wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_restored_is_read_from_words() {
        let label = "20261122-092719F_20261122-092732I";
        assert_eq!(label.parse(), Ok(BackupArg(BackupWish::Label(label.to_owned()))));
        assert!("newest".parse::<BackupArg>().is_err());
        let time = DateTime::from_timestamp(1_795_410_000, 0).unwrap();
        assert_eq!("2026-11-23 05:00:00+00".parse(), Ok(TargetArg(TargetWish::Time(time))));
        assert!("now".parse::<TargetArg>().is_err());
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [("0", 0), ("512", 512), ("1GiB", 1 << 30), ("20 MiB", 20 << 20)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1GB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_that_keep_production_safe_are_ours() {
        assert_eq!(setting("Work_mem=1GB"), Ok(("work_mem".to_owned(), "1GB".to_owned())));
        for text in [
            "archive_mode=on",
            "ARCHIVE_COMMAND=x",
            "primary_conninfo=x",
            "huge_pages=on",
            "recovery_prefetch=on",
            "ignore_checksum_failure=on",
            "a b=c",
            "=x",
            "x",
        ] {
            assert!(setting(text).is_err(), "{text}");
        }
    }
}
