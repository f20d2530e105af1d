//! The Jobs of restore tests or verifications, and their pods: what runs now, and the results of what has ended.
//!
//! A result is the termination message of a pod. It is kept until it is written, because Jobs and pods may be deleted before.

pub(super) mod no_result;
pub(super) mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use parking_lot::Mutex;

use super::jobs::events::events;
use super::own;
use super::progress::OperatorProgress;
use super::scope::{Key, Scope};
use crate::cluster::labels::{REPO, RESTORE_TEST, TESTED_CLUSTER, VERIFIED_CLUSTER};
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::validated::RepoNumber;
use crate::state::proofs::{Record, RestoreTest, Source};
use crate::state::verification::Verification;
use why::Why;

/// A label on the pods of a Job since Kubernetes 1.27.
const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// Results of one owner that wait to be written.
const MOST_WAITING: usize = 100;

/// A record that reaches us as the termination message of a pod.
pub(super) trait PodRecord: Record {
    /// The label that names what a Job belongs to: a restore test, or the cluster.
    const OWNER: &'static str;
    /// The label that names the cluster.
    const CLUSTER: &'static str;

    fn source(&self) -> &Source;
}

impl PodRecord for RestoreTest {
    const OWNER: &'static str = RESTORE_TEST;
    const CLUSTER: &'static str = TESTED_CLUSTER;

    fn source(&self) -> &Source {
        &self.source
    }
}

impl PodRecord for Verification {
    const OWNER: &'static str = VERIFIED_CLUSTER;
    const CLUSTER: &'static str = VERIFIED_CLUSTER;

    fn source(&self) -> &Source {
        &self.source
    }
}

/// All that runs or has ended, by owner.
#[derive(Debug)]
pub(super) struct Runs<R> {
    owners: Mutex<BTreeMap<Key, OfOwner<R>>>,
    /// Watches that have not completed their first list.
    unlisted: AtomicUsize,
}

#[derive(Debug)]
struct OfOwner<R> {
    /// By UID.
    jobs: BTreeMap<Box<str>, Entry<RunJob>>,
    pods: BTreeMap<Box<str>, Entry<RunPod<R>>>,
}

impl<R> Default for OfOwner<R> {
    fn default() -> Self {
        Self { jobs: BTreeMap::new(), pods: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Entry<T> {
    known: T,
    /// It was deleted, and its result may not be written yet.
    is_gone: bool,
}

/// What matters of a Job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunJob {
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
    /// Whether its pod succeeded.
    pub(super) is_complete: bool,
}

/// What matters of a pod.
#[derive(Debug)]
struct RunPod<R> {
    turn: Turn,
    created: Option<DateTime<Utc>>,
    /// UID of its Job.
    job: Option<Box<str>>,
    result: Option<Arc<R>>,
    /// Why it does not start, or had to go.
    waits: Option<Why>,
}

/// A Job or a pod, as the watches see it.
pub(super) trait Watched<R: PodRecord>: Resource {
    fn uid(&self) -> Option<Box<str>> {
        self.meta().uid.as_deref().map(Into::into)
    }

    /// What it belongs to, if it is one of ours.
    fn owner(&self) -> Option<Key> {
        let name = self.meta().labels.as_ref()?.get(R::OWNER)?;
        Some(Key::new(self.meta().namespace.as_deref()?, name))
    }

    /// Adds it, or changes what is known of it.
    fn note(&self, runs: &Runs<R>);
    fn gone(runs: &Runs<R>, owner: &Key, uid: &str);
}

/// Follows what a watch reports, and yields the owners that are concerned.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: BTreeMap<Box<str>, Key>,
    listed: BTreeMap<Box<str>, Key>,
    has_listed: bool,
}

impl Seen {
    fn take_ours<K: Watched<R>, R: PodRecord>(
        &mut self,
        event: Event<K>,
        runs: &Runs<R>,
        is_ours: impl Fn(&Key) -> bool,
    ) -> BTreeSet<Key> {
        let event = own::keep(event, |object: &K| object.owner().is_none_or(|owner| is_ours(&owner)));
        event.map(|event| self.take(event, runs)).unwrap_or_default()
    }

