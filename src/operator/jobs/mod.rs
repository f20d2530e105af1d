//! What CronJobs and Jobs tell, kept in the metrics for as long as this process leads.
//!
//! Two watches for each scope; each object is reduced to a small fact as it comes. Pods are asked for once, when a Job
//! has failed and has not said why.

mod batch;
mod read;
mod why;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::metrics::OperatorMetrics;
use crate::state::jobs::{CronFact, Failure, JobFact};

use super::progress::Progress;
use super::scope::Scope;
use super::watch::PAGE;
use batch::{Batch, Batches, Fact};
pub use read::Reader;
use read::SeenJob;

/// So many Jobs' pods are asked for at once.
const QUESTIONS: usize = 4;

/// Follows the Jobs and CronJobs of all clusters.
pub(super) struct Follower {
    client: kube::Client,
    metrics: Arc<OperatorMetrics>,
    /// Jobs whose pods are being asked for.
    asked: HashSet<Box<str>>,
    questions: FuturesUnordered<BoxFuture<'static, Answer>>,
    slots: Arc<Semaphore>,
    /// Watches that have not listed for the first time.
    unlisted: usize,
}

/// A failed Job with its reason, and whether it is to be counted.
struct Answer {
    fact: JobFact,
    counts: bool,
}

enum Change {
    CronJobs(Batch<CronFact>),
    Jobs(Batch<SeenJob>),
}

/// Goes on until it is dropped, or until the watches end by themselves.
pub(super) async fn follow(
    client: kube::Client,
    scopes: &[Scope],
    reader: &Arc<Reader>,
    progress: &Arc<Progress>,
    metrics: Arc<OperatorMetrics>,
) {
    let mut changes = Vec::new();
    for scope in scopes {
        let (of_cron_jobs, of_jobs) = (Arc::clone(reader), Arc::clone(reader));
        let read = move |cron_job: &CronJob| of_cron_jobs.cron_job(cron_job);
        // The metadata of CronJobs has a watch of its own.
        let wanted = ("CronJob/spec", Some(reader.cron_job_selector()));
        changes.push(batches(&client, scope, wanted, read, progress).map(Change::CronJobs).boxed());
        let read = move |job: &Job| of_jobs.job(job);
        let wanted = ("Job", reader.job_selector());
        changes.push(batches(&client, scope, wanted, read, progress).map(Change::Jobs).boxed());
    }
    let mut follower = Follower {
        client,
        metrics,
        asked: HashSet::new(),
        questions: FuturesUnordered::new(),
        slots: Arc::new(Semaphore::new(QUESTIONS)),
        unlisted: changes.len(),
    };
    let mut changes = stream::select_all(changes);
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => follower.take(change, Utc::now()),
                None => return,
            },
            Some(answer) = follower.questions.next() => follower.answered(&answer, Utc::now()),
        }
    }
}

/// One watch, as batches of facts.
fn batches<K, F>(
    client: &kube::Client,
    scope: &Scope,
    (kind, selector): (&'static str, Option<String>),
    read: impl Fn(&K) -> Option<F> + Send + 'static,
    progress: &Arc<Progress>,
) -> BoxStream<'static, Batch<F>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
    F: Fact + Send + 'static,
{
    let api: Api<K> = match scope {
        Scope::All => Api::all(client.clone()),
        Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let mut config = watcher::Config::default().page_size(PAGE);
    config.label_selector = selector;
    let (scope, progress) = (scope.clone(), Arc::clone(progress));
    progress.begins(kind, &scope);
    let mut batches = Batches::default();
    let events = watcher(api, config).default_backoff();
    let batches = events.map(move |event| match event {
        Ok(event) => {
            if matches!(event, watcher::Event::InitDone) {
                progress.has_listed(kind, &scope);
            }
            batches.take(event, &read)
        }
        Err(error) => {
            progress.has_failed(kind, &scope, &error);
            None
        }
    });
    batches.filter_map(std::future::ready).boxed()
}

impl Follower {
    fn take(&mut self, change: Change, now: DateTime<Utc>) {
        let is_first = match change {
            Change::CronJobs(batch) => self.cron_jobs(batch, now),
            Change::Jobs(batch) => self.jobs(batch, now),
        };
        if is_first {
            self.unlisted = self.unlisted.saturating_sub(1);
            if self.unlisted == 0 {
                self.metrics.jobs.listed();
            }
        }
    }

    fn cron_jobs(&self, batch: Batch<CronFact>, now: DateTime<Utc>) -> bool {
        self.metrics.jobs.with_ledger(|ledger| {
            ledger.cron_jobs(batch.facts, now);
            for (place, uid) in batch.gone {
                ledger.cron_job_gone(&place, &uid, now);
            }
        });
        batch.is_first
    }

    /// What had ended before the first list is not counted, and of each repo and type only the newest failure is
    /// asked about.
    fn jobs(&mut self, mut batch: Batch<SeenJob>, now: DateTime<Utc>) -> bool {
        let ended = |seen: &SeenJob| seen.fact.end.as_ref().map(|end| end.at);
        batch.facts.sort_by_key(ended);
        let mut newest = BTreeMap::new();
        for seen in batch.facts.iter().filter(|seen| seen.fact.end.is_some()) {
            newest.insert(seen.place(), seen.fact.uid.clone());
        }
        for seen in batch.facts {
            let matters = !batch.is_first || newest.get(&seen.place()) == Some(&seen.fact.uid);
            if seen.has_no_reason && matters {
                self.ask(seen, !batch.is_first);
            } else {
                self.metrics.jobs.job(&seen.fact, !batch.is_first, now);
            }
        }
        for (place, uid) in batch.gone {
            self.asked.remove(&uid);
            self.metrics.jobs.with_ledger(|ledger| ledger.job_gone(&place, &uid));
        }
        batch.is_first
    }

    fn ask(&mut self, seen: SeenJob, counts: bool) {
        let known = self.metrics.jobs.with_ledger(|ledger| ledger.has_ended(&seen.place(), &seen.fact.uid));
        if known || !self.asked.insert(seen.fact.uid.clone()) {
            return;
        }
        let (client, slots) = (self.client.clone(), Arc::clone(&self.slots));
        let question = async move {
            let _slot = slots.acquire_owned().await;
            let mut fact = seen.fact;
            let failure = why::failure(&client, &fact).await;
            log(&fact, &seen.name, failure);
            if let Some(end) = &mut fact.end {
                end.failure = Some(failure);
            }
            Answer { fact, counts }
        };
        self.questions.push(question.boxed());
    }

    fn answered(&mut self, Answer { fact, counts }: &Answer, now: DateTime<Utc>) {
        self.metrics.jobs.job(fact, *counts, now);
        if !self.asked.remove(&fact.uid) {
            // It went while its pods were asked for.
            self.metrics.jobs.with_ledger(|ledger| ledger.job_gone(&fact.place(), &fact.uid));
        }
    }
}

fn log(fact: &JobFact, job: &str, failure: Failure) {
    let (namespace, pg_cluster) = (&*fact.cluster.namespace, &*fact.cluster.name);
    let (reason, exit_code) = (failure.reason, failure.exit_code);
    tracing::warn!(namespace, pg_cluster, job, reason, exit_code, "A backup job has failed");
}
