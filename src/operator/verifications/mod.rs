//! Verifications of the repos of managed clusters: which one is next, and the results of those that have ended.
//!
//! The CronJob and the ConfigMap with the results are objects of the cluster, and are applied like all others.

mod results;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use parking_lot::Mutex;

use super::apply::{ApplyCache, Owner, Writer, is_ours, version};
use super::images::Images;
use super::inventory::Inventory;
use super::mode::Mode;
use super::progress::OperatorProgress;
use super::runs::no_result::find;
use super::runs::{self, Runs};
use super::scope::{Key, Scope};
use crate::cluster::desired::VerifyInputs;
use crate::cluster::desired::verify;
use crate::cluster::finding::Finding;
use crate::cluster::labels::{CLUSTER, MANAGED_BY, MANAGER};
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{ValidatedCluster, Verifications as Wanted};
use crate::kubernetes::client::{CALL_DEADLINE, CallError, CallFailure, call};
use crate::kubernetes::shard::Shard;
use crate::state::records::Records;
use crate::state::verification::Verification;
use crate::state::verification_history::VerificationHistory;
use results::{Read, Results};

/// The names of the watches of Jobs and pods.
const WATCHES: [&str; 2] = ["Verification/Job", "Verification/Pod"];
/// Clusters of which `info` reads the results at once.
const AT_ONCE: usize = 16;

/// The Jobs of all clusters.
#[derive(Debug, Clone)]
pub(super) struct VerifyRuns(Arc<Runs<Verification>>);

impl VerifyRuns {
    pub(super) fn of(scopes: &[Scope]) -> Self {
        Self(Arc::new(Runs::of(WATCHES.len() * scopes.len())))
    }

    /// Clusters of a scope whose verifications begin or end. When observing there are none.
    pub(super) fn changes(
        &self,
        mode: Mode,
        client: &Client,
        scope: &Scope,
        progress: &Arc<OperatorProgress>,
        shard: Shard,
    ) -> BoxStream<'static, Key> {
        let is_ours = move |cluster: &Key| shard.covers(&cluster.namespace, &cluster.name);
        match mode {
            Mode::Manage => runs::jobs_and_pods(client, scope, WATCHES, &self.0, progress, is_ours),
            Mode::Observe => stream::pending().boxed(),
        }
    }
}

/// Finds out what is known of the verifications of a cluster.
pub(super) struct Verifications {
    client: Client,
    inventory: Arc<Inventory>,
    written: Arc<ApplyCache>,
    runs: VerifyRuns,
    images: Images,
    /// The stored results, and the version of their ConfigMap.
    stored: Mutex<HashMap<Key, (u64, Results)>>,
    /// What was found last.
    found: Mutex<HashMap<Key, Vec<Finding>>>,
}

/// What is known of the verifications of a cluster.
#[derive(Default)]
pub(super) struct Known {
    pub(super) inputs: VerifyInputs,
    pub(super) records: Records<VerificationHistory>,
    pub(super) findings: Vec<Finding>,
}

impl Verifications {
    pub(super) fn new(
        client: Client,
        inventory: Arc<Inventory>,
        settings: Arc<Settings>,
        writer: &Writer,
        runs: VerifyRuns,
    ) -> Self {
        let images = Images::new(client.clone(), settings);
        Self {
            client,
            inventory,
            written: writer.cache(),
            runs,
            images,
            stored: Mutex::default(),
            found: Mutex::default(),
        }
    }

    /// The resource was deleted.
    pub(super) fn forget(&self, key: &Key) {
        self.stored.lock().remove(key);
        self.found.lock().remove(key);
        self.runs.0.forget(key);
    }

    /// There is no resource for what remains of these Jobs.
    pub(super) fn forget_runs(&self, key: &Key) {
        self.runs.0.forget(key);
    }

    /// What was found last, for a resource that has an error now.
    pub(super) fn last_findings(&self, namespace: &str, name: &str) -> Vec<Finding> {
        self.found.lock().get(&Key::new(namespace, name)).cloned().unwrap_or_default()
    }

