//! The WAL archives of one cluster are listed, by exec where its repositories were just read.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::cluster::key::Key;
use crate::collect::settings::WalSettings;
use crate::collect::wal::book::{self, Book, Brought};
use crate::collect::wal::pass::{Ask, pass};
use crate::collect::wal::plan::{Subject, subjects};
use crate::collect::wal::{SECOND_LOOK, SINCE};
use crate::metrics::collection::Collector;
use crate::pgbackrest::command::RepoQuery;
use crate::pgbackrest::repository::Entries;
use crate::source::info_in_pod::{self, After, InPod};
use crate::source::pod::{Place, RunInPod};
use crate::source::pods::FindPods;
use crate::state::snapshot::{Failure, FailureReason, Snapshot};

use super::ask::{AFTER_TIMEOUT, Asker, Memory, Readers};

/// A repository, and where it is asked.
struct Reader<'a, P> {
    asker: Asker<'a, P>,
    key: &'a Arc<Key>,
    place: Place<'a>,
}

impl<P: FindPods + RunInPod> Asker<'_, P> {
    /// Lists the archives where it is time, or where there is a new one or a new backup. Something new is not left to be told
    /// at the next turn: it is looked at again.
    pub(super) async fn list_if_due(
        &self,
        key: &Arc<Key>,
        snapshot: &Snapshot,
        readers: &Readers<'_>,
        memory: &mut Memory,
        meanwhile: impl Fn(Snapshot),
    ) {
        let Some(wal) = self.pace.wal else { return };
        let has_news = memory.book.has_news(snapshot);
        let is_due = has_news || memory.listing_due.is_some_and(|due| due <= Instant::now());
        // Never twice in a row, whatever is new again and again.
        let is_again = std::mem::take(&mut memory.look_again);
        if is_due {
            meanwhile(snapshot.clone());
            let brought = self.list(wal, key, snapshot, readers, memory).await;
            memory.look_again = has_news && brought.whole && !is_again;
        }
    }

    /// Lists the archives of all repositories that answered, at the same time. What is not through in time goes on in the
    /// next look.
    async fn list(
        &self,
        wal: WalSettings,
        key: &Arc<Key>,
        snapshot: &Snapshot,
        readers: &Readers<'_>,
        memory: &mut Memory,
    ) -> Brought {
        if snapshot.version.is_some_and(|version| version < SINCE) {
            return Brought::default();
        }
        let began = Instant::now();
        let deadline = began + wal.timeout;
        let book = &*memory.book;
        book.retain(snapshot);
        let passes = subjects(snapshot).filter_map(|(archive, subject)| {
            let (pod, container) = *readers.get(&archive.1)?;
            let place = Place { namespace: &key.namespace, pod, container };
            let reader = Reader { asker: *self, key, place };
            Some(reader.list(archive, subject, snapshot, book, wal.interval, deadline))
        });
        let brought = join_all(passes).await.into_iter().fold(Brought::default(), Brought::and);
        let pause =
            if brought.unfinished || brought.worse { wal.interval.min(SECOND_LOOK) } else { wal.interval };
        // The look that comes nearest: none comes to the second.
        memory.listing_due = Some(began + pause.saturating_sub(self.pace.interval / 2));
        brought
    }
}

impl<P: FindPods + RunInPod> Reader<'_, P> {
    async fn list(
        self,
        archive: book::Key,
        subject: Subject,
        snapshot: &Snapshot,
        book: &Book,
        interval: Duration,
        deadline: Instant,
    ) -> Brought {
        let before = book.before(&archive);
        let passed = pass(&self, (&archive.0, archive.1), subject.clone(), before, interval, deadline).await;
        let span = tracing::info_span!("cluster", namespace = self.key.namespace, pg_cluster = self.key.name);
        span.in_scope(|| book.take(&archive, &subject, passed, snapshot))
    }

    /// Makes one call, unless an earlier one may still run there.
    async fn call<T>(&self, repo: u32, call: impl Future<Output = InPod<T>>) -> Result<T, Failure> {
        let Asker { slots, running, pace, .. } = self.asker;
        let _slot = slots.take(false).await;
        let bound = pace.timeout.saturating_add(AFTER_TIMEOUT);
        let Some(command) = running.begin(self.key, repo, bound) else {
            let message = "scan skipped: the previous command may still be running there".to_owned();
            return Err(Failure { reason: FailureReason::Lost, exit_code: None, message });
        };
        let call = call.await;
        self.asker.report(Collector::Wal, &call);
        if call.after != After::MayRun {
            command.ended();
        }
        call.answer
    }
}

impl<P: FindPods + RunInPod> Ask for Reader<'_, P> {
    async fn repo_ls(&self, query: &RepoQuery) -> Option<Result<Entries, Failure>> {
        let timeout = self.asker.pace.timeout;
        let call = info_in_pod::repo_ls(self.asker.pods, self.place, query, timeout);
        Some(self.call(query.repo, call).await)
    }

    async fn repo_get(&self, query: &RepoQuery) -> Option<Result<Vec<u8>, Failure>> {
        let timeout = self.asker.pace.timeout;
        let call = info_in_pod::repo_get(self.asker.pods, self.place, query, timeout);
        Some(self.call(query.repo, call).await)
    }
}
