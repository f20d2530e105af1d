//! How the clusters of a fleet are asked, and how much of each is served.

use std::time::Duration;

use clap::Args;

use crate::collect::fleet::Pace;

use super::metrics::DetailArg;
use super::{SWITCH, duration, switch};

/// How pgBackRest of each cluster is asked.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collection")]
pub struct FleetArgs {
    /// How often pgBackRest of each cluster is asked, through exec in its pods: seconds (300) or a duration (5m).
    #[arg(
        long = "collect.interval",
        env = "KEEPER_COLLECT_INTERVAL",
        value_name = "DURATION",
        default_value = "300",
        value_parser = duration
    )]
    pub interval: Duration,

    /// How long one command in a pod may take before it is ended there. Unset: a quarter of the interval, at most 1m.
    #[arg(long = "collect.timeout", env = "KEEPER_COLLECT_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// How many commands may run in pods at once, for all clusters together.
    #[arg(
        long = "collect.concurrency",
        env = "KEEPER_COLLECT_CONCURRENCY",
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub collect_concurrency: u16,

    /// How long the last good facts are kept when collection fails. Unset: three intervals, at least 1h.
    #[arg(
        long = "collect.max-staleness",
        env = "KEEPER_COLLECT_MAX_STALENESS",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub max_staleness: Option<Duration>,

    /// Ask pgBackRest at all; off leaves the metrics of the operator itself.
    #[arg(
        long = "collector.pgbackrest",
        env = "KEEPER_COLLECTOR_PGBACKREST",
        default_value = "true",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub collector: bool,

    /// Series per backup: of all kept backups, of the newest of each type, or none.
    #[arg(
        long = "metrics.backup-detail",
        env = "KEEPER_METRICS_BACKUP_DETAIL",
        value_name = "WHICH",
        value_enum,
        default_value_t = DetailArg::None
    )]
    pub backup_detail: DetailArg,
}

impl FleetArgs {
    /// How the clusters are asked.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace::new(self.interval, self.timeout, usize::from(self.collect_concurrency), self.max_staleness)
    }
}
