//! Collects from the clusters of a fleet, through exec in their pods: each repository where it can be read.

mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::key::Key;
use crate::cluster::labels;
use crate::cluster::settings::Settings;
use crate::cluster::target::{self, NoTarget, PGBACKREST_CONTAINER, Pod};
use crate::metrics::CollectionMetrics;
use crate::source::call::Runner;
use crate::source::in_pod::InPod;
use crate::source::pod::{Place, RunInPod};
use crate::source::pods::FindPods;
use crate::state::records::{History, Records};
use crate::state::snapshot::{Snapshot, Version};
use crate::state::test_history::TestHistory;
use crate::state::verification_history::VerificationHistory;

use super::caller::{Caller, Runners, Shared};
use super::registry::Job;
use super::request::Request;
use super::scheduler::{Scheduler, Site};
use super::store::Store;

use files::Reader;

pub use super::request::{AskedRepo, Subject};
pub use super::settings::Pace;

/// Collects from the clusters of a fleet, and keeps what is known in the store.
#[derive(Debug)]
pub struct FleetCollector {
    scheduler: Arc<Scheduler>,
    settings: Arc<Settings>,
    results: Arc<Results>,
}

/// What is known of the restore tests and the verifications of each cluster.
#[derive(Debug, Default)]
struct Results {
    restore_tests: ByCluster<TestHistory>,
    verifications: ByCluster<VerificationHistory>,
}

/// Records of one kind.
#[derive(Debug)]
struct ByCluster<H>(Mutex<BTreeMap<Key, Arc<Records<H>>>>);

impl<H> Default for ByCluster<H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<H: History + PartialEq> ByCluster<H> {
    fn of(&self, key: &Key) -> Arc<Records<H>> {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }

    /// Whether they are different from those before.
    fn set(&self, key: &Key, records: Records<H>) -> bool {
        let mut all = self.0.lock();
        let (before, none) = (all.get(key), Records::default());
        if before.map_or(&none, |before| before) == &records {
            return false;
        }
        if records == none {
            all.remove(key);
        } else {
            all.insert(key.clone(), Arc::new(records));
        }
        true
    }
}

/// The time for which this process may publish what it knows of clusters. At its end all of it is forgotten.
#[derive(Debug)]
pub struct Term<'a>(&'a FleetCollector);

/// The pods of all clusters.
struct AllPods<P> {
    pods: P,
    settings: Arc<Settings>,
    results: Arc<Results>,
    /// When this process began to observe archivers.
    began: std::time::Instant,
}

impl<P> AllPods<P> {
    fn new(pods: P, settings: Arc<Settings>, results: Arc<Results>) -> Self {
        Self { pods, settings, results, began: std::time::Instant::now() }
    }
}

impl FleetCollector {
    /// Of no cluster yet.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        settings: Arc<Settings>,
        pace: Pace,
        metrics: Arc<CollectionMetrics>,
    ) -> Self {
        let scheduler = Arc::new(Scheduler::new(store, Shared::new(pace, metrics)));
        Self { scheduler, settings, results: Arc::default() }
    }

    /// Adds a cluster, or changes what it is asked for.
    pub fn set(&self, key: &Key, subject: Subject) {
        self.scheduler.shared.kept.add(key);
        self.scheduler.registry.set(key, subject);
    }

    /// Whether it collects from a cluster.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        self.scheduler.registry.has(key)
    }

    /// Collects a cluster as soon as possible, because something was done to it.
    pub fn soon(&self, key: &Key) {
        self.scheduler.registry.plan(key, Job::Collect, Instant::now());
    }

    /// The version of pgBackRest that was seen last in the pods of a cluster.
    #[must_use]
    pub fn version(&self, key: &Key) -> Option<Version> {
        self.scheduler.registry.version(key)
    }

    /// Replaces what is known of the restore tests of a cluster, and shows it.
    pub fn set_restore_tests(&self, key: &Key, records: Records<TestHistory>) {
        if self.results.restore_tests.set(key, records) {
            self.soon(key);
        }
    }

    /// The same for verifications.
    pub fn set_verifications(&self, key: &Key, records: Records<VerificationHistory>) {
        if self.results.verifications.set(key, records) {
            self.soon(key);
        }
    }

    /// What is known of a cluster.
    #[must_use]
    pub fn snapshot(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.scheduler.registry.snapshot(key)
    }

    /// Removes a cluster that is gone, or is no longer ours.
    pub fn remove(&self, key: &Key) {
        self.scheduler.registry.remove(key);
        self.scheduler.shared.kept.remove(key);
        self.results.verifications.0.lock().remove(key);
    }

    /// Begins a term. It ends when the value is dropped.
    #[must_use]
    pub const fn term(&self) -> Term<'_> {
        Term(self)
    }

    /// Collects until it is dropped. Commands that run in pods then run until their timeout there.
    pub async fn run(self: Arc<Self>, pods: impl FindPods + RunInPod + Send + 'static) {
        let site = Arc::new(AllPods::new(pods, Arc::clone(&self.settings), Arc::clone(&self.results)));
        self.scheduler.run(site, CancellationToken::new()).await;
    }
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.0.scheduler.registry.clear();
        self.0.scheduler.shared.kept.clear();
        self.0.results.restore_tests.0.lock().clear();
        self.0.results.verifications.0.lock().clear();
    }
}

