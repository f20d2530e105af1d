//! The loop: each cluster at its turn, and what is known of all published in batches.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::key::Key;
use crate::cluster::settings::Settings;
use crate::collect::store::Store;
use crate::metrics::CollectionMetrics;
use crate::metrics::collection::Collector;
use crate::source::pod::RunInPod;
use crate::source::pods::FindPods;

use super::Pace;
use super::ask::Asker;
use super::roster::{Roster, Turn};
use super::running::Running;
use super::slots::Slots;
use super::subject::Subject;

/// What comes within this time is published together.
const BATCH: Duration = Duration::from_secs(1);
/// From one publication to the next it takes this long at least …
const PAUSE: Duration = Duration::from_secs(3);
/// … and so many times what the last one took: a large fleet is told less often rather than at a higher cost.
const PAUSE_FACTOR: u32 = 9;

/// Looks at the clusters of a fleet, and keeps what is known in the store.
#[derive(Debug)]
pub struct FleetPoller {
    roster: Arc<Roster>,
    settings: Arc<Settings>,
    pace: Pace,
    slots: Slots,
    running: Running,
    metrics: Arc<CollectionMetrics>,
}

/// The time for which this process may tell of clusters. At its end everything known of them is forgotten.
#[derive(Debug)]
pub struct Term<'a>(&'a FleetPoller);

impl FleetPoller {
    /// Of no cluster yet.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        settings: Arc<Settings>,
        pace: Pace,
        metrics: Arc<CollectionMetrics>,
    ) -> Self {
        metrics.set_cadence(Collector::Info, pace.interval, pace.timeout);
        if let Some(wal) = pace.wal {
            metrics.set_cadence(Collector::Wal, wal.interval, wal.timeout);
        }
        let (slots, running) = (Slots::new(pace.concurrency), Running::default());
        Self { roster: Arc::new(Roster::new(store)), settings, pace, slots, running, metrics }
    }

    /// A cluster is to be looked at, for this.
    pub fn set(&self, key: &Key, subject: Subject) {
        self.roster.set(key, subject);
    }

    /// Something was done to a cluster: a look is due.
    pub fn soon(&self, key: &Key) {
        self.roster.soon(key);
    }

    /// A cluster is gone, or is no longer ours.
    pub fn remove(&self, key: &Key) {
        self.roster.remove(key);
    }

    /// A term begins. Its end is when the value is dropped.
    #[must_use]
    pub const fn term(&self) -> Term<'_> {
        Term(self)
    }

    /// Looks at clusters until it is dropped. What runs in pods then is left to its bound there.
    pub async fn run(self: Arc<Self>, pods: impl FindPods + RunInPod + Send + 'static) {
        tokio::select! {
            () = self.poll(Arc::new(pods)) => {}
            () = self.publish() => {}
        }
    }

    async fn poll<P: FindPods + RunInPod + Send + 'static>(self: &Arc<Self>, pods: Arc<P>) {
        let mut looks = JoinSet::new();
        loop {
            let due = loop {
                match self.roster.next(self.pace.interval) {
                    // A task of its own, so that a defect that one cluster brings to light leaves the others alone.
                    Ok(turn) => _ = looks.spawn(look(Arc::clone(self), Arc::clone(&pods), turn)),
                    Err(due) => break due,
                }
            };
            tokio::select! {
                // The log has the panic itself.
                Some(_) = looks.join_next() => {}
                () = self.roster.is_due.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    async fn publish(&self) {
        loop {
            self.roster.has_news.notified().await;
            sleep(BATCH).await;
            let (roster, began) = (Arc::clone(&self.roster), Instant::now());
            match tokio::task::spawn_blocking(move || roster.publish(Utc::now())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "Failed to publish snapshots; serving the previous ones");
                }
                Err(error) => {
                    tracing::error!(%error, "Failed to encode snapshots; serving the previous ones");
                }
            }
            sleep((began.elapsed() * PAUSE_FACTOR).max(PAUSE)).await;
        }
    }
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.0.roster.clear();
    }
}

async fn look<P: FindPods + RunInPod>(poller: Arc<FleetPoller>, pods: Arc<P>, turn: Turn) {
    let FleetPoller { settings, pace, slots, running, metrics, .. } = &*poller;
    let asker = Asker { pods: &*pods, settings, pace: *pace, slots, running, metrics };
    let mut memory = turn.memory.clone();
    let meanwhile = |snapshot| turn.knows(snapshot);
    let snapshot = asker.ask(&turn.key, &turn.subject, &turn.previous, &mut memory, meanwhile).await;
    turn.ends(snapshot, memory);
}