    /// Reads what is stored, and adds what has ended since.
    pub(super) async fn look(
        &self,
        cluster: &ValidatedCluster,
        now: DateTime<Utc>,
    ) -> Result<Known, CallError> {
        let Some(owner) = Owner::of(cluster) else { return Ok(Known::default()) };
        let (key, runs) = (Key::new(owner.namespace, owner.name), &self.runs.0);
        if cluster.verifications == Wanted::Off {
            self.forget(&key);
            return Ok(Known::default());
        }
        if let Some(created) = cluster.created {
            runs.forget_before(&key, created);
        }
        let stored = self.stored(owner, &key).await?;
        let mut results = stored.clone();
        for (turn, record) in runs.results(&key) {
            results.add(turn.repo, Arc::unwrap_or_clone(record), now);
        }
        for ended in runs.ended(&key) {
            let (job, end) = &ended;
            let is_covered = || results.cover(&job.turn, job.created, end.at);
            // The times of a result are those of the pod's clock.
            if is_covered() || (end.is_complete && runs.has_result(&key, &job.uid)) {
                continue;
            }
            let waited = runs.waited(&key, &job.uid);
            let none = |why| results::without_result(owner.namespace, &ended, why);
            let record = match find(&self.client, owner.namespace, &ended, waited).await? {
                Ok(record) if results::is_of_the_future(&record, now) => none(results::wrong_clock(job)),
                Ok(record) => record,
                // It passed.
                Err(_) if end.is_complete => continue,
                Err(why) => none(why),
            };
            results.add(job.turn.repo, record, now);
        }
        results.limit(|number| cluster.repos.iter().any(|repo| repo.number == number));
        runs.written(&key, |turn, from, until| stored.cover(turn, from, until));
        let mut last = results.last();
        if let Some(turn) = runs.running(&key) {
            last.insert(turn.repo, runs.last_start(&key).unwrap_or(now));
        }
        let mut image = None;
        if verify::image(cluster).is_none() && matches!(cluster.verifications, Wanted::Scheduled(_)) {
            image = self.images.of(cluster).await?;
        }
        let has_no_image = image.is_none() && verify::image(cluster).is_none();
        let records = results.records(now);
        let findings = results.findings(owner.name, &records);
        self.found.lock().insert(key, findings.clone());
        let inputs = VerifyInputs { last, image, has_no_image, results: results.document() };
        Ok(Known { inputs, records, findings })
    }

    /// The results in our ConfigMap, which is read again when it has changed.
    async fn stored(&self, owner: Owner<'_>, key: &Key) -> Result<Results, CallError> {
        let name = names::verification_results(owner.name);
        let watched = self.inventory.find("ConfigMap", owner.namespace, &name);
        let written = self.written.version(owner.namespace, owner.name, "ConfigMap", &name);
        let newest = watched.map(|known| version(&known)).max(written);
        let Some(newest) = newest else { return Ok(Results::default()) };
        if let Some((read, results)) = self.stored.lock().get(key)
            && newest <= *read
        {
            return Ok(results.clone());
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), owner.namespace);
        let found = call(format!("read ConfigMap {name}"), CALL_DEADLINE, api.get_opt(&name)).await?;
        let ours = found.filter(|found| is_ours(&found.metadata, "ConfigMap", owner));
        let Some(ours) = ours else { return Ok(Results::default()) };
        let Read { results, rejected } = Read::of(&ours.data.unwrap_or_default(), Utc::now());
        if let Some(problem) = rejected.problem {
            tracing::warn!(
                namespace = %owner.namespace,
                cluster = %owner.name,
                config_map = %name,
                unreadable = rejected.unusable,
                %problem,
                "Results of verifications cannot be read, and will be replaced"
            );
        }
        self.stored.lock().insert(key.clone(), (version(&ours.metadata), results.clone()));
        Ok(results)
    }
}

/// The stored results of these clusters. None of a cluster without any, or if its ConfigMap may not be read.
pub async fn list(
    client: &Client,
    clusters: impl IntoIterator<Item = &Key>,
) -> Result<BTreeMap<Key, Records<VerificationHistory>>, CallError> {
    let reads = clusters.into_iter().map(|key| async move {
        let name = names::verification_results(&key.name);
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
        match call(format!("read ConfigMap {name}"), CALL_DEADLINE, api.get_opt(&name)).await {
            Ok(found) => Ok(found.filter(|found| belongs(found, key)).map(|found| {
                let now = Utc::now();
                (key.clone(), Read::of(&found.data.unwrap_or_default(), now).records(now))
            })),
            Err(error) if error.failure == CallFailure::Forbidden => {
                tracing::debug!(%error, "No results of verifications");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    });
    let read: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
    read.into_iter().filter_map(Result::transpose).collect()
}

/// Whether it is an object of the operator for this cluster.
fn belongs(found: &ConfigMap, key: &Key) -> bool {
    let label = |name: &str| found.metadata.labels.as_ref()?.get(name).map(String::as_str);
    label(MANAGED_BY) == Some(MANAGER) && label(CLUSTER) == Some(&key.name)
}