    pub(super) fn take<K: Watched<R>, R: PodRecord>(
        &mut self,
        event: Event<K>,
        runs: &Runs<R>,
    ) -> BTreeSet<Key> {
        match event {
            Event::Init => {
                self.listed.clear();
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                if let Some((uid, owner)) = object.uid().zip(object.owner()) {
                    object.note(runs);
                    self.listed.insert(uid, owner);
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
                for (uid, owner) in before.into_iter().filter(|(uid, _)| !self.known.contains_key(uid)) {
                    K::gone(runs, &owner, &uid);
                    touched.insert(owner);
                }
                touched
            }
            Event::Apply(object) => {
                let Some((uid, owner)) = object.uid().zip(object.owner()) else { return BTreeSet::new() };
                object.note(runs);
                self.known.insert(uid, owner.clone());
                BTreeSet::from([owner])
            }
            Event::Delete(object) => {
                let Some((uid, owner)) = object.uid().zip(object.owner()) else { return BTreeSet::new() };
                // With its last state.
                object.note(runs);
                K::gone(runs, &owner, &uid);
                self.known.remove(&uid);
                BTreeSet::from([owner])
            }
        }
    }
}

/// The watches of Jobs and their pods in one scope: yields the owners that are concerned, of those that are ours.
pub(super) fn jobs_and_pods<R: PodRecord + Send + Sync + 'static>(
    client: &Client,
    scope: &Scope,
    [jobs, pods]: [&'static str; 2],
    runs: &Arc<Runs<R>>,
    progress: &Arc<OperatorProgress>,
    is_ours: impl Fn(&Key) -> bool + Copy + Send + 'static,
) -> BoxStream<'static, Key> {
    let config = || watcher::Config::default().labels(R::OWNER);
    let (mut seen, of_jobs) = (Seen::default(), Arc::clone(runs));
    let jobs = events::<Job>(client, scope, jobs, config(), progress);
    let jobs = jobs.flat_map(move |event| stream::iter(seen.take_ours(event, &of_jobs, is_ours)));
    let (mut seen, of_pods) = (Seen::default(), Arc::clone(runs));
    let pods = events::<Pod>(client, scope, pods, config(), progress);
    let pods = pods.flat_map(move |event| stream::iter(seen.take_ours(event, &of_pods, is_ours)));
    stream::select(jobs, pods).boxed()
}

impl<R: PodRecord> Watched<R> for Job {
    fn note(&self, runs: &Runs<R>) {
        let Some((owner, job)) = Watched::<R>::owner(self).zip(RunJob::of::<R>(self)) else { return };
        let entry = Entry { known: job.clone(), is_gone: false };
        runs.owners.lock().entry(owner).or_default().jobs.insert(job.uid, entry);
    }

    fn gone(runs: &Runs<R>, owner: &Key, uid: &str) {
        runs.with(owner, |runs| {
            if let Some(entry) = runs.jobs.get_mut(uid) {
                entry.is_gone = true;
            }
            // What has not ended has no result.
            runs.jobs.retain(|_, entry| !entry.is_gone || entry.known.end.is_some());
            limit(&mut runs.jobs, |job| job.created);
        });
    }
}

impl<R: PodRecord> Watched<R> for Pod {
    fn note(&self, runs: &Runs<R>) {
        let (owner, uid) = (Watched::<R>::owner(self), Watched::<R>::uid(self));
        let (Some(owner), Some(uid), Some(mut pod)) = (owner, uid, RunPod::of(self)) else { return };
        let mut owners = runs.owners.lock();
        let pods = &mut owners.entry(owner).or_default().pods;
        // While it is deleted, it no longer tells why it did not start.
        if let Some(before) = pods.get(&uid).filter(|_| pod.waits.is_none() && !why::has_started(self)) {
            pod.waits.clone_from(&before.known.waits);
        }
        pods.insert(uid, Entry { known: pod, is_gone: false });
    }

