//! The links of alerts to runbooks and dashboards, with their addresses set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{COMPAT, File, RULES, Rule, alerts, root, succeeds, words};

const DASHBOARDS: [&str; 3] = ["pgbackrest-cluster", "pgbackrest-fleet", "pgbackrest-operator"];

/// The command of docs/alerts.md, without the file that it writes.
fn documented() -> String {
    let page = fs::read_to_string(root().join("docs/alerts.md")).unwrap();
    let command = page.lines().find(|line| line.starts_with("sed -E ")).unwrap();
    command.strip_suffix(" >rules.yml").unwrap().to_owned()
}

#[test]
fn links_are_whole_once_the_addresses_are_known() {
    for file in [RULES, COMPAT] {
        let command = documented().replace(RULES, file);
        let text = succeeds(Command::new("sh").args(["-c", &command]));
        let linked: File = serde_saphyr::from_str(&text).unwrap();
        let linked: Vec<Rule> = linked.groups.into_iter().flat_map(|group| group.rules).collect();
        let shipped = super::rules(file);
        assert_eq!(linked.len(), shipped.len());
        for (mut linked, mut shipped) in linked.into_iter().zip(shipped) {
            for (key, address) in [
                ("runbook_url", "https://wiki.example/pgbackrest-keeper/"),
                ("dashboard_url", "https://grafana.example/"),
            ] {
                let (after, before) = (linked.annotations.remove(key), shipped.annotations.remove(key));
                assert_eq!(after, before.map(|path| format!("{address}{path}")), "{:?}", linked.alert);
            }
            assert_eq!(linked, shipped);
        }
    }
}

/// The names of a dashboard's variables, by its uid.
fn variables() -> BTreeMap<String, BTreeSet<String>> {
    let Ok(files) = fs::read_dir(root().join("dashboards")) else { return BTreeMap::new() };
    let paths = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"));
    let dashboards =
        paths.map(|path| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names = |dashboard: &Value| {
        let list = dashboard["templating"]["list"].as_array().unwrap();
        list.iter().map(|variable| text(&variable["name"])).collect()
    };
    dashboards.map(|dashboard| (text(&dashboard["uid"]), names(&dashboard))).collect()
}

#[test]
fn alerts_lead_to_dashboards() {
    let variables = variables();
    for (name, rule) in alerts(RULES) {
        let url = &rule.annotations["dashboard_url"];
        let [uid] = words("^d/([a-z-]+)", url)[..] else { panic!("{name}: {url}") };
        assert!(DASHBOARDS.contains(&uid), "{name}: {url}");
        for variable in words(r"var-([a-z_]+)=", url) {
            assert!(url.contains(&format!("$labels.{variable}")), "{name}: {url}");
            if !variables.is_empty() {
                assert!(variables[uid].contains(variable), "{name}: the dashboard {uid} has no {variable}");
            }
        }
    }
}
