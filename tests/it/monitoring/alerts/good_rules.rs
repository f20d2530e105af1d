//! Recommendations of Prometheus and of linters for rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pgbackrest_keeper::metrics::catalogue;
use regex::Regex;
use serde::Deserialize;

use super::{COMPAT, File, RULES, Rule, alerts, root, rules, words};

/// Labels that a target gives to all of its series, or we to those of a cluster.
const OF_ALL_SERIES: [&str; 4] = ["job", "instance", "namespace", "pg_cluster"];

/// Seconds of a duration with one unit.
fn seconds(duration: &str) -> u64 {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        other => panic!("{other}"),
    };
    number.parse::<u64>().unwrap() * unit
}

/// Labels that the texts of a rule name, and of those the ones that may be absent.
fn labels_of_texts(rule: &Rule) -> (BTreeSet<String>, BTreeSet<String>) {
    let texts = [&rule.annotations["summary"], &rule.annotations["description"]];
    let texts = format!("{texts:?}");
    let set = |pattern: &str| words(pattern, &texts).into_iter().map(str::to_owned).collect();
    (set(r"\$labels\.([a-z_]+)"), set(r"with \$labels\.([a-z_]+)"))
}

#[test]
fn alerts_keep_the_rules_of_good_rules() {
    let well_named = Regex::new("^PgBackRest([A-Z][a-z]+)+$").unwrap();
    let comparison = Regex::new(r"[<>]|==|!= on|absent|unless").unwrap();
    for file in [RULES, COMPAT] {
        let mut seen = BTreeSet::new();
        for (name, rule) in alerts(file) {
            assert!(well_named.is_match(&name), "{name}");
            let severity = &rule.labels["severity"];
            assert!(["critical", "warning", "info"].contains(&severity.as_str()), "{name}: {severity}");
            assert_eq!(rule.labels["component"], "pgbackrest");
            assert!(seen.insert((name.clone(), severity.clone())), "{name} is there twice");
            let keys: Vec<&str> = rule.annotations.keys().map(String::as_str).collect();
            // The dashboards show what the Go exporter does not tell.
            let expected: &[&str] = if file == COMPAT {
                &["description", "runbook_url", "summary"]
            } else {
                &["dashboard_url", "description", "runbook_url", "summary"]
            };
            assert_eq!(keys, expected, "{name}");
            assert!(
                !format!("{:?}", rule.labels).contains("{{"),
                "{name}: a label that changes makes a new alert"
            );
            let expression = &rule.expr;
            assert!(comparison.is_match(expression), "{name} compares nothing");
            assert!(!expression.contains("topk") && !expression.contains(" / "), "{name}");
            if expression.contains("absent(") {
                let pending = rule.pending.as_deref().map(seconds);
                // Prometheus scrapes every minute unless it is told otherwise.
                assert!(pending >= Some(2 * 60), "{name} fires between two scrapes");
            }
            // What the text names must still be there after the aggregation.
            for list in words(r"^\s*(?:max|min|sum|count) by \(([^)]*)\)", expression) {
                let kept: BTreeSet<&str> = list.split(',').map(str::trim).collect();
                for label in labels_of_texts(&rule).0 {
                    assert!(kept.contains(label.as_str()), "{name} names {label}, which is aggregated away");
                }
            }
            assert_eq!(unmatched(expression), Vec::<String>::new(), "{name}: on which labels do they match?");
        }
    }
}

/// Operators between two vectors that do not say on which labels sides are matched. `or` matches on all, which is what it
/// is used for: to put different metrics beside each other.
fn unmatched(expression: &str) -> Vec<String> {
    let hidden = Regex::new(r#""[^"]*"|\{[^}]*\}|\[[^\]]*\]"#).unwrap().replace_all(expression, "");
    let numbers = Regex::new(r"\b(?:scalar|vector)\([^)]*\)|\btime\(\)").unwrap().replace_all(&hidden, "0");
    let token = Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9.]+|==|!=|>=|<=|[-+*/%^<>(),]").unwrap();
    let tokens: Vec<&str> = token.find_iter(&numbers).map(|found| found.as_str()).collect();
    let is_number =
        |token: Option<&&str>| token.is_some_and(|token| token.starts_with(|c: char| c.is_ascii_digit()));
    let operators = ["and", "unless", "==", "!=", ">=", "<=", "<", ">", "+", "-", "*", "/", "%", "^"];
    let is_unmatched = |at: &usize| {
        let next = tokens.get(at + 1).filter(|token| **token != "bool").or(tokens.get(at + 2));
        operators.contains(&tokens[*at])
            && !next.is_some_and(|token| ["on", "ignoring"].contains(token))
            && !is_number(next)
            && !is_number(at.checked_sub(1).and_then(|before| tokens.get(before)))
    };
    (0..tokens.len()).filter(is_unmatched).map(|at| tokens[at.saturating_sub(1)..].join(" ")).collect()
}

