//! Judges again and again, and makes the calls that follow.
//!
//! One task owns all state. Each target has at most one call under way, so one that hangs delays nobody else.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::files::FileTask;
use crate::metrics::CollectionMetrics;
use crate::metrics::collection::ConfigurationKind;
use crate::metrics::notifications::{NotificationMetrics, TargetKind};

use super::config::{NotifyConfig, NotifyConfigHandle};
use super::deliver::{self, Failed};
use super::journal::{Delivered, Journal};
use super::judging::{Judgement, judge};
use super::source::{Source, SourceError};
use super::targets::{HeartbeatState, Moment, WebhookState};

/// The least time between two judgements, unless heartbeats are due more often …
const PAUSE: Duration = Duration::from_secs(5);
/// … and the least multiple of the duration of the last one: the larger a fleet, the less often it is judged …
const PAUSE_FACTOR: u32 = 19;
/// … but not less often than this, however busy the machine is.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the files of the configuration are checked for changes.
const CONFIG_CHECK: Duration = Duration::from_secs(5);

/// What is needed to notify.
#[derive(Debug, Clone)]
pub struct Notifier {
    pub config: NotifyConfigHandle,
    pub source: Source,
    /// This host, or the pod of the operator.
    pub name: String,
    pub collection: Arc<CollectionMetrics>,
    /// Whether WAL archives are scanned.
    pub expects_scan: bool,
    /// Where it is kept what webhooks were told.
    pub journal: Journal,
}

/// A call that has ended.
#[derive(Debug)]
struct Ended {
    kind: TargetKind,
    name: Arc<str>,
    /// Which call of this process it was.
    number: u64,
    result: Result<(), Failed>,
}

impl Notifier {
    /// Notifies until `stop`. Without a configuration, it only waits.
    pub async fn run(self, stop: CancellationToken) {
        if !self.config.has_file() {
            return stop.cancelled().await;
        }
        let (config, watching) = (self.config.clone(), stop.clone());
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { tokio::join!(config.watch(CONFIG_CHECK, watching), Run::start(self)); } => {}
        }
    }
}

/// The state of a run. When it ends, so do its calls, and its metrics.
#[derive(Debug)]
struct Run {
    notifier: Notifier,
    config: Arc<NotifyConfig>,
    heartbeats: BTreeMap<Arc<str>, HeartbeatState>,
    webhooks: BTreeMap<Arc<str>, WebhookState>,
    /// What webhooks have accepted before, until they are configured.
    before: Delivered,
    calls: JoinSet<Ended>,
    /// How many were started.
    started: u64,
    /// Whether the journal is outdated, and whether it could be written.
    is_outdated: bool,
    is_kept: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.metrics().clear();
    }
}

impl Run {
    async fn start(notifier: Notifier) {
        let (config, journal) = (notifier.config.current(), notifier.journal.clone());
        // A file system that does not answer may hang for ever.
        let before = FileTask::default().run(move || journal.read()).await;
        if let Err(error) = &before {
            tracing::warn!(%error, "Cannot read what webhooks were told; telling all problems again");
        }
        let mut run = Self {
            notifier,
            config: Arc::default(),
            heartbeats: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            before: before.unwrap_or_default(),
            calls: JoinSet::new(),
            started: 0,
            is_outdated: false,
            is_kept: true,
        };
        run.take_over(config);
        run.run().await;
    }

    fn metrics(&self) -> &NotificationMetrics {
        self.notifier.collection.notifications()
    }

