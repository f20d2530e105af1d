//! Which cluster is tested next: the candidates, their images, and what is known of their bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::DynamicObject;
use kube::runtime::reflector::store::Store;

use super::clusters::{InNamespace, Selected};
use super::results::Results;
use super::status::turn_of;
use super::{RestoreTests, field};
use crate::cluster::desired::restore_test::TestInputs;
use crate::cluster::restore_test::testable;
use crate::cluster::restore_test::turn::{self, Candidate, NoTurn, Turn};
use crate::cluster::restore_test::validated::{TestNow, ValidatedRestoreTest};
use crate::cluster::restore_test::volume::CopyBytes;
use crate::cluster::validated::{STANZA, ValidatedCluster};
use crate::kubernetes::client::CallError;
use crate::operator::images::Images;
use crate::operator::mode::Mode;
use crate::operator::runs::Runs;
use crate::operator::scope::Key;
use crate::state::jobs::ClusterKey;
use crate::state::proofs::RestoreTest;
use crate::state::recovery_time;

pub(super) struct Chooser {
    operator: Arc<RestoreTests>,
    tests: Vec<Store<DynamicObject>>,
    runs: Arc<Runs<RestoreTest>>,
    images: Images,
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
        runs: Arc<Runs<RestoreTest>>,
    ) -> Self {
        let images = Images::new(operator.client.clone(), Arc::clone(&operator.settings));
        Self { operator, tests, runs, images }
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
                    let is_backed_up_now = !test.runs_during_backups
                        && (index.with_index(|index| index.is_backed_up_now(&key))
                            || self.operator.jobs.is_backed_up_elsewhere(&key));
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
            let image = if has_image { None } else { self.images.of(cluster).await? };
            if has_image || image.is_some() || cluster.database.image.is_some() {
                return Ok(Ok(Chosen { turn, cluster, image }));
            }
            candidates.left_out.push(format!("{}: it has no pods that show its image", turn.cluster));
            open.retain(|candidate| candidate.name != turn.cluster);
        }
    }

    pub(super) fn inputs(&self, chosen: &Chosen<'_>) -> TestInputs {
        TestInputs {
            image: chosen.image.clone(),
            bytes: self.bytes(chosen),
            suspended_because: None,
            has_foreign_repo_host: self.operator.mode == Mode::Observe,
        }
    }

    /// From what was collected. Of a cluster of another shard, that shard collects, and the size of its volume is the measure.
    fn bytes(&self, chosen: &Chosen<'_>) -> Option<CopyBytes> {
        let key = Key::new(&chosen.cluster.namespace, &chosen.cluster.name);
        let snapshot = self.operator.fleet.as_ref()?.snapshot(&key)?;
        let stanza = snapshot.stanza(STANZA)?;
        let repo = stanza.repo(chosen.turn.repo.get().into())?;
        let most = recovery_time::most(stanza, repo)?;
        Some(CopyBytes { database: most.bytes, wal: most.wal })
    }
}
