//! The definition of the `RestoreTest` resource. `deploy/components/restore-tests/crd.yaml` is generated from it, and `lint` knows the
//! fields from it.

pub mod status;

use serde_json::{Map, Value, json};

use super::resource::{API_VERSION, GROUP, KIND, PLURAL, VERSION};
use crate::cluster::names::LONGEST_RESTORE_TEST;

/// Items of a list in the resource.
const MOST_CLUSTERS: u32 = 1000;
const MOST_ITEMS: u32 = 64;

const DURATION: &str = "^([0-9]+(s|m|min|h|d))+$";
const QUANTITY: &str = "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?$";
const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// The CustomResourceDefinition.
#[must_use]
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{PLURAL}.{GROUP}"),
            "labels": {
                "app.kubernetes.io/name": "pgbackrest-keeper",
                "app.kubernetes.io/component": "restore-tests",
                "app.kubernetes.io/part-of": "pgbackrest-keeper",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "singular": "restoretest",
                "shortNames": ["rtest"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": status::columns(),
                "schema": {"openAPIV3Schema": schema()},
            }],
        },
    })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "description": "Tests the backups of PostgreSQL clusters on a schedule by restoring them in a pod. Each run tests one cluster, \
            the one whose last test is the oldest.",
        "required": ["apiVersion", "kind", "spec"],
        "properties": {
            "apiVersion": {"type": "string", "enum": [API_VERSION]},
            "kind": {"type": "string", "enum": [KIND]},
            "metadata": {"type": "object"},
            "spec": spec(),
            "status": status::schema(),
        },
        "x-kubernetes-validations": [{
            "rule": format!("self.metadata.name.size() <= {LONGEST_RESTORE_TEST} && !self.metadata.name.contains('.')"),
            "message": format!("the name must have at most {LONGEST_RESTORE_TEST} characters, and no dots"),
        }],
    })
}

/// The schema of `spec`.
#[must_use]
pub fn spec() -> Value {
    let mut spec = object(
        "What is tested, when and how.",
        json!({
            "clusters": clusters(),
            "schedule": text(1, 200, "When a test starts: a cron expression, as in a CronJob."),
            "timeZone": text(1, 64, "Time zone of the schedule, such as Europe/Vienna. Defaults to that of kube-controller-manager."),
            "jitter": duration("Moves the start by up to this, such as 30m. By how much follows from namespace and name, and is shown \
                in the CronJob."),
            "startingDeadline": duration("How much later than scheduled a test may start, such as after a backup. Defaults to 2h."),
            "suspend": boolean("Starts no tests."),
            "duringBackups": boolean("Tests a cluster also while a backup of it runs."),
            "repo": choice(&["any", "repo1", "repo2", "repo3", "repo4"],
                "The repository to restore from. any (the default): the one whose last test is the oldest."),
            "backup": text(1, 64, "The backup to restore: latest (the default), oldest, random, or a label. With a point in time, \
                latest is the newest one that leads there."),
            "target": text(1, 64, "How far to recover: latest (the default; the end of the archived WAL), random (a point in time in \
                the proven recovery window), immediate (the end of the backup), or a time such as 2026-11-23T05:00:00Z."),
            "databases": list(text(1, 63, ""), MOST_ITEMS, "Restores and checks only these databases, besides postgres and templates."),
            "processMax": integer(1, 999, "Number of pgBackRest processes that restore. Defaults to pgBackRest's configuration."),
            "timeouts": timeouts(),
            "storage": storage(),
            "configuration": configuration(),
            "postgresql": postgresql(),
            "checks": checks(),
            "pod": pod(),
            "keepOnFailure": boolean("Keeps the copy of a test that did not pass, until its Job is deleted."),
            "history": history(),
        }),
    );
    require(&mut spec, &["clusters", "schedule"]);
    spec
}

fn clusters() -> Value {
    let mut clusters = object(
        "The clusters to test: postgresql resources in the same namespace.",
        json!({
            "names": list(name(""), MOST_CLUSTERS, "Names of clusters."),
            "selector": object("Labels of clusters, as in Kubernetes. Empty: all of the namespace.", json!({
                "matchLabels": map("Labels that a cluster has."),
                "matchExpressions": list(expression(), MOST_ITEMS, "Conditions that the labels of a cluster meet."),
            })),
        }),
    );
    rule(&mut clusters, "has(self.names) != has(self.selector)", "set either names or selector");
    clusters
}

