//! Pods whose names stand for IPv6 addresses alone, as in a cluster with nothing else.

use serde_json::json;

use crate::support::example::{Example, node_with_operator};

const NAMESPACE: &str = "ipv6";
const REPO_HOST: &str = "cluster-pgbackrest-repo-host-0";

#[test]
fn a_repo_host_is_reached_over_ipv6_alone() {
    let Some(node) = node_with_operator("a_repo_host_is_reached_over_ipv6_alone") else { return };
    let kubectl = node.kubectl();
    kubectl.create_restricted_namespace(NAMESPACE);
    // As Kubernetes makes every Service where there is only IPv6.
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "cluster-clusterpods", "namespace": NAMESPACE},
        "spec": {"clusterIP": "None", "ipFamilies": ["IPv6"], "publishNotReadyAddresses": true,
            "selector": {"application": "cpo", "cluster.cpo.opensource.cybertec.at/name": "cluster"}}});
    kubectl.apply(&service.to_string(), &[]);
    let cluster = Example::apply(node, NAMESPACE);

    kubectl.wait(NAMESPACE, &format!("pod/{REPO_HOST}"), "condition=Ready");
    cluster.wait("the stanza", || cluster.record("stanzas").filter(|seen| seen.contains("repo1=")));
    cluster.archive();
    // Both directions.
    let check = ["pgbackrest", "check", "--stanza=db"];
    cluster.said("cluster-0", "postgres", &check);
    cluster.said(REPO_HOST, "pgbackrest", &check);
    let name = format!("{REPO_HOST}.cluster-clusterpods.{NAMESPACE}.svc.cluster.local");
    let addresses = cluster.said("cluster-0", "postgres", &["getent", "ahosts", &name]);
    assert!(addresses.starts_with("fd00:") && !addresses.contains("10.88."), "{addresses}");
}
