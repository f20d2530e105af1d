//! Keeps the CronJobs of `RestoreTest` resources, gives the clusters their turns, and stores the results in the status.
//!
//! All resources are reconciled one after the other: what one of them tests is not given to another.

pub mod audit;
mod chain;
mod choose;
pub(super) mod clusters;
mod facts;
mod no_result;
mod reconcile;
pub mod records;
mod report;
mod results;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::restore_test::resource::{GROUP, KIND, PLURAL, VERSION};
use crate::cluster::settings::Settings;
use crate::collect::fleet::FleetCollector;
use crate::kubernetes::shard::Shard;
use crate::metrics::OperatorMetrics;
use crate::source::signing_key::SigningKey;

use super::debounce::{Debounce, debounced};
use super::inventory::Inventory;
use super::jobs::JobNews;
use super::mode::Mode;
use super::progress::OperatorProgress;
use super::runs::{self, Runs};
use super::scope::{Key, Scope};
use super::watch::{self, OBJECTS_PAGE, Touch, Watch};
use clusters::Clusters;
use reconcile::Reconciler;

/// A reconcile starts when nothing has changed for a moment.
const DEBOUNCE: Debounce = Debounce { quiet: Duration::from_millis(500), at_most: Duration::from_secs(3) };
/// The names of the watches of Jobs and pods.
const WATCHES: [&str; 2] = ["RestoreTest/Job", "RestoreTest/Pod"];
/// Pause after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_mins(10);

/// Everything that is needed during one term of leadership.
pub(super) struct RestoreTests {
    pub(super) client: kube::Client,
    pub(super) settings: Arc<Settings>,
    pub(super) mode: Mode,
    pub(super) scopes: Vec<Scope>,
    pub(super) shard: Shard,
    pub(super) progress: Arc<OperatorProgress>,
    pub(super) metrics: Arc<OperatorMetrics>,
    pub(super) fleet: Option<Arc<FleetCollector>>,
    /// The source of Events: the name of the pod.
    pub(super) instance: String,
    pub(super) clusters: Arc<Clusters>,
    pub(super) jobs: Arc<JobNews>,
    /// Signs results.
    pub(super) signing_key: Option<Arc<SigningKey>>,
}

/// The kind of the resource.
pub(super) fn restore_test() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

/// Runs until it is dropped, or until the watches stop. Without restore tests, it does nothing.
pub(super) async fn run(restore_tests: Option<RestoreTests>) {
    match restore_tests {
        Some(restore_tests) => restore_tests.run().await,
        None => std::future::pending().await,
    }
}

/// The resources that wait for a reconcile, and when those that rest are due again.
#[derive(Default)]
struct Agenda {
    waiting: BTreeSet<Key>,
    due: BTreeMap<Key, Instant>,
    /// Consecutive failures.
    failures: BTreeMap<Key, u32>,
}

impl RestoreTests {
    async fn run(self) {
        let (inventory, of_objects) =
            Inventory::watch_of_restore_tests(&self.client, &self.scopes, &self.progress, self.shard);
        // Of Jobs and of pods.
        let (runs, kind) = (Arc::new(Runs::of(2 * self.scopes.len())), restore_test());
        let writers: Vec<_> = self.scopes.iter().map(|_| Writer::new(kind.clone())).collect();
        let tests: Vec<Store<DynamicObject>> = writers.iter().map(Writer::as_reader).collect();
        let mut changes = of_objects;
        for (scope, writer) in self.scopes.iter().zip(writers) {
            changes.push(self.resources(scope, writer, &kind));
            let shard = self.shard;
            let is_ours = move |test: &Key| shard.covers_restore_tests(&test.namespace);
            changes.push(runs::jobs_and_pods(&self.client, scope, WATCHES, &runs, &self.progress, is_ours));
        }
        changes.push(of_clusters(&self.clusters, self.shard, tests.clone()));
        let mut changes = pin!(debounced(stream::select_all(changes), DEBOUNCE));
        let reconciler = Arc::new(Reconciler::new(Arc::new(self), Arc::new(inventory), tests, runs));
        let mut agenda = Agenda::default();
        let mut running: Option<AbortOnDropHandle<(Key, Option<Duration>)>> = None;
        loop {
            if running.is_none() {
                running = agenda.waiting.pop_first().map(|key| start(&reconciler, key));
            }
            let soonest = agenda.due.values().min().copied();
            tokio::select! {
                next = changes.next() => match next {
                    Some(key) => _ = agenda.waiting.insert(key),
                    None => return,
                },
                Some(ended) = OptionFuture::from(running.as_mut()) => {
                    running = None;
                    // A panic is logged elsewhere, and the resource is looked at again when it changes.
                    if let Ok((key, again)) = ended {
                        agenda.rests(key, again);
                    }
                },
                () = sleep_until(soonest.unwrap_or_else(Instant::now)), if soonest.is_some() => {
                    agenda.wake(Instant::now());
                },
            }
        }
    }

