//! The network traffic of a test: to the repo, and to DNS. Nothing can connect to its pod.

use core::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Run;
use crate::cluster::desired::object::{self, Object};
use crate::cluster::desired::paths;
use crate::cluster::labels::Labels;
use crate::cluster::validated::{GcsCredentials, Storage, ValidatedCluster, ValidatedRepo};
use crate::cluster::{labels, names};

/// Policies are about the port of the pod: that of DNS is 53, on OpenShift 5353.
const DNS: [u16; 2] = [53, 5353];
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
/// The service of a cloud that gives programs the identity of their machine or pod, and GKE's for Workload Identity.
const METADATA_SERVICES: [(&str, u16); 2] = [("169.254.169.254/32", 80), ("169.254.169.252/32", 988)];
/// Older names of `storage-port`.
const PORT_OPTIONS: [&str; 3] = ["storage-port", "s3-port", "azure-port"];

/// For the pods of the test.
pub(super) fn policy(run: &Run<'_>) -> Object {
    let mut egress = vec![NetworkPolicyEgressRule {
        ports: Some(
            DNS.into_iter().flat_map(|port| ["TCP", "UDP"].map(|kind| protocol(kind, port))).collect(),
        ),
        to: None,
    }];
    egress.extend(to_repo(run));
    NetworkPolicy {
        metadata: object::of_restore_test(run.test, names::restore_test(&run.test.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(labels::restore_test_selector(&run.test.name))),
            policy_types: Some(["Ingress", "Egress"].map(str::to_owned).to_vec()),
            egress: Some(egress),
            ..NetworkPolicySpec::default()
        }),
    }
    .into()
}

/// The policy of our repo host lets in the pods of the cluster, to which those of a test do not belong. Policies add up.
pub(super) fn repo_host_policy(run: &Run<'_>) -> Option<Object> {
    if !run.repo.storage.is_volume() || run.inputs.has_foreign_repo_host {
        return None;
    }
    let pods = selector(labels::restore_test_selector(&run.test.name));
    let policy = NetworkPolicy {
        metadata: object::of_restore_test(run.test, names::restore_test_repo_host(&run.test.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(labels::repo_host_selector(&run.cluster.name, run.settings))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![NetworkPolicyPeer {
                    pod_selector: Some(pods),
                    ..NetworkPolicyPeer::default()
                }]),
                ports: Some(vec![protocol("TCP", paths::server_port(run.cluster))]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    };
    Some(policy.into())
}

fn to_repo(run: &Run<'_>) -> Vec<NetworkPolicyEgressRule> {
    let Run { cluster, repo, settings, .. } = run;
    let store = |endpoint: &str| to_store(endpoint, port_option(cluster, repo));
    match &repo.storage {
        Storage::Volume(_) => {
            let repo_host = selector(labels::repo_host_selector(&cluster.name, settings));
            let peer = NetworkPolicyPeer { pod_selector: Some(repo_host), ..NetworkPolicyPeer::default() };
            vec![to(Some(peer), [paths::server_port(cluster)])]
        }
        Storage::S3 { endpoint, .. } => with_identity(vec![store(endpoint)], &repo.storage, run),
        Storage::Azure { endpoint, .. } => {
            let endpoint = endpoint.as_deref().unwrap_or("blob.core.windows.net");
            with_identity(vec![store(endpoint)], &repo.storage, run)
        }
        Storage::Gcs { endpoint, .. } => {
            let endpoint = endpoint.as_deref().unwrap_or("storage.googleapis.com");
            // A token for the key of a service account comes from Google, wherever the bucket is.
            let rules = vec![store(endpoint), to(None, [HTTPS])];
            with_identity(rules, &repo.storage, run)
        }
    }
}

/// The identity of the pod or its node, if the credentials are those: from a metadata service, or for S3 from AWS STS.
fn with_identity(
    mut rules: Vec<NetworkPolicyEgressRule>,
    storage: &Storage,
    run: &Run<'_>,
) -> Vec<NetworkPolicyEgressRule> {
    let key_type = match storage {
        Storage::S3 { .. } => option(run.cluster, run.repo, "s3-key-type"),
        Storage::Azure { .. } => option(run.cluster, run.repo, "azure-key-type"),
        Storage::Gcs { credentials: GcsCredentials::Auto, .. } => Some("auto"),
        Storage::Gcs { .. } | Storage::Volume(_) => None,
    };
    match key_type {
        Some("auto") => rules.extend(METADATA_SERVICES.map(|(block, port)| to(Some(address(block)), [port]))),
        Some("web-id") => rules.push(to(None, [HTTPS])),
        _ => {}
    }
    rules.dedup();
    rules
}

/// Of a name, only the port is known here.
fn to_store(endpoint: &str, port: Option<u16>) -> NetworkPolicyEgressRule {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, given) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    let usual = if scheme == "http" { HTTP } else { HTTPS };
    let address_of = |host: &str| -> Option<NetworkPolicyPeer> {
        let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(address(&format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })))
    };
    to(address_of(host), [port.or(given).unwrap_or(usual)])
}

/// The port of the store in `global` or the environment, which has priority over that in the endpoint.
fn port_option(cluster: &ValidatedCluster, repo: &ValidatedRepo) -> Option<u16> {
    PORT_OPTIONS.into_iter().find_map(|name| option(cluster, repo, name)?.parse().ok())
}

fn option<'a>(cluster: &'a ValidatedCluster, repo: &'a ValidatedRepo, name: &str) -> Option<&'a str> {
    let name = format!("{}-{name}", repo.number);
    let in_environment = repo.environment.get(&name).and_then(Option::as_deref);
    in_environment.or_else(|| cluster.global.get(&name).map(|value| &**value))
}

fn to<const PORTS: usize>(peer: Option<NetworkPolicyPeer>, ports: [u16; PORTS]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        ports: Some(ports.map(|port| protocol("TCP", port)).to_vec()),
        to: peer.map(|peer| vec![peer]),
    }
}

fn address(block: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: block.to_owned(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn protocol(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port.into())),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}

fn selector(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}
