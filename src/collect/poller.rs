//! The loop: a run now, and then one per interval until shutdown.
//!
//! Every wait has an end: calls by their timeout, the configuration by its own. On shutdown the running children are
//! ended and waited for; a reload reads the configuration files and begins a run at once, or after the one that runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::metrics::CollectionMetrics;
use crate::metrics::collection::{self, Collector, RunReport};
use crate::pgbackrest::version::Version;
use crate::source::config_files::{ConfigFiles, Configuration};
use crate::source::environment::Environment;
use crate::source::pgbackrest::{Call, Client};
use crate::source::process::Survivor;
use crate::state::filter::UNLISTED;
use crate::state::merge::{self, Configured, Policy, Run, Target};
use crate::state::snapshot::{Failure, Snapshot};

use super::changes;
use super::database_counts::Counts;
use super::plan::{Known, Memory};
use super::settings::Settings;
use super::store::Store;
use super::wal::book::Book;
use super::wal::rounds::Rounds;

/// Of an interval, the most by which a run begins early so that many pollers do not keep step. Never late: what answers
/// is no older than an interval.
const JITTER: f64 = 0.1;

/// What the runs share.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<CollectionMetrics>,
    pub(super) shutdown: CancellationToken,
    pub(super) memory: Memory,
    pub(super) counts: Counts,
    /// Children that not even SIGKILL has ended yet, with what they were asked for; none for the version.
    pub(super) survivors: Vec<(Option<Target>, Survivor)>,
    pub(super) configuration: Option<Arc<Configuration>>,
    /// When pgBackRest's configuration was last read without an error.
    configuration_read_at: Option<DateTime<Utc>>,
    config_files: ConfigFiles,
    /// What was listed of WAL archives, where that is done.
    book: Option<Arc<Book>>,
    /// As last told; which options pgBackRest has does not change because one call fails.
    pub(super) version: Option<Version>,
}

/// What wakes the poller, and whom it wakes.
#[derive(Debug, Default)]
struct Wakes {
    /// The configuration is to be read again, and a run made.
    reload: Arc<Notify>,
    /// A run has ended.
    collected: Notify,
    /// Archives have been listed. A run tells of it, and by what it can be judged.
    listed: Notify,
}

/// Polls until `shutdown`. A notification of `reload` has the configuration read again and a run begun.
pub async fn run(
    settings: Settings,
    store: Arc<Store>,
    metrics: Arc<CollectionMetrics>,
    reload: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut poller = Poller::new(settings, store, metrics, shutdown);
    let Some(rounds) = poller.rounds() else {
        return poller.run(&Wakes { reload, ..Wakes::default() }).await;
    };
    poller.book = Some(rounds.book());
    let wakes = Wakes { reload, ..Wakes::default() };
    tokio::join!(poller.run(&wakes), rounds.run(&wakes.collected, &wakes.listed));
}

/// Makes a single run, and ends early only at `shutdown`.
pub async fn once(
    settings: Settings,
    store: Arc<Store>,
    metrics: Arc<CollectionMetrics>,
    shutdown: CancellationToken,
) {
    let mut poller = Poller::new(settings, store, metrics, shutdown);
    poller.read_configuration(true).await;
    poller.cycle(Instant::now()).await;
    if let Some(rounds) = poller.rounds() {
        poller.book = Some(rounds.book());
        rounds.round().await;
        // What was listed is judged by what info says after it, too.
        poller.cycle(Instant::now()).await;
    }
}

impl Poller {
    fn new(
        settings: Settings,
        store: Arc<Store>,
        metrics: Arc<CollectionMetrics>,
        shutdown: CancellationToken,
    ) -> Self {
        let environment = Environment::inherit(&settings.pass_environment);
        Self {
            config_files: ConfigFiles::of(&settings.program, &environment),
            client: Client::new(settings.program.clone(), environment, settings.limits),
            memory: Memory::default(),
            counts: Counts::default(),
            survivors: Vec::new(),
            configuration: None,
            configuration_read_at: None,
            book: None,
            version: None,
            settings,
            store,
            metrics,
            shutdown,
        }
    }

    /// Those that list WAL archives, where that is asked for.
    fn rounds(&self) -> Option<Rounds> {
        let wal = self.settings.wal.filter(|_| self.settings.info)?;
        let environment = Environment::inherit(&self.settings.pass_environment);
        let client = Client::new(self.settings.program.clone(), environment, self.settings.limits);
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        Some(Rounds::new(wal, self.settings.max_processes, client, store, metrics, self.shutdown.clone()))
    }

