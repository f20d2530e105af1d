//! `operator`: manages the backup objects of `postgresql` resources.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::settings::Settings;
use crate::collect::cluster_metrics;
use crate::collect::fleet::FleetCollector;
use crate::collect::own_process;
use crate::collect::store::Store;
use crate::http::health::ProbeSource;
use crate::http::limits::ServerLimits;
use crate::http::router::{self, AppState, Lifecycle};
use crate::http::server::{self, ServerError};
use crate::http::web_config::WebConfigHandle;
use crate::kubernetes::client;
use crate::kubernetes::lease::{self, Leadership, LeaseOptions};
use crate::metrics::exposition::ClusterMetrics;
use crate::metrics::{CollectionMetrics, OperatorMetrics, Options};
use crate::notify::config::NotifyConfigHandle;
use crate::notify::journal::Journal;
use crate::notify::run::Notifier;
use crate::notify::source::Source;
use crate::operator::controller::Controller;
use crate::operator::leadership;
use crate::operator::mode::Mode;
use crate::operator::pod_identity::PodIdentity;
use crate::operator::progress::OperatorProgress;
use crate::operator::reconcile::ReconcileError;
use crate::operator::scope::Scope;
use crate::shutdown::Signals;
use crate::telemetry;

use super::args::cluster::ClusterArgs;
use super::args::collect::SigningArgs;
use super::args::fleet::FleetArgs;
use super::args::log::LogArgs;
use super::args::notify::NotifyArgs;
use super::args::operator::{KubernetesArgs, ModeArg, WorkArgs};
use super::args::web::WebArgs;
use super::build;
use super::startup::Flags;
use super::web::{RELOADS_WAITING, check_telemetry_path, handle_signals, host_name, listeners};

/// How long shutdown may take in all: running work, releasing the lease, and connections.
const LAST_WAIT: Duration = Duration::from_secs(45);

/// Arguments of `operator`.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    #[command(flatten)]
    clusters: ClusterArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs until SIGTERM or SIGINT. An error means that it could not start, or that a task stopped unexpectedly.
