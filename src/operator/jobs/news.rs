//! Clusters whose jobs have ended differently than before, for the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::kubernetes::shard::Shard;
use crate::operator::revisits::Revisits;
use crate::operator::scope::{Key, Scope};
use crate::state::jobs::index::JobIndex;
use crate::state::jobs::{ClusterKey, RunResults};

use super::batch::Batch;
use super::read::SeenJob;

/// How long reports wait for the first lists, for example because Jobs may not be listed.
const LONGEST_LIST: Duration = Duration::from_secs(30);

/// What a term of leadership knows of jobs. Shared by the watches of jobs, which write it, and the controller.
#[derive(Debug)]
pub(in crate::operator) struct JobNews {
    queues: Vec<(Scope, Queue)>,
    /// Results as they were queued last.
    queued: Mutex<BTreeMap<ClusterKey, RunResults>>,
    is_complete: watch::Sender<bool>,
    until: Instant,
    /// Clusters of which a backup may have begun or ended, for restore tests.
    active: Option<Arc<Revisits>>,
    shard: Shard,
    /// The running jobs of clusters of other shards, for restore tests.
    elsewhere: Mutex<JobIndex>,
}

/// Changed clusters of a scope, each once.
#[derive(Debug, Default)]
struct Queue {
    changed: Mutex<BTreeSet<Key>>,
    more: Notify,
}

impl JobNews {
    pub(in crate::operator) fn new(scopes: &[Scope], shard: Shard, active: Option<Arc<Revisits>>) -> Self {
        Self {
            active,
            shard,
            elsewhere: Mutex::default(),
            queues: scopes.iter().map(|scope| (scope.clone(), Queue::default())).collect(),
            queued: Mutex::default(),
            is_complete: watch::Sender::new(false),
            until: Instant::now() + LONGEST_LIST,
        }
    }

