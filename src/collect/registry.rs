//! The clusters that are collected: when each is due, what is known of it, and what is published of all. A host is one
//! cluster without a name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::key::Key;
use crate::metrics::Fleet;
use crate::metrics::exposition::EncodeError;
use crate::state::snapshot::{Snapshot, Version};

use super::caller::span;
use super::changes;
use super::collection::History;
use super::request::Subject;
use super::store::Store;

/// Shared by those that add and remove clusters, and the [`Scheduler`](super::scheduler::Scheduler).
#[derive(Debug)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
    /// Something is due sooner than before.
    pub(super) is_due: Notify,
    /// Something is known that is not published.
    pub(super) has_news: Notify,
    store: Arc<Store>,
}

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<Arc<Key>, Member>,
    /// What does not run, by the time at which it is due.
    agenda: BTreeSet<(Instant, Arc<Key>, Job)>,
    /// Counts the times at which everything was forgotten.
    epoch: u64,
    /// Tells a cluster from an earlier one of the same name.
    tickets: u64,
}

/// What is done with a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// Collect.
    Collect,
    /// Scan the WAL archives.
    Scan,
}

/// When a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// It is not planned.
    Never,
    /// Then.
    At(Instant),
    /// It runs; `again` if it was planned meanwhile.
    Runs { again: bool },
}

#[derive(Debug)]
struct Member {
    ticket: u64,
    subject: Arc<Subject>,
    collect: Due,
    scan: Due,
    history: History,
    /// None until the first answer.
    snapshot: Option<Arc<Snapshot>>,
    /// A collection has ended.
    is_collected: bool,
    /// Held while one of its jobs runs, where they may not run beside each other.
    commands: Arc<tokio::sync::Mutex<()>>,
}

/// A job that runs. If it is dropped unfinished, the job is planned again as usual.
#[derive(Debug)]
pub(super) struct Turn {
    registry: Arc<Registry>,
    ticket: u64,
    pub(super) job: Job,
    /// When it runs again.
    pub(super) next: Instant,
    pub(super) key: Arc<Key>,
    pub(super) commands: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of a cluster at the start of a job.
pub(super) struct ClusterState {
    pub(super) subject: Arc<Subject>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) history: History,
}

impl Registry {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { inner: Mutex::default(), is_due: Notify::new(), has_news: Notify::new(), store }
    }

    /// Adds a cluster, or changes what it is asked for; it is collected immediately if that is new.
    pub(super) fn set(&self, key: &Key, subject: Subject) {
        let mut inner = self.inner.lock();
        match inner.members.get_mut(key) {
            None => inner.add(key, subject),
            Some(member) if *member.subject == subject => return,
            Some(member) => {
                member.subject = Arc::new(subject);
                inner.plan(key, Job::Collect, Instant::now());
            }
        }
        self.is_due.notify_one();
    }

    /// The version of pgBackRest in a cluster, as it was seen last.
    pub(super) fn version(&self, key: &Key) -> Option<Version> {
        self.inner.lock().members.get(key)?.snapshot.as_ref()?.version
    }

    /// What is known of a cluster.
    pub(super) fn snapshot(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.inner.lock().members.get(key)?.snapshot.clone()
    }

    /// Plans a job for a cluster at a time, unless it is planned sooner. A collection that runs is repeated after its end; a
    /// scan that runs has its own next time.
    pub(super) fn plan(&self, key: &Key, job: Job, at: Instant) {
        self.inner.lock().plan(key, job, at);
        self.is_due.notify_one();
    }

    /// Whether a cluster is known.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.inner.lock().members.contains_key(key)
    }

    /// Removes a cluster.
    pub(super) fn remove(&self, key: &Key) {
        let mut inner = self.inner.lock();
        if inner.members.remove(key).is_some() {
            inner.agenda.retain(|(_, planned, _)| **planned != *key);
            self.has_news.notify_one();
        }
    }

    /// Forgets all clusters, and publishes that nothing is known.
    pub(super) fn clear(&self) {
        let mut inner = self.inner.lock();
        let (epoch, tickets) = (inner.epoch + 1, inner.tickets);
        *inner = Inner { epoch, tickets, ..Inner::default() };
        match self.store.encode_fleet(Fleet::default()) {
            Ok(nothing) => self.store.put(nothing),
            Err(error) => tracing::error!(%error, "Failed to clear snapshots; still serving them"),
        }
    }

    /// Begins the next job that is due, or says when there will be one. `wait` is the time from the start of a job to the
    /// start of the next, depending on whether it is the cluster's first.
    pub(super) fn next(
        self: &Arc<Self>,
        wait: impl Fn(Job, bool) -> Duration,
    ) -> Result<Turn, Option<Instant>> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let due = inner.agenda.first().map(|(due, ..)| *due);
        if due.is_none_or(|due| due > now) {
            return Err(due);
        }
        let Some((_, key, job)) = inner.agenda.pop_first() else { return Err(None) };
        let Some(member) = inner.members.get_mut(&key) else { return Err(Some(now)) };
        *member.due(job) = Due::Runs { again: false };
        let is_first = match job {
            Job::Collect => member.snapshot.is_none(),
            Job::Scan => member.history.listings.is_empty(),
        };
        Ok(Turn {
            registry: Arc::clone(self),
            ticket: member.ticket,
            job,
            next: now + wait(job, is_first),
            commands: Arc::clone(&member.commands),
            key,
        })
    }

    /// Publishes what is known now. It takes time in proportion to the size of the fleet, so not on an async thread.
    pub(super) fn publish(&self, now: DateTime<Utc>) -> Result<(), EncodeError> {
        let (epoch, clusters, is_collected) = {
            let inner = self.inner.lock();
            let known =
                |(key, member): (&Arc<Key>, &Member)| Some((Arc::clone(key), member.snapshot.clone()?));
            let clusters: BTreeMap<_, _> = inner.members.iter().filter_map(known).collect();
            (inner.epoch, clusters, inner.members.values().any(|member| member.is_collected))
        };
        let host =
            clusters.iter().find(|(key, _)| key.name.is_empty()).map(|(_, snapshot)| Arc::clone(snapshot));
        let published = match host {
            Some(snapshot) => self.store.encode_host(snapshot)?,
            None => self.store.encode_fleet(Fleet { clusters, as_of: now })?,
        };
        // If everything was forgotten meanwhile, that is already published.
        let inner = self.inner.lock();
        if inner.epoch == epoch {
            self.store.put(published);
            if is_collected {
                self.store.set_ready();
            }
        }
        Ok(())
    }
}

