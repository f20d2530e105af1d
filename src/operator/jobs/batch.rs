//! Turns the events of a watch into new and deleted objects. Pure.

use std::collections::HashMap;
use std::mem::take;

use kube::Resource;
use kube::runtime::watcher::Event;

use crate::state::jobs::index::JobPlace;
use crate::state::jobs::{CronFact, JobFact};

/// A fact about an object.
pub(super) trait Fact {
    fn uid(&self) -> &str;
    /// The cluster, repo and type that it belongs to.
    fn place(&self) -> JobPlace;
}

impl Fact for CronFact {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn place(&self) -> JobPlace {
        (self.cluster.clone(), self.slot)
    }
}

impl Fact for JobFact {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn place(&self) -> JobPlace {
        (self.cluster.clone(), self.slot)
    }
}

/// A complete list, or a single change.
#[derive(Debug)]
pub(super) struct Batch<F> {
    pub(super) facts: Vec<F>,
    pub(super) gone: Vec<(JobPlace, Box<str>)>,
    /// Whether it is the first list of the watch.
    pub(super) is_first: bool,
}

/// Keeps track of existing objects, so that deletions during an interruption of the watch are noticed.
#[derive(Debug)]
pub(super) struct Batches<F> {
    known: HashMap<Box<str>, JobPlace>,
    /// The items of a list that is not complete yet.
    listing: Vec<F>,
    has_listed: bool,
}

impl<F> Default for Batches<F> {
    fn default() -> Self {
        Self { known: HashMap::new(), listing: Vec::new(), has_listed: false }
    }
}

impl<F: Fact> Batches<F> {
    /// Handles an event; objects that `read` ignores count as deleted.
    pub(super) fn take<K: Resource>(
        &mut self,
        event: Event<K>,
        read: impl Fn(&K) -> Option<F>,
    ) -> Option<Batch<F>> {
        match event {
            Event::Init => {
                self.listing.clear();
                None
            }
            Event::InitApply(object) => {
                self.listing.extend(read(&object));
                None
            }
            Event::InitDone => Some(self.listed()),
            Event::Apply(object) => match read(&object) {
                Some(fact) => {
                    let moved = self.known.insert(fact.uid().into(), fact.place());
                    let gone = moved.filter(|before| *before != fact.place());
                    let gone = gone.map(|place| (place, fact.uid().into())).into_iter().collect();
                    Some(Batch { facts: vec![fact], gone, is_first: false })
                }
                None => self.gone(&object),
            },
            Event::Delete(object) => self.gone(&object),
        }
    }

    fn listed(&mut self) -> Batch<F> {
        let facts = take(&mut self.listing);
        let now = facts.iter().map(|fact| (fact.uid().into(), fact.place())).collect();
        let mut gone: Vec<(JobPlace, Box<str>)> = Vec::new();
        for (uid, place) in std::mem::replace(&mut self.known, now) {
            if self.known.get(&uid) != Some(&place) {
                gone.push((place, uid));
            }
        }
        let is_first = !self.has_listed;
        self.has_listed = true;
        Batch { facts, gone, is_first }
    }

    fn gone<K: Resource>(&mut self, object: &K) -> Option<Batch<F>> {
        let uid = object.meta().uid.as_deref()?;
        let place = self.known.remove(uid)?;
        Some(Batch { facts: Vec::new(), gone: vec![(place, uid.into())], is_first: false })
    }
}
