//! The Jobs of restore tests and their pods: what runs now, and the results of what has ended.
//!
//! A result is the termination message of a pod. It is kept until the status of the resource contains it, because Jobs and pods may be
//! deleted before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::why::{self, Why};
use crate::cluster::labels::{REPO, RESTORE_TEST, TESTED_CLUSTER};
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::validated::RepoNumber;
use crate::operator::scope::Key;
use crate::state::proofs::{Record as _, RestoreTest, Source};

/// A label on the pods of a Job since Kubernetes 1.27.
pub(super) const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// Results of one restore test that wait to be written.
const MOST_WAITING: usize = 100;

/// All that runs or has ended, by restore test.
#[derive(Debug, Default)]
pub(super) struct Runs {
    tests: Mutex<BTreeMap<Key, OfTest>>,
    /// Watches that have not completed their first list.
    unlisted: AtomicUsize,
}

#[derive(Debug, Default)]
struct OfTest {
    /// By UID.
    jobs: BTreeMap<Box<str>, Entry<TestJob>>,
    pods: BTreeMap<Box<str>, Entry<TestPod>>,
}

#[derive(Debug)]
struct Entry<T> {
    known: T,
    /// It was deleted, and its result may not be written yet.
    is_gone: bool,
}

/// What matters of a Job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TestJob {
    pub(super) uid: Box<str>,
    pub(super) name: String,
    pub(super) turn: Turn,
    pub(super) created: DateTime<Utc>,
    pub(super) end: Option<JobEnd>,
}

/// The end of a Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JobEnd {
    pub(super) at: DateTime<Utc>,
    /// Whether it exceeded its deadline.
    pub(super) is_time_up: bool,
}

/// What matters of a pod.
#[derive(Debug, Clone)]
struct TestPod {
    turn: Turn,
    /// UID of its Job.
    job: Option<Box<str>>,
    result: Option<Arc<RestoreTest>>,
    /// Why it does not start, or had to go.
    waits: Option<Why>,
}

/// A Job or a pod, as the watches see it.
pub(super) trait Watched: Resource {
    fn uid(&self) -> Option<Box<str>> {
        self.meta().uid.as_deref().map(Into::into)
    }

    /// The restore test it belongs to, if it is one of ours.
    fn test(&self) -> Option<Key> {
        test(self.meta())
    }

    /// Adds it, or changes what is known of it.
    fn note(&self, runs: &Runs);
    fn gone(runs: &Runs, test: &Key, uid: &str);
}

/// Follows what a watch reports, and yields the restore tests that are concerned.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: BTreeMap<Box<str>, Key>,
    listed: BTreeMap<Box<str>, Key>,
    has_listed: bool,
}

impl Seen {
    pub(super) fn take<K: Watched>(&mut self, event: Event<K>, runs: &Runs) -> BTreeSet<Key> {
        match event {
            Event::Init => {
                self.listed.clear();
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                if let Some((uid, test)) = object.uid().zip(object.test()) {
                    object.note(runs);
                    self.listed.insert(uid, test);
                }
                BTreeSet::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let before = std::mem::replace(&mut self.known, listed);
                if !std::mem::replace(&mut self.has_listed, true) {
                    runs.unlisted.fetch_sub(1, Ordering::AcqRel);
                }
                let mut touched: BTreeSet<Key> = self.known.values().cloned().collect();
                for (uid, test) in before.into_iter().filter(|(uid, _)| !self.known.contains_key(uid)) {
                    K::gone(runs, &test, &uid);
                    touched.insert(test);
                }
                touched
            }
            Event::Apply(object) => {
                let Some((uid, test)) = object.uid().zip(object.test()) else { return BTreeSet::new() };
                object.note(runs);
                self.known.insert(uid, test.clone());
                BTreeSet::from([test])
            }
            Event::Delete(object) => {
                let Some((uid, test)) = object.uid().zip(object.test()) else { return BTreeSet::new() };
                // With its last state.
                object.note(runs);
                K::gone(runs, &test, &uid);
                self.known.remove(&uid);
                BTreeSet::from([test])
            }
        }
    }
}

impl Watched for Job {
    fn note(&self, runs: &Runs) {
        let Some((test, job)) = self.test().zip(TestJob::of(self)) else { return };
        let entry = Entry { known: job.clone(), is_gone: false };
        runs.tests.lock().entry(test).or_default().jobs.insert(job.uid, entry);
    }

