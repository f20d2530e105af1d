//! The metrics that docs/operations.md recommends to drop exist, and no alert needs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pgbackrest_keeper::metrics::catalogue;

#[test]
fn no_alert_needs_what_may_be_dropped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let text = read("docs/operations.md");
    let (_, rest) = text.split_once("<!-- metrics-to-drop -->").unwrap();
    let (blocks, _) = rest.split_once("<!-- /metrics-to-drop -->").unwrap();
    let rules = read("alerts/pgbackrest.rules.yml");
    let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let needed: BTreeSet<&str> = rules.split(|letter| !is_of_a_name(letter)).collect();
    let known: BTreeSet<&str> = catalogue::all().map(|metric| metric.name).collect();
    let mut names = Vec::new();
    for expression in blocks.lines().filter_map(|line| line.trim().strip_prefix("regex: ")) {
        let (prefix, rest) = expression.split_once('(').unwrap();
        let endings = rest.strip_suffix(')').unwrap().split('|');
        names.extend(endings.map(|ending| format!("{prefix}{ending}")));
    }
    assert!(names.len() > 30, "{names:?}");
    for name in &names {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_known = known.contains(name.as_str()) || family.is_some_and(|family| known.contains(family));
        assert!(is_known, "{name} is no metric");
        assert!(!needed.contains(name.as_str()), "an alert needs {name}");
    }
}
