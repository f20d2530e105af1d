//! Watches resources and objects, and runs one reconcile at a time for each changed cluster.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use kube::Resource;
use kube::core::DynamicObject;
use kube::runtime::controller::{Action, Config, applier};
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::watcher;
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::resource::{self, KIND};
use crate::cluster::settings::Settings;
use crate::collect::fleet::FleetCollector;
use crate::kubernetes::shard::Shard;
use crate::metrics::OperatorMetrics;
use crate::source::pod::Pods;
use crate::source::signing_key::SigningKey;
use crate::state::jobs::ClusterKey;

use super::debounce::{Debounce, debounced};
use super::inventory::Inventory;
use super::jobs::{self, JobNews};
use super::locations::{Locations, NotedStore};
use super::mode::Mode;
use super::progress::OperatorProgress;
use super::reconcile::{Collect, ReconcileError, ReconcileOutcome, Reconciler};
use super::report::{ReconcileFailure, Report, Reporter};
use super::restore_tests::clusters::{Clusters, Look};
use super::restore_tests::{self, RestoreTests};
use super::revisits::Revisits;
use super::scope::{Key, Scope, postgresql};
use super::stored::{Packer, StoredResource};
use super::verifications::VerifyRuns;
use super::watch::{self, OBJECTS_PAGE, Touch, Watch};

mod drive;
mod elsewhere;

use drive::{RunningReconcile, drive};

/// A reconcile starts when a cluster has not changed for a moment.
const DEBOUNCE: Debounce = Debounce { quiet: Duration::from_millis(500), at_most: Duration::from_secs(3) };
/// Pause after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_mins(10);
/// Some findings depend on the version of pgBackRest, which is known after a collection.
const UNTIL_VERSION: Duration = Duration::from_mins(5);

/// Everything that reconciles need.
#[derive(Clone)]
pub struct Controller {
    pub client: kube::Client,
    /// Settings for all clusters.
    pub settings: Arc<Settings>,
    /// Whether objects are managed or only observed.
    pub mode: Mode,
    /// The managed namespaces.
    pub scopes: Vec<Scope>,
    /// The share of the clusters in them that is managed here.
    pub shard: Shard,
    /// The maximum number of concurrent reconciles.
    pub concurrency: u16,
    /// Progress for health checks.
    pub progress: Arc<OperatorProgress>,
    pub metrics: Arc<OperatorMetrics>,
    /// The collection of facts about clusters, if enabled.
    pub fleet: Option<Arc<FleetCollector>>,
    /// The source of Events: the name of the pod.
    pub instance: String,
    /// Whether `RestoreTest` resources are managed.
    pub restore_tests: bool,
    /// Signs the results of restore tests.
    pub signing_key: Option<Arc<SigningKey>>,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Controller").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// The controller stopped without being asked to.
#[derive(Debug, thiserror::Error)]
#[error("the watches stopped unexpectedly")]
pub struct EndedByItself;

/// The context shared by the reconciles of a term of leadership.
struct Context {
    reconciler: Reconciler,
    packer: Packer,
    reporter: Reporter,
    shard: Shard,
    metrics: Arc<OperatorMetrics>,
    fleet: Option<Arc<FleetCollector>>,
    inventory: Inventory,
    jobs: Arc<JobNews>,
    /// What restore tests know of the clusters, if there are any.
    testable: Option<Arc<Clusters>>,
    limit: Semaphore,
    /// The number of running reconciles.
    running: AtomicUsize,
    progress: Arc<OperatorProgress>,
    /// Consecutive failures, by cluster.
    failures: Mutex<HashMap<Key, u32>>,
}

impl Controller {
    /// Reconciles all clusters until `stop`, then waits for running reconciles. Dropping it stops everything
    /// immediately.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), EndedByItself> {
        let (inventory, changes) =
            self.mode.inventory(&self.client, &self.scopes, &self.progress, self.shard);
        let shared = Arc::new(inventory.clone());
        let writers: Vec<_> = self.scopes.iter().map(|_| Writer::new(())).collect();
        let revisits: Vec<_> = self.scopes.iter().map(|_| Arc::new(Revisits::default())).collect();
        let resources: Vec<_> = writers.iter().map(Writer::as_reader).collect();
        let verifications = VerifyRuns::of(&self.scopes);
        let clusters = || Arc::new(Clusters::new(resources.clone(), self.shard, revisits.clone()));
        let testable = self.restore_tests.then(clusters);
        let locations = Locations::new(resources, self.shard, revisits.clone());
        let stores: Vec<_> = writers.into_iter().map(|writer| locations.noting(writer)).collect();
        let of_interest = testable.as_ref().map(|clusters| clusters.changed());
        let jobs = Arc::new(JobNews::new(&self.scopes, self.shard, of_interest));
        let context = Arc::new(Context {
            reconciler: Reconciler::new(
                self.client.clone(),
                Arc::clone(&self.settings),
                shared,
                self.mode,
                (locations, verifications.clone()),
            ),
            packer: Packer::default(),
            reporter: Reporter::new(self.client.clone(), &self.instance, Arc::clone(&self.metrics))
                .in_mode(self.mode),
            shard: self.shard,
            metrics: Arc::clone(&self.metrics),
            fleet: self.fleet.clone(),
            inventory,
            jobs: Arc::clone(&jobs),
            testable: testable.clone(),
            limit: Semaphore::new(usize::from(self.concurrency)),
            running: AtomicUsize::new(0),
            progress: Arc::clone(&self.progress),
            failures: Mutex::default(),
        });
        let changes = self.scopes.iter().zip(changes).zip(revisits).map(|((scope, changes), revisits)| {
            let verified = verifications.changes(self.mode, &self.client, scope, &self.progress, self.shard);
            stream::select_all([changes, revisits.stream().boxed(), verified]).boxed()
        });
        let parts = self.scopes.iter().zip(stores).zip(changes);
        let parts = parts.map(|((scope, store), changes)| self.part(scope, store, changes, &context, &stop));
        let parts: Vec<_> = parts.collect();
        let reader = Arc::new(self.mode.reader(&self.settings));
        let (metrics, news) = (Arc::clone(&self.metrics), Arc::clone(&context.jobs));
        let _lead = self.fleet.as_ref().map(|fleet| fleet.term());
        let end = tokio::select! {
            end = drive(stream::select_all(parts), &context, &stop) => end,
            () = jobs::follow(self.client.clone(), &self.scopes, &reader, &self.progress, metrics, news) => Err(EndedByItself),
            () = self.collect() => Err(EndedByItself),
            () = restore_tests::run(testable.map(|clusters| self.restore_tests(clusters, jobs))) => Err(EndedByItself),
        };
        self.progress.leadership_ended();
        end
    }

