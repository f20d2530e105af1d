//! How the clusters of a fleet are asked, and how much of each is served.

use std::time::Duration;

use clap::Args;

use crate::collect::fleet::Pace;

use super::collect::{StalenessArgs, TimeoutArgs, WalArgs};
use super::metrics::DetailArg;
use super::{SWITCH, duration, switch};

/// How much runs at once in the pods of a fleet.
#[derive(Debug, Clone, Copy, Args)]
pub struct ConcurrencyArgs {
    /// How many calls of the API server may run at once to ask clusters, commands in pods among them; for all clusters
    /// together.
    #[arg(
        long = "collect.concurrency",
        env = "KEEPER_COLLECT_CONCURRENCY",
        value_name = "N",
        default_value_t = Pace::USUAL_CONCURRENCY,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub collect_concurrency: u16,
}

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

    /// How long one command in a pod may take.
    #[command(flatten)]
    pub timeout: TimeoutArgs,

    /// How many clusters are asked at once.
    #[command(flatten)]
    pub concurrency: ConcurrencyArgs,

    /// How long facts are kept.
    #[command(flatten)]
    pub staleness: StalenessArgs,

    /// Ask pgBackRest at all; off leaves the metrics of the operator itself.
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
        let pace = Pace::new(
            self.interval,
            self.timeout.timeout,
            usize::from(self.concurrency.collect_concurrency),
            self.staleness.max_staleness,
        );
        // What is listed in a look holds up what else it tells.
        pace.with_wal(self.wal.settings(self.interval / 4))
    }
}
