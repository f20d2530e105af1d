//! How to collect from the clusters of a fleet, and how much of each to serve.

use std::time::Duration;

use clap::Args;

use crate::collect::fleet::Pace;

use super::collect::{StalenessArgs, TimeoutArgs, WalArgs};
use super::metrics::DetailArg;
use super::{SWITCH, duration, switch};

/// Concurrency in the pods of a fleet.
#[derive(Debug, Clone, Copy, Args)]
pub struct ConcurrencyArgs {
    /// Maximum number of concurrent API server calls for collection, including commands in pods, over all clusters.
    #[arg(
        long = "collect.concurrency",
        env = "KEEPER_COLLECT_CONCURRENCY",
        value_name = "N",
        default_value_t = Pace::USUAL_CONCURRENCY,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub collect_concurrency: u16,
}

/// How to query pgBackRest of each cluster.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collection")]
pub struct FleetArgs {
    /// Interval between collections of each cluster, through exec in its pods: seconds (300) or a duration (5m).
    #[arg(
        long = "collect.interval",
        env = "KEEPER_COLLECT_INTERVAL",
        value_name = "DURATION",
        default_value = "300",
        value_parser = duration
    )]
    pub interval: Duration,

    /// Timeout of one command in a pod.
    #[command(flatten)]
    pub timeout: TimeoutArgs,

    /// How many calls run concurrently.
    #[command(flatten)]
    pub concurrency: ConcurrencyArgs,

    /// How long facts are kept.
    #[command(flatten)]
    pub staleness: StalenessArgs,

    /// Collect facts about backups. If false, only the operator's own metrics are served.
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

    /// Which backups get their own series: all, the newest of each type, or none.
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
    /// How to query the clusters.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let pace = Pace::new(
            self.interval,
            self.timeout.timeout,
            usize::from(self.concurrency.collect_concurrency),
            self.staleness.max_staleness,
        );
        // The next collection waits for the scan, so keep it short.
        pace.with_wal(self.wal.settings(self.interval / 4))
    }
}