    fn restore_tests(&self, clusters: Arc<Clusters>, jobs: Arc<JobNews>) -> RestoreTests {
        RestoreTests {
            client: self.client.clone(),
            settings: Arc::clone(&self.settings),
            mode: self.mode,
            scopes: self.scopes.clone(),
            shard: self.shard,
            progress: Arc::clone(&self.progress),
            metrics: Arc::clone(&self.metrics),
            fleet: self.fleet.clone(),
            instance: self.instance.clone(),
            clusters,
            jobs,
            signing_key: self.signing_key.clone(),
        }
    }

    /// Collects facts about the clusters in a task of its own. Returns only if that has stopped.
    async fn collect(&self) {
        let Some(fleet) = self.fleet.clone() else { return std::future::pending().await };
        let _ = AbortOnDropHandle::new(tokio::spawn(fleet.run(Pods::new(self.client.clone())))).await;
    }

    /// The controller of one scope: yields an item for each finished reconcile.
    fn part(
        &self,
        scope: &Scope,
        resources: NotedStore,
        changes: BoxStream<'static, Key>,
        context: &Arc<Context>,
        stop: &CancellationToken,
    ) -> BoxStream<'static, ()> {
        let (store, shard) = (resources.as_reader(), self.shard);
        let of_term = Arc::clone(context);
        let watch = Watch {
            kind: KIND,
            scope: scope.clone(),
            events: watcher(
                scope.api(&self.client, &postgresql()),
                watcher::Config::default().page_size(OBJECTS_PAGE),
            )
            .map_ok(move |event| watch::map(event, |object| of_term.store(object))),
            writer: resources,
            key: Key::of_metadata,
        };
        let in_store = store.clone();
        let of_term = Arc::clone(context);
        let resources = watch::follow(watch, Arc::clone(&self.progress)).filter_map(move |touch| {
            let key = match touch {
                Touch::Changed(key) => Some(key),
                Touch::Gone(key) => {
                    of_term.forget(&key);
                    None
                }
            };
            std::future::ready(key)
        });
        let changes = stream::select(changes, context.jobs.changes(scope));
        let of_term = Arc::clone(context);
        let changes = changes.filter(move |key| {
            let is_there = in_store.get(&key.reference()).is_some();
            // Remaining objects of a deleted cluster need no reconcile, and nothing of them is kept.
            if !is_there && in_store.wait_until_ready().now_or_never().is_some() {
                of_term.reconciler.forget_runs(key);
            }
            std::future::ready(is_there)
        });
        let progress = Arc::clone(&self.progress);
        let changes = stream::select(resources, changes).inspect(move |key| {
            if shard.covers(&key.namespace, &key.name) {
                progress.waits(key);
            }
        });
        let changes = changes.boxed();
        let queue = debounced(changes, DEBOUNCE)
            .map(move |key| Ok::<_, Infallible>(key.reference()))
            .take_until(stop.clone().cancelled_owned());
        let config = Config::default().concurrency(self.concurrency);
        let in_store = store.clone();
        let reconcile = move |object: Arc<StoredResource>, context: Arc<Context>| {
            let store = in_store.clone();
            // In a task of its own: a panic caused by one resource must not affect others.
            let (of_term, about) = (Arc::clone(&context), Arc::clone(&object));
            let task = tokio::spawn(async move {
                match context.packer.unpack(&object) {
                    Some(object) => context.reconcile(&object, &store).await,
                    None => Err(context.panicked(&object)),
                }
            });
            let task = AbortOnDropHandle::new(task);
            async move { task.await.unwrap_or_else(|_| Err(of_term.panicked(&about))) }.boxed()
        };
        let progress = Arc::clone(&self.progress);
        let policy =
            |object: Arc<StoredResource>, _: &ReconcileError, context: Arc<Context>| context.retry(&object);
        applier(reconcile, policy, Arc::clone(context), store, queue, config)
            .map(move |ended| {
                if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = &ended {
                    progress.taken(&Key::new(gone.namespace.as_deref().unwrap_or_default(), &gone.name));
                }
            })
            .boxed()
    }
}

