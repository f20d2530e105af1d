//! Goes through all archives of this host, at an interval of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::metrics::CollectionMetrics;
use crate::metrics::collection::Collector;
use crate::pgbackrest::command::RepoQuery;
use crate::pgbackrest::repository::Entries;
use crate::source::pgbackrest::{Call, Client};
use crate::source::process::Survivor;
use crate::state::snapshot::{Failure, FailureReason, Snapshot};

use super::super::poller::{jittered, told};
use super::super::run::survived;
use super::super::settings::WalSettings;
use super::super::store::Store;
use super::book::{Book, Brought, Key};
use super::pass::{Ask, End, pass};
use super::plan::{Subject, subjects};
use super::{SECOND_LOOK, SINCE};

/// Lists the archives of what the store knows.
#[derive(Debug)]
pub(in crate::collect) struct Rounds {
    settings: WalSettings,
    max_processes: usize,
    client: Client,
    store: Arc<Store>,
    metrics: Arc<CollectionMetrics>,
    shutdown: CancellationToken,
    book: Arc<Book>,
    /// Children that not even SIGKILL has ended yet, by repository.
    survivors: Mutex<BTreeMap<u32, Survivor>>,
}

impl Rounds {
    pub(in crate::collect) fn new(
        settings: WalSettings,
        max_processes: usize,
        client: Client,
        store: Arc<Store>,
        metrics: Arc<CollectionMetrics>,
        shutdown: CancellationToken,
    ) -> Self {
        let book = Arc::default();
        let survivors = Mutex::default();
        Self { settings, max_processes, client, store, metrics, shutdown, book, survivors }
    }

    /// Where what was listed is kept.
    pub(in crate::collect) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    /// Makes a round whenever one is due, and at once where `collected` tells of a new archive or backup. Tells `listed` after
    /// each.
    pub(in crate::collect) async fn run(&self, collected: &Notify, listed: &Notify) {
        let WalSettings { interval, timeout } = self.settings;
        self.metrics.set_cadence(Collector::Wal, interval, timeout);
        let mut due = None;
        while self.waited(due, collected).await {
            let began = Instant::now();
            let brought = self.round().await;
            if brought.whole {
                listed.notify_one();
            }
            let pause = if brought.worse { interval.min(SECOND_LOOK) } else { interval };
            due = Some(began + jittered(pause));
        }
    }

    /// Waits for the next round, which has no time of its own before the first facts. False at the end of the program.
    async fn waited(&self, due: Option<Instant>, collected: &Notify) -> bool {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return false,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return true,
                () = collected.notified() => {
                    if self.book.has_news(&self.store.load().snapshot) {
                        return true;
                    }
                }
            }
        }
    }

    /// One pass over each archive.
    pub(in crate::collect) async fn round(&self) -> Brought {
        let snapshot = Arc::clone(&self.store.load().snapshot);
        if snapshot.version.is_some_and(|version| version < SINCE) {
            return Brought::default();
        }
        self.client.begin_run();
        self.book.retain(&snapshot);
        self.survivors.lock().retain(|_, survivor| !survivor.is_gone());
        let mut lanes: BTreeMap<u32, Vec<(Key, Subject)>> = BTreeMap::new();
        for (key, subject) in subjects(&snapshot) {
            lanes.entry(key.1).or_default().push((key, subject));
        }
        let deadline = Instant::now() + self.settings.timeout;
        let lanes = lanes.into_iter().map(|(repo, lane)| self.lane(repo, lane, &snapshot, deadline));
        let lanes = stream::iter(lanes).buffer_unordered(self.max_processes.max(1));
        lanes.fold(Brought::default(), async |sum, lane| sum.and(lane)).await
    }

    /// The archives of one repository, one after the other.
    async fn lane(
        &self,
        repo: u32,
        lane: Vec<(Key, Subject)>,
        snapshot: &Snapshot,
        deadline: Instant,
    ) -> Brought {
        let (mut brought, mut hung) =
            (Brought::default(), self.survivors.lock().contains_key(&repo).then(survived));
        for (key, subject) in lane {
            let before = self.book.before(&key);
            let passed = if let Some(failure) = &hung {
                before.not_asked(&subject, failure.clone())
            } else {
                let place = (&*key.0, repo);
                pass(self, place, subject.clone(), before, self.settings.interval, deadline).await
            };
            if let End::Failed(failure) = &passed.end {
                hung = Some(failure).filter(|failure| failure.reason == FailureReason::Timeout).cloned();
            }
            brought = brought.and(self.book.take(&key, &subject, passed, snapshot));
        }
        brought
    }

    /// Tells metrics of a call, keeps what survived it, and gives the answer.
    fn settle<T>(&self, repo: u32, call: Call<T>) -> Option<Result<T, Failure>> {
        self.metrics.run_finished(Collector::Wal, &told(&call, call.failure()));
        if let Some(survivor) = call.survivor {
            self.survivors.lock().insert(repo, survivor);
        }
        call.answer
    }
}

impl Ask for Rounds {
    async fn repo_ls(&self, query: &RepoQuery) -> Option<Result<Entries, Failure>> {
        self.metrics.run_started(Collector::Wal, Utc::now());
        let call = self.client.repo_ls(query, &self.shutdown).await;
        self.settle(query.repo, call)
    }

    async fn repo_get(&self, query: &RepoQuery) -> Option<Result<Vec<u8>, Failure>> {
        self.metrics.run_started(Collector::Wal, Utc::now());
        let call = self.client.repo_get(query, &self.shutdown).await;
        self.settle(query.repo, call)
    }
}
