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

use super::body::{self, Message};
use super::config::{NotifyConfig, NotifyConfigHandle};
use super::deliver::{self, Failed};
use super::journal::{Delivered, Journal};
use super::judging::{Judgement, judge};
use super::source::{Source, SourceError};
use super::targets::{HeartbeatState, WebhookState};

/// The least time between two judgements …
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
    /// That of a webhook, with its number.
    message: Option<(u64, Message)>,
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
            self.follow_config();
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
                    next = now + (began.elapsed() * PAUSE_FACTOR).clamp(PAUSE, LONGEST_PAUSE);
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

    /// Takes over a configuration that was loaded meanwhile.
    fn follow_config(&mut self) {
        let (config, last) = (self.notifier.config.current(), self.notifier.config.last_reload());
        let collection = &self.notifier.collection;
        collection.config_read(
            ConfigurationKind::Notifications,
            last.error.is_none(),
            DateTime::from(last.last_success),
        );
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
        for (name, state) in &mut self.webhooks {
            let dropped = state.queue.shorten(state.settings.queue);
            self.notifier.collection.notifications().queued(name, state.queue.len() as u64, dropped);
        }
        self.config = config;
    }

    fn start_judging(&self) -> JoinHandle<Result<Option<Judgement>, SourceError>> {
        let (source, config) = (self.notifier.source.clone(), Arc::clone(&self.config));
        let expects_scan = self.notifier.expects_scan;
        tokio::task::spawn_blocking(move || judge(&source, config, expects_scan))
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
        if !Arc::ptr_eq(&judgement.config, &self.config) {
            return;
        }
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
            if holds && !state.is_called && state.due <= now {
                state.is_called = true;
                let (settings, name) = (Arc::clone(&state.settings), Arc::clone(name));
                self.calls.spawn(async move {
                    let result = deliver::get(&settings.endpoint).await;
                    Ended { kind: TargetKind::Heartbeat, name, message: None, result }
                });
            }
        }
        for (name, state) in &mut self.webhooks {
            let Some(verdicts) = judgement.webhooks.remove(name) else { continue };
            let settings = &state.settings;
            let times = (now, judgement.at);
            let changes = state.told.update(verdicts.all, &verdicts.unlisted, settings.wait, times);
            let origin = (self.notifier.name.as_str(), judgement.at);
            let mut dropped = 0;
            for message in body::messages(settings.format, &changes, origin, rand::random) {
                dropped += state.queue.push(message, settings.queue);
            }
            if dropped > 0 {
                tracing::warn!(webhook = &**name, dropped, "Dropped the oldest messages; the queue is full");
            }
            self.notifier.collection.notifications().queued(name, state.queue.len() as u64, dropped);
        }
    }

    fn call_webhooks(&mut self) {
        let now = Instant::now();
        for (name, state) in &mut self.webhooks {
            if state.due().is_none_or(|due| due > now) {
                continue;
            }
            let Some((number, message)) = state.queue.first() else { continue };
            state.is_called = true;
            let (settings, name) = (Arc::clone(&state.settings), Arc::clone(name));
            let (number, message) = (*number, message.clone());
            self.calls.spawn(async move {
                let body = message.body.clone();
                let result = deliver::post(&settings.endpoint, settings.key.as_ref(), body).await;
                Ended { kind: TargetKind::Webhook, name, message: Some((number, message)), result }
            });
        }
    }

    fn ended(&mut self, ended: Ended, now: Instant, at: DateTime<Utc>) {
        let Ended { kind, name, message, result } = ended;
        let pause = match message {
            None => {
                let Some(state) = self.heartbeats.get_mut(&name) else { return };
                state.ended(result.is_ok(), now)
            }
            Some((number, message)) => {
                let Some(state) = self.webhooks.get_mut(&name) else { return };
                let pause = state.ended(result.is_ok(), (number, &message), now);
                self.is_outdated |= result.is_ok();
                self.notifier.collection.notifications().queued(&name, state.queue.len() as u64, 0);
                pause
            }
        };
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
