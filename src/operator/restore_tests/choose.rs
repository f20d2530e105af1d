//! Which cluster is tested next: the candidates, their images, and what is known of their bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::reflector::store::Store;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::clusters::{InNamespace, Selected};
use super::results::Results;
use super::runs::Runs;
use super::status::turn_of;
use super::{RestoreTests, field};
use crate::cluster::desired::restore_test::TestInputs;
use crate::cluster::labels;
use crate::cluster::restore_test::testable;
use crate::cluster::restore_test::turn::{self, Candidate, NoTurn, Turn};
use crate::cluster::restore_test::validated::{TestNow, ValidatedRestoreTest};
use crate::cluster::restore_test::volume::CopyBytes;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{STANZA, ValidatedCluster};
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};
use crate::operator::mode::Mode;
use crate::operator::scope::Key;
use crate::state::jobs::ClusterKey;
use crate::state::recovery_time;

/// How long the image of a cluster is known.
const IMAGE_STAYS: Duration = Duration::from_mins(10);
/// Pods of a cluster that are looked at for their image.
const MOST_PODS: u32 = 50;

pub(super) struct Chooser {
    operator: Arc<RestoreTests>,
    tests: Vec<Store<DynamicObject>>,
    runs: Arc<Runs>,
    /// Of PostgreSQL's containers, by cluster.
    images: Mutex<HashMap<Key, (Instant, String)>>,
}

/// A cluster that has its turn, and its image.
pub(super) struct Chosen<'a> {
    pub(super) turn: Turn,
    pub(super) cluster: &'a ValidatedCluster,
    image: Option<String>,
}

/// The clusters that can be tested, and those that are left out.
#[derive(Default)]
pub(super) struct Candidates<'a> {
    clusters: BTreeMap<&'a str, &'a ValidatedCluster>,
    pub(super) testable: Vec<Candidate>,
    /// With the reasons.
    pub(super) left_out: Vec<String>,
}

impl Chooser {
    pub(super) fn new(
        operator: Arc<RestoreTests>,
        tests: Vec<Store<DynamicObject>>,
        runs: Arc<Runs>,
    ) -> Self {
        Self { operator, tests, runs, images: Mutex::default() }
    }

    /// The turns of other restore tests that start at the same times: the first one by name keeps its turn.
    fn taken(&self, key: &Key, object: &DynamicObject) -> Vec<Turn> {
        let times = |object: &DynamicObject| {
            ["/spec/schedule", "/spec/timeZone", "/spec/jitter"].map(|path| field(object, path).clone())
        };
        let all = self.tests.iter().flat_map(Store::state);
        let before = all.filter(|other| {
            let is_before =
                Key::of(other).is_some_and(|other| other.namespace == key.namespace && other < *key);
            is_before && *field(other, "/spec/suspend") != true && times(other) == times(object)
        });
        before.filter_map(|other| turn_of(field(&other, "/status/next"))).collect()
    }

