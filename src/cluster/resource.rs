//! A tolerant view of the `postgresql` resource (`cpo.opensource.cybertec.at/v1`), as far as backups need it.
//!
//! The resource is defined by another operator in several versions. Every field is optional, `null` means absent, and
//! unknown fields are ignored. It is never written back.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::finding::Finding;
use super::tolerant::{self, list, or_default, strings};

/// The API group and version of the resource.
pub const API_VERSION: &str = "cpo.opensource.cybertec.at/v1";

/// The kind of the resource: lower-case, unlike Kubernetes' own kinds.
pub const KIND: &str = "postgresql";

/// The path of the backup section in findings.
pub const BACKUP: &str = "spec.backup.pgbackrest";

/// The fields of `spec` that [`Spec`] has.
const RELEVANT: [&str; 16] = [
    "backup",
    "dockerImage",
    "env",
    "labels",
    "nodeAffinity",
    "numberOfInstances",
    "podAnnotations",
    "podPriorityClassName",
    "postgresql",
    "schedulerName",
    "standby",
    "tde",
    "teamId",
    "tolerations",
    "topologySpreadConstraints",
    "volume",
];

/// Removes from a resource what is not read here, which is most of it.
pub fn prune(data: &mut Value) {
    let Some(fields) = data.as_object_mut() else { return };
    fields.retain(|name, _| name == "spec");
    let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.retain(|name, _| RELEVANT.contains(&name.as_str()));
    if let Some(postgresql) = spec.get_mut("postgresql").and_then(Value::as_object_mut) {
        postgresql.retain(|name, _| name == "version");
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Postgresql {
    /// Name, namespace, annotations.
    #[serde(deserialize_with = "or_default")]
    pub metadata: ObjectMeta,
    /// `spec`.
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    /// `status`, which CPO writes too.
    #[serde(deserialize_with = "or_default")]
    pub status: ResourceStatus,
}

/// `status`, as far as it is relevant to backups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ResourceStatus {
    /// The `restore.id` that CPO has executed last.
    #[serde(rename = "RestoreID")]
    pub restore_id: Option<String>,
}

impl Postgresql {
    /// The section for backups, if there is one.
    #[must_use]
    pub fn pgbackrest(&self) -> Option<&Pgbackrest> {
        self.spec.backup.as_ref()?.pgbackrest.as_ref()
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// `spec`, as far as it is relevant to backups.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Spec {
    pub team_id: Option<String>,
    pub number_of_instances: Option<i64>,
    pub postgresql: Option<PostgresqlVersion>,
    /// The volume of the database; only its presence matters.
    pub volume: Option<Value>,
    pub backup: Option<BackupSpec>,
    /// Present on a cluster that follows another one.
    pub standby: Option<Value>,
    /// The image of PostgreSQL's containers.
    pub docker_image: Option<String>,
    pub tde: Option<Tde>,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<Value>,
    #[serde(deserialize_with = "strings")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "strings")]
    pub pod_annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub tolerations: Vec<Value>,
    pub node_affinity: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub topology_spread_constraints: Vec<Value>,
    pub scheduler_name: Option<String>,
    pub pod_priority_class_name: Option<String>,
}

/// `spec.postgresql`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PostgresqlVersion {
    /// The major version, such as `17`.
    pub version: Option<String>,
}

/// `spec.tde`: transparent encryption of the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Tde {
    /// Whether it is switched on.
    pub enable: Option<bool>,
}

/// `spec.backup`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct BackupSpec {
    /// Physical backups with pgBackRest.
    pub pgbackrest: Option<Pgbackrest>,
}

/// `spec.backup.pgbackrest`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Pgbackrest {
    pub image: Option<String>,
    #[serde(deserialize_with = "list")]
    pub repos: Vec<RepoSpec>,
    #[serde(deserialize_with = "strings")]
    pub global: BTreeMap<String, String>,
    pub configuration: Option<ConfigurationSpec>,
    /// A request to restore in place; only its presence matters.
    pub restore: Option<Restore>,
    pub resources: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<Value>,
    #[serde(deserialize_with = "strings")]
    pub labels: BTreeMap<String, String>,
}

/// `repos[]`. The relevant fields depend on `storage`.
#[derive(Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct RepoSpec {
    pub name: Option<String>,
    pub storage: Option<String>,
    pub resource: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub account: Option<String>,
    /// gcs: a file name. azure: a secret that does not belong here; never print it.
    pub key: Option<String>,
    pub key_type: Option<String>,
    #[serde(deserialize_with = "strings")]
    pub schedule: BTreeMap<String, String>,
    pub volume: Option<VolumeSpec>,
}

