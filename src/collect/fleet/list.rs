//! The WAL archives of one cluster are listed, by exec where its repositories were just read.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::cluster::key::Key;
use crate::collect::wal::book::{self, Book};
use crate::collect::wal::pass::{Ask, End, pass};
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
    /// Whether the archives are to be listed in this look: it is time, or there is a new one, or a new backup.
    pub(super) fn is_listing_due(&self, memory: &Memory, snapshot: &Snapshot) -> bool {
        let is_due = memory.listing_due.is_some_and(|due| due <= Instant::now());
        self.pace.wal.is_some() && (is_due || memory.book.has_news(snapshot))
    }

    /// Lists the archives of all repositories that answered, at the same time. What is not through in time goes on in the
    /// next look.
    pub(super) async fn list(
        &self,
        key: &Arc<Key>,
        snapshot: &Snapshot,
        readers: &Readers<'_>,
        memory: &mut Memory,
    ) {
        let Some(wal) = self.pace.wal else { return };
        if snapshot.version.is_some_and(|version| version < SINCE) {
            return;
        }
        let began = Instant::now();
        let deadline = began + wal.timeout;
        let book = &*memory.book;
        book.retain(snapshot);
        let all = snapshot.stanzas.iter().flat_map(|stanza| subjects(stanza).map(move |of| (stanza, of)));
        let passes = all.filter_map(|(stanza, (repo, subject))| {
            let (pod, container) = *readers.get(&repo.key)?;
            let place = Place { namespace: &key.namespace, pod, container };
            let reader = Reader { asker: *self, key, place };
            Some(reader.list(
                (stanza.name.clone(), repo.key),
                subject,
                snapshot,
                book,
                wal.interval,
                deadline,
            ))
        });
        let soon = join_all(passes).await.contains(&true);
        let pause = if soon { wal.interval.min(SECOND_LOOK) } else { wal.interval };
        // The look that comes nearest: none comes to the second.
        memory.listing_due = Some(began + pause.saturating_sub(self.pace.interval / 2));
    }
}

impl<P: FindPods + RunInPod> Reader<'_, P> {
    /// True where it is to be listed again soon: it is not through, or more is missing than before.
    async fn list(
        self,
        place: book::Key,
        subject: Subject,
        snapshot: &Snapshot,
        book: &Book,
        interval: Duration,
        deadline: Instant,
    ) -> bool {
        let before = book.before(&place);
        let passed = pass(&self, (&place.0, place.1), subject.clone(), before, interval, deadline).await;
        let is_late = matches!(passed.end, End::Unfinished);
        let (change, is_worse) = book.take(place.clone(), &subject, passed, snapshot);
        let span = tracing::info_span!("cluster", namespace = self.key.namespace, pg_cluster = self.key.name);
        span.in_scope(|| book.log(&place, change));
        is_late || is_worse
    }

    /// Makes one call, unless an earlier one may still run there.
    async fn call<T>(&self, repo: u32, call: impl Future<Output = InPod<T>>) -> Result<T, Failure> {
        let Asker { slots, running, pace, .. } = self.asker;
        let _slot = slots.take(false).await;
        let bound = pace.timeout.saturating_add(AFTER_TIMEOUT);
        let Some(command) = running.begin(self.key, repo, bound) else {
            let message = "not listed now: the command before may still run there".to_owned();
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
