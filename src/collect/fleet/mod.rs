//! Asks the pgBackRest of every cluster of a fleet, through exec in pods, and keeps the answers.
//!
//! `roster` knows whose turn it is and what is known, `poller` is the loop. `ask` asks one cluster: each repository by
//! itself, where it can be read from, so that none hides the others. `list` lists its WAL archives. At most so many commands
//! run at once (`slots`), and no repository is asked again while an earlier command may still run there (`running`).

mod ask;
mod list;
mod poller;
mod roster;
mod running;
mod slots;
mod subject;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt as _};

use crate::cluster::key::Key;
use crate::cluster::settings::Settings;
use crate::collect::settings::WalSettings;
use crate::metrics::CollectionMetrics;
use crate::source::pod::RunInPod;
use crate::source::pods::FindPods;
use crate::state::snapshot::Snapshot;

use ask::{Asker, Memory};
use running::Running;
use slots::Slots;

pub use poller::{FleetPoller, Term};
pub use subject::{AskedRepo, Subject};

/// How a fleet is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one look at a cluster to the next.
    pub interval: Duration,
    /// What one command may take.
    pub timeout: Duration,
    /// Calls of the API server at the same time, commands in pods among them; at least 1.
    pub concurrency: usize,
    /// Age at which facts that are not confirmed are dropped.
    pub max_staleness: Duration,
    /// How WAL archives are listed; they are not where this is absent. The timeout is that of one look.
    wal: Option<WalSettings>,
}

impl Pace {
    /// The usual interval.
    pub const USUAL_INTERVAL: Duration = Duration::from_mins(5);
    /// The usual number of calls at once: with it, 1,000 clusters of three repositories are through within the interval
    /// as long as a call takes a second and a half.
    pub const USUAL_CONCURRENCY: u16 = 16;

    /// Without a `timeout` it is a quarter of the interval, a minute at most. Without a `max_staleness` that is three
    /// intervals, 1 h at least.
    #[must_use]
    pub fn new(
        interval: Duration,
        timeout: Option<Duration>,
        concurrency: usize,
        max_staleness: Option<Duration>,
    ) -> Self {
        Self {
            interval,
            timeout: timeout
                .unwrap_or((interval / 4).min(Duration::from_mins(1)))
                .max(Duration::from_secs(1)),
            concurrency: concurrency.max(1),
            max_staleness: max_staleness.unwrap_or((interval * 3).max(Duration::from_hours(1))),
            wal: None,
        }
    }

    /// Lists WAL archives, too. That is done in looks, and so no more often than they are.
    #[must_use]
    pub fn with_wal(self, wal: Option<WalSettings>) -> Self {
        let in_looks = |wal: WalSettings| WalSettings { interval: wal.interval.max(self.interval), ..wal };
        Self { wal: wal.map(in_looks), ..self }
    }

    /// Age at which a listing proves nothing any more: as for other facts, and three times its interval at least.
    fn max_wal_staleness(&self) -> TimeDelta {
        let listings = self.wal.map_or(Duration::ZERO, |wal| wal.interval * 3);
        TimeDelta::from_std(self.max_staleness.max(listings)).unwrap_or(TimeDelta::MAX)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(Self::USUAL_INTERVAL, None, usize::from(Self::USUAL_CONCURRENCY), None)
    }
}

/// Asks each cluster once and gives back what it knows, in the order of the clusters.
///
/// A cluster that cannot be asked comes back with a snapshot that says why, in its collection. The longest that this
/// takes is, for every `concurrency` repositories, a timeout.
pub async fn once<P: FindPods + RunInPod>(
    pods: &P,
    clusters: Vec<(Key, Subject)>,
    settings: &Settings,
    pace: Pace,
) -> Vec<(Key, Snapshot)> {
    let (slots, running) = (Slots::new(pace.concurrency), Running::default());
    let metrics = CollectionMetrics::in_pods().with_wal(pace.wal.is_some());
    let asker = Asker { pods, settings, pace, slots: &slots, running: &running, metrics: &metrics };
    let nothing = &Arc::new(Snapshot::default());
    stream::iter(clusters)
        .map(|(key, subject)| async move {
            let key = Arc::new(key);
            let memory = &mut Memory::default();
            let mut snapshot = asker.ask(&key, &subject, nothing, memory, |_| ()).await;
            if pace.wal.is_some() {
                // What was listed is judged by what info says after it, too.
                snapshot = asker.ask(&key, &subject, &Arc::new(snapshot), memory, |_| ()).await;
            }
            (Key::clone(&key), snapshot)
        })
        .buffered(pace.concurrency)
        .collect()
        .await
}
