//! ServiceAccounts, and the permissions of backup jobs: to list the cluster's pods and to run pgBackRest in them.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::object::{self, Object};
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;

/// ServiceAccount, Role and RoleBinding of the jobs.
pub(super) fn for_jobs(cluster: &ValidatedCluster, settings: &Settings) -> Vec<Object> {
    let name = names::backup_account(&cluster.name);
    let metadata = object::of_cluster(cluster, settings, name.clone());
    let account = ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() };
    let role = Role { metadata: metadata.clone(), rules: Some(rules(cluster)) };
    let binding = RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(cluster.namespace.clone()),
            ..Subject::default()
        }]),
    };
    vec![account.into(), role.into(), binding.into()]
}

/// The repo host does not use the API server, so its account has no permissions and no token.
pub(super) fn for_repo_host(cluster: &ValidatedCluster, settings: &Settings) -> Object {
    ServiceAccount {
        metadata: object::of_cluster(cluster, settings, names::repo_host_account(&cluster.name)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
    .into()
}

fn rules(cluster: &ValidatedCluster) -> Vec<PolicyRule> {
    let rule = |group: &str, resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let mut rules = vec![
        // Listing cannot be restricted to names or labels.
        rule("", "pods", &["get", "list"]),
        // Exec over a WebSocket is a GET; from Kubernetes 1.35 on, it also requires `create`.
        PolicyRule { resource_names: Some(pods(cluster)), ..rule("", "pods/exec", &["create", "get"]) },
    ];
    if cluster.jobs.deadline.is_some() {
        // The program stops before the deadline of its Job, and only the Job contains the start time.
        rules.push(rule("batch", "jobs", &["get"]));
    }
    rules
}

/// The pods in which pgBackRest runs.
fn pods(cluster: &ValidatedCluster) -> Vec<String> {
    let databases = (0..cluster.instances.max(1)).map(|index| names::database_pod(&cluster.name, index));
    let repo_host = cluster.needs_repo_host().then(|| names::repo_host_pod(&cluster.name));
    databases.chain(repo_host).collect()
}
