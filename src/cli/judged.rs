//! The resources in a set of manifests, with all findings: about each one, and about those that get in each other's way.

use super::manifest::Manifests;
use crate::cluster::finding::Finding;
use crate::cluster::key::Key;
use crate::cluster::location;
use crate::cluster::settings::Settings;
use crate::cluster::validate;
use crate::cluster::validated::ValidatedCluster;

/// One resource.
#[derive(Debug)]
pub(super) struct Judged {
    /// As given.
    pub(super) file: String,
    pub(super) key: Key,
    pub(super) cluster: Option<ValidatedCluster>,
    pub(super) findings: Vec<Finding>,
}

/// In the order of the files.
pub(super) fn all(mut manifests: Manifests, settings: &Settings) -> Vec<Judged> {
    let mut all = Vec::new();
    let mut located = Vec::new();
    for resource in std::mem::take(&mut manifests.resources) {
        let references = manifests.references(&resource, &settings.default_namespace);
        let key = Key::new(resource.namespace(&settings.default_namespace), resource.name());
        let (view, findings) = validate::read(resource.document);
        let locations = validate::locations(&view, &references);
        located.extend(locations.into_iter().map(|located| (key.clone(), located)));
        let (cluster, findings) = validate::judge(&view, findings, &references, settings);
        all.push(Judged { file: resource.file, key, cluster, findings });
    }
    for (key, finding) in location::shared(&located) {
        if let Some(judged) = all.iter_mut().find(|judged| judged.key == key) {
            judged.findings.push(finding);
            validate::sort(&mut judged.findings);
        }
    }
    all
}