    fn gone(runs: &Runs, test: &Key, uid: &str) {
        runs.with(test, |runs| {
            if let Some(entry) = runs.jobs.get_mut(uid) {
                entry.is_gone = true;
            }
            // What has not ended has no result.
            runs.jobs.retain(|_, entry| !entry.is_gone || entry.known.end.is_some());
            limit(&mut runs.jobs, |job| job.created);
        });
    }
}

impl Watched for Pod {
    fn note(&self, runs: &Runs) {
        let (Some(test), Some(uid), Some(mut pod)) = (self.test(), self.uid(), TestPod::of(self)) else {
            return;
        };
        let mut tests = runs.tests.lock();
        let pods = &mut tests.entry(test).or_default().pods;
        // While it is deleted, it no longer tells why it did not start.
        if let Some(before) = pods.get(&uid).filter(|_| pod.waits.is_none() && !why::has_started(self)) {
            pod.waits.clone_from(&before.known.waits);
        }
        pods.insert(uid, Entry { known: pod, is_gone: false });
    }

    fn gone(runs: &Runs, test: &Key, uid: &str) {
        runs.with(test, |runs| {
            if let Some(entry) = runs.pods.get_mut(uid) {
                entry.is_gone = true;
            }
            runs.pods.retain(|_, Entry { known: pod, is_gone }| {
                !*is_gone || pod.result.is_some() || (pod.waits.is_some() && pod.job.is_some())
            });
            limit(&mut runs.pods, |pod| pod.result.as_ref().map(|result| result.start));
        });
    }
}

/// Drops the oldest of those that are gone.
fn limit<T, At: Ord>(entries: &mut BTreeMap<Box<str>, Entry<T>>, at: impl Fn(&T) -> At) {
    let mut gone: Vec<(At, Box<str>)> = entries
        .iter()
        .filter(|(_, entry)| entry.is_gone)
        .map(|(uid, entry)| (at(&entry.known), uid.clone()))
        .collect();
    gone.sort();
    for (_, uid) in gone.iter().rev().skip(MOST_WAITING) {
        entries.remove(uid);
    }
}

impl Runs {
    /// Of so many watches.
    pub(super) fn of(watches: usize) -> Self {
        Self { unlisted: AtomicUsize::new(watches), ..Self::default() }
    }

    /// Whether everything that exists is known.
    pub(super) fn are_listed(&self) -> bool {
        self.unlisted.load(Ordering::Acquire) == 0
    }

    fn with(&self, test: &Key, change: impl FnOnce(&mut OfTest)) {
        let mut tests = self.tests.lock();
        let Some(runs) = tests.get_mut(test) else { return };
        change(runs);
        if runs.jobs.is_empty() && runs.pods.is_empty() {
            tests.remove(test);
        }
    }

    /// What runs of a restore test.
    pub(super) fn running(&self, test: &Key) -> Option<Turn> {
        let tests = self.tests.lock();
        let mut jobs = tests.get(test)?.jobs.values();
        jobs.find(|job| job.known.end.is_none()).map(|job| job.known.turn.clone())
    }

    /// The repos of a cluster that are being tested, by any restore test.
    pub(super) fn tested_now(&self, namespace: &str, cluster: &str) -> Vec<RepoNumber> {
        let tests = self.tests.lock();
        let of_namespace = tests.iter().filter(|(test, _)| test.namespace == namespace);
        let jobs = of_namespace.flat_map(|(_, runs)| runs.jobs.values());
        let running = jobs.filter(|job| job.known.end.is_none() && job.known.turn.cluster == cluster);
        running.map(|job| job.known.turn.repo).collect()
    }

    /// When the newest Job was created.
    pub(super) fn last_start(&self, test: &Key) -> Option<DateTime<Utc>> {
        let tests = self.tests.lock();
        tests.get(test)?.jobs.values().map(|job| job.known.created).max()
    }

    /// Whether there is a Job of this name.
    pub(super) fn has_job(&self, test: &Key, name: &str) -> bool {
        let tests = self.tests.lock();
        tests.get(test).is_some_and(|runs| runs.jobs.values().any(|job| job.known.name == name))
    }

    /// The results of a restore test.
    pub(super) fn results(&self, test: &Key) -> Vec<(Turn, Arc<RestoreTest>)> {
        let tests = self.tests.lock();
        let pods = tests.get(test).into_iter().flat_map(|runs| runs.pods.values());
        pods.filter_map(|pod| Some((pod.known.turn.clone(), pod.known.result.clone()?))).collect()
    }

