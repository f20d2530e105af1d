//! The owner of an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Owner;
use crate::cluster::labels::{CLUSTER, MANAGED_BY, MANAGER};
use crate::operator::kinds::ObjectKind;

/// The owner of an object with one of our names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ownership {
    /// It carries our label and belongs to this resource.
    Ours,
    /// It is being deleted.
    Leaving,
    /// It belongs to a deleted resource of the same name; Kubernetes will remove it.
    Predecessor,
    /// It is ours, but belongs to another cluster.
    OtherCluster(String),
    /// It has another owner; contains a description.
    Foreign(String),
}

/// Whether an object belongs to this resource.
pub(in crate::operator) fn is_ours(metadata: &ObjectMeta, kind: &str, owner: Owner<'_>) -> bool {
    ObjectKind::of(kind).is_some_and(|kind| of(metadata, kind, owner) == Ownership::Ours)
}

/// Based on labels and owner references. A volume has no owner reference.
pub(super) fn of(metadata: &ObjectMeta, kind: &ObjectKind, owner: Owner<'_>) -> Ownership {
    let label = |key| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let mut owners = metadata.owner_references.iter().flatten();
    if metadata.deletion_timestamp.is_some() {
        return Ownership::Leaving;
    }
    if label(MANAGED_BY) != Some(MANAGER) {
        return Ownership::Foreign(describe(metadata));
    }
    match label(CLUSTER) {
        Some(cluster) if cluster != owner.name => {
            return Ownership::OtherCluster(format!("the cluster {cluster}"));
        }
        _ => {}
    }
    if kind.name == "PersistentVolumeClaim" || owners.any(|known| known.uid == owner.uid) {
        return Ownership::Ours;
    }
    let mut owners = metadata.owner_references.iter().flatten();
    if owners.any(|known| known.kind == owner.kind && known.name == owner.name) {
        return Ownership::Predecessor;
    }
    Ownership::Foreign(describe(metadata))
}

/// A description of the apparent owner: the controller, the label or annotation of its manager, and the field
/// managers.
pub(super) fn describe(metadata: &ObjectMeta) -> String {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let controller = owners.iter().find(|owner| owner.controller == Some(true)).or(owners.first());
    let controller = controller.map(|owner| format!("{} {}", owner.kind, owner.name));
    let release = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("meta.helm.sh/release-name"))
        .map(|release| format!("the Helm release {release}"));
    let manager =
        metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).map(|manager| match manager {
            manager if manager == MANAGER => "an unknown owner".to_owned(),
            manager => manager.clone(),
        });
    let mut writers: Vec<&str> = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    writers.sort_unstable();
    writers.dedup();
    let owner = controller.or(release).or(manager);
    match (owner, writers.is_empty()) {
        (Some(owner), true) => owner,
        (Some(owner), false) => format!("{owner} (written by {})", writers.join(", ")),
        (None, false) => format!("the client that wrote it as {}", writers.join(", ")),
        (None, true) => "an unknown owner".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::resource::KIND;

    const OWNER: Owner<'_> = Owner { kind: KIND, namespace: "shop", name: "orders", uid: "u1" };

    fn ownership(kind: &str, metadata: Value) -> Ownership {
        of(&serde_json::from_value(metadata).unwrap(), ObjectKind::of(kind).unwrap(), OWNER)
    }

    fn labels(cluster: &str) -> Value {
        json!({MANAGED_BY: MANAGER, CLUSTER: cluster})
    }

    fn owned_by(uid: &str) -> Value {
        json!([{"apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql", "name": "orders", "uid": uid,
            "controller": true}])
    }

    #[test]
    fn both_label_and_owner_make_an_object_ours() {
        let both = json!({"labels": labels("orders"), "ownerReferences": owned_by("u1")});
        assert_eq!(ownership("CronJob", both), Ownership::Ours);
        let label_alone = json!({"labels": labels("orders")});
        assert_eq!(
            ownership("CronJob", label_alone.clone()),
            Ownership::Foreign("an unknown owner".to_owned())
        );
        assert_eq!(ownership("PersistentVolumeClaim", label_alone), Ownership::Ours);
        let owner_alone = json!({"ownerReferences": owned_by("u1"), "managedFields": [{"manager": "cpo"}]});
        assert_eq!(
            ownership("StatefulSet", owner_alone),
            Ownership::Foreign("postgresql orders (written by cpo)".to_owned())
        );
    }

    #[test]
    fn what_is_of_another_cluster_or_time_is_told_apart() {
        let other = json!({"labels": labels("invoices"), "ownerReferences": owned_by("u1")});
        assert_eq!(ownership("CronJob", other), Ownership::OtherCluster("the cluster invoices".to_owned()));
        let before = json!({"labels": labels("orders"), "ownerReferences": owned_by("u0")});
        assert_eq!(ownership("CronJob", before), Ownership::Predecessor);
        let leaving = json!({"labels": labels("orders"), "ownerReferences": owned_by("u1"),
            "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(ownership("CronJob", leaving), Ownership::Leaving);
    }

    #[test]
    fn an_owner_is_told_as_well_as_it_is_known() {
        for (metadata, expected) in [
            (json!({}), "an unknown owner"),
            (json!({"labels": {MANAGED_BY: "Helm"}}), "Helm"),
            (
                json!({"labels": {MANAGED_BY: "Helm"}, "annotations": {"meta.helm.sh/release-name": "db"},
                    "managedFields": [{"manager": "helm"}, {"manager": "x", "subresource": "status"}]}),
                "the Helm release db (written by helm)",
            ),
            (
                json!({"managedFields": [{"manager": "kubectl"}, {"manager": "argo"}, {"manager": "kubectl"}]}),
                "the client that wrote it as argo, kubectl",
            ),
        ] {
            assert_eq!(describe(&serde_json::from_value(metadata).unwrap()), expected);
        }
    }
}