    fn gone(runs: &Runs<R>, owner: &Key, uid: &str) {
        runs.with(owner, |runs| {
            if let Some(entry) = runs.pods.get_mut(uid) {
                entry.is_gone = true;
            }
            runs.pods.retain(|_, Entry { known: pod, is_gone }| {
                !*is_gone || pod.result.is_some() || (pod.waits.is_some() && pod.job.is_some())
            });
            limit(&mut runs.pods, |pod| pod.result.as_ref().map(|result| result.start()));
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

impl<R: PodRecord> Runs<R> {
    /// Of so many watches.
    pub(super) fn of(watches: usize) -> Self {
        Self { owners: Mutex::default(), unlisted: AtomicUsize::new(watches) }
    }

    /// Whether everything that exists is known.
    pub(super) fn are_listed(&self) -> bool {
        self.unlisted.load(Ordering::Acquire) == 0
    }

    fn with(&self, owner: &Key, change: impl FnOnce(&mut OfOwner<R>)) {
        let mut owners = self.owners.lock();
        let Some(runs) = owners.get_mut(owner) else { return };
        change(runs);
        if runs.jobs.is_empty() && runs.pods.is_empty() {
            owners.remove(owner);
        }
    }

    /// What runs of an owner.
    pub(super) fn running(&self, owner: &Key) -> Option<Turn> {
        let owners = self.owners.lock();
        let mut jobs = owners.get(owner)?.jobs.values();
        jobs.find(|job| job.known.end.is_none()).map(|job| job.known.turn.clone())
    }

    /// The repos of a cluster for which something runs, of any owner.
    pub(super) fn tested_now(&self, namespace: &str, cluster: &str) -> Vec<RepoNumber> {
        let owners = self.owners.lock();
        let of_namespace = owners.iter().filter(|(owner, _)| owner.namespace == namespace);
        let jobs = of_namespace.flat_map(|(_, runs)| runs.jobs.values());
        let running = jobs.filter(|job| job.known.end.is_none() && job.known.turn.cluster == cluster);
        running.map(|job| job.known.turn.repo).collect()
    }

    /// When the newest Job was created.
    pub(super) fn last_start(&self, owner: &Key) -> Option<DateTime<Utc>> {
        let owners = self.owners.lock();
        owners.get(owner)?.jobs.values().map(|job| job.known.created).max()
    }

    /// Whether there is a Job of this name.
    pub(super) fn has_job(&self, owner: &Key, name: &str) -> bool {
        let owners = self.owners.lock();
        owners.get(owner).is_some_and(|runs| runs.jobs.values().any(|job| job.known.name == name))
    }

    /// The results of an owner.
    pub(super) fn results(&self, owner: &Key) -> Vec<(Turn, Arc<R>)> {
        let owners = self.owners.lock();
        let pods = owners.get(owner).into_iter().flat_map(|runs| runs.pods.values());
        pods.filter_map(|pod| Some((pod.known.turn.clone(), pod.known.result.clone()?))).collect()
    }

    /// Why the pods of a Job did not start, or had to go.
    pub(super) fn waited(&self, owner: &Key, job: &str) -> Option<Why> {
        let owners = self.owners.lock();
        let mut pods = owners.get(owner)?.pods.values().map(|pod| &pod.known);
        pods.find_map(|pod| pod.waits.clone().filter(|_| pod.job.as_deref() == Some(job)))
    }

    /// Jobs that have ended. Most of them have a result.
    pub(super) fn ended(&self, owner: &Key) -> Vec<(RunJob, JobEnd)> {
        let owners = self.owners.lock();
        let jobs = owners.get(owner).into_iter().flat_map(|runs| runs.jobs.values());
        jobs.filter_map(|job| Some((job.known.clone(), job.known.end?))).collect()
    }

    /// There is a written result for what `covers`, from its start to its end, so what was deleted is no longer needed.
    pub(super) fn written(&self, owner: &Key, covers: impl Fn(&Turn, DateTime<Utc>, DateTime<Utc>) -> bool) {
        self.with(owner, |runs| {
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
                        Some(result) => !covers(&pod.turn, result.start(), result.stop()),
                        None => pod.waits.is_some() && pod.job.as_deref().is_some_and(waits_for_result),
                    }
            });
        });
    }

    /// The owner was created then: what is older belonged to another one of the same name.
    pub(super) fn forget_before(&self, owner: &Key, created: DateTime<Utc>) {
        self.with(owner, |runs| {
            runs.jobs.retain(|_, job| job.known.created >= created);
            runs.pods.retain(|_, pod| pod.known.created.is_none_or(|of_pod| of_pod >= created));
        });
    }

    /// Whether a pod of a Job has a result.
    pub(super) fn has_result(&self, owner: &Key, job: &str) -> bool {
        let owners = self.owners.lock();
        let mut pods = owners.get(owner).into_iter().flat_map(|runs| runs.pods.values());
        pods.any(|pod| pod.known.result.is_some() && pod.known.job.as_deref() == Some(job))
    }

    /// The owner was deleted.
    pub(super) fn forget(&self, owner: &Key) {
        self.owners.lock().remove(owner);
    }
}

impl RunJob {
    fn of<R: PodRecord>(job: &Job) -> Option<Self> {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ends = conditions.filter(|condition| {
            matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
        });
        let created = moment(job.metadata.creation_timestamp.as_ref()?)?;
        let end = ends.next().map(|end| JobEnd {
            at: end.last_transition_time.as_ref().and_then(moment).unwrap_or(created),
            is_time_up: end.reason.as_deref() == Some("DeadlineExceeded"),
            is_complete: end.type_ == "Complete",
        });
        Some(Self {
            uid: job.metadata.uid.as_deref()?.into(),
            name: job.metadata.name.clone()?,
            turn: turn::<R>(&job.metadata)?,
            created,
            end,
        })
    }
}

impl<R: PodRecord> RunPod<R> {
    fn of(pod: &Pod) -> Option<Self> {
        let turn = turn::<R>(&pod.metadata)?;
        let created = pod.metadata.creation_timestamp.as_ref().and_then(moment);
        let job = pod.metadata.labels.as_ref()?.get(JOB_UID).map(|uid| uid.as_str().into());
        let result = result(pod, &turn).map(Arc::new);
        let waits = pod.status.as_ref().and_then(why::of_waiting);
        Some(Self { turn, created, job, result, waits })
    }
}

/// The result in the termination message of a pod. One about anything else than what the pod was to test is none.
fn result<R: PodRecord>(pod: &Pod, turn: &Turn) -> Option<R> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let mut ended = statuses.iter().filter_map(|container| container.state.as_ref()?.terminated.as_ref());
    let result = ended.find_map(|ended| R::parse(ended.message.as_ref()?.as_bytes()).ok())?;
    let subject =
        Source::Cluster { namespace: pod.metadata.namespace.clone()?, pg_cluster: turn.cluster.clone() };
    (*result.source() == subject && result.repo() == u32::from(turn.repo.get())).then_some(result)
}

fn turn<R: PodRecord>(metadata: &ObjectMeta) -> Option<Turn> {
    let labels = metadata.labels.as_ref()?;
    Some(Turn { cluster: labels.get(R::CLUSTER)?.clone(), repo: RepoNumber::of_name(labels.get(REPO)?)? })
}

fn moment(time: &Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), 0)
}

#[cfg(test)]
mod tests;
