//! Rules for all dashboards and panels, including that they only use existing metrics and labels.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pgbackrest_keeper::metrics::catalogue::{self, Metric, MetricKind};
use regex::Regex;
use serde_json::{Value, json};

use super::query::{ANY_AGE, FULL_AGE, SUCCESS_AGE};
use super::{QueryKind, all, queries, text};

/// Of Prometheus itself, and of kubelets.
const FOREIGN_METRICS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "ALERTS",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
];
/// Of targets, of the operator's series, of alerts, of kubelets, and what the expressions make.
const FOREIGN_LABELS: [&str; 10] = [
    "job",
    "instance",
    "namespace",
    "pg_cluster",
    "alertname",
    "severity",
    "component",
    "alertstate",
    "persistentvolumeclaim",
    "host",
];
const UNITS: [&str; 9] =
    ["short", "none", "s", "bytes", "Bps", "ops", "percentunit", "dateTimeFromNow", "dateTimeAsIso"];

fn words<'text>(pattern: &str, text: &'text str) -> Vec<&'text str> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found.get(1).unwrap().as_str()).collect()
}

fn dashboards() -> Vec<Value> {
    all().iter().map(super::Dashboard::json).collect()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn dashboards_have_what_grafana_wants() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        let uid = text(&dashboard["uid"]).to_owned();
        assert!(uid.len() <= 40 && uids.insert(uid.clone()), "{uid}");
        assert_eq!(dashboard["editable"], false);
        assert_eq!(dashboard["schemaVersion"], 39);
        assert_eq!(dashboard["tags"], json!(["pgbackrest"]));
        assert!(dashboard.get("id").is_none() && dashboard.get("__inputs").is_none());
        let link = &dashboard["links"][0];
        assert_eq!((&link["includeVars"], &link["keepTime"]), (&json!(true), &json!(true)));
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["type"], "datasource");
        for variable in &variables[1..] {
            // `.+` would hide every exporter without the label.
            assert_eq!(variable["allValue"], ".*", "{}", variable["name"]);
            assert_eq!(variable["refresh"], 2, "{}", variable["name"]);
        }
        let written = serde_json::to_string(&dashboard).unwrap();
        for source in words(r#""datasource":(\{[^}]*\}\}?)"#, &written) {
            assert!(source.contains("${datasource}"), "{uid}: {source}");
        }
        for uid in words(r"/d/([a-z-]+)", &written) {
            assert!(dashboards().iter().any(|other| other["uid"] == uid), "there is no dashboard {uid}");
        }
    }
}

#[test]
fn panels_say_what_they_answer_and_lie_beside_each_other() {
    for dashboard in dashboards() {
        let (mut ids, mut titles, mut cells) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = text(&panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
            assert!(titles.insert(title.to_owned()), "{title} is there twice");
            assert!(title.starts_with(char::is_uppercase) && !title.ends_with('.'), "{title}");
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{title} is too wide");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(cells.insert((x, y)), "{title} lies over another panel");
                }
            }
        }
        for panel in panels(&dashboard) {
            let title = text(&panel["title"]);
            assert!(
                text(&panel["description"]).ends_with(['.', '?']),
                "{title} does not say what it answers"
            );
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title} asks nothing");
            let ids: BTreeSet<&str> =
                panel["targets"].as_array().unwrap().iter().map(|target| text(&target["refId"])).collect();
            assert_eq!(ids.len(), panel["targets"].as_array().unwrap().len(), "{title}");
            let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap();
            let properties = overrides.iter().flat_map(|one| one["properties"].as_array().unwrap());
            let units = properties.filter(|property| property["id"] == "unit").map(|unit| &unit["value"]);
            for unit in units.chain([&panel["fieldConfig"]["defaults"]["unit"]]) {
                assert!(UNITS.contains(&text(unit)), "{title}: {unit}");
            }
        }
    }
}

#[test]
fn no_data_is_never_green() {
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            let (title, defaults) = (text(&panel["title"]), &panel["fieldConfig"]["defaults"]);
            assert_eq!(defaults["noValue"], "unknown", "{title}");
            let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap();
            let properties = overrides.iter().flat_map(|one| one["properties"].as_array().unwrap());
            let thresholds = properties.clone().filter(|property| property["id"] == "thresholds");
            for thresholds in thresholds.map(|one| &one["value"]).chain([&defaults["thresholds"]]) {
                let base = &thresholds["steps"][0];
                assert!(base["value"].is_null() && base["color"] != "green", "{title}: {base}");
            }
            let mappings = properties.filter(|property| property["id"] == "mappings");
            // Empty ones are those of labels, which are no values.
            let mappings = mappings.filter(|property| property["value"] != json!([]));
            for mappings in mappings.map(|one| &one["value"]).chain([&defaults["mappings"]]) {
                let last = mappings.as_array().unwrap().last().unwrap();
                assert_eq!(last["options"]["match"], "null+nan", "{title}");
                assert_eq!(last["options"]["result"]["color"], "orange", "{title}");
            }
            // A bare zero would make a Prometheus that knows nothing look well.
            assert!(!panel["targets"].to_string().contains("vector(0)"), "{title}");
        }
    }
}

