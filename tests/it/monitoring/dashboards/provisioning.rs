//! The files with which Grafana loads the dashboards: their keys are those that Grafana 10.4 and later read, and what they refer to exists.

use std::collections::BTreeSet;
use std::fs;

use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::support::stack::root;

/// Where the Debian package puts the files.
const INSTALLED: &str = "/usr/share/pgbackrest-keeper";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Dashboards {
    api_version: u32,
    providers: Vec<Provider>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Provider {
    name: String,
    r#type: String,
    folder: String,
    folder_uid: String,
    update_interval_seconds: u64,
    allow_ui_updates: bool,
    options: ProviderOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderOptions {
    path: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DataSources {
    api_version: u32,
    datasources: Vec<DataSource>,
}

/// A second data source with `isDefault` would keep Grafana from starting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DataSource {
    name: String,
    uid: String,
    r#type: String,
    access: String,
    url: String,
    json_data: DataSourceOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DataSourceOptions {
    http_method: String,
    time_interval: String,
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = fs::read_to_string(root().join("packaging/grafana").join(file)).unwrap();
    // Grafana replaces variables of the environment.
    assert!(!text.contains('$'), "{file}");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn grafana_is_given_the_dashboards() {
    let Dashboards { api_version: 1, providers } = read("dashboards.yaml") else { panic!("another version") };
    let [provider] = &providers[..] else { panic!("{providers:?}") };
    assert_eq!((&*provider.r#type, provider.allow_ui_updates), ("file", false), "{provider:?}");
    assert!(!provider.name.is_empty() && !provider.folder.is_empty() && is_uid(&provider.folder_uid));
    assert!(provider.update_interval_seconds >= 10, "{provider:?}");
    assert_eq!(provider.options.path, format!("{INSTALLED}/dashboards"));
    let package = fs::read_to_string(root().join("scripts/build-deb")).unwrap();
    assert!(package.contains("put \"usr/share/$name/dashboards\" dashboards/*.json"));
    // Grafana refuses dashboards of one provider that share a uid, or a title in a folder.
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let page = fs::read_to_string(root().join("docs/dashboards.md")).unwrap();
    for file in fs::read_dir(root().join("dashboards")).unwrap() {
        let dashboard: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let text = |key: &str| dashboard[key].as_str().unwrap().to_owned();
        assert!(is_uid(&text("uid")) && page.contains(&text("uid")), "{}", text("uid"));
        assert!(uids.insert(text("uid")) && titles.insert(text("title")), "{}", text("title"));
        assert!(dashboard["id"].is_null(), "numbers are given by Grafana");
    }
    assert!(!uids.is_empty());
}

#[test]
fn the_data_source_is_one_that_dashboards_select() {
    let DataSources { api_version: 1, datasources } = read("datasource.yaml") else {
        panic!("another version")
    };
    let [source] = &datasources[..] else { panic!("{datasources:?}") };
    assert!(!source.name.is_empty() && is_uid(&source.uid), "{source:?}");
    assert_eq!((&*source.access, &*source.json_data.http_method), ("proxy", "POST"), "{source:?}");
    source.url.parse::<http::Uri>().unwrap();
    assert!(Regex::new("^[0-9]+(s|m)$").unwrap().is_match(&source.json_data.time_interval), "{source:?}");
    for file in fs::read_dir(root().join("dashboards")).unwrap() {
        let dashboard: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variable = variables.iter().find(|variable| variable["name"] == "datasource").unwrap();
        assert_eq!(
            (&variable["type"], &variable["query"]),
            (&"datasource".into(), &source.r#type.clone().into())
        );
    }
}

/// Grafana's rule for uids.
fn is_uid(uid: &str) -> bool {
    Regex::new("^[A-Za-z0-9_-]{1,40}$").unwrap().is_match(uid)
}
