//! Common parts of our pods: placement, security context, and settings of the resource.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EnvVar, EnvVarSource, LocalObjectReference, ObjectFieldSelector,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::cluster::labels::Labels;
use crate::cluster::settings::Settings;
use crate::cluster::validated::PodTemplate;

/// A pod template with `container`, our labels and those of the resource.
pub(super) fn template(
    from: &PodTemplate,
    labels: Labels,
    container: Container,
    spec: PodSpec,
    settings: &Settings,
) -> PodTemplateSpec {
    let pull_policy = settings.image_pull_policy.map(|policy| policy.as_str().to_owned());
    let container = Container { image_pull_policy: pull_policy, ..container };
    let pull_secrets = settings.image_pull_secrets.iter();
    let pull_secrets: Vec<_> = pull_secrets.map(|name| LocalObjectReference { name: name.clone() }).collect();
    // Ours have priority: selectors use them.
    let mut all_labels = from.labels.clone();
    all_labels.extend(labels);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: Some(from.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            image_pull_secrets: none_if_empty(&pull_secrets),
            enable_service_links: Some(false),
            tolerations: none_if_empty(&from.tolerations),
            topology_spread_constraints: none_if_empty(&from.topology_spread),
            affinity: from
                .node_affinity
                .clone()
                .map(|node| Affinity { node_affinity: Some(node), ..Affinity::default() }),
            scheduler_name: from.scheduler.clone(),
            priority_class_name: from.priority_class.clone(),
            ..spec
        }),
    }
}

/// Pods that were evicted do not count as failed.
pub(super) fn ignore_evictions() -> PodFailurePolicyRule {
    PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        ..PodFailurePolicyRule::default()
    }
}

/// The pod settings of the Pod Security Standard `restricted`.
pub(super) fn restricted(user: Option<i64>, group: Option<i64>, fs_group: Option<i64>) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: user,
        run_as_group: group,
        fs_group,
        // Changing the owner of every file of a large repo at each start would take hours.
        fs_group_change_policy: fs_group.map(|_| "OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// The container settings of the Pod Security Standard `restricted`, and a read-only root file system.
pub(super) fn restricted_container() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// Ours first, then those of the resource, which cannot override ours.
pub(super) fn environment(ours: Vec<EnvVar>, from: &PodTemplate) -> Option<Vec<EnvVar>> {
    let theirs = from.env.iter().filter(|theirs| ours.iter().all(|one| one.name != theirs.name));
    let theirs: Vec<EnvVar> = theirs.cloned().collect();
    Some([ours, theirs].concat()).filter(|all| !all.is_empty())
}

/// A variable from a field of the pod.
pub(super) fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// Requests for CPU and memory, and a limit for memory. There is no limit for CPU: throttling would only slow down
/// backups.
pub(super) fn resources(cpu: &str, memory: &str, most_memory: &str) -> ResourceRequirements {
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
    ResourceRequirements {
        requests: Some(BTreeMap::from([quantity("cpu", cpu), quantity("memory", memory)])),
        limits: Some(BTreeMap::from([quantity("memory", most_memory)])),
        ..ResourceRequirements::default()
    }
}

fn none_if_empty<Item: Clone>(items: &[Item]) -> Option<Vec<Item>> {
    Some(items.to_vec()).filter(|items| !items.is_empty())
}