pub async fn run(args: OperatorArgs, flags: &Flags) -> anyhow::Result<ExitCode> {
    let logging = telemetry::install(&args.log.level, args.log.format)?;
    flags.log(match Mode::from(args.work.mode) {
        Mode::Manage => "operator-manage",
        Mode::Observe => "operator-observe",
    });
    if args.work.mode == ModeArg::Observe && args.clusters.verifications.verify_schedule.is_some() {
        return Ok(super::unusable(
            &"--verify-schedule needs --mode=manage: when observing, no CronJobs of clusters are written",
        ));
    }
    let signals = Signals::install().context("cannot install signal handlers")?;
    check_telemetry_path(&args.web.telemetry_path)?;
    let shard = args.work.own_shard()?;
    let web_config = WebConfigHandle::load(args.web.place.config_file.as_deref()).await?;
    let notify_config = NotifyConfigHandle::load(args.notify.file()).await?;
    let listeners = listeners(&args.web).await?;
    let client = client::connect(&args.kubernetes.clone().into()).await?;

    let metrics = Arc::new(OperatorMetrics::new(ReconcileError::CATEGORIES).of_shard(shard));
    let progress = Arc::new(OperatorProgress::new(Arc::clone(&metrics)));
    let (stop_work, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    let (reloads, requests) = mpsc::channel(RELOADS_WAITING);
    let options = Arc::new(Options {
        compat: false,
        backup_detail: args.fleet.backup_detail.into(),
        build: build::info(),
        ..Options::default()
    });
    let store = Arc::new(Store::new(Arc::clone(&options))?);
    let collects = args.fleet.collector;
    let collection = Arc::new(if collects {
        CollectionMetrics::in_pods().with_wal(args.fleet.wal.is_listed)
    } else {
        CollectionMetrics::without_collectors()
    });
    let settings = Arc::new(Settings::from(args.clusters.clone()));
    let fleet = collects.then(|| {
        let (store, collection) = (Arc::clone(&store), Arc::clone(&collection));
        Arc::new(FleetCollector::new(store, settings, args.fleet.pace(), collection))
    });
    let clusters = Arc::new(ClusterMetrics::new(Arc::clone(&metrics)));
    let notifier = Notifier {
        config: notify_config.clone(),
        source: Source::of_fleet(
            Arc::clone(&store),
            Arc::clone(&collection),
            Arc::clone(&clusters),
            Arc::clone(&options),
        ),
        name: host_name(),
        collection: Arc::clone(&collection),
        expects_scan: args.fleet.wal.is_listed,
        // The next leader runs elsewhere.
        journal: Journal::none(),
    };
    let router = router::router(AppState {
        health: Arc::clone(&progress) as Arc<dyn ProbeSource>,
        operator: Some(Arc::clone(&clusters)),
        store,
        collection,
        options: Arc::clone(&options),
        telemetry_path: args.web.telemetry_path.clone(),
        web_config: web_config.clone(),
        title: if shard.is_all() { host_name() } else { format!("{}, shard {shard}", host_name()) },
        interval: args.fleet.interval,
        collects,
        own_process: own_process::figures,
        lifecycle: args
            .web
            .enable_lifecycle
            .then(|| Lifecycle { reload: reloads.clone(), log_filter: logging.filter.clone() }),
    });
    let limits = ServerLimits::with_connections(args.web.max_connections as usize);
    let serving =
        tokio::spawn(server::run(listeners, router, web_config.clone(), limits, stop_serving.clone()));
    let working = tokio::spawn(work(
        args,
        client,
        Arc::clone(&progress),
        Arc::clone(&metrics),
        fleet,
        notifier,
        stop_work.clone(),
    ));
    let signal_handler = handle_signals(signals, requests, (web_config, notify_config), || {});
    tokio::select! {
        end = finish(serving, working, signal_handler, &progress, (stop_work, stop_serving)) => end,
        // Until the last scrape.
        never = cluster_metrics::keep_encoded(clusters, options) => match never {},
    }
}

/// Waits for a signal, then stops both tasks: the controller first, so that the last scrape still shows how it ended. A
/// task that stops on its own is a failure.
async fn finish(
    mut serving: JoinHandle<Result<(), ServerError>>,
    mut working: JoinHandle<anyhow::Result<()>>,
    signal_handler: impl Future<Output = &'static str>,
    progress: &OperatorProgress,
    (stop_work, stop_serving): (CancellationToken, CancellationToken),
) -> anyhow::Result<ExitCode> {
    let (cause, early): (_, Option<anyhow::Result<()>>) = tokio::select! {
        signal = signal_handler => (signal, None),
        end = &mut serving => {
            ("web server stopped", Some(end.map_err(Into::into).and_then(|end| end.map_err(Into::into))))
        }
        end = &mut working => ("controller stopped", Some(end.map_err(Into::into).flatten())),
    };
    tracing::info!(cause, "Shutting down");
    progress.stops();
    stop_work.cancel();
    let rest = async {
        // A task that stopped early has reported its error above.
        let worked = if working.is_finished() { Ok(Ok(())) } else { (&mut working).await };
        stop_serving.cancel();
        let served = if serving.is_finished() { Ok(Ok(())) } else { (&mut serving).await };
        worked??;
        anyhow::Ok(served??)
    };
    let rest = tokio::time::timeout(LAST_WAIT, rest).await.context("shutdown did not finish in time");
    if let Some(end) = early {
        end?;
        bail!(
            "the web server or the controller stopped unexpectedly; this is a bug, please report it with the log"
        );
    }
    rest.flatten()?;
    Ok(ExitCode::SUCCESS)
}

/// Holds the lease, and runs the controller while this process leads.
async fn work(
    args: OperatorArgs,
    client: Client,
    progress: Arc<OperatorProgress>,
    metrics: Arc<OperatorMetrics>,
    fleet: Option<Arc<FleetCollector>>,
    notifier: Notifier,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let signing_key = args.signing.key()?.map(Arc::new);
    let pod_identity = pod_identity();
    let instance = pod_identity.as_ref().map_or_else(host_name, |pod| pod.name.clone());
    let lease = LeaseOptions {
        namespace: args
            .work
            .lease_namespace
            .clone()
            .or_else(|| pod_identity.as_ref().map(|pod| pod.namespace.clone()))
            .unwrap_or_else(|| client.default_namespace().to_owned()),
        name: args.work.lease_name.clone(),
        shard: args.work.own_shard()?,
        // A restarted container is a different holder.
        identity: format!("{instance}_{:016x}", rand::random::<u64>()),
        duration: args.work.lease_duration,
    };
    let mode = Mode::from(args.work.mode);
    // An observer starts no jobs but those of restore tests.
    let starts_jobs = mode == Mode::Manage || args.work.restore_tests;
    let given = args.clusters.keeper_image.is_some() || !starts_jobs;
    let mut settings = Settings::from(args.clusters);
    if let Some(pod) = pod_identity.filter(|_| !given) {
        tokio::select! {
            image = pod.image(&client) => match image {
                Some(image) => settings.keeper_image = image,
                None => bail!("this pod has no container named operator; set --keeper-image"),
            },
            () = stop.cancelled() => return Ok(()),
        }
    }
    match mode {
        Mode::Manage => tracing::info!(image = settings.keeper_image, "Using image for backup jobs"),
        Mode::Observe if starts_jobs => {
            tracing::info!(image = settings.keeper_image, "Observing backups, and running restore tests");
        }
        Mode::Observe => tracing::info!("Observing backups; writing only the Lease and Events"),
    }
    let controller = Controller {
        client: client.clone(),
        settings: Arc::new(settings),
        mode,
        scopes: Scope::of(&args.work.namespaces),
        shard: args.work.own_shard()?,
        concurrency: args.work.concurrency,
        progress,
        metrics,
        fleet,
        instance,
        restore_tests: args.work.restore_tests,
        signing_key,
    };
    if !args.work.leader_election {
        let (_always, leadership) = watch::channel(Leadership::Leading);
        return lead(&controller, notifier, leadership, stop).await;
    }
    let (sender, leadership) = watch::channel(Leadership::Waiting);
    // Keep the lease until the work has stopped.
    let stop_lease = CancellationToken::new();
    let keeping = tokio::spawn(lease::keep(client, lease, sender, stop_lease.clone()));
    let end = lead(&controller, notifier, leadership, stop).await;
    stop_lease.cancel();
    keeping.await?;
    end
}

/// Runs the controller and notifies, both while this process leads.
async fn lead(
    controller: &Controller,
    notifier: Notifier,
    leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let notifying = notify_while_leading(notifier, leadership.clone(), stop.clone());
    tokio::select! {
        end = leadership::run(controller, leadership, stop) => Ok(end?),
        never = notifying => match never {},
    }
}

/// Calls under way are aborted when leadership is lost: the next leader tells all problems again.
async fn notify_while_leading(
    notifier: Notifier,
    mut leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
) -> Infallible {
    while !stop.is_cancelled() && reaches(&mut leadership, |leads| leads).await {
        tokio::select! {
            () = notifier.clone().run(stop.clone()) => {}
            _ = reaches(&mut leadership, |leads| !leads) => {}
        }
    }
    // The controller decides when the work has ended.
    std::future::pending().await
}

/// Waits for a change of who leads. False if nobody keeps the lease any more.
async fn reaches(leadership: &mut watch::Receiver<Leadership>, wanted: fn(bool) -> bool) -> bool {
    leadership.wait_for(|state| wanted(*state == Leadership::Leading)).await.is_ok()
}

impl ProbeSource for OperatorProgress {
    fn alive(&self) -> Result<(), String> {
        if Self::alive(self) {
            return Ok(());
        }
        Err("the controller has sent no heartbeat for a minute".to_owned())
    }

    fn ready(&self) -> Result<(), String> {
        Self::ready(self)
    }

    fn leader(&self) -> Option<String> {
        Self::leader(self)
    }
}

/// The pod of this process, if the downward API names it.
fn pod_identity() -> Option<PodIdentity> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(PodIdentity { namespace: variable("POD_NAMESPACE")?, name: variable("POD_NAME")? })
}
