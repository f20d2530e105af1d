//! A tolerant view of the `RestoreTest` resource. Its definition is in `schema`; a manifest may be of any other version of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::finding::Finding;
use crate::cluster::tolerant::{self, list, or_default, strings};

/// The API group of the resource.
pub const GROUP: &str = "pgbackrest-keeper.io";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// Both.
pub const API_VERSION: &str = "pgbackrest-keeper.io/v1alpha1";
pub const KIND: &str = "RestoreTest";
/// The name in URLs and RBAC rules.
pub const PLURAL: &str = "restoretests";

/// One resource.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct RestoreTest {
    /// Name, namespace, UID.
    #[serde(deserialize_with = "or_default")]
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
}

/// `spec`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Spec {
    #[serde(deserialize_with = "or_default")]
    pub clusters: Clusters,
    pub schedule: Option<String>,
    pub time_zone: Option<String>,
    pub jitter: Option<String>,
    pub starting_deadline: Option<String>,
    pub suspend: Option<bool>,
    pub during_backups: Option<bool>,
    pub repo: Option<String>,
    pub backup: Option<String>,
    pub target: Option<String>,
    #[serde(deserialize_with = "list")]
    pub databases: Vec<String>,
    pub process_max: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub timeouts: Timeouts,
    #[serde(deserialize_with = "or_default")]
    pub storage: Storage,
    #[serde(deserialize_with = "or_default")]
    pub configuration: Configuration,
    #[serde(deserialize_with = "or_default")]
    pub postgresql: Postgresql,
    #[serde(deserialize_with = "or_default")]
    pub checks: Checks,
    #[serde(deserialize_with = "or_default")]
    pub pod: Pod,
    pub keep_on_failure: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub history: History,
}

/// `spec.clusters`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Clusters {
    #[serde(deserialize_with = "list")]
    pub names: Vec<String>,
    pub selector: Option<Value>,
}

/// `spec.timeouts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Timeouts {
    pub total: Option<String>,
    pub restore: Option<String>,
    pub replay: Option<String>,
    pub check: Option<String>,
}

/// `spec.storage`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Storage {
    pub ephemeral: Option<Ephemeral>,
    pub empty_dir: Option<EmptyDir>,
}

/// `spec.storage.ephemeral`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Ephemeral {
    pub storage_class: Option<String>,
    pub size: Option<String>,
}

/// `spec.storage.emptyDir`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct EmptyDir {
    pub size_limit: Option<String>,
}

/// `spec.configuration`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Configuration {
    pub secret: Option<String>,
}

/// `spec.postgresql`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Postgresql {
    pub bin_directory: Option<String>,
    pub user: Option<String>,
    #[serde(deserialize_with = "strings")]
    pub parameters: BTreeMap<String, String>,
}

/// `spec.checks`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Checks {
    pub amcheck: Option<bool>,
    pub assertions: Option<Assertions>,
}

/// `spec.checks.assertions`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Assertions {
    pub config_map: Option<String>,
    pub key: Option<String>,
}

/// `spec.pod`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct Pod {
    pub image: Option<String>,
    #[serde(deserialize_with = "list")]
    pub image_pull_secrets: Vec<String>,
    pub service_account: Option<String>,
    pub resources: Option<Value>,
    #[serde(deserialize_with = "strings")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "strings")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "strings")]
    pub node_selector: BTreeMap<String, String>,
    pub affinity: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub tolerations: Vec<Value>,
    pub priority_class: Option<String>,
}

/// `spec.history`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented by the resource's own schema")]
pub struct History {
    pub successful: Option<i64>,
    pub failed: Option<i64>,
    pub time_to_live: Option<String>,
}

/// Parses any document, see `tolerant::read`.
#[must_use]
pub fn read(document: Value) -> (RestoreTest, Vec<Finding>) {
    tolerant::read(document, KIND)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_type_spoils_nothing_else() {
        let (resource, findings) = read(json!({
            "metadata": {"name": "nightly"},
            "spec": {
                "clusters": {"names": ["ledger", null]}, "schedule": "0 3 * * *", "suspend": "yes", "repo": 1,
                "timeouts": null, "storage": {"ephemeral": {}}, "pod": {"labels": {"a": true}},
            },
        }));
        let fields: Vec<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, ["spec.pod.labels.a", "spec.repo", "spec.suspend"]);
        assert_eq!(resource.spec.clusters.names, ["ledger", ""]);
        assert_eq!(resource.spec.schedule.as_deref(), Some("0 3 * * *"));
        assert_eq!(resource.spec.repo.as_deref(), Some("1"));
        assert_eq!(resource.spec.storage.ephemeral, Some(Ephemeral::default()));
        assert_eq!(API_VERSION, format!("{GROUP}/{VERSION}"));
    }
}
