//! The loops: each cluster when it is due, and what is known of all published in batches. A host is a fleet with one
//! cluster without labels.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use rand::Rng as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cluster::key::Key;
use crate::state::snapshot::Snapshot;

use super::caller::{Caller, Runners, Shared};
use super::registry::{ClusterState, Job, Registry, Turn};
use super::request::{Request, Subject};
use super::store::Store;
use super::wal::SECOND_SCAN;

/// Of an interval, the most by which a job begins early so that many do not keep step. Never late: what is known is no
/// older than an interval.
const JITTER: f64 = 0.1;
/// In a fleet, what comes within this time is published together, and from one publication to the next it takes at least
/// three times as long …
const BATCH: Duration = Duration::from_secs(1);
/// … and so many times what the last one took: a large fleet is published less often rather than at a higher cost.
const PAUSE_FACTOR: u32 = 9;

/// Runs the jobs of a registry.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) registry: Arc<Registry>,
    pub(super) shared: Shared,
}

/// Finds what runs the commands for clusters.
pub(super) trait Site: Send + Sync {
    /// What to ask for at this moment, and where.
    fn prepare<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a Arc<Key>,
        subject: &'a Arc<Subject>,
        job: Job,
    ) -> impl Future<Output = (Request, Runners<'a>)> + Send;
}

impl Scheduler {
    pub(super) fn new(store: Arc<Store>, shared: Shared) -> Self {
        Self { registry: Arc::new(Registry::new(store)), shared }
    }

    /// Runs until `stop`, and then waits for the jobs that run. If it is dropped, they are cut off: no process is left on this
    /// host, and commands in pods run until their timeout there.
    pub(super) async fn run<S: Site + 'static>(self: &Arc<Self>, site: Arc<S>, stop: CancellationToken) {
        tokio::select! {
            () = self.run_jobs(site, stop) => {}
            () = self.publish() => {}
        }
    }

    async fn run_jobs<S: Site + 'static>(self: &Arc<Self>, site: Arc<S>, stop: CancellationToken) {
        let mut jobs = JoinSet::new();
        loop {
            let due = loop {
                match self.registry.next(|job, is_first| self.wait(job, is_first)) {
                    // A task of its own, so that a defect that one cluster brings to light leaves the others alone.
                    Ok(turn) => {
                        let (scheduler, site) = (Arc::clone(self), Arc::clone(&site));
                        jobs.spawn(async move { scheduler.run_job(&*site, turn).await });
                    }
                    Err(due) => break due,
                }
            };
            tokio::select! {
                // The log has the panic itself. A host has nothing else to go on with.
                Some(ended) = jobs.join_next() => if ended.is_err() && self.shared.is_host() { return },
                () = self.registry.is_due.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = stop.cancelled() => break,
            }
        }
        while jobs.join_next().await.is_some() {}
    }

    async fn publish(&self) {
        loop {
            self.registry.has_news.notified().await;
            // A host's collection batches partial results itself.
            let (batch, factor) =
                if self.shared.is_host() { (Duration::ZERO, 0) } else { (BATCH, PAUSE_FACTOR) };
            sleep(batch).await;
            let (registry, began) = (Arc::clone(&self.registry), Instant::now());
            match tokio::task::spawn_blocking(move || registry.publish(Utc::now())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "Failed to publish snapshots; serving the previous ones");
                }
                Err(error) => {
                    tracing::error!(%error, "Failed to encode snapshots; serving the previous ones");
                }
            }
            sleep((began.elapsed() * factor).max(3 * batch)).await;
        }
    }

    async fn run_job(&self, site: &impl Site, mut turn: Turn) {
        self.shared.beat();
        let (key, commands) = (Arc::clone(&turn.key), Arc::clone(&turn.commands));
        let is_host = self.shared.is_host();
        // In a pod no command joins another one for the same repository. On a host a scan may take long, and delays nothing.
        let _alone = if is_host { None } else { Some(commands.lock().await) };
        let Some(ClusterState { subject, snapshot: previous, mut history }) = turn.state() else { return };
        let (request, runners) = site.prepare(&self.shared, &key, &subject, turn.job).await;
        let caller = Caller { shared: &self.shared, key: &key, request: &request, runners: &runners };
        match (turn.job, self.shared.pace.wal) {
            (Job::Collect, wal) => {
                let publish = |snapshot: &Arc<Snapshot>| turn.report(snapshot);
                let kept = &self.shared.kept;
                // An earlier collection may have been cut off.
                kept.settle(&key, &previous);
                let Some(snapshot) = caller.collect(&previous, &mut history, &publish).await else { return };
                kept.settle(&key, &snapshot);
                if let Some(wal) = wal {
                    let is_worse = history.listings.take_more_missing();
                    if history.listings.has_news(&snapshot) {
                        turn.plan(Job::Scan, Instant::now());
                    } else if is_worse {
                        turn.plan(Job::Scan, Instant::now() + wal.interval.min(SECOND_SCAN));
                    }
                }
                turn.end_collection(history);
            }
            (Job::Scan, Some(wal)) => {
                let has_news = history.listings.has_news(&previous);
                let summary = caller.scan(wal, &previous, &history.listings).await;
                // The collection after a scan proves what was listed. In a fleet only news is worth one of its own.
                if summary.complete && (is_host || has_news) {
                    turn.plan(Job::Collect, Instant::now());
                }
                if summary.unfinished {
                    turn.next = turn.next.min(Instant::now() + self.shared.pace.interval);
                }
            }
            (Job::Scan, None) => {}
        }
        self.shared.beat();
    }

    /// From the start of a job to the start of the next.
    fn wait(&self, job: Job, is_first: bool) -> Duration {
        let pace = &self.shared.pace;
        let interval = match job {
            Job::Collect => pace.interval,
            Job::Scan => pace.wal.map_or(pace.interval, |wal| wal.interval),
        };
        // After their first job, which many have at the same time, the clusters of a fleet spread over the interval.
        let spread = if is_first && !self.shared.is_host() { 1.0 } else { JITTER };
        interval.mul_f64(1.0 - rand::rng().random_range(0.0..spread))
    }
}