#[test]
fn unmatched_vectors_are_found() {
    for fine in [
        "time() - a{b=\"c and d\"} > scalar(e)",
        "a > on (b) group_left () (1.5 * max by (b) (c) + 3600)",
        "a == 0 unless on (b) c == 1",
        "(a or b) - time() < 2 * 86400",
    ] {
        assert_eq!(unmatched(fine), Vec::<String>::new(), "{fine}");
    }
    for wrong in ["a > b", "a and b == 1", "a unless (b)", "a == bool b", "max by (x) (a) - min by (x) (b)"] {
        assert_eq!(unmatched(wrong).len(), 1, "{wrong}");
    }
}

#[test]
fn selectors_name_labels_of_their_metric() {
    let selectors = Regex::new(r"\b(pgbackrest_[a-z0-9_]+)\{([^}]*)\}").unwrap();
    for rule in [RULES, COMPAT].into_iter().flat_map(rules) {
        for found in selectors.captures_iter(&rule.expr) {
            let labels = &catalogue::find(&found[1]).unwrap_or_else(|| panic!("{}", &found[1])).labels;
            for label in words(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#, &found[2]) {
                assert!(
                    labels.contains(&label) || OF_ALL_SERIES.contains(&label),
                    "{} has no {label}",
                    &found[1]
                );
            }
        }
    }
}

#[test]
fn groups_are_evaluated_often_and_fail_alone() {
    for (file, groups) in [(RULES, 7), (COMPAT, 1)] {
        let file: File = serde_saphyr::from_str(&fs::read_to_string(root().join(file)).unwrap()).unwrap();
        assert_eq!(file.groups.len(), groups);
        for group in file.groups {
            assert!(group.interval.is_none_or(|interval| seconds(&interval) <= 300), "{}", group.name);
        }
    }
}

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    #[serde(default)]
    alert_rule_test: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<Fired>,
}

#[derive(Deserialize)]
struct Fired {
    exp_labels: BTreeMap<String, String>,
    exp_annotations: BTreeMap<String, String>,
}

/// promtool compares all labels of what fires: those that a text names must be among them.
#[test]
fn texts_name_labels_that_fired_alerts_have() {
    for (file, directory) in [(RULES, "alerts/tests"), (COMPAT, "alerts/tests/compat")] {
        for (name, rule) in alerts(file) {
            let path = Path::new(directory).join(format!("{name}.test.yml"));
            let tests: Tests =
                serde_saphyr::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap();
            let (named, may_be_absent) = labels_of_texts(&rule);
            let expected = tests.tests.iter().flat_map(|test| &test.alert_rule_test);
            let fired: Vec<&Fired> = expected
                .inspect(|expected| assert_eq!(expected.alertname, name))
                .flat_map(|expected| &expected.exp_alerts)
                .filter(|fired| fired.exp_labels["severity"] == rule.labels["severity"])
                .collect();
            for text in fired.iter().flat_map(|fired| fired.exp_annotations.values()) {
                assert!(!text.contains("  "), "{name}: {text}");
            }
            assert!(!fired.is_empty(), "{name} is never seen to fire as {}", rule.labels["severity"]);
            for label in named.difference(&may_be_absent) {
                let has = |fired: &Fired| fired.exp_labels.get(label).is_some_and(|value| !value.is_empty());
                assert!(fired.iter().any(|fired| has(fired)), "{name} names {label}, which it does not have");
            }
        }
    }
}
