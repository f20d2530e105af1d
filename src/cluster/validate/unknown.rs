//! Unknown fields of the backup section. The API server drops them silently; in a manifest, they are usually typos.

use serde_json::{Map, Value};

use crate::cluster::finding::{Finding, codes};
use crate::cluster::resource::BACKUP;

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
