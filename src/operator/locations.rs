//! Which clusters are in one location, compared across all resources that the operator sees.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicObject;
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::revisits::Revisits;
use super::scope::Key;
use super::sorted;
use super::stored::StoredResource;
use super::watch::Cache;
use crate::cluster::location::{self, Claim, Claimant, Conflict, Located, Location};
use crate::cluster::validated::RepoNumber;
use crate::kubernetes::shard::Shard;

/// How long a namespace that cannot be listed keeps new clusters waiting.
const LISTED_WITHIN: Duration = Duration::from_mins(1);
/// When a cluster that waits for that is looked at again.
const UNTIL_LISTED: Duration = Duration::from_secs(5);
/// When a cluster that waits for older ones is looked at again, unless it is told that it need not wait any more.
const UNTIL_LOOKED_AT: Duration = Duration::from_mins(5);

/// In the order of [`location::age`].
type OwnedAge = (bool, Option<i64>, Key);

/// The locations of all clusters, during one term of leadership.
#[derive(Debug)]
pub(super) struct Locations {
    claimants: Arc<Mutex<Claimants>>,
    /// All resources, by scope.
    resources: Vec<Store<StoredResource>>,
    shard: Shard,
    since: Instant,
    /// Where clusters go that have to be looked at again, by scope.
    revisits: Vec<Arc<Revisits>>,
}

/// Clusters with the locations of their repos.
#[derive(Debug, Default)]
struct Claimants {
    by_key: HashMap<Key, Claimant>,
    /// In order; most often there is one.
    by_location: HashMap<Location, Vec<Key>>,
    unseen: Unseen,
    /// Those that wait for older ones of the unseen.
    early: BTreeSet<OwnedAge>,
}

/// Clusters that were not looked at yet.
#[derive(Debug, Default)]
struct Unseen {
    created: HashMap<Key, Option<i64>>,
    by_age: BTreeSet<OwnedAge>,
}

impl Unseen {
    fn insert(&mut self, key: &Key, created: Option<i64>) {
        self.remove(key);
        self.created.insert(key.clone(), created);
        self.by_age.insert((created.is_none(), created, key.clone()));
    }

    fn remove(&mut self, key: &Key) {
        if let Some(created) = self.created.remove(key) {
            self.by_age.remove(&(created.is_none(), created, key.clone()));
        }
    }

    fn has_older_than(&self, one: &Claimant) -> bool {
        let oldest = self.by_age.first();
        oldest.is_some_and(|(_, created, key)| {
            location::age(*created, key) < location::age(one.created, &one.key)
        })
    }
}

impl Claimants {
    fn insert(&mut self, claimant: &Claimant) -> Option<Claimant> {
        self.unseen.remove(&claimant.key);
        let before = self.remove(&claimant.key);
        for place in places(claimant) {
            let keys = self.by_location.entry(place.clone()).or_default();
            sorted::insert(keys, claimant.key.clone());
        }
        self.by_key.insert(claimant.key.clone(), claimant.clone());
        before
    }

    /// Whether an older cluster was not looked at yet. This one is then woken when all were.
    fn waits(&mut self, one: &Claimant) -> bool {
        let waits = self.unseen.has_older_than(one);
        if waits {
            self.early.insert((one.created.is_none(), one.created, one.key.clone()));
        }
        waits
    }

    /// Wakes those that need not wait any more.
    fn wake(&mut self, revisits: &[Arc<Revisits>]) {
        let oldest = self.unseen.by_age.first();
        while let Some(early) = self.early.pop_first() {
            if oldest.is_some_and(|oldest| *oldest < early) {
                self.early.insert(early);
                break;
            }
            revisit(revisits, &early.2);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Claimant> {
        let removed = self.by_key.remove(key)?;
        for place in places(&removed) {
            if let Some(keys) = self.by_location.get_mut(place) {
                keys.retain(|known| known != key);
                if keys.is_empty() {
                    self.by_location.remove(place);
                }
            }
        }
        Some(removed)
    }

    /// All that have a repo in one of these places.
    fn at<'a>(&self, places: impl Iterator<Item = &'a Location>) -> BTreeSet<&Key> {
        places.filter_map(|place| self.by_location.get(place)).flatten().collect()
    }

    fn conflicts(&self, one: &Claimant) -> Vec<Conflict> {
        let others = self.at(places(one));
        location::conflicts(one, others.into_iter().filter_map(|key| self.by_key.get(key)))
    }
}

/// The result of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Conflicts(Vec<Conflict>),
    /// An older resource was not looked at yet, and a new repo may be in its location. Compare again after this time.
    TooEarly(Duration),
}

