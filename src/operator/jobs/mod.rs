//! The state of CronJobs and Jobs, kept in the metrics while this process leads.
//!
//! There are three watches for each scope; each object is reduced to a small fact immediately. Pods are watched while
//! they wait to start, and listed once if a failed Job does not contain the reason.

mod batch;
pub(super) mod events;
mod findings;
mod news;
mod pending;
mod read;
mod why;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::ready;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::watcher::{Config, Event};
use tokio::sync::Semaphore;

use crate::metrics::OperatorMetrics;
use crate::state::jobs::{ClusterKey, CronFact, JobFact, JobFailure};

use super::progress::OperatorProgress;
use super::scope::Scope;
use batch::{Batch, Batches, Fact};
use events::events;
pub(super) use findings::failed;
pub(super) use news::JobNews;
use pending::{PENDING, Pending};
pub use read::Reader;
use read::SeenJob;

/// Maximum number of concurrent queries for pods of Jobs.
const QUESTIONS: usize = 4;
/// Watches in each scope whose first list determines the existing clusters.
const COUNTED: usize = 2;

/// Follows the Jobs and CronJobs of all clusters.
pub(super) struct Follower {
    client: Client,
    metrics: Arc<OperatorMetrics>,
    /// Jobs whose pods are being listed.
    asked: HashSet<Box<str>>,
    questions: FuturesUnordered<BoxFuture<'static, FailedJob>>,
    limit: Arc<Semaphore>,
    pending: Pending,
    /// Watches that have not completed their first list.
    unlisted: usize,
    /// Clusters whose results may have changed.
    untold: BTreeSet<ClusterKey>,
    /// Jobs of the first list whose pods are being listed.
    asked_first: HashSet<Box<str>>,
    news: Arc<JobNews>,
}

/// A failed Job with its reason, and whether to count it.
struct FailedJob {
    fact: JobFact,
    counts: bool,
}

enum Change {
    CronJobs(Batch<CronFact>),
    Jobs(Batch<SeenJob>),
    Pods(Box<Event<Pod>>),
}