impl Context {
    /// Of a cluster of another shard, only what is looked at here is kept.
    fn store(&self, mut object: DynamicObject) -> StoredResource {
        if Key::of(&object).is_some_and(|key| !self.shard.covers(&key.namespace, &key.name)) {
            resource::prune(&mut object.data);
        }
        watch::prune(&mut object.metadata);
        self.packer.pack(&object)
    }

    async fn reconcile(
        &self,
        object: &DynamicObject,
        store: &Store<StoredResource>,
    ) -> Result<Action, ReconcileError> {
        let Some(key) = Key::of(object) else { return Ok(Action::await_change()) };
        // With an incomplete watch, existing objects would seem to be missing.
        if self.inventory.wait_until_ready().await.is_err() {
            return Ok(Action::await_change());
        }
        let Ok(_permit) = self.limit.acquire().await else { return Ok(Action::await_change()) };
        if !self.shard.covers(&key.namespace, &key.name) {
            return Ok(self.look_elsewhere(&key, object, store).await);
        }
        let _running = RunningReconcile::one_of(&self.running);
        self.progress.taken(&key);
        let began = Instant::now();
        let version = self.fleet.as_ref().and_then(|fleet| fleet.version(&key));
        let (end, outcome) = self.reconciler.reconcile(object, version).await;
        self.collect(&key, &outcome);
        if let Some(testable) = &self.testable {
            testable.set(&key, &object.metadata, outcome.look.clone());
        }
        self.report(object, &key, &end, &outcome, began.elapsed()).await;
        if store.get(&key.reference()).is_none() {
            self.forget(&key);
            return Ok(Action::await_change());
        }
        let mut again = end?;
        if let Some(version) = version {
            let (cluster, now) = (ClusterKey::new(&key.namespace, &key.name), Utc::now());
            let each = version.locks_each_repo();
            self.metrics.jobs.with_index(|index| index.locks_each_repo(&cluster, each, now));
        } else if self.fleet.is_some() && matches!(outcome.collect, Collect::Of(_)) {
            again = again.min(UNTIL_VERSION);
        }
        self.failures.lock().remove(&key);
        Ok(Action::requeue(spread(again, rand::rng().random())))
    }

    fn collect(&self, key: &Key, outcome: &ReconcileOutcome) {
        let Some(fleet) = &self.fleet else { return };
        match &outcome.collect {
            Collect::Nothing => fleet.remove(key),
            Collect::Of(subject) => fleet.set(key, (**subject).clone()),
            Collect::UnlessKnown(subject) if !fleet.has(key) => fleet.set(key, (**subject).clone()),
            Collect::AsBefore | Collect::UnlessKnown(_) => {}
        }
        if let Some(records) = &outcome.verifications {
            fleet.set_verifications(key, records.clone());
        }
        if !outcome.actions.is_empty() {
            fleet.soon(key);
        }
    }

