//! The resources in a set of manifests, with all findings: about each one, and about those that get in each other's way.

use std::collections::BTreeMap;

use super::manifest::{Found, Manifests};
use crate::cluster::finding::{Finding, codes};
use crate::cluster::key::Key;
use crate::cluster::labels::Labels;
use crate::cluster::location;
use crate::cluster::restore_test::testable;
use crate::cluster::restore_test::turn::{self, Candidate, LastTests, Turn};
use crate::cluster::restore_test::validated::{ClusterSelection, ValidatedRestoreTest};
use crate::cluster::settings::Settings;
use crate::cluster::validate;
use crate::cluster::validated::ValidatedCluster;

/// One `postgresql` resource.
#[derive(Debug)]
pub(super) struct Judged {
    /// As given.
    pub(super) file: String,
    pub(super) key: Key,
    pub(super) cluster: Option<ValidatedCluster>,
    pub(super) findings: Vec<Finding>,
    labels: Labels,
}

/// One `RestoreTest` resource.
#[derive(Debug)]
pub(super) struct JudgedTest {
    /// As given.
    pub(super) file: String,
    pub(super) key: Key,
    pub(super) test: Option<ValidatedRestoreTest>,
    /// The first test, if a cluster that is selected is in the files.
    pub(super) turn: Option<Turn>,
    pub(super) findings: Vec<Finding>,
}

/// In the order of the files.
pub(super) fn all(mut manifests: Manifests, settings: &Settings) -> (Vec<Judged>, Vec<JudgedTest>) {
    let mut all = Vec::new();
    let mut located = Vec::new();
    for resource in std::mem::take(&mut manifests.resources) {
        let references = manifests.references(&resource, &settings.default_namespace);
        let key = Key::new(resource.namespace(&settings.default_namespace), resource.name());
        let (view, findings) = validate::read(resource.document);
        let labels = view.metadata.labels.clone().unwrap_or_default();
        let locations = validate::locations(&view, &references);
        located.extend(locations.into_iter().map(|located| (key.clone(), located)));
        let (cluster, findings) = validate::judge(&view, findings, &references, settings);
        all.push(Judged { file: resource.file, key, cluster, findings, labels });
    }
    for (key, finding) in location::shared(&located) {
        if let Some(judged) = all.iter_mut().find(|judged| judged.key == key) {
            judged.findings.push(finding);
            validate::sort(&mut judged.findings);
        }
    }
    let tests = std::mem::take(&mut manifests.restore_tests).into_iter();
    let tests = tests.map(|found| test(found, &all, settings)).collect();
    (all, tests)
}

fn test(found: Found, clusters: &[Judged], settings: &Settings) -> JudgedTest {
    let key = Key::new(found.namespace(&settings.default_namespace), found.name());
    let (test, mut findings) = validate::restore_test(found.document, settings);
    let turn = test.as_ref().and_then(|test| turn(test, clusters, &mut findings));
    validate::sort(&mut findings);
    JudgedTest { file: found.file, key, test, turn, findings }
}

/// The first turn, with findings about clusters that cannot be tested.
fn turn(test: &ValidatedRestoreTest, clusters: &[Judged], findings: &mut Vec<Finding>) -> Option<Turn> {
    let in_namespace: BTreeMap<&str, &Judged> = clusters
        .iter()
        .filter(|judged| judged.key.namespace == test.namespace)
        .map(|judged| (judged.key.name.as_str(), judged))
        .collect();
    let selected = in_namespace.iter().filter(|(name, judged)| test.clusters.selects(name, &judged.labels));
    let mut is_empty = true;
    let mut candidates = Vec::new();
    let mut unchecked: Vec<&str> = Vec::new();
    for (name, judged) in selected {
        is_empty = false;
        let Some(cluster) = &judged.cluster else {
            unchecked.push(name);
            continue;
        };
        match testable::repos(cluster, test.repo) {
            Ok(repos) => candidates.push(Candidate {
                name: (*name).to_owned(),
                repos,
                tested_now: Vec::new(),
                is_backed_up_now: false,
            }),
            Err(why) => {
                let message = format!("selects a cluster that is left out: {why}");
                let remedy = "select other clusters, or another repo";
                let finding = Finding::new(&codes::CLUSTER_NOT_TESTED, "spec.clusters", message, remedy);
                findings.push(finding.with_value(name));
            }
        }
    }
    if let ClusterSelection::Names(names) = &test.clusters {
        unchecked.extend(names.iter().map(String::as_str).filter(|name| !in_namespace.contains_key(name)));
    } else if is_empty {
        unchecked.push("selector");
    }
    findings.extend(unchecked.into_iter().map(|name| {
        Finding::new(
            &codes::CLUSTER_NOT_CHECKED,
            "spec.clusters",
            "selects a cluster that was not checked: it is not in the files, or has errors",
            "pass the manifest of the cluster as well",
        )
        .with_value(name)
    }));
    turn::next(&candidates, test.repo, &LastTests::new()).ok()
}
