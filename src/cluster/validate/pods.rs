//! Settings of the resource for pods: labels, environment, resources, placement.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{EnvVar, NodeAffinity, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Checks, object_name};
use crate::cluster::finding::codes;
use crate::cluster::quantity;
use crate::cluster::resource::{BACKUP, Pgbackrest, Postgresql};
use crate::cluster::validated::{DatabasePods, PodTemplate};
use crate::cluster::{labels, names};
use crate::pgbackrest::options;

/// The template for pods of a cluster.
pub(super) struct Pods {
    pub(super) job: PodTemplate,
    pub(super) repo_host: PodTemplate,
    pub(super) database: DatabasePods,
}

pub(super) fn look(resource: &Postgresql, section: &Pgbackrest, checks: &mut Checks<'_>) -> Pods {
    let spec = &resource.spec;
    let tolerations: Vec<Toleration> = typed_list(&spec.tolerations, "spec.tolerations", checks);
    let node_affinity: Option<NodeAffinity> =
        spec.node_affinity.as_ref().and_then(|given| typed(given, "spec.nodeAffinity", checks));
    let topology_spread =
        typed_list(&spec.topology_spread_constraints, "spec.topologySpreadConstraints", checks);
    let path = format!("{BACKUP}.resources");
    let resources = section.resources.as_ref().and_then(|given| resources(given, &path, checks));
    let job = PodTemplate {
        labels: pod_labels(resource, section, checks),
        annotations: annotations(&spec.pod_annotations, "spec.podAnnotations", checks),
        env: environment(section, checks),
        resources: None,
        tolerations,
        node_affinity,
        topology_spread,
        scheduler: name_of(spec.scheduler_name.as_deref(), "spec.schedulerName", checks),
        priority_class: name_of(spec.pod_priority_class_name.as_deref(), "spec.podPriorityClassName", checks),
    };
    let repo_host = PodTemplate { resources, ..job.clone() };
    Pods { job, repo_host, database: database(resource, checks) }
}

/// `spec.env` is for PostgreSQL's containers, which are not ours; a copy of the database needs what pgBackRest reads of it.
fn database(resource: &Postgresql, checks: &mut Checks<'_>) -> DatabasePods {
    let spec = &resource.spec;
    let env = variables("spec.env", &spec.env, checks).into_iter().map(|(_, variable)| variable);
    let volume_size = spec.volume.as_ref().and_then(|volume| volume.get("size")).and_then(Value::as_str);
    DatabasePods {
        image: spec.docker_image.clone().filter(|image| names::is_image(image)),
        volume_size: volume_size.map(str::to_owned),
        env: env.filter(|variable| variable.name.starts_with("PGBACKREST_")).collect(),
    }
}

/// The name of another object. Empty is not set.
fn name_of(given: Option<&str>, field: &str, checks: &mut Checks<'_>) -> Option<String> {
    object_name(given.filter(|name| !name.is_empty())?, field, checks)
}

fn pod_labels(
    resource: &Postgresql,
    section: &Pgbackrest,
    checks: &mut Checks<'_>,
) -> BTreeMap<String, String> {
    let mut kept = free_labels(&resource.spec.labels, "spec.labels", checks);
    kept.extend(free_labels(&section.labels, &format!("{BACKUP}.labels"), checks));
    kept
}

/// Labels that Kubernetes takes, without those that select pods.
pub(super) fn free_labels(
    given: &BTreeMap<String, String>,
    path: &str,
    checks: &mut Checks<'_>,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (key, value) in given {
        let field = format!("{path}.{key}");
        if labels::is_reserved(key, checks.settings) {
            checks.note(
                &codes::LABEL_RESERVED,
                field,
                "is a reserved label that selects pods; it is ignored",
                "use another key",
            );
        } else if is_label(key, value, &field, checks) {
            kept.insert(key.clone(), value.clone());
        }
    }
    kept
}

/// Whether Kubernetes takes this as a label.
pub(super) fn is_label(key: &str, value: &str, field: &str, checks: &mut Checks<'_>) -> bool {
    let is_label = labels::is_key(key) && labels::is_value(value);
    if !is_label {
        checks.note_value(
            &codes::FIELD_MALFORMED,
            field,
            value,
            "is not a valid Kubernetes label",
            "use up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        );
    }
    is_label
}

/// Annotations with keys that Kubernetes takes.
pub(super) fn annotations(
    given: &BTreeMap<String, String>,
    path: &str,
    checks: &mut Checks<'_>,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (key, value) in given {
        if labels::is_key(key) {
            kept.insert(key.clone(), value.clone());
        } else {
            checks.note(
                &codes::FIELD_MALFORMED,
                format!("{path}.{key}"),
                "is not a valid key of an annotation",
                "use up to 63 letters, digits, '-', '_' and '.', after an optional domain and '/'",
            );
        }
    }
    kept
}

