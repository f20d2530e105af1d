//! `metrics`: collects once from this host, and writes the metrics to a file or to standard output.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::Utc;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::collect::host;
use crate::files;
use crate::metrics::collection::Collector;
use crate::metrics::{CollectionMetrics, exposition};
use crate::shutdown::{Request, Signals};
use crate::telemetry::{self, LogFormat};

use super::args::collect::SourceArgs;
use super::args::metrics::MetricsArgs;
use super::args::{SWITCH, duration, switch};
use super::fleet_report::has_answered;
use super::{exporter, output, settings};

/// Readable by node_exporter, under any user.
const MODE: u32 = 0o644;

/// Arguments of `metrics`.
#[derive(Debug, Args)]
pub struct MetricsFileArgs {
    /// File to replace atomically, such as /var/lib/prometheus/node-exporter/pgbackrest.prom. Defaults to standard output.
    #[arg(long, env = "KEEPER_METRICS_FILE", value_name = "FILE")]
    file: Option<PathBuf>,

    /// How often this command is run. Alerts use it to tell that the metrics are outdated.
    #[arg(
        long = "collect.interval",
        env = "KEEPER_COLLECT_INTERVAL",
        value_name = "DURATION",
        default_value = "600",
        value_parser = duration
    )]
    interval: Duration,

    /// Also scan the WAL archives to prove what can be restored. Takes longer for large archives.
    #[arg(long, env = "KEEPER_WAL", default_value = "false", value_name = SWITCH, value_parser = switch())]
    wal: bool,

    /// Log level or filter directives for messages on standard error.
    #[arg(long = "log.level", env = "KEEPER_LOG_LEVEL", value_name = "FILTER", default_value = "warn")]
    log_level: String,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Exit code 0: pgBackRest answered every query, and could read every repository. 1: it did not; what is known is written
/// anyway. If the command is stopped before it has collected, nothing is written.
pub async fn run(args: MetricsFileArgs) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::install(&args.log_level, LogFormat::Text)?;
    let options = Arc::new(exporter::options(&args.metrics)?);
    let settings = settings::repeated(&args.source, args.interval, args.wal)?;
    let collection = Arc::new(CollectionMetrics::new());
    collection.set_cadence(Collector::Info, args.interval, settings.pace.limits.timeout);
    if let Some(wal) = settings.pace.wal {
        collection.set_cadence(Collector::Wal, wal.interval, wal.timeout);
    }
    let mut signals = Signals::install().context("cannot install signal handlers")?;
    let stop = CancellationToken::new();
    let collecting = host::once(settings, stop.clone());
    tokio::pin!(collecting);
    let snapshot = loop {
        tokio::select! {
            snapshot = &mut collecting => break snapshot,
            request = signals.next() => if let Request::Stop(_) = request { stop.cancel() },
        }
    };
    if stop.is_cancelled() {
        bail!("stopped before everything was collected; nothing is written");
    }
    let text = exposition::written(&snapshot, &collection, &options, Utc::now())?;
    match &args.file {
        Some(file) => {
            let (path, text) = (file.clone(), text);
            let written =
                files::FileTask::default().run(move || files::replace(&path, text.as_bytes(), MODE)).await;
            written
                .map_err(anyhow::Error::from)
                .and_then(|written| written.map_err(Into::into))
                .with_context(|| format!("--file {}", file.display()))?;
        }
        None => output::write(&text)?,
    }
    Ok(if has_answered(&snapshot) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