fn expression() -> Value {
    let mut expression = object(
        "",
        json!({
            "key": text(1, 316, ""),
            "operator": choice(&["In", "NotIn", "Exists", "DoesNotExist"], ""),
            "values": list(text(0, 63, ""), MOST_ITEMS, ""),
        }),
    );
    require(&mut expression, &["key", "operator"]);
    expression
}

fn timeouts() -> Value {
    object(
        "How long a test may take.",
        json!({
            "total": duration("The whole test. Defaults to 24h."),
            "restore": duration("The restore. Defaults to 24h."),
            "replay": duration("Recovery. Defaults to 24h."),
            "check": duration("Each check. Defaults to 6h."),
        }),
    )
}

fn storage() -> Value {
    let mut storage = object(
        "Where the copy is.",
        json!({
            "ephemeral": object("A volume that is created for each test and deleted with its pod. This is the default.", json!({
                "storageClass": name("Storage class of the volume. Defaults to that of Kubernetes."),
                "size": quantity("Size of the volume. Defaults to what the cluster needs: the size of its database and WAL, and a \
                    reserve."),
            })),
            "emptyDir": object("A directory on the node.", json!({
                "sizeLimit": quantity("Size at which the kubelet evicts the pod. Defaults to what the cluster needs."),
            })),
        }),
    );
    rule(&mut storage, "!(has(self.ephemeral) && has(self.emptyDir))", "set either ephemeral or emptyDir");
    storage
}

fn configuration() -> Value {
    object(
        "The configuration of pgBackRest, which is otherwise that of the cluster.",
        json!({
            "secret": name("A Secret to read instead of the one in configuration.secret of each cluster, such as one with credentials \
                that can only read."),
        }),
    )
}

fn postgresql() -> Value {
    object(
        "How PostgreSQL runs.",
        json!({
            "binDirectory": text(1, 255, "Directory of PostgreSQL's programs in the image. Defaults to where Debian and postgresql.org's \
                packages install the version of the backup."),
            "user": text(1, 63, "A superuser of the databases. Defaults to postgres."),
            "parameters": map("Settings of PostgreSQL, such as shared_preload_libraries. Other settings of the database are not used."),
        }),
    )
}

fn checks() -> Value {
    let mut assertions = object(
        "Queries and their expected results.",
        json!({
            "configMap": name("ConfigMap with the assertions."),
            "key": text(1, 253, "Key of the ConfigMap. Defaults to assertions.yaml."),
        }),
    );
    require(&mut assertions, &["configMap"]);
    object(
        "What is checked besides the target, all relations and all pages.",
        json!({
            "amcheck": boolean("Also checks tables and indexes with pg_amcheck, in databases that have the extension amcheck."),
            "assertions": assertions,
        }),
    )
}

fn pod() -> Value {
    object(
        "The pod of a test.",
        json!({
            "image": text(1, 512, "Image with PostgreSQL and pgBackRest. Defaults to that of the cluster's PostgreSQL containers."),
            "imagePullSecrets": list(name(""), MOST_ITEMS, "Secrets with which the image is pulled."),
            "serviceAccount": name("ServiceAccount of the pod, for credentials of an object store. Its token is not mounted. Defaults \
                to default."),
            "resources": any("Requests and limits of the container, as in a pod."),
            "labels": map("Labels of the pod."),
            "annotations": map("Annotations of the pod."),
            "nodeSelector": map("Labels of the nodes."),
            "affinity": any("As in a pod. Defaults to nodeAffinity of the cluster."),
            "tolerations": list(any(""), MOST_ITEMS, "As in a pod. Defaults to those of the cluster."),
            "priorityClass": name("Priority class of the pod."),
        }),
    )
}

fn history() -> Value {
    object(
        "How long Jobs that have ended are kept. Their pods and volumes are kept as long.",
        json!({
            "successful": integer(0, 1000, "Number of Jobs of tests that passed. Defaults to 1."),
            "failed": integer(0, 1000, "Number of other Jobs. Defaults to 3."),
            "timeToLive": duration("Time after which they are deleted. Defaults to 1h, or 3d with keepOnFailure."),
        }),
    )
}