/// The metric of a name in an expression; buckets belong to their histogram.
fn metric(name: &str) -> Option<&'static Metric> {
    catalogue::find(name).or_else(|| {
        let histogram = catalogue::find(name.strip_suffix("_bucket")?)?;
        (histogram.kind == MetricKind::Histogram).then_some(histogram)
    })
}

#[test]
fn queries_stand_on_metrics_and_labels_that_exist() {
    let labels: BTreeSet<&str> = catalogue::all().flat_map(|metric| metric.labels.iter().copied()).collect();
    let selectors = Regex::new(r"\b([a-zA-Z_]+)\{([^}]*)\}").unwrap();
    let known = |label: &str| labels.contains(label) || FOREIGN_LABELS.contains(&label) || label == "le";
    for dashboard in dashboards() {
        let variables: BTreeSet<&str> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| text(&one["name"]))
            .collect();
        for query in queries(&dashboard) {
            let (place, query_text) = (&query.place, &query.text);
            for selector in selectors.captures_iter(query_text) {
                let (name, matchers) = (&selector[1], &selector[2]);
                let own: Vec<&str> = words(r#"([a-z_]+)(?:=~|!~|!=|=)""#, matchers);
                if FOREIGN_METRICS.contains(&name) {
                    continue;
                }
                let metric = metric(name).unwrap_or_else(|| panic!("{place}: there is no {name}"));
                for label in own {
                    let has = metric.labels.contains(&label)
                        || ["job", "instance"].contains(&label)
                        || (["namespace", "pg_cluster"].contains(&label)
                            && metric.labels.iter().any(|one| ["namespace", "stanza"].contains(one)));
                    assert!(has, "{place}: {name} has no {label}");
                }
            }
            // Nothing is asked without a selector, so that the drop-down lists hold for all.
            let bare = words(r"\b((?:pgbackrest|process)_[a-z_]+)\b(?:[^{a-z_]|$)", query_text);
            let only_variable = query.kind == QueryKind::Variable && bare.len() == 1;
            assert!(bare.is_empty() || only_variable, "{place}: {bare:?} is not selected");
            for name in bare {
                assert!(catalogue::find(name).is_some(), "{place}: there is no {name}");
            }
            let lists = words(r"\b(?:by|on|group_left) \(([^)]*)\)", query_text);
            for label in
                lists.iter().flat_map(|list| list.split(',').map(str::trim)).filter(|one| !one.is_empty())
            {
                assert!(known(label), "{place}: no series has {label}");
            }
            for variable in words(r"\$([a-z_]+)", query_text) {
                assert!(
                    variables.contains(variable) || variable == "__rate_interval",
                    "{place}: there is no variable {variable}"
                );
            }
        }
        let written = serde_json::to_string(&dashboard).unwrap();
        for label in words(r"\{\{\s*([a-z_]+)\s*\}\}", &written) {
            assert!(known(label), "a legend names {label}");
        }
    }
}

#[test]
fn counters_are_asked_for_their_rate() {
    let counters = Regex::new(r"(\w+\()?\b[a-z_]+(?:_total|_bucket)\{[^}]*\}(\[[^\]]+\])?").unwrap();
    for dashboard in dashboards() {
        for query in queries(&dashboard) {
            for counter in counters.captures_iter(&query.text) {
                let function = counter.get(1).map(|one| one.as_str());
                assert!(matches!(function, Some("rate(" | "increase(")), "{}: {}", query.place, &counter[0]);
                assert!(counter.get(2).is_some(), "{}: {}", query.place, &counter[0]);
            }
            assert!(!query.text.contains("topk"), "{}", query.place);
        }
    }
}

#[test]
fn limits_are_those_of_the_alerts() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/pgbackrest.rules.yml");
    let rules = fs::read_to_string(rules).unwrap();
    for (name, limit) in [
        ("full_age_seconds", FULL_AGE),
        ("any_age_seconds", ANY_AGE),
        ("restore_test_success_age_seconds", SUCCESS_AGE),
    ] {
        let rule = format!("record: pgbackrest:threshold:{name}\n        expr: vector({limit})");
        assert!(rules.contains(&rule), "the alerts have another {name} than {limit}");
    }
}
