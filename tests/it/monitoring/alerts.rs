//! The alert rules: well formed, about metrics that exist, each with its test and its runbook, and accepted by Prometheus' tools.

mod agreement;
pub(crate) mod firing;
mod good_rules;
mod links;
mod runbooks;
mod wal_firing;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use pgbackrest_keeper::metrics::catalogue::{self, Layer, MetricKind};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::machine::{monitoring, program, skip};
use crate::support::stack::{ALERTMANAGER, root};

pub(crate) const RULES: &str = "alerts/pgbackrest.rules.yml";
const COMPAT: &str = "alerts/pgbackrest-compat.rules.yml";

/// Of Prometheus itself, and what kubelets tell.
const FOREIGN_METRICS: [&str; 3] =
    ["up", "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"];
/// Of targets, of the operator's series, and of kubelets'.
const FOREIGN_LABELS: [&str; 5] = ["job", "instance", "namespace", "pg_cluster", "persistentvolumeclaim"];

#[derive(Debug, Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    interval: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    pending: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn rules(file: &str) -> Vec<Rule> {
    let file: File = serde_saphyr::from_str(&fs::read_to_string(root().join(file)).unwrap()).unwrap();
    let mut names = BTreeSet::new();
    for group in &file.groups {
        assert!(names.insert(group.name.clone()), "two groups are named {}", group.name);
    }
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn alerts(file: &str) -> Vec<(String, Rule)> {
    rules(file).into_iter().filter_map(|rule| Some((rule.alert.clone()?, rule))).collect()
}

fn names_of(directory: &str, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

fn words<'text>(pattern: &str, text: &'text str) -> Vec<&'text str> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found.get(1).unwrap().as_str()).collect()
}

/// Names of metrics in an expression: words before a selector, a range, a bracket or an operator that are no functions.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let without_strings = words(r"\b(pgbackrest_[a-z0-9_]+|kubelet_[a-z0-9_]+|up)\b", expression);
    without_strings.into_iter().collect()
}

/// Names of labels in selectors, and in lists after `by`, `on`, `without`, `ignoring` and `group_left`.
fn labels_in(expression: &str) -> BTreeSet<&str> {
    let selected = words(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#, expression);
    let lists = words(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression);
    let listed = lists.into_iter().flat_map(|list| list.split(',').map(str::trim));
    selected.into_iter().chain(listed).filter(|label| !label.is_empty()).collect()
}

#[test]
fn alerts_tests_and_runbooks_are_one_to_one() {
    let names = |file| alerts(file).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    let (ours, compat) = (names(RULES), names(COMPAT));
    assert_eq!(names_of("alerts/tests", ".test.yml"), ours);
    assert_eq!(names_of("alerts/tests/compat", ".test.yml"), compat);
    assert_eq!(names_of("docs/runbooks", ".md"), &ours | &compat);
    for (name, rule) in alerts(RULES).into_iter().chain(alerts(COMPAT)) {
        assert_eq!(rule.annotations["runbook_url"], format!("docs/runbooks/{name}.md"));
        let runbook = fs::read_to_string(root().join(&rule.annotations["runbook_url"])).unwrap();
        let headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let expected = [
            "Meaning",
            "Impact",
            "Diagnosis",
            "Mitigation",
            "Verification",
            "Known false positives",
            "Related alerts",
        ];
        assert_eq!(headings, expected, "{name}");
        for related in words(r"\b(PgBackRest[A-Z][A-Za-z]+)\b", &runbook) {
            assert!(ours.contains(related), "the runbook of {name} speaks of {related}");
        }
    }
    for test in [("alerts/tests", &ours), ("alerts/tests/compat", &compat)] {
        for name in test.1 {
            let text = fs::read_to_string(root().join(test.0).join(format!("{name}.test.yml"))).unwrap();
            let tested: BTreeSet<&str> = words(r"alertname: (\w+)", &text).into_iter().collect();
            assert_eq!(tested, BTreeSet::from([name.as_str()]));
            assert!(text.contains("exp_alerts:"), "{name} is never seen to fire");
            assert!(text.contains("stays quiet"), "{name} is never seen to stay quiet");
        }
    }
}

#[test]
fn the_page_of_alerts_lists_them_all() {
    let page = fs::read_to_string(root().join("docs/alerts.md")).unwrap();
    let mut severities: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, rule) in alerts(RULES) {
        severities.entry(name).or_default().push(rule.labels["severity"].clone());
    }
    let listed = words(r"\n\| \[(\w+)\]", &page);
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), severities.keys().map(String::as_str).collect());
    for (name, severities) in &severities {
        let row = format!("| [{name}](runbooks/{name}.md) | {} |", severities.join(", "));
        assert!(page.contains(&row), "docs/alerts.md lacks {row}");
    }
}

