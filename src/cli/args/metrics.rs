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
    /// Serve the Go exporter's metrics under its names, labels and help.
    #[arg(
        long = "compat.woblerr",
        env = "KEEPER_COMPAT_WOBLERR",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub compat: bool,

    /// Serve names that the Go exporter has since renamed, too.
    #[arg(
        long = "compat.legacy-names",
        env = "KEEPER_COMPAT_LEGACY_NAMES",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub legacy_names: bool,

    /// Series per backup: of all kept backups, of the newest of each type, or none.
    #[arg(
        long = "metrics.backup-detail",
        env = "KEEPER_METRICS_BACKUP_DETAIL",
        value_name = "WHICH",
        value_enum,
        default_value_t = DetailArg::All
    )]
    pub backup_detail: DetailArg,

    /// Serve the Go exporter's series per backup, and of the last backups, for this type alone.
    #[arg(long = "backrest.backup-type", env = "KEEPER_BACKREST_BACKUP_TYPE", value_name = "TYPE", value_parser = backup_type)]
    pub backup_type: Option<BackupType>,

    /// At most this many backups per stanza get series of their own, the newest first; 0 is no limit.
    #[arg(
        long = "metrics.max-backups-per-stanza",
        env = "KEEPER_METRICS_MAX_BACKUPS_PER_STANZA",
        value_name = "N",
        default_value_t = 0
    )]
    pub max_backups_per_stanza: usize,

    /// Do not serve this metric. Can be repeated, or separated by commas.
    #[arg(
        long = "metrics.disable",
        env = "KEEPER_METRICS_DISABLE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub disable: Vec<String>,

    /// Label backup durations with start and stop time, as the Go exporter does.
    #[arg(
        long = "metrics.backup-time-labels",
        env = "KEEPER_METRICS_BACKUP_TIME_LABELS",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub backup_time_labels: bool,

    /// Put the WAL range into the labels of the Go exporter's WAL metric: a new series at every segment.
    #[arg(
        long = "backrest.verbose-wal",
        env = "KEEPER_BACKREST_VERBOSE_WAL",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub verbose_wal: bool,

    /// Count the references of every backup: three more series per backup.
    #[arg(
        long = "backrest.reference-count",
        env = "KEEPER_BACKREST_REFERENCE_COUNT",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub reference_count: bool,

    /// Add this label to every series. Can be repeated, or separated by commas, which a value can therefore not hold.
    #[arg(long = "label", env = "KEEPER_LABEL", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = label)]
    pub label: Vec<(String, String)>,
}

/// Which backups get series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetailArg {
    /// Every kept backup.
    All,
    /// The newest of each type in each repository.
    Last,
    /// None.
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
    BackupType::ALL
        .into_iter()
        .find(|known| known.as_str() == text)
        .ok_or_else(|| "must be full, diff or incr".to_owned())
}