    async fn run(&mut self, wakes: &Wakes) {
        let (interval, timeout) = (self.settings.interval, self.settings.limits.timeout);
        self.metrics.set_cadence(Collector::Info, interval, timeout);
        self.metrics.set_cadence(
            Collector::Version,
            interval,
            Client::version_timeout(&self.settings.limits),
        );
        let mut is_reload = true;
        loop {
            let began = Instant::now();
            self.beat();
            self.read_configuration(std::mem::take(&mut is_reload)).await;
            self.cycle(began).await;
            if self.shutdown.is_cancelled() {
                return;
            }
            self.store.set_ready();
            wakes.collected.notify_one();
            self.beat();
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = wakes.reload.notified() => is_reload = true,
                () = wakes.listed.notified() => (),
                () = sleep_until(began + jittered(interval)) => (),
            }
        }
    }

    /// Takes over what has changed in pgBackRest's configuration.
    async fn read_configuration(&mut self, is_reload: bool) {
        let before = self.configuration.take();
        self.configuration = self.config_files.refresh().await;
        let is_ok = self.config_files.is_ok();
        let is_same = match (&before, &self.configuration) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => self.configuration_read_at.is_some(),
            _ => false,
        };
        if is_ok && (is_reload || !is_same) {
            self.configuration_read_at = Some(Utc::now());
        }
        self.metrics.config_read(collection::Configuration::PgBackRest, is_ok, self.configuration_read_at);
    }

    /// One run: the version, what `info` says, and what follows from it.
    async fn cycle(&mut self, began: Instant) {
        self.client.begin_run();
        self.survivors.retain_mut(|(_, survivor)| !survivor.is_gone());
        let told = self.ask_version().await;
        if self.shutdown.is_cancelled() {
            return;
        }
        self.version = told.or(self.version);
        let version = self.version;
        if !self.settings.info {
            self.publish(move |_| Snapshot { version, ..Snapshot::default() }).await;
            return;
        }
        let previous = self.store.load().snapshot.clone();
        let Some(answers) = self.ask_info(&previous, version, began).await else { return };
        let run = Run { answers, finished: true, version };
        self.publish_merged(previous, run).await;
        self.count_databases(began).await;
    }

    async fn ask_version(&mut self) -> Option<Version> {
        if self.is_blocked(None) {
            return None;
        }
        self.metrics.run_started(Collector::Version, Utc::now());
        let call = self.client.version(&self.shutdown).await;
        self.report(Collector::Version, &call, call.failure());
        self.survivors.extend(call.survivor.map(|survivor| (None, survivor)));
        call.answer?
            .map_err(|failure| tracing::debug!(reason = failure.message, "Failed to get pgBackRest version"))
            .ok()
    }

    /// What is known to exist, for calls that ask for it piece by piece.
    pub(super) fn known(&self, previous: &Snapshot) -> Known {
        let (mut stanzas, mut repos) = (BTreeSet::new(), BTreeSet::new());
        for stanza in previous.stanzas.iter().filter(|stanza| &*stanza.name != UNLISTED) {
            stanzas.insert(stanza.name.clone());
            repos.extend(stanza.repos.iter().map(|repo| repo.key));
        }
        if let Some(configuration) = &self.configuration {
            stanzas.extend(configuration.stanzas().into_iter().map(Arc::from));
            repos.extend(configuration.repo_keys());
        }
        let repo_option = self.version.is_none_or(|version| (version.major, version.minor) >= (2, 32));
        Known { stanzas, repos, repo_option }
    }

    /// What the configuration names; without a word of repositories pgBackRest has the first.
    fn configured(&self) -> Configured {
        let Some(configuration) = &self.configuration else { return Configured::default() };
        let mut repos: BTreeSet<u32> = configuration.repo_keys().into_iter().collect();
        if repos.is_empty() {
            repos.insert(1);
        }
        Configured { stanzas: configuration.stanzas().into_iter().map(Arc::from).collect(), repos }
    }

    /// Merges a run into the snapshot that was there before it, and publishes the result.
    pub(super) async fn publish_merged(&self, previous: Arc<Snapshot>, run: Run) {
        let filter = self.settings.filter.clone();
        let max_staleness = TimeDelta::from_std(self.settings.max_staleness).unwrap_or(TimeDelta::MAX);
        let configured = self.configured();
        self.publish(move |now| {
            merge::merge(
                &previous,
                run,
                &Policy { filter: &filter, max_staleness, configured: &configured },
                now,
            )
        })
        .await;
    }

    /// Publishes what `make` makes, with what is known besides. All of it is work for a thread of its own.
    pub(super) async fn publish(&self, make: impl FnOnce(DateTime<Utc>) -> Snapshot + Send + 'static) {
        let (store, configuration, counts) =
            (self.store.clone(), self.configuration.clone(), self.counts.clone());
        let book = self.book.clone();
        let max_staleness = self.settings.max_wal_staleness();
        let published = tokio::task::spawn_blocking(move || {
            let mut snapshot = make(Utc::now());
            for stanza in &mut snapshot.stanzas {
                for repo in &mut stanza.repos {
                    repo.settings = configuration
                        .as_ref()
                        .and_then(|configuration| configuration.settings(&stanza.name, repo.key));
                }
            }
            counts.fill(&mut snapshot);
            if let Some(book) = book {
                book.fill(&mut snapshot, max_staleness, Utc::now());
            }
            let before = store.load();
            store.publish(snapshot).map(|after| changes::log(&before.snapshot, &after.snapshot))
        });
        match published.await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::error!(%error, "Failed to publish snapshot; serving the previous one"),
            Err(error) => tracing::error!(%error, "Failed to build snapshot; serving the previous one"),
        }
    }

    /// A child that was started for the same still lives.
    pub(super) fn is_blocked(&self, target: Option<&Target>) -> bool {
        self.survivors.iter().any(|(survived, _)| survived.as_ref() == target)
    }

    pub(super) fn report<T>(&self, collector: Collector, call: &Call<T>, failure: Option<&Failure>) {
        self.metrics.run_finished(
            collector,
            &RunReport { output_bytes: Some(call.output_bytes), ..told(call, failure) },
        );
    }

    /// The same for a call that asks for one backup, whose size tells nothing of the whole.
    pub(super) fn report_detail<T>(&self, call: &Call<T>, failure: Option<&Failure>) {
        self.metrics.run_finished(Collector::Info, &told(call, failure));
    }

    pub(super) fn beat(&self) {
        self.store.beat(self.settings.longest_silence());
    }
}

/// What metrics are told of a call whose size tells nothing of the whole.
pub(super) fn told<T>(call: &Call<T>, failure: Option<&Failure>) -> RunReport {
    RunReport {
        duration: call.duration,
        output_bytes: None,
        sanitized: call.sanitized,
        failure: failure.map(|failure| failure.reason),
    }
}

pub(super) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - rand::rng().random_range(0.0..JITTER))
}
