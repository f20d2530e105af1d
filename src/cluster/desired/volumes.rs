//! The volume claims of the repos that live on volumes.
//!
//! They have no owner: backups must outlive their cluster. They are mounted as plain volumes and not created by the
//! StatefulSet, whose templates are immutable.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::object::{self, Object};
use crate::cluster::settings::Settings;
use crate::cluster::validated::{RepoNumber, Storage, ValidatedCluster, Volume};
use crate::cluster::{labels, names};

/// One claim per repo on a volume.
pub(super) fn claims(cluster: &ValidatedCluster, settings: &Settings) -> Vec<Object> {
    cluster
        .repos
        .iter()
        .filter_map(|repo| match &repo.storage {
            Storage::Volume(volume) => Some(claim(cluster, settings, repo.number, volume)),
            Storage::S3 { .. } | Storage::Azure { .. } | Storage::Gcs { .. } => None,
        })
        .collect()
}

fn claim(cluster: &ValidatedCluster, settings: &Settings, repo: RepoNumber, volume: &Volume) -> Object {
    let mut labels = labels::of_cluster(cluster, settings);
    labels.insert(labels::REPO.to_owned(), repo.to_string());
    let size = BTreeMap::from([("storage".to_owned(), Quantity(volume.size.clone()))]);
    PersistentVolumeClaim {
        metadata: object::free(cluster, names::volume_claim(&cluster.name, repo), labels),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(volume.access_modes.iter().map(|mode| mode.as_str().to_owned()).collect()),
            volume_mode: Some("Filesystem".to_owned()),
            resources: Some(VolumeResourceRequirements { requests: Some(size), ..Default::default() }),
            storage_class_name: volume.storage_class.clone(),
            selector: volume.selector.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
    .into()
}