#[test]
fn alerts_stand_on_metrics_and_labels_that_exist() {
    let labels: BTreeSet<&str> = catalogue::all().flat_map(|metric| metric.labels.iter().copied()).collect();
    for (file, is_compat) in [(RULES, false), (COMPAT, true)] {
        for rule in rules(file) {
            let metrics = metrics_in(&rule.expr);
            for name in &metrics {
                if FOREIGN_METRICS.contains(name) || rule.expr.contains(&format!("pgbackrest:{name}")) {
                    continue;
                }
                let metric = catalogue::find(name).unwrap_or_else(|| panic!("{file}: there is no {name}"));
                assert_ne!(metric.kind, MetricKind::Histogram, "{name}");
                assert!(!is_compat || metric.layer == Layer::DropIn, "{name} is not the Go exporter's");
            }
            for label in labels_in(&rule.expr) {
                assert!(
                    labels.contains(label) || FOREIGN_LABELS.contains(&label),
                    "{file}: no series has {label}"
                );
            }
            for label in words(r"\$labels\.([a-z_]+)", &format!("{:?}", rule.annotations)) {
                assert!(
                    labels.contains(label) || FOREIGN_LABELS.contains(&label),
                    "{file}: no series has {label}"
                );
            }
        }
    }
}

#[test]
fn thresholds_are_used() {
    let rules = rules(RULES);
    for threshold in rules.iter().filter_map(|rule| rule.record.as_ref()) {
        let used = rules.iter().filter(|rule| rule.expr.contains(threshold.as_str())).count();
        assert!(used > 0, "{threshold} changes nothing");
    }
}

fn succeeds(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Copies the test of an alert, and for it the rules without all other alerts: promtool evaluates every rule at every
/// step, and what it compares is this alert alone.
fn by_itself(rules: &str, tests: &str, name: &str, directory: &Path) -> PathBuf {
    let read = |file: &Path| -> Value {
        serde_saphyr::from_str(&fs::read_to_string(root().join(file)).unwrap()).unwrap()
    };
    let rules = Path::new(rules);
    let mut kept = read(rules);
    for group in kept["groups"].as_array_mut().unwrap() {
        let rules = group["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule.get("alert").is_none_or(|alert| alert == name));
    }
    let prefix = Path::new(tests).file_name().unwrap().display();
    let rules_of_test = format!("{prefix}-{name}.rules.yml");
    fs::write(directory.join(&rules_of_test), kept.to_string()).unwrap();

    let mut test = read(&Path::new(tests).join(format!("{name}.test.yml")));
    let named: Vec<&str> = test["rule_files"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let file = rules.file_name().unwrap().to_str().unwrap();
    assert!(matches!(named[..], [one] if one.ends_with(&format!("../{file}"))), "{name}: {named:?}");
    test["rule_files"] = json!([rules_of_test]);
    let copy = directory.join(format!("{prefix}-{name}.test.yml"));
    fs::write(&copy, test.to_string()).unwrap();
    copy
}

#[test]
fn promtool_takes_the_rules_and_sees_them_fire() {
    let (promtool, newer) = match (program("promtool"), monitoring("promtool")) {
        (Ok(promtool), Ok(newer)) => (promtool, newer),
        (Err(missing), _) | (_, Err(missing)) => {
            return skip("promtool_takes_the_rules_and_sees_them_fire", missing);
        }
    };
    let promtool = &promtool;
    for promtool in [promtool, &newer] {
        succeeds(Command::new(promtool).args(["check", "rules", RULES, COMPAT]));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (rules, tests) in [(RULES, "alerts/tests"), (COMPAT, "alerts/tests/compat")] {
        for name in names_of(tests, ".test.yml") {
            all.push(by_itself(rules, tests, &name, directory.path()));
        }
    }
    // A call uses one processor.
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for files in all.chunks(all.len().div_ceil(at_once)) {
            scope.spawn(move || succeeds(Command::new(promtool).args(["test", "rules"]).args(files)));
        }
    });
}

#[test]
fn alertmanager_sends_alerts_where_they_belong() {
    let amtool = match program("amtool") {
        Ok(amtool) => amtool,
        Err(missing) => return skip("alertmanager_sends_alerts_where_they_belong", missing),
    };
    succeeds(Command::new(&amtool).args(["check-config", ALERTMANAGER]));
    for (labels, receiver) in [
        (["component=pgbackrest", "severity=critical"], "on-call"),
        (["component=pgbackrest", "severity=warning"], "day"),
        (["component=pgbackrest", "severity=info"], "none"),
        (["component=other", "severity=critical"], "none"),
    ] {
        let config = format!("--config.file={ALERTMANAGER}");
        let routed = succeeds(Command::new(&amtool).args(["config", "routes", "test", &config]).args(labels));
        assert_eq!(routed.trim(), receiver, "{labels:?}");
    }
    // Inhibition speaks of alerts that exist.
    let names: BTreeSet<String> =
        alerts(RULES).into_iter().chain(alerts(COMPAT)).map(|(name, _)| name).collect();
    let text = fs::read_to_string(root().join(ALERTMANAGER)).unwrap();
    for pattern in words(r#"alertname\s*(?:=~|=|!=)\s*"([^"]+)""#, &text) {
        let pattern = pattern.replace("PgBackRest(", "").replace(')', "");
        for name in pattern.split('|') {
            let name =
                if name.starts_with("PgBackRest") { name.to_owned() } else { format!("PgBackRest{name}") };
            assert!(names.contains(&name), "{ALERTMANAGER} speaks of {name}");
        }
    }
}