/// Runs until it is dropped, or until the watches stop.
pub(super) async fn follow(
    client: Client,
    scopes: &[Scope],
    reader: &Arc<Reader>,
    progress: &Arc<OperatorProgress>,
    metrics: Arc<OperatorMetrics>,
    news: Arc<JobNews>,
) {
    let changes = scopes.iter().flat_map(|scope| changes(&client, scope, reader, progress, &news));
    let mut changes = stream::select_all(changes);
    let mut follower = Follower {
        client,
        metrics,
        asked: HashSet::new(),
        questions: FuturesUnordered::new(),
        limit: Arc::new(Semaphore::new(QUESTIONS)),
        pending: Pending::default(),
        unlisted: scopes.len() * COUNTED,
        untold: BTreeSet::new(),
        asked_first: HashSet::new(),
        news,
    };
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

/// The watches of one scope. The metadata of CronJobs has a watch of its own.
fn changes(
    client: &Client,
    scope: &Scope,
    reader: &Arc<Reader>,
    progress: &Arc<OperatorProgress>,
    news: &Arc<JobNews>,
) -> [BoxStream<'static, Change>; 3] {
    let labelled = |selector: Option<String>| Config { label_selector: selector, ..Config::default() };
    let (mut batches, of_cron_jobs, own) = (Batches::default(), Arc::clone(reader), Arc::clone(news));
    let wanted = labelled(Some(reader.cron_job_selector()));
    let cron_jobs = events(client, scope, "CronJob/spec", wanted, progress).filter_map(move |event| {
        let read = |object: &CronJob| of_cron_jobs.cron_job(object).filter(|fact| own.is_own(&fact.cluster));
        ready(batches.take(event, read).map(Change::CronJobs))
    });
    let (mut batches, of_jobs, news) = (Batches::default(), Arc::clone(reader), Arc::clone(news));
    let wanted = labelled(reader.job_selector());
    let jobs = events(client, scope, "Job", wanted, progress).filter_map(move |event| {
        let read = |object: &Job| of_jobs.job(object).filter(|seen| news.concerns(seen));
        ready(batches.take(event, read).map(Change::Jobs))
    });
    let wanted = labelled(Some(reader.pod_selector())).fields(PENDING);
    let pods = events(client, scope, "Pod", wanted, progress).map(|event| Change::Pods(Box::new(event)));
    [cron_jobs.boxed(), jobs.boxed(), pods.boxed()]
}

impl Follower {
    fn take(&mut self, change: Change, now: DateTime<Utc>) {
        let touched = change.clusters();
        let is_first = match change {
            Change::CronJobs(batch) => self.cron_jobs(batch, now),
            Change::Jobs(mut batch) => {
                self.news.set_apart(&mut batch, now);
                let is_first = self.jobs(batch, now);
                self.news.has_changed(&touched);
                is_first
            }
            Change::Pods(event) => {
                self.pending.take(&event);
                false
            }
        };
        if is_first {
            self.unlisted = self.unlisted.saturating_sub(1);
            if self.unlisted == 0 {
                self.metrics.jobs.listed();
            }
        }
        self.tell(&touched);
    }

    /// Nothing is told before everything is known, or a Job that is not listed yet would seem not to exist.
    fn tell(&mut self, touched: &BTreeSet<ClusterKey>) {
        self.untold.extend(touched.iter().cloned());
        if self.unlisted > 0 || !self.asked_first.is_empty() {
            return;
        }
        let queues = self.news.complete();
        for cluster in std::mem::take(&mut self.untold) {
            self.news.take(&cluster, self.metrics.jobs.results(&cluster), queues);
        }
    }

    fn cron_jobs(&self, batch: Batch<CronFact>, now: DateTime<Utc>) -> bool {
        self.metrics.jobs.with_index(|index| {
            index.cron_jobs(batch.facts, now);
            for (place, uid) in batch.gone {
                index.cron_job_gone(&place, &uid, now);
            }
        });
        batch.is_first
    }

    /// Jobs that had finished before the first list are not counted, and only the newest failure of each repo and
    /// type is investigated.
    fn jobs(&mut self, mut batch: Batch<SeenJob>, now: DateTime<Utc>) -> bool {
        let ended = |seen: &SeenJob| seen.fact.end.as_ref().map(|end| end.at);
        batch.facts.sort_by_key(ended);
        let mut newest = BTreeMap::new();
        for seen in batch.facts.iter().filter(|seen| seen.fact.end.is_some()) {
            newest.insert(seen.place(), seen.fact.uid.clone());
        }
        for mut seen in batch.facts {
            self.explain(&mut seen.fact);
            let matters = !batch.is_first || newest.get(&seen.place()) == Some(&seen.fact.uid);
            if seen.has_no_reason && matters {
                self.ask(seen, !batch.is_first);
            } else {
                self.metrics.jobs.job(&seen.fact, !batch.is_first, now);
            }
        }
        for (place, uid) in batch.gone {
            self.asked.remove(&uid);
            self.pending.forget(&uid);
            self.metrics.jobs.with_index(|index| index.job_gone(&place, &uid));
        }
        batch.is_first
    }

    /// A Job that exceeded its deadline may never have had a running pod.
    fn explain(&mut self, fact: &mut JobFact) {
        let Some(end) = &mut fact.end else { return };
        if let Some(reason) = self.pending.reason(&fact.uid).filter(|_| end.failure == Some(why::TIME_UP)) {
            end.failure = Some(JobFailure { reason, ..why::TIME_UP });
        }
        // Reporting the end again has no effect.
        self.pending.forget(&fact.uid);
    }

    fn ask(&mut self, seen: SeenJob, counts: bool) {
        let known = self.metrics.jobs.with_index(|index| index.has_ended(&seen.place(), &seen.fact.uid));
        if known || !self.asked.insert(seen.fact.uid.clone()) {
            return;
        }
        if !counts {
            self.asked_first.insert(seen.fact.uid.clone());
        }
        let (client, limit) = (self.client.clone(), Arc::clone(&self.limit));
        let question = async move {
            let _slot = limit.acquire_owned().await;
            let mut fact = seen.fact;
            let failure = why::failure(&client, &fact).await;
            log(&fact, &seen.name, failure);
            if let Some(end) = &mut fact.end {
                end.failure = Some(failure);
            }
            FailedJob { fact, counts }
        };
        self.questions.push(question.boxed());
    }

    fn answered(&mut self, FailedJob { fact, counts }: &FailedJob, now: DateTime<Utc>) {
        self.metrics.jobs.job(fact, *counts, now);
        if !self.asked.remove(&fact.uid) {
            // It was deleted while its pods were listed.
            self.metrics.jobs.with_index(|index| index.job_gone(&fact.place(), &fact.uid));
        }
        self.asked_first.remove(&fact.uid);
        self.tell(&BTreeSet::from([fact.cluster.clone()]));
    }
}

impl Change {
    /// The clusters that it is about.
    fn clusters(&self) -> BTreeSet<ClusterKey> {
        fn of<F: Fact>(batch: &Batch<F>) -> BTreeSet<ClusterKey> {
            let present = batch.facts.iter().map(|fact| fact.place().0);
            present.chain(batch.gone.iter().map(|((cluster, _), _)| cluster.clone())).collect()
        }
        match self {
            Self::CronJobs(batch) => of(batch),
            Self::Jobs(batch) => of(batch),
            Self::Pods(_) => BTreeSet::new(),
        }
    }
}

fn log(fact: &JobFact, job: &str, failure: JobFailure) {
    let (namespace, pg_cluster) = (&*fact.cluster.namespace, &*fact.cluster.name);
    let (reason, exit_code) = (failure.reason, failure.exit_code);
    tracing::warn!(namespace, pg_cluster, job, reason, exit_code, "Backup job failed");
}
