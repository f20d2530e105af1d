//! Texts of a resource with line breaks: none of them becomes a line of pgBackRest's configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{config_maps, objects};
use crate::cluster::desired::Desired;
use crate::cluster::references::References;
use crate::cluster::settings::Settings;
use crate::cluster::validate;

/// Every text of a resource, with its path.
fn texts<'a>(value: &'a mut Value, path: &str, all: &mut Vec<(String, &'a mut String)>) {
    match value {
        Value::String(text) => all.push((path.to_owned(), text)),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                texts(item, &format!("{path}.{index}"), all);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                texts(item, &format!("{path}.{name}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn no_text_of_a_resource_adds_a_line() {
    let resource = || {
        json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1",
            "kind": "postgresql",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "3f0c", "annotations": {
                "pgbackrest-keeper.io/backup-now": "full@repo1", "pgbackrest-keeper.io/stanza-upgrade": "1",
                "pgbackrest-keeper.io/time-zone": "Europe/Vienna"}},
            "spec": {
                "teamId": "till", "numberOfInstances": 2, "postgresql": {"version": "17"}, "volume": {"size": "1Gi"},
                "tde": {"enable": true}, "env": [{"name": "A", "value": "b"}],
                "backup": {"pgbackrest": {
                    "image": "registry.example/pgbackrest:2.58",
                    "global": {"repo1-retention-full": "3", "repo2-path": "/orders", "no-such-option": "1"},
                    "configuration": {"secret": "orders-vault"},
                    "repos": [
                        {"name": "repo1", "storage": "pvc", "schedule": {"full": "0 1 * * *"},
                         "volume": {"size": "5Gi", "storageClass": "fast", "selector": {"matchLabels": {"a": "b"}}}},
                        {"name": "repo2", "storage": "s3", "resource": "bucket", "endpoint": "s3.example", "region": "here"},
                        {"name": "repo3", "storage": "azure", "resource": "box", "account": "a", "endpoint": "az.example"},
                        {"name": "repo4", "storage": "gcs", "resource": "pail", "key": "gcs.json", "endpoint": "gcs.example"},
                    ],
                }},
            },
        })
    };
    let built = |document: Value| {
        let (cluster, findings) = validate::document(document, &References::default(), &Settings::default());
        let cluster = cluster.ok_or(findings)?;
        Ok::<_, Vec<_>>(objects(&cluster))
    };
    let lines = |desired: &Desired| -> Vec<String> {
        let files = config_maps(desired).flat_map(|map| map.data.iter().flat_map(BTreeMap::values));
        files.flat_map(|file| file.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let names = |desired: &Desired| -> BTreeSet<String> {
        lines(desired).iter().map(|line| line.split('=').next().unwrap().to_owned()).collect()
    };
    let is_comment = |line: &String| line.starts_with("# ");
    let plain = built(resource()).unwrap_or_else(|findings| panic!("{findings:?}"));
    let expected: BTreeSet<String> = names(&plain).into_iter().filter(|line| !is_comment(line)).collect();
    assert!(expected.contains("pg-version-force") && expected.len() > 30, "{expected:?}");

    let mut document = resource();
    let mut all = Vec::new();
    texts(&mut document, "", &mut all);
    let count = all.len();
    for number in 0..count {
        for addition in
            ["\nrepo1-host-cmd=evil", "\r\n[global:backup]\nrepo1-host-cmd=evil\n", "\u{85}evil=1"]
        {
            let mut document = resource();
            let mut all = Vec::new();
            texts(&mut document, "", &mut all);
            let (path, text) = all.swap_remove(number);
            text.push_str(addition);
            let Ok(desired) = built(document) else { continue };
            let added: Vec<String> = names(&desired)
                .into_iter()
                .filter(|line| !is_comment(line) && !expected.contains(line))
                .collect();
            assert_eq!(added, [""; 0], "{path}");
            assert!(!lines(&desired).iter().any(|line| line.contains("[global:backup]")), "{path}");
        }
    }
}
