//! One cluster is asked: each repository where it can be read, all of them at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

use crate::cluster::key::Key;
use crate::cluster::labels;
use crate::cluster::settings::Settings;
use crate::cluster::target::{self, PGBACKREST_CONTAINER, Pod};
use crate::cluster::validated::STANZA;
use crate::collect::wal::book::Book;
use crate::metrics::CollectionMetrics;
use crate::metrics::collection::{Collector, RunReport};
use crate::pgbackrest::version::Version;
use crate::source::info_in_pod::{self, After, InPod};
use crate::source::pod::{Place, RunInPod};
use crate::source::pods::FindPods;
use crate::state::filter::Filter;
use crate::state::merge::{self, Answer, Configured, Policy, Reply, Run, Target};
use crate::state::snapshot::{Failure, FailureReason, Snapshot};

use super::Pace;
use super::running::Running;
use super::slots::Slots;
use super::subject::{AskedRepo, Subject};

/// After its timeout a command has five seconds until it is killed; the rest is for its start on a busy node.
pub(super) const AFTER_TIMEOUT: Duration = Duration::from_secs(20);
/// Answers of a cluster are handed on when others of it take longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pods that are tried for one repository.
const MOST_TRIES: usize = 2;
/// How long a version is taken to be the one that a pod has.
const VERSION_LASTS: Duration = Duration::from_hours(1);
/// Stands for a command that is about no repository.
const NO_REPO: u32 = 0;

/// What asking needs beside the cluster.
pub(super) struct Asker<'a, P> {
    pub(super) pods: &'a P,
    pub(super) settings: &'a Settings,
    pub(super) pace: Pace,
    pub(super) slots: &'a Slots,
    pub(super) running: &'a Running,
    pub(super) metrics: &'a CollectionMetrics,
}

/// What is remembered of a cluster from one look to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Repositories that gave no answer in time.
    doubtful: BTreeSet<u32>,
    /// As told by a pod, and when.
    version: Option<(String, Version, Instant)>,
    /// What was listed of its WAL archives.
    pub(super) book: Arc<Book>,
    /// When they are listed again.
    pub(super) listing_due: Option<Instant>,
    /// Something new was listed. What that proves is known after the next look.
    pub(super) look_again: bool,
}

/// The pod and container that read each repository.
pub(super) type Readers<'a> = BTreeMap<u32, (&'a str, &'a str)>;

/// What came of one repository.
struct Answered<'a> {
    repo: u32,
    /// The pod and container that answered.
    by: Option<(&'a str, &'a str)>,
    answer: Result<Reply, Failure>,
}

impl<P> Clone for Asker<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Asker<'_, P> {}