impl Inner {
    fn add(&mut self, key: &Key, subject: Subject) {
        self.tickets += 1;
        let member = Member {
            ticket: self.tickets,
            subject: Arc::new(subject),
            collect: Due::Never,
            scan: Due::Never,
            history: History::default(),
            snapshot: None,
            is_collected: false,
            commands: Arc::default(),
        };
        self.members.insert(Arc::new(key.clone()), member);
        self.plan(key, Job::Collect, Instant::now());
    }

    fn plan(&mut self, key: &Key, job: Job, at: Instant) {
        let Some(key) = self.members.get_key_value(key).map(|(key, _)| Arc::clone(key)) else { return };
        let Some(member) = self.members.get_mut(&key) else { return };
        let due = member.due(job);
        match *due {
            Due::Runs { .. } => *due = Due::Runs { again: job == Job::Collect },
            Due::At(before) if before <= at => {}
            Due::At(before) => {
                *due = Due::At(at);
                self.agenda.remove(&(before, Arc::clone(&key), job));
                self.agenda.insert((at, key, job));
            }
            Due::Never => {
                *due = Due::At(at);
                self.agenda.insert((at, key, job));
            }
        }
    }
}

impl Member {
    const fn due(&mut self, job: Job) -> &mut Due {
        match job {
            Job::Collect => &mut self.collect,
            Job::Scan => &mut self.scan,
        }
    }
}

impl Turn {
    /// What is known now. None if the cluster was removed.
    pub(super) fn state(&self) -> Option<ClusterState> {
        let mut inner = self.registry.inner.lock();
        let member = self.member(&mut inner)?;
        let snapshot = member.snapshot.clone().unwrap_or_default();
        Some(ClusterState { subject: Arc::clone(&member.subject), snapshot, history: member.history.clone() })
    }

    /// Makes known what is known of the cluster now; more may come.
    pub(super) fn report(&self, snapshot: &Arc<Snapshot>) {
        let mut inner = self.registry.inner.lock();
        let Some(member) = self.member(&mut inner) else { return };
        let before = member.snapshot.replace(Arc::clone(snapshot)).unwrap_or_default();
        drop(inner);
        span(&self.key).in_scope(|| changes::log(&before, snapshot));
        self.registry.has_news.notify_one();
    }

    /// Ends a collection, and keeps its history for the next.
    pub(super) fn end_collection(self, history: History) {
        let mut inner = self.registry.inner.lock();
        let Some(member) = self.member(&mut inner) else { return };
        member.history = history;
        // What is known of it was reported. Publishing that takes time, so it is not done twice.
        if !std::mem::replace(&mut member.is_collected, true) {
            self.registry.has_news.notify_one();
        }
    }

    /// Plans the other job of the cluster.
    pub(super) fn plan(&self, job: Job, at: Instant) {
        self.registry.plan(&self.key, job, at);
    }

    fn member<'a>(&self, inner: &'a mut Inner) -> Option<&'a mut Member> {
        inner.members.get_mut(&self.key).filter(|member| member.ticket == self.ticket)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        let Some(member) = self.member(&mut inner) else { return };
        let due = member.due(self.job);
        let again = *due == Due::Runs { again: true };
        *due = Due::Never;
        let at = if again { Instant::now() } else { self.next };
        inner.plan(&self.key, self.job, at);
        self.registry.is_due.notify_one();
    }
}

#[cfg(test)]
mod tests;