impl Locations {
    pub(super) fn new(
        resources: Vec<Store<StoredResource>>,
        shard: Shard,
        revisits: Vec<Arc<Revisits>>,
    ) -> Self {
        Self { claimants: Arc::default(), resources, shard, since: Instant::now(), revisits }
    }

    /// The store of a watch, of which each new resource is to be looked at.
    pub(super) fn noting(&self, writer: Writer<StoredResource>) -> NotedStore {
        let (claimants, revisits) = (Arc::clone(&self.claimants), self.revisits.clone());
        NotedStore { writer, claimants, revisits, listing: Vec::new() }
    }

    /// Records where the repos of a cluster are, and compares that with all others. Those that are concerned by a change
    /// are looked at again.
    pub(super) fn compare(
        &self,
        object: &DynamicObject,
        located: Vec<Located>,
        is_in_use: impl Fn(RepoNumber, &Location) -> bool,
    ) -> Compared {
        let Some(key) = Key::of(object) else { return Compared::Conflicts(Vec::new()) };
        let claims = located
            .into_iter()
            .map(|located| Claim { in_use: is_in_use(located.repo, &located.location), located });
        let claimant = Claimant { key, created: created(&object.metadata), claims: claims.collect() };
        let is_new = claimant.claims.iter().any(|claim| !claim.in_use);
        let conflicts = self.set(&claimant);
        let waits = if is_new { self.waits(&claimant) } else { None };
        waits.map_or(Compared::Conflicts(conflicts), Compared::TooEarly)
    }

    /// Whether the cluster was using the location of this repo when it was last compared.
    pub(super) fn was_in_use(&self, key: &Key, repo: RepoNumber, location: &Location) -> bool {
        let claimants = self.claimants.lock();
        let mut claims = claimants.by_key.get(key).into_iter().flat_map(|claimant| &claimant.claims);
        claims.any(|claim| claim.in_use && claim.located.repo == repo && claim.located.location == *location)
    }

    /// Whether a cluster of the own shard has a repo in one of these places.
    pub(super) fn is_shared(&self, key: &Key, located: &[Located]) -> bool {
        let claimants = self.claimants.lock();
        let there = claimants.at(located.iter().map(|located| &located.location));
        there.into_iter().any(|other| other != key && self.shard.covers(&other.namespace, &other.name))
    }

    pub(super) fn knows(&self, key: &Key) -> bool {
        self.claimants.lock().by_key.contains_key(key)
    }

    /// Nothing can be found out about a cluster.
    pub(super) fn give_up(&self, key: &Key) {
        let nothing = || Claimant { key: key.clone(), created: None, claims: Vec::new() };
        let mut claimants = self.claimants.lock();
        claimants.unseen.remove(key);
        claimants.by_key.entry(key.clone()).or_insert_with(nothing);
        claimants.wake(&self.revisits);
    }

    /// The resource was deleted.
    pub(super) fn forget(&self, key: &Key) {
        let mut claimants = self.claimants.lock();
        if let Some(gone) = claimants.remove(key) {
            self.revisit(claimants.at(places(&gone)), key);
        }
    }

    fn set(&self, claimant: &Claimant) -> Vec<Conflict> {
        let mut claimants = self.claimants.lock();
        if claimants.by_key.get(&claimant.key) != Some(claimant) {
            let before = claimants.insert(claimant);
            let changed = [Some(claimant), before.as_ref()].into_iter().flatten().flat_map(places);
            self.revisit(claimants.at(changed), &claimant.key);
            claimants.wake(&self.revisits);
        }
        claimants.conflicts(claimant)
    }

    /// Looks again at the clusters that are where another one is or was.
    fn revisit(&self, all: BTreeSet<&Key>, one: &Key) {
        for key in all.into_iter().filter(|key| *key != one) {
            revisit(&self.revisits, key);
        }
    }

