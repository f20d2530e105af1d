//! The clusters that are looked at: when each is due, what is known of it, and what is published of all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::key::Key;
use crate::collect::changes;
use crate::collect::store::Store;
use crate::metrics::Fleet;
use crate::metrics::exposition::EncodeError;
use crate::state::snapshot::Snapshot;

use super::ask::Memory;
use super::subject::Subject;

/// Of an interval, the most by which a look begins early so that clusters do not keep step. Never late: what is known is
/// no older than an interval.
const JITTER: f64 = 0.1;

/// Shared by whoever says which clusters there are, and whoever asks them.
#[derive(Debug)]
pub(super) struct Roster {
    book: Mutex<Book>,
    /// Something is due sooner than before.
    pub(super) is_due: Notify,
    /// Something is known that is not published.
    pub(super) has_news: Notify,
    store: Arc<Store>,
}

#[derive(Debug, Default)]
struct Book {
    members: BTreeMap<Arc<Key>, Member>,
    /// Those that are not being asked.
    agenda: BTreeSet<(Instant, Arc<Key>)>,
    /// Counts the times at which everything was forgotten.
    epoch: u64,
    /// Tells a cluster from one of the same name before it.
    tickets: u64,
}

#[derive(Debug)]
struct Member {
    ticket: u64,
    subject: Arc<Subject>,
    /// When it is asked next; none while it is asked.
    due: Option<Instant>,
    /// It has changed while it was asked, or what was asked leads to more.
    again: bool,
    memory: Memory,
    /// Empty until it was asked.
    snapshot: Option<Arc<Snapshot>>,
}

/// A cluster that is being asked. Dropped without an answer, it is asked again at its next turn.
#[derive(Debug)]
pub(super) struct Turn {
    roster: Arc<Roster>,
    ticket: u64,
    is_first: bool,
    began: Instant,
    interval: Duration,
    pub(super) key: Arc<Key>,
    pub(super) subject: Arc<Subject>,
    pub(super) previous: Arc<Snapshot>,
    pub(super) memory: Memory,
}

impl Roster {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { book: Mutex::default(), is_due: Notify::new(), has_news: Notify::new(), store }
    }

    /// A cluster is to be asked for this: at once where that is new.
    pub(super) fn set(&self, key: &Key, subject: Subject) {
        let mut book = self.book.lock();
        let Some(member) = book.members.get_mut(key) else {
            book.add(key, subject);
            return self.is_due.notify_one();
        };
        if *member.subject != subject {
            member.subject = Arc::new(subject);
            drop(book);
            self.soon(key);
        }
    }

    /// Something has happened to a cluster: it is asked at once.
    pub(super) fn soon(&self, key: &Key) {
        let mut book = self.book.lock();
        let Some((key, member)) = book.members.get_key_value(key) else { return };
        let (key, is_asked) = (Arc::clone(key), member.due.is_none());
        if !is_asked {
            book.plan(&key, Instant::now());
            self.is_due.notify_one();
        } else if let Some(member) = book.members.get_mut(&key) {
            member.again = true;
        }
    }

    /// A cluster is gone.
    pub(super) fn remove(&self, key: &Key) {
        let mut book = self.book.lock();
        let Some((key, member)) = book.members.remove_entry(key) else { return };
        if let Some(due) = member.due {
            book.agenda.remove(&(due, key));
        }
        self.has_news.notify_one();
    }

    /// Nothing is known of any cluster from now on, and nothing is told.
    pub(super) fn clear(&self) {
        let mut book = self.book.lock();
        let (epoch, tickets) = (book.epoch + 1, book.tickets);
        *book = Book { epoch, tickets, ..Book::default() };
        match self.store.encode(Fleet::default()) {
            Ok(nothing) => self.store.put(nothing),
            Err(error) => tracing::error!(%error, "Failed to clear snapshots; still serving them"),
        }
    }

    /// The cluster whose turn it is, if it is anybody's, or when it will be.
    pub(super) fn next(self: &Arc<Self>, interval: Duration) -> Result<Turn, Option<Instant>> {
        let now = Instant::now();
        let mut book = self.book.lock();
        let due = book.agenda.first().map(|(due, _)| *due);
        if due.is_none_or(|due| due > now) {
            return Err(due);
        }
        let Some((_, key)) = book.agenda.pop_first() else { return Err(None) };
        let Some(member) = book.members.get_mut(&key) else { return Err(Some(now)) };
        (member.due, member.again) = (None, false);
        Ok(Turn {
            roster: Arc::clone(self),
            ticket: member.ticket,
            is_first: member.snapshot.is_none(),
            began: now,
            interval,
            subject: Arc::clone(&member.subject),
            previous: member.snapshot.clone().unwrap_or_default(),
            memory: member.memory.clone(),
            key,
        })
    }

    /// Puts what is known now in place of what was published last. Takes time in proportion to the fleet: not for an
    /// async thread.
    pub(super) fn publish(&self, now: DateTime<Utc>) -> Result<(), EncodeError> {
        let (epoch, fleet) = {
            let book = self.book.lock();
            let known =
                |(key, member): (&Arc<Key>, &Member)| Some((Arc::clone(key), member.snapshot.clone()?));
            (book.epoch, Fleet { clusters: book.members.iter().filter_map(known).collect(), as_of: now })
        };
        let published = self.store.encode(fleet)?;
        // Whoever forgets everything meanwhile has published that.
        let book = self.book.lock();
        if book.epoch == epoch {
            self.store.put(published);
        }
        Ok(())
    }
}