    /// The panic itself is logged elsewhere.
    fn panicked(&self, object: &StoredResource) -> ReconcileError {
        let error = ReconcileError::Panic;
        if let Some(key) = Key::of_metadata(object.meta()) {
            self.reconciler.give_up(&key);
            if let Some(testable) = &self.testable {
                testable.set(&key, object.meta(), Look::AsBefore);
            }
            let Key { namespace, name: pg_cluster } = key;
            if !self.shard.covers(&namespace, &pg_cluster) {
                return error;
            }
            tracing::error!(namespace, pg_cluster, %error, "Reconcile failed; retrying");
            self.metrics.reconciled(
                &namespace,
                &pg_cluster,
                Err(error.category()),
                Duration::ZERO,
                Utc::now(),
            );
        }
        error
    }

    async fn report(
        &self,
        object: &DynamicObject,
        key: &Key,
        end: &Result<Duration, ReconcileError>,
        outcome: &ReconcileOutcome,
        took: Duration,
    ) {
        let Key { namespace, name: pg_cluster } = key;
        for action in &outcome.actions {
            tracing::info!(namespace, pg_cluster, reason = action.reason, "{}", action.message);
        }
        let error = end.as_ref().err();
        match error {
            None => tracing::debug!(namespace, pg_cluster, ?took, "Reconciled"),
            Some(error) => {
                tracing::warn!(namespace, pg_cluster, phase = error.category(), %error, "Reconcile failed; retrying");
            }
        }
        if !outcome.hands_off {
            let in_a_word = error.map_or(Ok(()), |error| Err(error.category()));
            self.metrics.reconciled(namespace, pg_cluster, in_a_word, took, Utc::now());
            // A reconcile that failed before applying anything says nothing about objects.
            if error.is_none() || !outcome.in_place.is_empty() {
                self.metrics.applied(namespace, pg_cluster, &outcome.in_place, &outcome.drift);
            }
        }
        let message = error.map(ToString::to_string).unwrap_or_default();
        let results = self.jobs.is_complete().await;
        let results = results.then(|| self.metrics.jobs.results(&ClusterKey::new(namespace, pg_cluster)));
        let mut findings = outcome.findings.clone();
        findings.extend(results.iter().flat_map(jobs::failed));
        let report = Report {
            findings: &findings,
            results: results.as_ref(),
            actions: &outcome.actions,
            hands_off: outcome.hands_off,
            released: outcome.released,
            pending: outcome.pending,
            expiries: &outcome.expiries,
            policies: &outcome.policies,
            failure: error.map(|error| ReconcileFailure { phase: error.category(), message: &message }),
        };
        self.reporter.report(object, report).await;
    }

    fn forget(&self, key: &Key) {
        self.failures.lock().remove(key);
        self.progress.taken(key);
        self.reconciler.forget(key);
        if let Some(testable) = &self.testable {
            testable.forget(key);
        }
        if let Some(fleet) = &self.fleet {
            fleet.remove(key);
        }
        self.reporter.forget(&key.namespace, &key.name);
    }

    /// When to retry after a failure.
    fn retry(&self, object: &StoredResource) -> Action {
        let Some(key) = Key::of_metadata(object.meta()) else { return Action::await_change() };
        let mut failures = self.failures.lock();
        let count = failures.entry(key).or_default();
        let pause = pause(*count);
        *count = count.saturating_add(1);
        Action::requeue(spread(pause, rand::rng().random()))
    }
}

fn pause(failures_before: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(1_u32.checked_shl(failures_before.min(20)).unwrap_or(u32::MAX))
        .min(LONGEST_RETRY)
}

/// Varies a duration by up to a tenth, so that clusters are not reconciled in lockstep. `chance` is from 0 to 1.
fn spread(around: Duration, chance: f64) -> Duration {
    around.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let seconds: Vec<u64> = (0..9).map(|count| pause(count).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(pause(u32::MAX), LONGEST_RETRY);
    }

    #[test]
    fn no_two_clusters_march_in_step() {
        let hour = Duration::from_hours(1);
        assert_eq!(spread(hour, 0.0), Duration::from_mins(54));
        assert_eq!(spread(hour, 1.0), Duration::from_mins(66));
    }
}