    /// How long a cluster waits until every older resource was looked at in this term; none if it need not.
    fn waits(&self, one: &Claimant) -> Option<Duration> {
        let is_listed =
            |store: &Store<StoredResource>| matches!(store.wait_until_ready().now_or_never(), Some(Ok(())));
        if self.since.elapsed() < LISTED_WITHIN && !self.resources.iter().all(is_listed) {
            return Some(UNTIL_LISTED);
        }
        self.claimants.lock().waits(one).then_some(UNTIL_LOOKED_AT)
    }
}

/// A store of resources that notes those that were not looked at yet, before anybody finds them in it.
pub(super) struct NotedStore {
    writer: Writer<StoredResource>,
    claimants: Arc<Mutex<Claimants>>,
    revisits: Vec<Arc<Revisits>>,
    /// Those of a list that is not complete yet, with the times when they were created.
    listing: Vec<(Key, Option<i64>)>,
}

impl NotedStore {
    pub(super) fn as_reader(&self) -> Store<StoredResource> {
        self.writer.as_reader()
    }

    fn note(&self, (key, created): &(Key, Option<i64>)) {
        let mut claimants = self.claimants.lock();
        if !claimants.by_key.contains_key(key) {
            claimants.unseen.insert(key, *created);
        }
    }

    fn forget(&self, key: &Key) {
        let mut claimants = self.claimants.lock();
        claimants.unseen.remove(key);
        claimants.wake(&self.revisits);
    }
}

impl Cache<StoredResource> for NotedStore {
    fn apply(&mut self, event: &Event<StoredResource>) {
        let key = |object: &StoredResource| Key::of_metadata(object.meta());
        let noted = |object| Some((key(object)?, created(object.meta())));
        match event {
            Event::Apply(object) => noted(object).iter().for_each(|noted| self.note(noted)),
            Event::Delete(object) => key(object).iter().for_each(|key| self.forget(key)),
            Event::Init => self.listing.clear(),
            // Not to be found before the list is complete.
            Event::InitApply(object) => self.listing.extend(noted(object)),
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                let mut gone = self.writer.keys();
                for one in &listing {
                    gone.remove(&one.0);
                    self.note(one);
                }
                for key in &gone {
                    self.forget(key);
                }
            }
        }
        self.writer.apply(event);
    }

    fn keys(&self) -> BTreeSet<Key> {
        self.writer.keys()
    }
}

/// Looks at a cluster again, in whichever scope it is.
fn revisit(revisits: &[Arc<Revisits>], key: &Key) {
    for of_scope in revisits {
        of_scope.add(key);
    }
}

fn places(claimant: &Claimant) -> impl Iterator<Item = &Location> {
    claimant.claims.iter().map(|claim| &claim.located.location)
}

