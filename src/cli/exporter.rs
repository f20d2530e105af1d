//! `exporter`: queries pgBackRest on this host periodically and serves the results.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, FixedOffset, Local, Offset, TimeZone, Utc};
use clap::Args;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::collect::host;
use crate::collect::own_process;
use crate::collect::store::Store;
use crate::http::health::ProbeSource;
use crate::http::limits::ServerLimits;
use crate::http::router::{self, AppState, Lifecycle};
use crate::http::server::{self, ServerError};
use crate::http::web_config::WebConfigHandle;
use crate::metrics::options::{ConstantLabels, DisabledMetrics};
use crate::metrics::{CollectionMetrics, Options};
use crate::notify::config::NotifyConfigHandle;
use crate::notify::journal::Journal;
use crate::notify::run::Notifier;
use crate::notify::source::Source;
use crate::shutdown::Signals;
use crate::telemetry;

use super::args::collect::{IntervalArgs, SourceArgs};
use super::args::log::LogArgs;
use super::args::metrics::MetricsArgs;
use super::args::notify::NotifyArgs;
use super::args::web::WebArgs;
use super::startup::Flags;
use super::web::{RELOADS_WAITING, check_telemetry_path, handle_signals, host_name, listeners};
use super::{build, settings};

/// How long the other tasks may take to stop after one has stopped unexpectedly.
const LAST_WAIT: Duration = Duration::from_secs(15);

/// Arguments of `exporter`.
#[derive(Debug, Args)]
pub struct ExporterArgs {
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    collect: IntervalArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs until SIGTERM or SIGINT. An error means that it could not start, or that a task stopped unexpectedly.
pub async fn run(args: ExporterArgs, flags: &Flags) -> anyhow::Result<ExitCode> {
    let logging = telemetry::install(&args.log.level, args.log.format)?;
    flags.log("exporter");
    let signals = Signals::install().context("cannot install signal handlers")?;
    let options = Arc::new(Options {
        database_count: args.collect.database_count,
        database_count_latest: args.collect.database_count_latest,
        ..options(&args.metrics)?
    });
    check_telemetry_path(&args.web.telemetry_path)?;
    let web_config = WebConfigHandle::load(args.web.place.config_file.as_deref()).await?;
    let notify_config = NotifyConfigHandle::load(args.notify.file()).await?;
    let journal = Journal::of_host(&args.source.state.state_directory);
    if notify_config.has_file() {
        journal.claim().await?;
    }
    let listeners = listeners(&args.web).await?;

    let store = Arc::new(Store::new(Arc::clone(&options))?);
    let has_wal = args.collect.collector && args.collect.wal.is_listed;
    let collection = Arc::new(CollectionMetrics::new().with_wal(has_wal));
    let stop = CancellationToken::new();
    let refresh = Arc::new(Notify::new());
    let polling = host::run(
        settings::polling(&args.source, &args.collect)?,
        Arc::clone(&store),
        Arc::clone(&collection),
        Arc::clone(&refresh),
        stop.clone(),
    );
    let notifier = Notifier {
        config: notify_config.clone(),
        source: Source::of_host(Arc::clone(&store), Arc::clone(&collection), &options),
        name: host_name(),
        collection: Arc::clone(&collection),
        expects_scan: has_wal,
        journal,
    };
    let (reloads, requests) = mpsc::channel(RELOADS_WAITING);
    let router = router::router(AppState {
        health: Arc::clone(&store) as Arc<dyn ProbeSource>,
        operator: None,
        store,
        collection,
        options,
        telemetry_path: args.web.telemetry_path.clone(),
        web_config: web_config.clone(),
        title: host_name(),
        interval: args.collect.interval,
        collects: args.collect.collector,
        own_process: own_process::figures,
        lifecycle: args
            .web
            .enable_lifecycle
            .then(|| Lifecycle { reload: reloads.clone(), log_filter: logging.filter.clone() }),
    });
    let limits = ServerLimits::with_connections(args.web.max_connections as usize);

    let serving = tokio::spawn(server::run(listeners, router, web_config.clone(), limits, stop.clone()));
    let working = [tokio::spawn(polling), tokio::spawn(notifier.run(stop.clone()))];
    // The next collection starts immediately and reads pgBackRest's configuration again.
    let signal_handler =
        handle_signals(signals, requests, (web_config, notify_config), move || refresh.notify_one());
    finish(serving, working, signal_handler, stop).await
}

/// Waits for a signal, then stops all tasks. A task that stops on its own is a failure.
async fn finish(
    mut serving: JoinHandle<Result<(), ServerError>>,
    [mut polling, mut notifying]: [JoinHandle<()>; 2],
    signal_handler: impl Future<Output = &'static str>,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let (cause, early) = tokio::select! {
        signal = signal_handler => (signal, None),
        end = &mut serving => {
            let end = end.map_or_else(|panic| Err(panic.into()), |end| end.map_err(Into::into));
            ("web server stopped", Some(end))
        }
        end = &mut polling => ("collection stopped", Some(end.map_err(anyhow::Error::from))),
        end = &mut notifying => ("notifications stopped", Some(end.map_err(anyhow::Error::from))),
    };
    tracing::info!(cause, "Shutting down");
    stop.cancel();
    if let Some(end) = early {
        // The other tasks shut down within their own limits; only the first failure matters.
        let _ = tokio::time::timeout(LAST_WAIT, async {
            if !polling.is_finished() {
                let _ = polling.await;
            }
            if !notifying.is_finished() {
                let _ = notifying.await;
            }
            if !serving.is_finished() {
                let _ = serving.await;
            }
        })
        .await;
        end?;
        bail!(
            "the web server, collection or notifications stopped unexpectedly; this is a bug, please report it with the log"
        );
    }
    let (served, polled, notified) = tokio::join!(serving, polling, notifying);
    served??;
    polled?;
    notified?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the options from the flags.
pub(super) fn options(metrics: &MetricsArgs) -> anyhow::Result<Options> {
    Ok(Options {
        compat: metrics.compat,
        legacy_names: metrics.legacy_names,
        backup_detail: metrics.backup_detail.into(),
        backup_type: metrics.backup_type,
        max_backups_per_stanza: metrics.max_backups_per_stanza,
        disabled: DisabledMetrics::new(metrics.disable.iter().map(String::as_str))
            .context("--metrics.disable")?,
        backup_time_labels: metrics.backup_time_labels,
        time_zone: local_offset,
        verbose_wal: metrics.verbose_wal,
        reference_count: metrics.reference_count,
        database_count: false,
        database_count_latest: false,
        constant_labels: ConstantLabels::new(metrics.label.iter().cloned()).context("--label")?,
        build: build::info(),
    })
}

fn local_offset(at: DateTime<Utc>) -> FixedOffset {
    Local.offset_from_utc_datetime(&at.naive_utc()).fix()
}
