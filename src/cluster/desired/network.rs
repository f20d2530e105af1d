//! The Service for the DNS names of the pods, and the NetworkPolicy of the repo host.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::object::{self, Object};
use super::paths;
use super::verify;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;
use crate::cluster::{labels, names};

/// The headless Service of all pods of the cluster. It is kept without a repo host too: PostgreSQL's StatefulSet may
/// need it.
pub(super) fn pods_service(cluster: &ValidatedCluster, settings: &Settings) -> Object {
    Service {
        metadata: object::of_cluster(cluster, settings, names::pods_service(&cluster.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // PostgreSQL and the repo host must find each other before both are ready.
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::cluster_selector(&cluster.name, settings)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
    .into()
}

/// The repo host accepts connections only from pods of the cluster and from those that verify its repos, on one port.
pub(super) fn repo_host_policy(cluster: &ValidatedCluster, settings: &Settings) -> Object {
    let selector = |labels| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() };
    let peer =
        |labels| NetworkPolicyPeer { pod_selector: Some(selector(labels)), ..NetworkPolicyPeer::default() };
    let mut peers = vec![peer(labels::cluster_selector(&cluster.name, settings))];
    if verify::is_on(cluster) {
        peers.push(peer(labels::verification_selector(&cluster.name)));
    }
    let mut metadata = object::of_cluster(cluster, settings, names::repo_host_account(&cluster.name));
    metadata.labels = Some(labels::of_repo_host(cluster, settings));
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(labels::repo_host_selector(&cluster.name, settings))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(peers),
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::Int(paths::server_port(cluster).into())),
                    protocol: Some("TCP".to_owned()),
                    ..NetworkPolicyPort::default()
                }]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    }
    .into()
}