    /// Changed clusters of a scope.
    pub(in crate::operator) fn changes(self: &Arc<Self>, scope: &Scope) -> BoxStream<'static, Key> {
        let Some(index) = self.queues.iter().position(|(known, _)| known == scope) else {
            return stream::pending().boxed();
        };
        let news = Arc::clone(self);
        stream::unfold(news, move |news| async move {
            let (_, queue) = news.queues.get(index)?;
            loop {
                let next = queue.changed.lock().pop_first();
                if let Some(key) = next {
                    return Some((key, news));
                }
                queue.more.notified().await;
            }
        })
        .boxed()
    }

    /// Whether all jobs are known. Waits for that if the term has just begun.
    pub(in crate::operator) async fn is_complete(&self) -> bool {
        let mut complete = self.is_complete.subscribe();
        let waited = timeout_at(self.until, complete.wait_for(|complete| *complete)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// Whether a cluster belongs to the own shard.
    pub(super) fn is_own(&self, cluster: &ClusterKey) -> bool {
        self.shard.covers(&cluster.namespace, &cluster.name)
    }

    /// Whether anything depends on a Job: restore tests wait for backups of clusters of other shards as well.
    pub(super) fn concerns(&self, seen: &SeenJob) -> bool {
        self.is_own(&seen.fact.cluster) || self.active.is_some() && seen.fact.end.is_none()
    }

    /// Remembers the Jobs of other shards, and leaves the others in the batch.
    pub(super) fn set_apart(&self, batch: &mut Batch<SeenJob>, now: DateTime<Utc>) {
        if self.shard.is_all() {
            return;
        }
        let mut elsewhere = self.elsewhere.lock();
        for seen in batch.facts.extract_if(.., |seen| !self.is_own(&seen.fact.cluster)) {
            elsewhere.job(&seen.fact, now);
        }
        for (place, uid) in batch.gone.extract_if(.., |((cluster, _), _)| !self.is_own(cluster)) {
            elsewhere.job_gone(&place, &uid);
        }
    }

    /// Whether a backup of a cluster of another shard runs, or waits for its pod.
    pub(in crate::operator) fn is_backed_up_elsewhere(&self, cluster: &ClusterKey) -> bool {
        self.elsewhere.lock().is_backed_up_now(cluster)
    }

    /// All jobs are known. Returns whether the clusters must be queued: reports that have waited for this include it.
    pub(super) fn complete(&self) -> bool {
        self.is_complete.send_replace(true) || Instant::now() >= self.until
    }

    /// Jobs of these clusters have begun, changed or ended.
    pub(super) fn has_changed(&self, clusters: &BTreeSet<ClusterKey>) {
        if let Some(revisits) = &self.active {
            for cluster in clusters {
                revisits.add(&Key::new(&cluster.namespace, &cluster.name));
            }
        }
    }

    /// Remembers the results of a cluster, and queues it if they are new.
    pub(super) fn take(&self, cluster: &ClusterKey, results: RunResults, must_queue: bool) {
        let mut queued = self.queued.lock();
        if queued.get(cluster).is_some_and(|before| *before == results) {
            return;
        }
        if results.runs.is_empty() {
            if queued.remove(cluster).is_none() {
                return;
            }
        } else {
            queued.insert(cluster.clone(), results);
        }
        drop(queued);
        if !must_queue {
            return;
        }
        for (scope, queue) in &self.queues {
            let covers = match scope {
                Scope::All => true,
                Scope::Namespace(namespace) => **namespace == *cluster.namespace,
            };
            if covers {
                queue.changed.lock().insert(Key::new(&cluster.namespace, &cluster.name));
                queue.more.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures_util::FutureExt;

    use super::*;
    use crate::pgbackrest::label::BackupType;
    use crate::state::jobs::{JobEnd, JobFact, RunResult, Slot, Trigger};

    fn at(second: i64) -> RunResults {
        let slot = Slot { repo_key: 1, backup_type: BackupType::Full };
        let result = RunResult { last_success: DateTime::from_timestamp(second, 0), failing: None };
        RunResults { runs: BTreeMap::from([(slot, result)]) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_is_queued_once_and_only_if_something_is_new() {
        let scopes = ["shop", "bank"].map(|namespace| Scope::Namespace(namespace.to_owned()));
        let news = Arc::new(JobNews::new(&scopes, Shard::default(), None));
        let (mut shop, mut bank) = (news.changes(&scopes[0]), news.changes(&scopes[1]));
        let orders = ClusterKey::new("shop", "orders");
        news.take(&orders, RunResults::default(), true);
        assert!(shop.next().now_or_never().is_none(), "nothing has ended");
        news.take(&orders, at(0), false);
        assert!(shop.next().now_or_never().is_none(), "reports have waited for it");
        news.take(&orders, at(1), true);
        news.take(&orders, at(2), true);
        news.take(&orders, at(2), true);
        assert_eq!(shop.next().now_or_never().flatten(), Some(Key::new("shop", "orders")));
        assert!(shop.next().now_or_never().is_none());
        news.take(&orders, at(2), true);
        assert!(shop.next().now_or_never().is_none());
        news.take(&orders, RunResults::default(), true);
        assert_eq!(shop.next().now_or_never().flatten(), Some(Key::new("shop", "orders")));
        assert!(bank.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn reports_wait_for_the_first_lists_but_not_for_long() {
        let news = JobNews::new(&[Scope::All], Shard::default(), None);
        assert!(!news.is_complete().await, "they may be forbidden");
        let before = Instant::now();
        assert!(!news.is_complete().await && before.elapsed().is_zero(), "it has waited before");
        assert!(news.complete(), "reports were made without them");
        assert!(news.is_complete().await);
        let news = JobNews::new(&[Scope::All], Shard::default(), None);
        assert!(!news.complete() && news.complete());
    }

    #[tokio::test]
    async fn running_jobs_of_other_shards_are_known_for_restore_tests() {
        // shop/orders belongs to the first of two, shop/ledger to the second.
        let news = |active| JobNews::new(&[Scope::All], Shard::new(0, 2).unwrap(), active);
        let [orders, ledger] = ["orders", "ledger"].map(|name| ClusterKey::new("shop", name));
        let slot = Slot { repo_key: 1, backup_type: BackupType::Full };
        let seen = |cluster: &ClusterKey, end| SeenJob {
            fact: JobFact {
                cluster: cluster.clone(),
                slot,
                uid: "u".into(),
                trigger: Trigger::Schedule,
                started: None,
                failed_pods: 0,
                succeeded_pods: 0,
                end,
            },
            name: String::new(),
            has_no_reason: false,
        };
        let now = DateTime::UNIX_EPOCH;
        let end = Some(JobEnd { at: now, failure: None });
        let (with_tests, without) = (news(Some(Arc::default())), news(None));
        assert!(without.concerns(&seen(&orders, None)) && !without.concerns(&seen(&ledger, None)));
        assert!(with_tests.concerns(&seen(&ledger, None)) && !with_tests.concerns(&seen(&ledger, end)));

        let facts = vec![seen(&orders, None), seen(&ledger, None)];
        let mut batch = Batch { facts, gone: Vec::new(), is_first: false };
        with_tests.set_apart(&mut batch, now);
        assert!(batch.facts.len() == 1 && batch.facts[0].fact.cluster == orders);
        assert!(with_tests.is_backed_up_elsewhere(&ledger) && !with_tests.is_backed_up_elsewhere(&orders));
        let gone = vec![((ledger.clone(), slot), "u".into())];
        let mut batch = Batch { facts: Vec::new(), gone, is_first: false };
        with_tests.set_apart(&mut batch, now);
        assert!(batch.gone.is_empty() && !with_tests.is_backed_up_elsewhere(&ledger));
    }
}