/// Collects from each cluster once and returns what it knows, in the order of the clusters.
///
/// A cluster that cannot be asked comes back with a snapshot that says why, in its collection. The longest that this
/// takes is, for every `concurrency` repositories, a timeout.
pub async fn once<P: FindPods + RunInPod + Clone + Send>(
    pods: &P,
    clusters: Vec<(Key, Subject)>,
    settings: &Settings,
    pace: Pace,
) -> Vec<(Key, Snapshot)> {
    let metrics = CollectionMetrics::in_pods().with_wal(pace.wal.is_some());
    let shared = &Shared::new(pace, Arc::new(metrics));
    for (key, _) in &clusters {
        shared.kept.add(key);
    }
    let site = &AllPods::new(pods.clone(), Arc::new(settings.clone()), Arc::default());
    stream::iter(clusters)
        .map(|(key, subject)| async move {
            let (key, subject) = (Arc::new(key), Arc::new(subject));
            let (request, runners) = site.prepare(shared, &key, &subject, Job::Collect).await;
            let caller = Caller { shared, key: &key, request: &request, runners: &runners };
            let snapshot = caller.collect_once(&|_| ()).await.unwrap_or_default();
            (Key::clone(&key), Arc::unwrap_or_clone(snapshot))
        })
        .buffered(pace.concurrency)
        .collect()
        .await
}

impl<P: FindPods + RunInPod + Send> Site for AllPods<P> {
    async fn prepare<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a Arc<Key>,
        subject: &'a Arc<Subject>,
        job: Job,
    ) -> (Request, Runners<'a>) {
        let selector = labels::selector_text(&labels::cluster_selector(&key.name, &self.settings));
        let pods = {
            let _permit = shared.limit.acquire(false).await;
            self.pods.find(&key.namespace, &selector).await.map_err(|error| error.to_string())
        };
        let runner = |(pod, container)| {
            let place = Place { namespace: &key.namespace, pod, container };
            Arc::new(InPod::new(&self.pods, place)) as Arc<dyn Runner + 'a>
        };
        let of_repo = |repo: &AskedRepo| {
            let found = pods.as_ref().map_err(Clone::clone);
            let candidates = found.and_then(|pods| candidates(pods, key, subject, repo, &self.settings))?;
            Ok(candidates.into_iter().map(runner).collect())
        };
        let by_repo: BTreeMap<_, _> = subject.repos.iter().map(|repo| (repo.key, of_repo(repo))).collect();
        let mut request = Request::of_cluster(subject);
        if job == Job::Collect {
            let Self { pods: run, settings, began, .. } = self;
            let reader = Reader { shared, pods: run, key, settings, began: *began };
            // Before info is called: what is archived by now is in its answer.
            let files = reader.read(subject, &pods).await;
            request.archivers = Arc::new(files.archivers);
            request.stop_places = files.stop_places.into();
            request.proofs.restore_tests = self.results.restore_tests.of(key);
            request.proofs.verifications = self.results.verifications.of(key);
        }
        (request, Runners::by_repo(by_repo))
    }
}

/// Pod and container, the best first: the repo host for what is backed up there, else the primary, else a replica. What is on
/// its volumes only the repo host can read.
fn candidates<'a>(
    pods: &'a [Pod],
    key: &Key,
    subject: &Subject,
    repo: &AskedRepo,
    settings: &'a Settings,
) -> Result<Vec<(&'a str, &'a str)>, String> {
    let repo_host = || {
        let pod = target::repo_host(pods, &key.name, settings)?;
        Ok((pod.name.as_str(), PGBACKREST_CONTAINER))
    };
    if repo.on_volume {
        return repo_host().map(|place| vec![place]).map_err(|why: NoTarget| why.to_string());
    }
    let primary = target::primary(pods, &key.name, settings);
    let first = primary.as_ref().ok().copied();
    let databases = target::databases(pods, &key.name, subject.instances);
    let others = databases.into_iter().filter(|pod| pod.ready && first.is_none_or(|first| first != *pod));
    let databases = first.into_iter().chain(others);
    let databases = databases.map(|pod| (pod.name.as_str(), settings.database_container.as_str()));
    let repo_host = repo.on_repo_host.then(repo_host).and_then(Result::ok);
    let all: Vec<_> = repo_host.into_iter().chain(databases).collect();
    match primary {
        Err(why) if all.is_empty() => Err(why.to_string()),
        _ => Ok(all),
    }
}