    async fn run(mut self) {
        let (mut began, mut next) = (Instant::now(), Instant::now());
        let mut judging: Option<JoinHandle<Result<Option<Judgement>, SourceError>>> = None;
        let mut writing: Option<JoinHandle<io::Result<()>>> = None;
        loop {
            self.report_config();
            // A judgement that is under way is by this configuration. Otherwise, frequent reloads would outdate each one.
            if judging.is_none() {
                self.follow_config();
            }
            self.call_webhooks();
            if self.is_outdated && writing.is_none() {
                writing = Some(self.start_writing());
            }
            let due = self.webhooks.values().filter_map(WebhookState::due).min();
            tokio::select! {
                () = sleep_until(next), if judging.is_none() => {
                    began = Instant::now();
                    judging = Some(self.start_judging());
                }
                judgement = ended(&mut judging) => {
                    judging = None;
                    let now = Instant::now();
                    next = now + (began.elapsed() * PAUSE_FACTOR).clamp(self.least_pause(), LONGEST_PAUSE);
                    match judgement {
                        Ok(Ok(Some(judgement))) => self.act(judgement, now),
                        Ok(Ok(None)) => {}
                        Ok(Err(error)) => self.fail_to_judge(&error),
                        Err(error) => self.fail_to_judge(&error),
                    }
                }
                written = ended(&mut writing) => {
                    writing = None;
                    self.written(&written.unwrap_or_else(|error| Err(error.into())));
                }
                Some(ended) = self.calls.join_next() => match ended {
                    Ok(ended) => self.ended(ended, Instant::now(), Utc::now()),
                    // Cancelled only with the run itself.
                    Err(error) => tracing::error!(%error, "Failed to call; this is a bug, please report it"),
                },
                () = sleep_until(due.unwrap_or(next)), if due.is_some() => {}
            }
        }
    }

    fn report_config(&self) {
        let last = self.notifier.config.last_reload();
        let collection = &self.notifier.collection;
        collection.config_read(
            ConfigurationKind::Notifications,
            last.error.is_none(),
            DateTime::from(last.last_success),
        );
    }

    /// Takes over a configuration that was loaded meanwhile.
    fn follow_config(&mut self) {
        let config = self.notifier.config.current();
        if !Arc::ptr_eq(&config, &self.config) {
            self.take_over(config);
        }
    }

    /// Targets that keep their name keep what they were told, and what waits for them.
    fn take_over(&mut self, config: Arc<NotifyConfig>) {
        let now = Instant::now();
        let mut known = std::mem::take(&mut self.heartbeats);
        for settings in config.heartbeats.iter().map(Arc::clone) {
            let name = Arc::clone(&settings.name);
            let state = match known.remove(&name) {
                Some(known) => known.reset(settings, now),
                None => HeartbeatState::new(settings, now),
            };
            self.heartbeats.insert(name, state);
        }
        let mut known = std::mem::take(&mut self.webhooks);
        let mut before = std::mem::take(&mut self.before);
        for settings in config.webhooks.iter().map(Arc::clone) {
            let name = Arc::clone(&settings.name);
            let state = match known.remove(&name) {
                Some(known) => known.reset(settings, now),
                None => WebhookState::new(settings, before.remove(&name).unwrap_or_default(), now),
            };
            self.webhooks.insert(name, state);
        }
        // So that it is noticed at once if it cannot be written. Without webhooks, there is nothing to keep.
        self.is_outdated = !(self.webhooks.is_empty() && known.is_empty());
        let heartbeats = config.heartbeats.iter().map(|one| (TargetKind::Heartbeat, Arc::clone(&one.name)));
        let webhooks = config.webhooks.iter().map(|one| (TargetKind::Webhook, Arc::clone(&one.name)));
        self.metrics().set_targets(heartbeats.chain(webhooks));
        for name in self.heartbeats.keys() {
            self.metrics().held(name, None);
        }
        for (name, state) in &self.webhooks {
            self.metrics().queued(name, state.queue.len() as u64);
        }
        self.config = config;
    }

    /// By the configuration in effect at this moment.
    fn start_judging(&mut self) -> JoinHandle<Result<Option<Judgement>, SourceError>> {
        self.follow_config();
        let (source, config) = (self.notifier.source.clone(), Arc::clone(&self.config));
        let expects_scan = self.notifier.expects_scan;
        tokio::task::spawn_blocking(move || judge(&source, &config, expects_scan))
    }

    fn least_pause(&self) -> Duration {
        let intervals = self.config.heartbeats.iter().map(|heartbeat| heartbeat.interval);
        intervals.min().map_or(PAUSE, |shortest| shortest.min(PAUSE))
    }

    fn start_writing(&mut self) -> JoinHandle<io::Result<()>> {
        self.is_outdated = false;
        let delivered = self.webhooks.iter().map(|(name, state)| (Arc::clone(name), state.delivered.clone()));
        let (delivered, journal) = (delivered.collect(), self.notifier.journal.clone());
        tokio::task::spawn_blocking(move || journal.write(&delivered))
    }

    fn written(&mut self, result: &io::Result<()>) {
        if let (Err(error), true, Some(path)) = (result, self.is_kept, self.notifier.journal.path()) {
            let file = path.display();
            tracing::warn!(%file, %error, "Cannot keep what webhooks were told; after a restart, all problems are told again");
        }
        self.is_kept = result.is_ok();
    }