impl<P: FindPods + RunInPod> Asker<'_, P> {
    /// What is known of the cluster after asking all of its repositories. What some have said is handed to `meanwhile`
    /// where others take long.
    pub(super) async fn ask(
        &self,
        key: &Arc<Key>,
        subject: &Subject,
        previous: &Arc<Snapshot>,
        memory: &mut Memory,
        meanwhile: impl Fn(Snapshot),
    ) -> Snapshot {
        let pods = self.find(key).await;
        let mut calls: FuturesUnordered<_> = subject
            .repos
            .iter()
            .map(|repo| {
                let is_doubtful = memory.doubtful.contains(&repo.key);
                self.ask_repo(key, subject, repo, &pods, is_doubtful)
            })
            .collect();
        let (mut answers, mut readers) = (Vec::new(), Readers::new());
        let is_slow = sleep(PATIENCE);
        tokio::pin!(is_slow);
        loop {
            tokio::select! {
                answered = calls.next() => {
                    let Some(answered) = answered else { break };
                    memory.note(&answered);
                    readers.extend(answered.by.map(|by| (answered.repo, by)));
                    let target = Target { stanza: Some(STANZA.into()), repo: Some(answered.repo) };
                    let reply = answered.answer.unwrap_or_else(Reply::Silent);
                    answers.push(Answer { target, at: Utc::now(), reply });
                }
                () = &mut is_slow, if !is_slow.is_elapsed() => {}
            }
            if is_slow.is_elapsed() && !calls.is_empty() && !answers.is_empty() {
                let run = Run { answers: answers.clone(), finished: false, version: memory.version() };
                // Whether the cluster as a whole answers is not known yet.
                let collection = previous.collection.clone();
                meanwhile(Snapshot { collection, ..self.merged(subject, previous, run, &memory.book) });
            }
        }
        drop(calls);
        self.learn_version(key, readers.values().next().copied(), memory).await;
        let run = Run { answers, finished: true, version: memory.version() };
        let snapshot = self.merged(subject, previous, run, &memory.book);
        self.list_if_due(key, &snapshot, &readers, memory, meanwhile).await;
        snapshot
    }

    async fn find(&self, key: &Key) -> Result<Vec<Pod>, String> {
        let selector = labels::selector_text(&labels::cluster_selector(&key.name, self.settings));
        let _slot = self.slots.take(false).await;
        self.pods.find(&key.namespace, &selector).await.map_err(|error| error.to_string())
    }

    async fn ask_repo<'b>(
        &'b self,
        key: &'b Arc<Key>,
        subject: &Subject,
        repo: &AskedRepo,
        pods: &'b Result<Vec<Pod>, String>,
        is_doubtful: bool,
    ) -> Answered<'b> {
        let silent = |reason, message| {
            let failure = Failure { reason, exit_code: None, message };
            Answered { repo: repo.key, by: None, answer: Err(failure) }
        };
        let found = pods.as_ref().map_err(Clone::clone);
        let candidates = match found.and_then(|pods| candidates(pods, key, subject, repo, self.settings)) {
            Ok(candidates) => candidates,
            Err(why) => {
                self.metrics.not_run(Collector::Info, FailureReason::NoPod);
                return silent(
                    FailureReason::NoPod,
                    format!("no pod to query about repo{}: {why}", repo.key),
                );
            }
        };
        let Some(_slot) = self.slots.take(is_doubtful).await else {
            let why =
                "skipped in this run: it did not answer before, and too many others do not answer either";
            return silent(FailureReason::Timeout, why.to_owned());
        };
        let bound = self.pace.timeout.saturating_add(AFTER_TIMEOUT);
        let Some(command) = self.running.begin(key, repo.key, bound) else {
            let why = "skipped in this run: the previous command may still be running there";
            return silent(FailureReason::Lost, why.to_owned());
        };
        let mut last = None;
        for (pod, container) in candidates.into_iter().take(MOST_TRIES) {
            let place = Place { namespace: &key.namespace, pod, container };
            let call = info_in_pod::info(self.pods, place, repo.key, self.pace.timeout).await;
            self.report(Collector::Info, &call);
            let InPod { answer, after, .. } = call;
            let answer = answer.map(|said| Reply::Stanzas { stanzas: said.stanzas, complete: said.complete });
            let by = answer.is_ok().then_some((pod, container));
            let answered = Answered { repo: repo.key, by, answer };
            match after {
                After::NotStarted => last = Some(answered),
                After::Ended => {
                    command.ended();
                    return answered;
                }
                // Counted as running for its bound from now on.
                After::MayRun => return answered,
            }
        }
        command.ended();
        last.unwrap_or_else(|| {
            silent(FailureReason::NoPod, format!("no pod to query about repo{}", repo.key))
        })
    }

    /// Asks the pod that answered for its version, unless that is known.
    async fn learn_version(&self, key: &Arc<Key>, by: Option<(&str, &str)>, memory: &mut Memory) {
        let Some((pod, container)) = by else { return };
        let is_known = |(of, _, at): &(String, Version, Instant)| of == pod && at.elapsed() < VERSION_LASTS;
        if memory.version.as_ref().is_some_and(is_known) {
            return;
        }
        let _slot = self.slots.take(false).await;
        let Some(command) = self.running.begin(key, NO_REPO, AFTER_TIMEOUT) else { return };
        let call = info_in_pod::version(self.pods, Place { namespace: &key.namespace, pod, container }).await;
        self.report(Collector::Version, &call);
        if call.after != After::MayRun {
            command.ended();
        }
        if let Ok(version) = call.answer {
            memory.version = Some((pod.to_owned(), version, Instant::now()));
        }
    }

    fn merged(&self, subject: &Subject, previous: &Snapshot, run: Run, book: &Book) -> Snapshot {
        let keys: Vec<u32> = subject.repos.iter().map(|repo| repo.key).collect();
        // Fails on patterns alone.
        let filter = Filter::new(&[STANZA.to_owned()], &[], None, None, &keys).unwrap_or_default();
        let configured =
            Configured { stanzas: BTreeSet::from([STANZA.into()]), repos: keys.into_iter().collect() };
        let max_staleness = TimeDelta::from_std(self.pace.max_staleness).unwrap_or(TimeDelta::MAX);
        let policy = Policy { filter: &filter, max_staleness, configured: &configured };
        let mut snapshot = merge::merge(previous, run, &policy, Utc::now());
        for repo in snapshot.stanzas.iter_mut().flat_map(|stanza| &mut stanza.repos) {
            let asked = subject.repos.iter().find(|asked| asked.key == repo.key);
            repo.settings = asked.and_then(|asked| asked.settings.clone());
        }
        book.fill(&mut snapshot, self.pace.max_wal_staleness(), Utc::now());
        snapshot
    }

    pub(super) fn report<T>(&self, collector: Collector, call: &InPod<T>) {
        let report = RunReport {
            duration: call.duration,
            output_bytes: None,
            sanitized: call.sanitized,
            failure: call.answer.as_ref().err().map(|failure| failure.reason),
        };
        self.metrics.run_finished(collector, &report);
    }
}

impl Memory {
    fn note(&mut self, answered: &Answered<'_>) {
        let hung = |failure: &Failure| matches!(failure.reason, FailureReason::Timeout | FailureReason::Lost);
        if answered.answer.as_ref().is_err_and(hung) {
            self.doubtful.insert(answered.repo);
        } else {
            self.doubtful.remove(&answered.repo);
        }
    }

    fn version(&self) -> Option<Version> {
        self.version.as_ref().map(|(_, version, _)| *version)
    }
}

/// Pod and container, the best first: the repo host for what is on its volumes, else the primary, else a replica.
fn candidates<'a>(
    pods: &'a [Pod],
    key: &Key,
    subject: &Subject,
    repo: &AskedRepo,
    settings: &'a Settings,
) -> Result<Vec<(&'a str, &'a str)>, String> {
    if repo.on_volume {
        let pod = target::repo_host(pods, &key.name, settings).map_err(|why| why.to_string())?;
        return Ok(vec![(&pod.name, PGBACKREST_CONTAINER)]);
    }
    let primary = target::primary(pods, &key.name, settings);
    let first = primary.as_ref().ok().copied();
    let databases = target::databases(pods, &key.name, subject.instances);
    let others = databases.into_iter().filter(|pod| pod.ready && first.is_none_or(|first| first != *pod));
    let all: Vec<_> = first
        .into_iter()
        .chain(others)
        .map(|pod| (pod.name.as_str(), settings.database_container.as_str()))
        .collect();
    match primary {
        Err(why) if all.is_empty() => Err(why.to_string()),
        _ => Ok(all),
    }
}