    /// Why the pods of a Job did not start, or had to go.
    pub(super) fn waited(&self, test: &Key, job: &str) -> Option<Why> {
        let tests = self.tests.lock();
        let mut pods = tests.get(test)?.pods.values().map(|pod| &pod.known);
        pods.find_map(|pod| pod.waits.clone().filter(|_| pod.job.as_deref() == Some(job)))
    }

    /// Jobs that have ended. Most of them have a result.
    pub(super) fn ended(&self, test: &Key) -> Vec<(TestJob, JobEnd)> {
        let tests = self.tests.lock();
        let jobs = tests.get(test).into_iter().flat_map(|runs| runs.jobs.values());
        jobs.filter_map(|job| Some((job.known.clone(), job.known.end?))).collect()
    }

    /// The status has a result for what `covers`, from its start to its end, so what was deleted is no longer needed.
    pub(super) fn written(&self, test: &Key, covers: impl Fn(&Turn, DateTime<Utc>, DateTime<Utc>) -> bool) {
        self.with(test, |runs| {
            runs.jobs.retain(|_, Entry { known: job, is_gone }| {
                !*is_gone || job.end.is_some_and(|end| !covers(&job.turn, job.created, end.at))
            });
            let waits_for_result = |uid: &str| {
                let job = runs.jobs.get(uid).map(|entry| &entry.known);
                job.is_some_and(|job| job.end.is_none_or(|end| !covers(&job.turn, job.created, end.at)))
            };
            runs.pods.retain(|_, Entry { known: pod, is_gone }| {
                !*is_gone
                    || match &pod.result {
                        Some(result) => !covers(&pod.turn, result.start, result.stop),
                        None => pod.waits.is_some() && pod.job.as_deref().is_some_and(waits_for_result),
                    }
            });
        });
    }

    /// The resource was deleted.
    pub(super) fn forget(&self, test: &Key) {
        self.tests.lock().remove(test);
    }
}

impl TestJob {
    fn of(job: &Job) -> Option<Self> {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ends = conditions.filter(|condition| {
            matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
        });
        let created = moment(job.metadata.creation_timestamp.as_ref()?)?;
        let end = ends.next().map(|end| JobEnd {
            at: end.last_transition_time.as_ref().and_then(moment).unwrap_or(created),
            is_time_up: end.reason.as_deref() == Some("DeadlineExceeded"),
        });
        Some(Self {
            uid: job.metadata.uid.as_deref()?.into(),
            name: job.metadata.name.clone()?,
            turn: turn(&job.metadata)?,
            created,
            end,
        })
    }
}

impl TestPod {
    fn of(pod: &Pod) -> Option<Self> {
        let turn = turn(&pod.metadata)?;
        let job = pod.metadata.labels.as_ref()?.get(JOB_UID).map(|uid| uid.as_str().into());
        let result = result(pod, &turn).map(Arc::new);
        let waits = pod.status.as_ref().and_then(why::of_waiting);
        Some(Self { turn, job, result, waits })
    }
}

/// The result in the termination message of a pod. One about anything else than what the pod was to test is none.
pub(super) fn result(pod: &Pod, turn: &Turn) -> Option<RestoreTest> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let mut ended = statuses.iter().filter_map(|container| container.state.as_ref()?.terminated.as_ref());
    let result = ended.find_map(|ended| RestoreTest::parse(ended.message.as_ref()?.as_bytes()).ok())?;
    let subject =
        Source::Cluster { namespace: pod.metadata.namespace.clone()?, pg_cluster: turn.cluster.clone() };
    (result.source == subject && result.repo == u32::from(turn.repo.get())).then_some(result)
}

fn test(metadata: &ObjectMeta) -> Option<Key> {
    let name = metadata.labels.as_ref()?.get(RESTORE_TEST)?;
    Some(Key::new(metadata.namespace.as_deref()?, name))
}

fn turn(metadata: &ObjectMeta) -> Option<Turn> {
    let labels = metadata.labels.as_ref()?;
    Some(Turn { cluster: labels.get(TESTED_CLUSTER)?.clone(), repo: RepoNumber::of_name(labels.get(REPO)?)? })
}

fn moment(time: &Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), 0)
}

#[cfg(test)]
mod tests;
