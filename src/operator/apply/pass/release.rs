//! Releases objects: removes our labels and owner references, and changes nothing else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::{Pass, RELEASED, name};
use crate::cluster::labels::{BACKUP_TYPE, CLUSTER, MANAGED_BY, REPO};
use crate::kubernetes::client::CallError;
use crate::operator::apply::findings;
use crate::operator::kinds::ObjectPath;

impl Pass<'_> {
    /// Releases all objects.
    pub(in crate::operator::apply) async fn release_all(&mut self) -> Result<(), CallError> {
        for (kind, metadata) in self.of_ours() {
            let place = ObjectPath { kind, namespace: self.owner.namespace, name: name(&metadata) };
            let patch = patch(&metadata, self.owner.uid);
            match self.writer.server.merge(place, &patch).await {
                Ok(_) => self.record(RELEASED, &place),
                Err(error) => self.applied.findings.push(findings::of_trouble(place, error.into())?),
            }
        }
        Ok(())
    }
}

/// For exactly this version of the object, so that an owner that was added in the meantime is kept.
fn patch(metadata: &ObjectMeta, uid: &str) -> Value {
    let ours = [MANAGED_BY, CLUSTER, REPO, BACKUP_TYPE];
    let has = |key: &&str| metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(*key));
    let labels: Map<String, Value> =
        ours.into_iter().filter(has).map(|key| (key.to_owned(), Value::Null)).collect();
    let others: Vec<_> =
        metadata.owner_references.iter().flatten().filter(|owner| owner.uid != uid).collect();
    json!({"metadata": {
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
        "labels": labels,
        "ownerReferences": others,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_comes_off() {
        let metadata = json!({"uid": "o", "resourceVersion": "7",
            "labels": {MANAGED_BY: "pgbackrest-keeper", CLUSTER: "orders", "application": "cpo"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "postgresql", "name": "orders", "uid": "u"},
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "x"}]});
        let patch = patch(&serde_json::from_value(metadata).unwrap(), "u");
        assert_eq!(
            patch,
            json!({"metadata": {"uid": "o", "resourceVersion": "7",
                "labels": {MANAGED_BY: null, CLUSTER: null},
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "x"}]}})
        );
    }
}