    /// The watch of the resources in one scope.
    fn resources(
        &self,
        scope: &Scope,
        writer: Writer<DynamicObject>,
        kind: &ApiResource,
    ) -> BoxStream<'static, Key> {
        let config = watcher::Config::default().page_size(OBJECTS_PAGE);
        let watch = Watch {
            kind: KIND,
            scope: scope.clone(),
            events: watcher(scope.api(&self.client, kind), config).modify(pack),
            writer,
            key: Key::of_metadata,
        };
        let touched = watch::follow(watch, Arc::clone(&self.progress));
        touched.map(|(Touch::Changed(key) | Touch::Gone(key))| key).boxed()
    }
}

/// Restore tests in the namespaces of clusters that have changed.
fn of_clusters(
    clusters: &Clusters,
    shard: Shard,
    tests: Vec<Store<DynamicObject>>,
) -> BoxStream<'static, Key> {
    let changed = clusters.changed().stream();
    changed
        .filter(move |cluster| std::future::ready(shard.covers_restore_tests(&cluster.namespace)))
        .flat_map(move |cluster| {
            let all = tests.iter().flat_map(Store::state);
            let keys = all.filter_map(|test| Key::of(&test));
            let in_namespace: Vec<Key> = keys.filter(|test| test.namespace == cluster.namespace).collect();
            stream::iter(in_namespace)
        })
        .boxed()
}

/// In a task of its own: a panic caused by one resource must not affect others.
fn start(reconciler: &Arc<Reconciler>, key: Key) -> AbortOnDropHandle<(Key, Option<Duration>)> {
    let reconciler = Arc::clone(reconciler);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let again = reconciler.reconcile(&key).await;
        (key, again)
    }))
}

impl Agenda {
    /// `again`: when to look again at the latest; `None` after a failure.
    fn rests(&mut self, key: Key, again: Option<Duration>) {
        let again = if let Some(again) = again {
            self.failures.remove(&key);
            again
        } else {
            let count = self.failures.entry(key.clone()).or_default();
            let factor = 1_u32.checked_shl((*count).min(20)).unwrap_or(u32::MAX);
            *count = count.saturating_add(1);
            FIRST_RETRY.saturating_mul(factor).min(LONGEST_RETRY)
        };
        self.due.insert(key, Instant::now() + again);
    }

    fn wake(&mut self, now: Instant) {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            self.due.remove(&key);
            self.waiting.insert(key);
        }
    }
}

/// A field of a resource; null if it is not there.
fn field<'a>(object: &'a DynamicObject, path: &str) -> &'a Value {
    object.data.pointer(path).unwrap_or(&Value::Null)
}

/// Keeps the results as text, which takes a fraction of the memory. [`status_of`] reads them.
fn pack(object: &mut DynamicObject) {
    let results = object.data.pointer_mut("/status/results");
    if let Some(results) = results.filter(|results| results.is_array()) {
        let mut text = results.to_string();
        text.shrink_to_fit();
        *results = Value::String(text);
    }
}

/// The status of a resource, null if it has none.
fn status_of(object: &DynamicObject) -> Value {
    let mut status = field(object, "/status").clone();
    if let Some(results) = status.get_mut("results")
        && let Value::String(text) = results
    {
        *results = serde_json::from_str(text).unwrap_or_default();
    }
    status
}

/// The resource of this name.
fn find(tests: &[Store<DynamicObject>], key: &Key) -> Option<Arc<DynamicObject>> {
    let reference = ObjectRef::new_with(&key.name, restore_test()).within(&key.namespace);
    tests.iter().find_map(|store| store.get(&reference))
}

/// Whether the first lists are complete.
fn are_listed(tests: &[Store<DynamicObject>]) -> bool {
    tests.iter().all(|store| matches!(store.wait_until_ready().now_or_never(), Some(Ok(()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_kept_as_text() {
        for status in
            [json!({"next": {}, "results": [{"cluster": "ledger", "tests": [{}]}]}), json!({}), json!(null)]
        {
            let mut object = DynamicObject::new("nightly", &restore_test());
            object.data = json!({"spec": {}, "status": status});
            pack(&mut object);
            assert!(!field(&object, "/status/results").is_array());
            assert_eq!(status_of(&object), status);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_retried_less_and_less() {
        let mut agenda = Agenda::default();
        let key = Key::new("shop", "nightly");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let now = Instant::now();
            agenda.rests(key.clone(), None);
            pauses.push((agenda.due[&key] - now).as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600]);
        agenda.wake(Instant::now());
        assert!(agenda.waiting.is_empty());
        agenda.rests(key.clone(), Some(Duration::ZERO));
        agenda.wake(Instant::now());
        assert_eq!((agenda.waiting.pop_first(), agenda.due.len()), (Some(key), 0));
        assert!(agenda.failures.is_empty());
    }
}