fn created(metadata: &ObjectMeta) -> Option<i64> {
    metadata.creation_timestamp.as_ref().map(|time| time.0.as_second())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stored::Packer;
    use super::*;

    fn object(name: &str, created: &str) -> DynamicObject {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "shop", "creationTimestamp": created}}),
        )
        .unwrap()
    }

    fn stored(object: &DynamicObject) -> StoredResource {
        Packer::default().pack(object)
    }

    fn located(path: &str) -> Vec<Located> {
        let repo = RepoNumber::of_name("repo1").unwrap();
        let location = Location::new("s3", "s3.example", None, None, "b", Some(path));
        vec![Located { repo, location, is_guess: false }]
    }

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    fn yields(compared: &Compared) -> Option<bool> {
        match compared {
            Compared::Conflicts(conflicts) => Some(conflicts.iter().any(|conflict| conflict.yields)),
            Compared::TooEarly(_) => None,
        }
    }

    #[test]
    fn a_new_cluster_waits_until_older_ones_are_known_and_is_told_when_they_go() {
        let writer = Writer::new(());
        let revisits = Arc::new(Revisits::default());
        let locations =
            Locations::new(vec![writer.as_reader()], Shard::default(), vec![Arc::clone(&revisits)]);
        let mut watch = locations.noting(writer);
        let (old, young) = (object("old", "2026-01-01T00:00:00Z"), object("young", "2026-02-01T00:00:00Z"));
        let look = |object: &DynamicObject, path: &str, in_use: bool| {
            locations.compare(object, located(path), |_, _| in_use)
        };
        assert_eq!(look(&young, "/x", false), Compared::TooEarly(UNTIL_LISTED), "nothing is listed");
        for event in
            [Event::Init, Event::InitApply(stored(&old)), Event::InitApply(stored(&young)), Event::InitDone]
        {
            watch.apply(&event);
        }
        assert_eq!(look(&young, "/x", false), Compared::TooEarly(UNTIL_LOOKED_AT));
        assert_eq!(yields(&look(&young, "/x", true)), Some(false), "what is in use does not wait");
        assert!(locations.is_shared(&key("old"), &located("/x")));
        assert!(!locations.is_shared(&key("old"), &located("/y")));
        assert!(!locations.is_shared(&key("young"), &located("/x")), "with itself");
        assert_eq!(look(&young, "/x", false), Compared::TooEarly(UNTIL_LOOKED_AT));
        assert_eq!(yields(&look(&old, "/x", false)), Some(false), "it does not wait for a younger one");
        assert_eq!(revisits.take(), [key("young")]);
        assert_eq!(yields(&look(&young, "/x", false)), Some(true));
        assert_eq!(revisits.take(), [], "nothing has changed");
        assert!(!locations.was_in_use(&key("old"), located("/x")[0].repo, &located("/x")[0].location));

        // It moves, or its resource goes.
        look(&old, "/y", true);
        assert!(locations.was_in_use(&key("old"), located("/y")[0].repo, &located("/y")[0].location));
        assert_eq!(revisits.take(), [key("young")]);
        assert_eq!(yields(&look(&young, "/x", false)), Some(false));
        look(&old, "/x", true);
        revisits.take();
        locations.forget(&key("old"));
        assert_eq!(revisits.take(), [key("young")]);
        locations.forget(&key("old"));
        assert_eq!(revisits.take(), []);
    }

    #[test]
    fn nobody_waits_for_a_cluster_that_is_gone() {
        let writer = Writer::new(());
        let revisits = Arc::new(Revisits::default());
        let locations =
            Locations::new(vec![writer.as_reader()], Shard::default(), vec![Arc::clone(&revisits)]);
        let mut watch = locations.noting(writer);
        let old = |name| stored(&object(name, "2026-01-01T00:00:00Z"));
        let young = object("young", "2026-02-01T00:00:00Z");
        let is_too_early =
            || locations.compare(&young, located("/x"), |_, _| false) == Compared::TooEarly(UNTIL_LOOKED_AT);
        let list = |names: &[&'static str]| -> Vec<Event<StoredResource>> {
            let listed = names.iter().map(|name| Event::InitApply(old(name)));
            std::iter::once(Event::Init).chain(listed).collect()
        };
        // A list that is not completed, and another one without the same clusters.
        let events = [list(&["a", "b"]), list(&["b", "c"]), vec![Event::InitDone]].concat();
        let begun = list(&["a"]);
        for event in events {
            watch.apply(&event);
        }
        assert!(is_too_early());
        locations.give_up(&key("b"));
        assert!(is_too_early());
        assert_eq!(revisits.take(), []);
        watch.apply(&Event::Delete(old("c")));
        assert_eq!(revisits.take(), [key("young")], "it is told, once");
        assert!(!is_too_early());
        assert_eq!(revisits.take(), []);
        watch.apply(&Event::Apply(old("c")));
        assert!(is_too_early(), "it was created anew");
        watch.apply(&Event::Apply(stored(&object("later", "2026-03-01T00:00:00Z"))));
        for event in begun {
            watch.apply(&event);
        }
        // Deleted while the watch was interrupted; the watch tells.
        for event in [list(&["b"]), vec![Event::InitDone]].concat() {
            watch.apply(&event);
        }
        locations.forget(&key("c"));
        assert!(!is_too_early(), "it does not wait for a younger one");
        watch.apply(&Event::Apply(old("b")));
        assert!(!is_too_early(), "it was looked at");
    }
}