impl Book {
    fn add(&mut self, key: &Key, subject: Subject) {
        self.tickets += 1;
        let (ticket, subject, memory) = (self.tickets, Arc::new(subject), Memory::default());
        let member = Member { ticket, subject, due: None, again: false, memory, snapshot: None };
        let key = Arc::new(key.clone());
        self.members.insert(Arc::clone(&key), member);
        self.plan(&key, Instant::now());
    }

    fn plan(&mut self, key: &Arc<Key>, at: Instant) {
        let Some(member) = self.members.get_mut(key) else { return };
        if let Some(before) = member.due.replace(at) {
            self.agenda.remove(&(before, Arc::clone(key)));
        }
        self.agenda.insert((at, Arc::clone(key)));
    }
}

impl Turn {
    /// What is known of the cluster now; more may come.
    pub(super) fn knows(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let mut book = self.roster.book.lock();
        let Some(member) = book.members.get_mut(&self.key).filter(|member| member.ticket == self.ticket)
        else {
            return;
        };
        let before = member.snapshot.replace(Arc::clone(&snapshot)).unwrap_or_default();
        drop(book);
        let span = tracing::info_span!("cluster", namespace = self.key.namespace, pg_cluster = self.key.name);
        span.in_scope(|| changes::log(&before, &snapshot));
        self.roster.has_news.notify_one();
    }

    /// Everything has been asked.
    pub(super) fn ends(self, snapshot: Snapshot, memory: Memory) {
        self.knows(snapshot);
        let mut book = self.roster.book.lock();
        if let Some(member) = book.members.get_mut(&self.key).filter(|member| member.ticket == self.ticket) {
            member.again |= memory.look_again;
            member.memory = memory;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // After the first look, which many have at the same time, each finds its own place within the interval.
        let part = if self.is_first { 1.0 } else { JITTER };
        let wait = self.interval.mul_f64(1.0 - rand::rng().random_range(0.0..part));
        let mut book = self.roster.book.lock();
        let Some(member) = book.members.get(&self.key).filter(|member| member.ticket == self.ticket) else {
            return;
        };
        let at = if member.again { Instant::now() } else { self.began + wait };
        let key = Arc::clone(&self.key);
        book.plan(&key, at);
        self.roster.is_due.notify_one();
    }
}
