//! A node with nothing but IPv6, and pods that have it beside IPv4.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use crate::operator::control_plane::asked_as_administrator;
use crate::support::example::{CLUSTER, Example, OPERATOR, install_default, node_with_operator};
use crate::support::exposition::Samples;
use crate::support::http;
use crate::support::kubernetes::addresses::IPV6_ONLY;
use crate::support::machine::skip;
use crate::support::node::Node;
use crate::support::object_store::{Kind, ObjectStore};
use crate::support::web::Authority;

const REPO_HOST: &str = "cluster-pgbackrest-repo-host-0";
const ALONE: &str = "ipv6-only";
const BESIDE: &str = "dual-stack";

#[test]
fn a_cluster_with_ipv6_alone_is_backed_up() {
    let test = "a_cluster_with_ipv6_alone_is_backed_up";
    let Some(mut node) = Node::start(test, &IPV6_ONLY) else { return };
    let authority = Authority::new();
    let directory = node.directory().join("stores");
    let store = match ObjectStore::start(Kind::S3, node.host("s3"), &authority, &directory) {
        Ok(store) => store,
        Err(missing) => return skip(test, missing),
    };
    install_default(&node, &[&format!("--namespaces={ALONE}"), "--collect.interval=5"]);
    let cluster = Example::apply(&node, ALONE);
    cluster.add_repos(std::slice::from_ref(&store), &authority);

    for repo in ["1", "2"] {
        is_backed_up(&cluster, repo);
    }
    // The first one may not have the Secret of the store yet.
    cluster.wait("a repo host with all repos", || {
        let pod = cluster.kubectl().get(ALONE, "pod", REPO_HOST)?;
        pod["spec"].to_string().contains("cluster-s3-credential").then_some(())
    });
    servers_reach_each_other(&cluster);
    everything_has_an_address_of_ipv6(&node);
    drop(cluster);
    pods_outlive_the_api_server(&mut node);
}

/// By a Job, as the leader of the operators tells.
fn is_backed_up(cluster: &Example<'_>, repo: &str) {
    let start = format!("pgbackrest-cluster-repo{repo}-full-");
    let job = cluster.wait("the Job of the first full backup", || {
        cluster.jobs().into_iter().find(|job| job.starts_with(&start))
    });
    cluster.wait_for_job(&job, "Complete");
    let labels = [("namespace", ALONE), ("pg_cluster", CLUSTER), ("repo_key", repo), ("backup_type", "full")];
    cluster.wait(&format!("the backup in repo{repo}"), || {
        let addresses = operators(cluster.node);
        let samples = addresses.iter().find_map(|address| {
            let metrics = ask(cluster.node, *address, "/metrics")?;
            Some(Samples::parse(metrics.text()))
                .filter(|samples| samples.find("pgbackrest_operator_leader", &[]) == Some(1.0))
        })?;
        let is_one = |name, labels: &[_]| samples.find(name, labels) == Some(1.0);
        (is_one("pgbackrest_repo_up", &labels[..3]) && is_one("pgbackrest_backups", &labels)).then_some(())
    });
}

/// The addresses of their web servers.
fn operators(node: &Node) -> Vec<SocketAddr> {
    let pods = node.kubectl().list(OPERATOR, "pod", "");
    let addresses = pods.iter().filter_map(|pod| pod["status"]["podIP"].as_str()?.parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, 9854)).collect()
}

/// `None` without an answer.
fn ask(node: &Node, address: SocketAddr, path: &str) -> Option<http::Response> {
    node.in_network(|| http::get(&format!("http://{address}{path}"), &[])).ok()
}

/// By their names, in both directions, with all that is needed for a backup.
fn servers_reach_each_other(cluster: &Example<'_>) {
    cluster.kubectl().wait(cluster.namespace, &format!("pod/{REPO_HOST}"), "condition=Ready");
    for (pod, container) in [("cluster-0", "postgres"), (REPO_HOST, "pgbackrest")] {
        cluster.said(pod, container, &["pgbackrest", "check", "--stanza=db"]);
    }
}

fn everything_has_an_address_of_ipv6(node: &Node) {
    let is_ipv6 = |address: &str| address.parse::<Ipv6Addr>().is_ok();
    for (kind, path) in [
        ("node", "{.items[*].status.addresses[?(@.type=='InternalIP')].address}"),
        ("pod", "{.items[*].status.podIPs[*].ip}"),
        ("service", "{.items[*].spec.clusterIPs[*]}"),
    ] {
        let path = format!("--output=jsonpath={path}");
        let found = node.kubectl().run(&["get", kind, "--all-namespaces", &path]);
        // The headless ones have `None`.
        let mut addresses = found.split_whitespace().filter(|address| *address != "None").peekable();
        assert!(addresses.peek().is_some() && addresses.all(is_ipv6), "{kind}: {found}");
    }
    // What service accounts have asked for: operators, and Jobs.
    let log = fs::read_to_string(node.plane().audit_log()).unwrap();
    let requests = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut sources = requests.map(|request| request["sourceIPs"][0].as_str().unwrap().to_owned()).peekable();
    assert!(sources.peek().is_some() && sources.all(|source| is_ipv6(&source)), "{log}");
}

/// No other test uses this node.
fn pods_outlive_the_api_server(node: &mut Node) {
    let addresses = operators(node);
    node.plane_mut().stop_api_server();
    for address in &addresses {
        assert_eq!(ask(node, *address, "/healthz").unwrap().status, 200);
    }
    node.plane_mut().start_api_server();
    let pods = format!("/api/v1/namespaces/{OPERATOR}/pods");
    let listed = node.in_network(|| asked_as_administrator(node.plane(), &pods));
    assert_eq!(listed["items"].as_array().unwrap().len(), addresses.len());
}

#[test]
fn a_repo_host_is_reached_over_both_families() {
    let Some(node) = node_with_operator("a_repo_host_is_reached_over_both_families") else { return };
    let kubectl = node.kubectl();
    kubectl.create_restricted_namespace(BESIDE);
    // Of another owner. Ours would have the first family alone.
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "cluster-clusterpods", "namespace": BESIDE},
        "spec": {"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack", "publishNotReadyAddresses": true,
            "selector": {"application": "cpo", "cluster.cpo.opensource.cybertec.at/name": "cluster"}}});
    kubectl.apply(&service.to_string(), &[]);
    let cluster = Example::apply(node, BESIDE);

    kubectl.wait(BESIDE, &format!("pod/{REPO_HOST}"), "condition=Ready");
    cluster.wait("the stanza", || cluster.record("stanzas").filter(|seen| seen.contains("repo1=")));
    cluster.archive();
    servers_reach_each_other(&cluster);
    let name = format!("{REPO_HOST}.cluster-clusterpods.{BESIDE}.svc.cluster.local");
    let addresses = cluster.said("cluster-0", "postgres", &["getent", "ahosts", &name]);
    for family in ["10.88.", "fd00:"] {
        let address = addresses.split_whitespace().find(|address| address.starts_with(family));
        let address = address.unwrap_or_else(|| panic!("none of {family}: {addresses}"));
        cluster.said("cluster-0", "postgres", &["pgbackrest", "server-ping", address]);
    }
}