/// Those of the backup section.
fn environment(section: &Pgbackrest, checks: &mut Checks<'_>) -> Vec<EnvVar> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for (field, variable) in variables(&format!("{BACKUP}.env"), &section.env, checks) {
        if is_reserved(&variable.name) {
            checks.note_value(
                &codes::FIELD_NOT_USED,
                format!("{field}.name"),
                &variable.name,
                "is ignored: it would affect the program that makes the backups, not pgBackRest",
                "remove it",
            );
        } else if seen.insert(variable.name.to_ascii_uppercase()) {
            kept.push(variable);
        } else {
            checks.note_value(
                &codes::ENV_TWICE,
                format!("{field}.name"),
                &variable.name,
                "is given twice; the first value is used",
                "remove one of them",
            );
        }
    }
    kept
}

/// The valid variables of a list, each with its field; the others give findings.
fn variables(path: &str, list: &[Value], checks: &mut Checks<'_>) -> Vec<(String, EnvVar)> {
    let mut valid = Vec::new();
    for (index, given) in list.iter().enumerate() {
        let field = format!("{path}[{index}]");
        let Some(variable) = typed::<EnvVar>(given, &field, checks) else { continue };
        if variable.name.is_empty()
            || variable.name.contains('=')
            || variable.name.chars().any(char::is_control)
        {
            checks.note(
                &codes::FIELD_MALFORMED,
                format!("{field}.name"),
                "is not a valid name of an environment variable",
                "use letters, digits and underscores",
            );
        } else if holds_secret(&variable) {
            checks.note(
                &codes::SECRET_IN_RESOURCE,
                format!("{field}.value"),
                format!("is the value of {}, which is a secret, in plain text", variable.name),
                "read it from a Secret with valueFrom.secretKeyRef, and replace it if it was exposed",
            );
        } else {
            valid.push((field, variable));
        }
    }
    valid
}

/// Names of our flags, of clients of Kubernetes, and of proxies, which pgBackRest does not use.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEEPER_", "KUBE"].iter().any(|start| name.starts_with(start)) || name.ends_with("_PROXY")
}

/// A literal secret: a pgBackRest option or a PostgreSQL password.
fn holds_secret(variable: &EnvVar) -> bool {
    is_secret(&variable.name, variable.value.as_deref().unwrap_or_default())
}

/// The same for a variable of the resource.
pub(super) fn is_plain_secret(variable: &Value) -> bool {
    let text = |field: &str| variable.get(field).and_then(Value::as_str).unwrap_or_default();
    is_secret(text("name"), text("value"))
}

fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    if value.is_empty() {
        return false;
    }
    let option = name.strip_prefix("pgbackrest-");
    let is_secret = |option: &str| options::is_secret(option) && !options::is_key_path(option, value);
    name == "pgpassword" || option.is_some_and(is_secret)
}

/// `requests` and `limits`; `None` if there is a finding.
pub(super) fn resources(given: &Value, path: &str, checks: &mut Checks<'_>) -> Option<ResourceRequirements> {
    let requirements: ResourceRequirements = typed(given, path, checks)?;
    let mut good = true;
    for (kind, list) in [("requests", &requirements.requests), ("limits", &requirements.limits)] {
        for (name, Quantity(amount)) in list.iter().flatten() {
            if quantity::thousandths(amount).is_none() {
                good = false;
                checks.note_value(
                    &codes::FIELD_MALFORMED,
                    format!("{path}.{kind}.{name}"),
                    amount,
                    "is not a quantity",
                    "use a Kubernetes quantity, such as 500m or 256Mi",
                );
            }
        }
    }
    let limit = |name: &String| requirements.limits.as_ref()?.get(name);
    for (name, Quantity(request)) in requirements.requests.iter().flatten() {
        let Some(Quantity(limit)) = limit(name) else { continue };
        if quantity::thousandths(request) > quantity::thousandths(limit) && good {
            good = false;
            checks.note_value(
                &codes::FIELD_MALFORMED,
                format!("{path}.requests.{name}"),
                request,
                format!("exceeds the limit, which is {limit}"),
                "raise the limit, or lower the request",
            );
        }
    }
    good.then_some(requirements)
}

pub(super) fn typed_list<T: DeserializeOwned>(
    given: &[Value],
    path: &str,
    checks: &mut Checks<'_>,
) -> Vec<T> {
    let elements = given.iter().enumerate();
    elements.filter_map(|(index, element)| typed(element, &format!("{path}[{index}]"), checks)).collect()
}

/// Parses a type of Kubernetes. The message of the parser is omitted: it may quote a secret.
pub(super) fn typed<T: DeserializeOwned>(given: &Value, path: &str, checks: &mut Checks<'_>) -> Option<T> {
    let read = T::deserialize(given).ok();
    if read.is_none() {
        checks.note(
            &codes::FIELD_MALFORMED,
            path,
            "is not valid for this field of a pod",
            "use the format of the pod field; see kubectl explain pod.spec",
        );
    }
    read
}