/// The names of all fields of `spec`.
#[must_use]
pub fn fields() -> Vec<String> {
    fn collect(schema: &Value, names: &mut Vec<String>) {
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            names.push(name.clone());
            collect(field, names);
        }
        if let Some(items) = schema.get("items") {
            collect(items, names);
        }
    }
    let mut names = Vec::new();
    collect(&spec(), &mut names);
    names
}

/// With a description, unless it is empty.
fn typed(kind: &str, description: &str, mut rest: Value) -> Value {
    let fields = rest.as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), Value::from(kind));
    if !description.is_empty() {
        schema.insert("description".to_owned(), Value::from(description));
    }
    schema.extend(fields);
    Value::Object(schema)
}

fn object(description: &str, properties: Value) -> Value {
    let mut schema = typed("object", description, json!({}));
    set(&mut schema, "properties", properties);
    schema
}

/// Whatever Kubernetes takes there.
fn any(description: &str) -> Value {
    typed("object", description, json!({"x-kubernetes-preserve-unknown-fields": true}))
}

fn map(description: &str) -> Value {
    typed(
        "object",
        description,
        json!({"additionalProperties": {"type": "string"}, "maxProperties": MOST_ITEMS}),
    )
}

fn list(items: Value, most: u32, description: &str) -> Value {
    let mut schema = typed("array", description, json!({"maxItems": most}));
    set(&mut schema, "items", items);
    schema
}

fn text(least: u32, most: u32, description: &str) -> Value {
    typed("string", description, json!({"minLength": least, "maxLength": most}))
}

fn name(description: &str) -> Value {
    typed("string", description, json!({"pattern": OBJECT_NAME, "maxLength": 253}))
}

fn duration(description: &str) -> Value {
    typed("string", description, json!({"pattern": DURATION, "maxLength": 32}))
}

fn quantity(description: &str) -> Value {
    typed("string", description, json!({"pattern": QUANTITY, "maxLength": 32}))
}

fn choice(words: &[&str], description: &str) -> Value {
    typed("string", description, json!({"enum": words}))
}

fn boolean(description: &str) -> Value {
    typed("boolean", description, json!({}))
}

fn integer(least: i64, most: i64, description: &str) -> Value {
    typed("integer", description, json!({"minimum": least, "maximum": most}))
}

fn require(schema: &mut Value, fields: &[&str]) {
    set(schema, "required", json!(fields));
}

fn rule(schema: &mut Value, rule: &str, message: &str) {
    set(schema, "x-kubernetes-validations", json!([{"rule": rule, "message": message}]));
}

fn set(schema: &mut Value, member: &str, value: Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(member.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the API server would drop or refuse as not structural: every level has a type, and everything but rules says what it is.
    #[test]
    fn every_field_has_a_type_and_a_meaning() {
        fn look(schema: &Value, path: &str, is_item: bool) {
            assert!(schema["type"].is_string(), "{path}");
            let is_plain = ["key", "operator", "values"].iter().any(|plain| path.ends_with(plain));
            assert!(is_item || is_plain || schema["description"].is_string(), "{path} has no description");
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                look(field, &format!("{path}.{name}"), false);
            }
            if schema["items"].is_object() {
                look(&schema["items"], &format!("{path}[]"), true);
            }
        }
        look(&spec(), "spec", false);
        look(&status::schema(), "status", false);
        assert!(fields().len() > 50, "{:?}", fields());
    }

    /// The patterns take what `validate` takes.
    #[test]
    fn patterns_are_not_narrower_than_the_checks() {
        let matches = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        for (pattern, good, bad) in [
            (DURATION, &["30m", "1h30m", "3d", "90s", "15min"][..], &["", "1", "h", "-1h", "1 h"][..]),
            (QUANTITY, &["1", "50Gi", "1.5Ti", "100M", "2e9", "1E"], &["", "50GB", "-1Gi", "Gi"]),
            (OBJECT_NAME, &["a", "read-only", "a.b"], &["", "A", "-a", "a-", "a/b"]),
        ] {
            assert!(good.iter().all(|text| matches(pattern, text)), "{pattern}");
            assert!(!bad.iter().any(|text| matches(pattern, text)), "{pattern}");
        }
    }
}