    /// Of the clusters that a restore test selects.
    pub(super) fn candidates<'a>(
        &self,
        test: &ValidatedRestoreTest,
        found: &'a InNamespace,
        (key, object): (&Key, &DynamicObject),
    ) -> Candidates<'a> {
        let taken = self.taken(key, object);
        let mut candidates = Candidates::default();
        for Selected { name, cluster, .. } in &found.selected {
            let Some(cluster) = cluster.as_deref() else {
                candidates.left_out.push(format!("{name}: it has no backups, or errors"));
                continue;
            };
            match testable::repos(cluster, test.repo) {
                Ok(repos) => {
                    let key = ClusterKey::new(&cluster.namespace, name);
                    let index = &self.operator.metrics.jobs;
                    let is_backed_up_now =
                        !test.runs_during_backups && index.with_index(|index| index.is_backed_up_now(&key));
                    let mut tested_now = self.runs.tested_now(&cluster.namespace, name);
                    let of_cluster = taken.iter().filter(|turn| turn.cluster == *name);
                    tested_now.extend(of_cluster.map(|turn| turn.repo));
                    candidates.clusters.insert(name, cluster);
                    let name = name.clone();
                    candidates.testable.push(Candidate { name, repos, tested_now, is_backed_up_now });
                }
                Err(why) => candidates.left_out.push(format!("{name}: {why}")),
            }
        }
        candidates
    }

    /// The turn, and the cluster that has it. A cluster whose image is not known is passed over.
    pub(super) async fn choose<'a>(
        &self,
        test: &ValidatedRestoreTest,
        asked: Option<&TestNow>,
        candidates: &mut Candidates<'a>,
        results: &Results,
    ) -> Result<Result<Chosen<'a>, NoTurn>, CallError> {
        let last = results.last_tests();
        let mut open = candidates.testable.clone();
        if let Some(wanted) = asked.and_then(|asked| asked.cluster.as_ref()) {
            open.retain(|candidate| candidate.name == *wanted);
        }
        if let Some(repo) = asked.and_then(|asked| asked.repo) {
            for candidate in &mut open {
                candidate.repos.retain(|known| *known == repo);
            }
        }
        loop {
            let turn = match turn::next(&open, test.repo, &last) {
                Ok(turn) => turn,
                Err(no_turn) => return Ok(Err(no_turn)),
            };
            let Some(cluster) = candidates.clusters.get(turn.cluster.as_str()).copied() else {
                return Ok(Err(NoTurn::Nobody));
            };
            let has_image = test.pod.image.is_some();
            let image = if has_image { None } else { self.image(cluster).await? };
            if has_image || image.is_some() || cluster.database.image.is_some() {
                return Ok(Ok(Chosen { turn, cluster, image }));
            }
            candidates.left_out.push(format!("{}: it has no pods that show its image", turn.cluster));
            open.retain(|candidate| candidate.name != turn.cluster);
        }
    }

    /// That of PostgreSQL's containers in the running pods.
    async fn image(&self, cluster: &ValidatedCluster) -> Result<Option<String>, CallError> {
        let key = Key::new(&cluster.namespace, &cluster.name);
        if let Some((read, image)) = self.images.lock().get(&key)
            && read.elapsed() < IMAGE_STAYS
        {
            return Ok(Some(image.clone()));
        }
        let settings = &self.operator.settings;
        let selector = labels::selector_text(&labels::cluster_selector(&cluster.name, settings));
        let params = ListParams::default().labels(&selector).limit(MOST_PODS);
        let api: Api<Pod> = Api::namespaced(self.operator.client.clone(), &cluster.namespace);
        let pods = call(format!("list pods of {}", cluster.name), CALL_DEADLINE, api.list(&params)).await?;
        let image = image_of(&pods.items, &cluster.name, settings);
        let mut images = self.images.lock();
        images.retain(|_, (read, _)| read.elapsed() < IMAGE_STAYS);
        images.extend(image.clone().map(|image| (key, (Instant::now(), image))));
        Ok(image)
    }

    pub(super) fn inputs(&self, chosen: &Chosen<'_>) -> TestInputs {
        TestInputs {
            image: chosen.image.clone(),
            bytes: self.bytes(chosen),
            suspended_because: None,
            has_foreign_repo_host: self.operator.mode == Mode::Observe,
        }
    }

    /// From what was collected.
    fn bytes(&self, chosen: &Chosen<'_>) -> Option<CopyBytes> {
        let key = Key::new(&chosen.cluster.namespace, &chosen.cluster.name);
        let snapshot = self.operator.fleet.as_ref()?.snapshot(&key)?;
        let stanza = snapshot.stanza(STANZA)?;
        let repo = stanza.repo(chosen.turn.repo.get().into())?;
        let most = recovery_time::most(stanza, repo)?;
        Some(CopyBytes { database: most.bytes, wal: most.wal })
    }
}

/// That of the primary, or of any other pod with PostgreSQL.
fn image_of(pods: &[Pod], cluster: &str, settings: &Settings) -> Option<String> {
    let image = |pod: &Pod| {
        let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let database = containers.find(|container| container.name == settings.database_container)?;
        database.image.clone()
    };
    let primary = labels::primary_selector(cluster, settings);
    let is_primary = |pod: &&Pod| primary.matches(&pod.metadata.labels.clone().unwrap_or_default());
    pods.iter().find(is_primary).and_then(image).or_else(|| pods.iter().find_map(image))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::labels::Labels;

    fn pod(role: &str, container: &str, image: &str) -> Pod {
        let settings = Settings::default();
        let mut labels: Labels = labels::cluster_selector("ledger", &settings);
        labels.insert(settings.role_label, role.to_owned());
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": labels},
            "spec": {"containers": [{"name": "sidecar", "image": "sidecar:1"}, {"name": container, "image": image}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_image_is_that_of_the_primary() {
        let of = |pods: &[Pod]| image_of(pods, "ledger", &Settings::default());
        let (master, replica) = (pod("master", "postgres", "pg:2"), pod("replica", "postgres", "pg:1"));
        assert_eq!(of(&[replica.clone(), master.clone()]).as_deref(), Some("pg:2"));
        assert_eq!(of(&[pod("replica", "pgbackrest", "backrest:1"), replica]).as_deref(), Some("pg:1"));
        assert_eq!(of(&[pod("repo-host", "pgbackrest", "backrest:1")]), None);
    }
}
