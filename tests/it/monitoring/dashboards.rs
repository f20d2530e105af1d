//! The dashboards: generated here, well formed, about metrics that exist, and queried in a real Prometheus.

mod answers;
mod archive;
mod archiver;
mod cluster;
mod fleet;
mod frame;
mod lint;
mod model;
mod operator_exporter;
mod provisioning;
mod query;
mod restore_tests;
mod scraped;
mod verifications;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::frame::Dashboard;

fn all() -> [Dashboard; 3] {
    [fleet::dashboard(), cluster::dashboard(), operator_exporter::dashboard()]
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

#[test]
fn the_dashboards_are_generated() {
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    for dashboard in all() {
        let path = directory().join(format!("{}.json", dashboard.file));
        let text = format!("{}\n", serde_json::to_string_pretty(&dashboard.json()).unwrap());
        if update {
            fs::create_dir_all(directory()).unwrap();
            fs::write(&path, text).unwrap();
            continue;
        }
        let stands = fs::read_to_string(&path).unwrap_or_default();
        assert!(stands == text, "{} is not what is generated; run with UPDATE_GOLDEN=1", path.display());
    }
    let files: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, all().map(|dashboard| format!("{}.json", dashboard.file)).into());
}

/// A query of a dashboard, with what it is for.
struct Query {
    /// Dashboard and panel, or variable, or annotation.
    place: String,
    text: String,
    kind: QueryKind,
}

#[derive(Clone, Copy, PartialEq)]
enum QueryKind {
    Instant,
    Range,
    Variable,
    Annotation,
}

/// Everything that a dashboard asks Prometheus.
fn queries(dashboard: &Value) -> Vec<Query> {
    let name = text(&dashboard["title"]);
    let list = |value: &Value| value.as_array().unwrap().clone();
    let mut all = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push(Query {
                place: format!("{name}: {} {}", text(&panel["title"]), text(&target["refId"])),
                text: text(&target["expr"]).to_owned(),
                kind: if target["instant"] == true { QueryKind::Instant } else { QueryKind::Range },
            });
        }
    }
    for variable in list(&dashboard["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
        all.push(Query {
            place: format!("{name}: variable {}", text(&variable["name"])),
            text: text(&variable["query"]["query"]).to_owned(),
            kind: QueryKind::Variable,
        });
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        all.push(Query {
            place: format!("{name}: annotation {}", text(&annotation["name"])),
            text: text(&annotation["expr"]).to_owned(),
            kind: QueryKind::Annotation,
        });
    }
    all
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
