//! Which metrics are served.

use clap::{Args, ValueEnum};

use super::{SWITCH, switch};
use crate::metrics::options::BackupDetail;
use crate::pgbackrest::label::BackupType;

/// Which metrics are served, and with which labels.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Serve the metrics of the Go exporter with its names, labels and help texts.
    #[arg(
        long = "compat.woblerr",
        env = "KEEPER_COMPAT_WOBLERR",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub compat: bool,

    /// Also serve metrics under names that the Go exporter no longer uses.
    #[arg(
        long = "compat.legacy-names",
        env = "KEEPER_COMPAT_LEGACY_NAMES",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub legacy_names: bool,

    /// Which backups get their own series: all, the newest of each type, or none.
    #[arg(
        long = "metrics.backup-detail",
        env = "KEEPER_METRICS_BACKUP_DETAIL",
        value_name = "WHICH",
        value_enum,
        default_value_t = DetailArg::All
    )]
    pub backup_detail: DetailArg,

    /// Restrict the Go exporter's series per backup and of the last backups to this type.
    #[arg(long = "backrest.backup-type", env = "KEEPER_BACKREST_BACKUP_TYPE", value_name = "TYPE", value_parser = backup_type)]
    pub backup_type: Option<BackupType>,

    /// Maximum number of backups per stanza that get their own series, newest first; 0 means no limit.
    #[arg(
        long = "metrics.max-backups-per-stanza",
        env = "KEEPER_METRICS_MAX_BACKUPS_PER_STANZA",
        value_name = "N",
        default_value_t = 0
    )]
    pub max_backups_per_stanza: usize,

    /// Do not serve this metric. Can be repeated or comma-separated.
    #[arg(
        long = "metrics.disable",
        env = "KEEPER_METRICS_DISABLE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub disable: Vec<String>,

    /// Label backup durations with their start and stop time, as the Go exporter does.
    #[arg(
        long = "metrics.backup-time-labels",
        env = "KEEPER_METRICS_BACKUP_TIME_LABELS",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub backup_time_labels: bool,

    /// Add the WAL range to the labels of the Go exporter's WAL metric. Creates a new series with every segment.
    #[arg(
        long = "backrest.verbose-wal",
        env = "KEEPER_BACKREST_VERBOSE_WAL",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub verbose_wal: bool,

    /// Count the references of every backup. Adds three series per backup.
    #[arg(
        long = "backrest.reference-count",
        env = "KEEPER_BACKREST_REFERENCE_COUNT",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub reference_count: bool,

    /// Add this label to every series. Can be repeated or comma-separated; values cannot contain commas.
    #[arg(long = "label", env = "KEEPER_LABEL", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = label)]
    pub label: Vec<(String, String)>,
}

/// Which backups get their own series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetailArg {
    /// All backups.
    All,
    /// The newest backup of each type in each repository.
    Last,
    /// No backup.
    None,
}

impl From<DetailArg> for BackupDetail {
    fn from(detail: DetailArg) -> Self {
        match detail {
            DetailArg::All => Self::All,
            DetailArg::Last => Self::Last,
            DetailArg::None => Self::None,
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn backup_type(text: &str) -> Result<BackupType, String> {
    BackupType::of_name(text).ok_or_else(|| "must be full, diff or incr".to_owned())
}