impl std::fmt::Debug for RepoSpec {
    /// Omits possible secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Repo")
            .field("name", &self.name)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// `repos[].volume`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct VolumeSpec {
    pub size: Option<String>,
    pub storage_class: Option<String>,
    pub selector: Option<Value>,
    pub iops: Option<Value>,
    pub throughput: Option<Value>,
    pub sub_path: Option<String>,
}

/// `configuration`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct ConfigurationSpec {
    pub secret: Option<String>,
    pub protection: Option<Protection>,
}

/// `configuration.protection`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Protection {
    /// Whether restores are to be ignored.
    pub restore: Option<bool>,
}

/// `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Restore {
    /// Empty: no restore is requested.
    pub id: Option<String>,
}

/// Parses any document, see `tolerant::read`.
#[must_use]
pub fn read(document: Value) -> (Postgresql, Vec<Finding>) {
    tolerant::read(document, KIND)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_schema_variant_reads_without_a_finding() {
        let documents = [
            json!({}),
            json!({"spec": null}),
            json!({"spec": {"backup": {"pgbackrest": null}}}),
            json!({"spec": {"backup": {"pgbackrest": {"repos": null, "global": null, "env": null, "labels": null}}}}),
            json!({"spec": {"backup": {"pgbackrest": {"repos": [{"name": "repo1", "storage": "pvc", "pvcsize": 3}]}}}}),
            json!({"spec": {"monitor": {"image": "x", "env": []}, "backup": {"pgbackrest": {"repos": [null]}}}}),
            json!({"metadata": {"name": "ledger", "managedFields": []}, "status": {"PostgresClusterStatus": "Running"}}),
        ];
        for document in documents {
            let (_, findings) = read(document.clone());
            assert!(findings.is_empty(), "{document}: {findings:?}");
        }
    }

    #[test]
    fn a_wrong_type_spoils_nothing_else() {
        let (resource, findings) = read(json!({
            "metadata": {"name": "ledger", "annotations": {"pgbackrest-keeper.io/adopt": true}},
            "spec": {"numberOfInstances": "three", "backup": {"pgbackrest": {
                "global": {"repo1-retention-full": 7, "repo1-bundle": true, "process-max": ["2"]},
                "repos": [7, {"name": "repo2", "schedule": {"full": "1 1 * * *", "incr": {}}}],
            }}},
        }));
        let fields: Vec<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "metadata.annotations.pgbackrest-keeper.io/adopt",
                "spec.backup.pgbackrest.global.process-max",
                "spec.backup.pgbackrest.global.repo1-bundle",
                "spec.backup.pgbackrest.global.repo1-retention-full",
                "spec.backup.pgbackrest.repos[0]",
                "spec.backup.pgbackrest.repos[1].schedule.incr",
                "spec.numberOfInstances",
            ]
        );
        let pgbackrest = resource.pgbackrest().unwrap();
        assert_eq!(pgbackrest.global["repo1-retention-full"], "7");
        assert_eq!(pgbackrest.repos[1].schedule["full"], "1 1 * * *");
        assert_eq!(resource.annotation("pgbackrest-keeper.io/adopt"), Some("true"));
    }

    #[test]
    fn a_debug_print_shows_no_key() {
        let repo = RepoSpec { key: Some("hunter2".to_owned()), ..RepoSpec::default() };
        assert!(!format!("{repo:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_pruned_is_not_read() {
        let mut object = json!({
            "spec": {
                "teamId": "team", "numberOfInstances": 2, "dockerImage": "pg", "volume": {"size": "1Gi"},
                "postgresql": {"version": "17", "parameters": {"shared_buffers": "1GB"}},
                "users": {"app": []}, "databases": {"app": "app"}, "resources": {"limits": {"cpu": "1"}},
                "tde": {"enable": true}, "env": [{"name": "A"}], "labels": {"a": "b"}, "podAnnotations": {"c": "d"},
                "tolerations": [{}], "nodeAffinity": {}, "topologySpreadConstraints": [{}], "standby": {},
                "schedulerName": "s", "podPriorityClassName": "p",
                "backup": {"pgbackrest": {"global": {"repo1-path": "/x"}, "repos": [{"name": "repo1"}]}},
            },
            "status": {"BackupStatus": "Ok"},
        });
        let read = |object: &Value| serde_json::from_value::<Postgresql>(object.clone()).unwrap();
        let before = read(&object);
        assert!(RELEVANT.iter().all(|field| object["spec"].get(field).is_some()));
        prune(&mut object);
        assert_eq!(read(&object), before);
        assert!(object.get("status").is_none() && object["spec"].get("users").is_none());
        assert_eq!(object["spec"]["postgresql"], json!({"version": "17"}));
        prune(&mut Value::Null);
    }
}
