//! Unknown fields of the backup section and of a restore test. The API server drops them silently; in a manifest, they are usually
//! typos.

use serde_json::{Map, Value};

use crate::cluster::finding::{Finding, codes};
use crate::cluster::resource::BACKUP;
use crate::cluster::restore_test::schema;

const SECTION: &[&str] =
    &["image", "repos", "global", "configuration", "restore", "resources", "env", "labels"];
/// `pvcsize` is in a schema in CPO's tutorials, and has no effect.
const REPO: &[&str] = &[
    "name", "storage", "resource", "endpoint", "region", "account", "key", "keyType", "schedule", "volume",
    "pvcsize",
];
const VOLUME: &[&str] = &["size", "storageClass", "selector", "iops", "throughput", "subPath"];
const CONFIGURATION: &[&str] = &["secret", "protection"];
const RESOURCES: &[&str] = &["requests", "limits"];

/// A warning for each.
pub(super) fn fields(document: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(section) = document.pointer("/spec/backup/pgbackrest") else { return findings };
    let mut look = |node: Option<&Value>, path: String, known: &[&str]| {
        if let Some(Value::Object(map)) = node {
            findings.extend(unknown(map, &path, known));
        }
    };
    look(Some(section), BACKUP.to_owned(), SECTION);
    look(section.get("configuration"), format!("{BACKUP}.configuration"), CONFIGURATION);
    look(section.get("resources"), format!("{BACKUP}.resources"), RESOURCES);
    for (index, repo) in section.get("repos").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = format!("{BACKUP}.repos[{index}]");
        look(Some(repo), path.clone(), REPO);
        look(repo.get("volume"), format!("{path}.volume"), VOLUME);
    }
    findings
}

/// A warning for each field of a `RestoreTest` that its schema does not have.
pub(super) fn fields_of_restore_test(document: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(spec) = document.get("spec") {
        look_by_schema(spec, "spec", &schema::spec(), &mut findings);
    }
    findings
}

fn look_by_schema(node: &Value, path: &str, schema: &Value, findings: &mut Vec<Finding>) {
    if let (Value::Array(items), Some(schema)) = (node, schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            look_by_schema(item, &format!("{path}[{index}]"), schema, findings);
        }
    }
    let (Value::Object(fields), Some(Value::Object(known))) = (node, schema.get("properties")) else {
        return;
    };
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    findings.extend(unknown(fields, path, &names));
    for (name, value) in fields {
        if let Some(schema) = known.get(name) {
            look_by_schema(value, &format!("{path}.{name}"), schema, findings);
        }
    }
}

fn unknown(map: &Map<String, Value>, path: &str, known: &[&str]) -> Vec<Finding> {
    let finding = |key: &String| {
        let nearest = known.iter().find(|known| strsim::jaro_winkler(known, key) > 0.85);
        let remedy = match nearest {
            Some(nearest) => format!("use {nearest}, or remove it"),
            None => format!("remove it; known fields here are {}", known.join(", ")),
        };
        Finding::new(
            &codes::UNKNOWN_FIELD,
            format!("{path}.{key}"),
            "is not a field of the resource; the API server silently drops it",
            remedy,
        )
    };
    map.keys().filter(|key| !known.contains(&key.as_str())).map(finding).collect()
}
