//! The ConfigMaps with pgBackRest's configuration. They contain no secrets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::configuration::DesiredConfiguration;
use super::object::{self, Object};
use crate::cluster::record::Record;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;
use crate::cluster::{labels, names};

/// For PostgreSQL's pods, which mount it at `/etc/pgbackrest/conf.d`. It also contains the record.
pub(super) fn for_instances(
    cluster: &ValidatedCluster,
    settings: &Settings,
    configuration: &DesiredConfiguration,
    record: &Record,
) -> Object {
    let name = names::instance_configuration(&cluster.name);
    config_map(cluster, settings, name, configuration, record.annotations())
}

pub(super) fn for_repo_host(
    cluster: &ValidatedCluster,
    settings: &Settings,
    configuration: &DesiredConfiguration,
) -> Object {
    let name = names::repo_host_configuration(&cluster.name);
    config_map(cluster, settings, name, configuration, BTreeMap::new())
}

fn config_map(
    cluster: &ValidatedCluster,
    settings: &Settings,
    name: String,
    configuration: &DesiredConfiguration,
    mut annotations: BTreeMap<String, String>,
) -> Object {
    let mut metadata = object::of_cluster(cluster, settings, name);
    annotations.insert(labels::CONFIGURATION_HASH.to_owned(), configuration.hash());
    metadata.annotations = Some(annotations);
    let file = (names::CONFIGURATION_KEY.to_owned(), configuration.text());
    ConfigMap { metadata, data: Some(BTreeMap::from([file])), ..ConfigMap::default() }.into()
}