    /// Whether conditions hold is not known.
    fn fail_to_judge(&mut self, error: &dyn std::error::Error) {
        tracing::error!(%error, "Failed to judge for notifications; this is a bug, please report it");
        for (name, state) in &mut self.heartbeats {
            state.holds = None;
            self.notifier.collection.notifications().held(name, None);
        }
    }

    /// Heartbeats are called only here, right after their conditions were judged.
    fn act(&mut self, mut judgement: Judgement, now: Instant) {
        for (name, state) in &mut self.heartbeats {
            let Some(holds) = judgement.heartbeats.remove(name) else { continue };
            if state.holds != Some(holds) {
                let heartbeat = &**name;
                if holds {
                    tracing::info!(heartbeat, "Conditions of heartbeat hold; calling it");
                } else {
                    tracing::warn!(heartbeat, "Conditions of heartbeat do not hold; not calling it");
                }
            }
            state.holds = Some(holds);
            self.notifier.collection.notifications().held(name, Some(holds));
            if holds && state.is_due(now) {
                self.started += 1;
                let number = self.started;
                state.start(number);
                let (settings, name) = (Arc::clone(&state.settings), Arc::clone(name));
                self.calls.spawn(async move {
                    let result = deliver::get(&settings.endpoint).await;
                    Ended { kind: TargetKind::Heartbeat, name, number, result }
                });
            }
        }
        let moment =
            Moment { source: &self.notifier.name, stanzas: &judgement.stanzas, at: judgement.at, now };
        for (name, state) in &mut self.webhooks {
            let Some(verdicts) = judgement.webhooks.remove(name) else { continue };
            let waiting = state.take(verdicts, &moment);
            let was_full = std::mem::replace(&mut state.is_full, waiting > 0);
            if state.is_full && !was_full {
                let webhook = &**name;
                tracing::warn!(
                    webhook,
                    waiting,
                    "Queue of webhook is full; more changes are told once there is room"
                );
            }
            self.notifier.collection.notifications().queued(name, state.queue.len() as u64);
        }
    }

    fn call_webhooks(&mut self) {
        let now = Instant::now();
        for (name, state) in &mut self.webhooks {
            let number = self.started + 1;
            let Some(message) = state.start(number, now) else { continue };
            self.started = number;
            let (settings, name) = (Arc::clone(&state.settings), Arc::clone(name));
            self.calls.spawn(async move {
                let result = deliver::post(&settings.endpoint, settings.key.as_ref(), message.body).await;
                Ended { kind: TargetKind::Webhook, name, number, result }
            });
        }
    }

    fn ended(&mut self, ended: Ended, now: Instant, at: DateTime<Utc>) {
        let Ended { kind, name, number, result } = ended;
        let is_ok = result.is_ok();
        // A target that was removed meanwhile, and perhaps added again, is another one.
        let pause = match kind {
            TargetKind::Heartbeat => {
                self.heartbeats.get_mut(&name).and_then(|state| state.ended(number, is_ok, now))
            }
            TargetKind::Webhook => {
                self.webhooks.get_mut(&name).and_then(|state| state.ended(number, is_ok, now))
            }
        };
        let Some(pause) = pause else { return };
        if let (TargetKind::Webhook, Some(state)) = (kind, self.webhooks.get(&name)) {
            self.is_outdated |= is_ok;
            self.metrics().queued(&name, state.queue.len() as u64);
        }
        let failure = result.as_ref().err().map(|failed| failed.reason);
        let was_up = self.metrics().called(kind, &name, failure, at);
        let notification = &*name;
        match result {
            Ok(()) if was_up == Some(false) => {
                tracing::info!(notification, "Notification was delivered again");
            }
            Ok(()) => tracing::debug!(notification, "Notification was delivered"),
            Err(failed) if was_up != Some(false) => {
                tracing::warn!(notification, %failed, ?pause, "Failed to deliver notification; retrying");
            }
            Err(failed) => {
                tracing::debug!(notification, %failed, ?pause, "Failed to deliver notification; retrying");
            }
        }
    }
}

/// Never ends if nothing is judged.
async fn ended<T>(judging: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match judging {
        Some(judging) => judging.await,
        None => std::future::pending().await,
    }
}
