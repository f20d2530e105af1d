//! The template for Zabbix, generated from the services, and the agent that runs the check.

use std::env;
use std::fmt::Write as _;
use std::fs;

use pgbackrest_keeper::check::services::{self, Service};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{Exporter, shipped};
use crate::support::machine::{program, skip};
use crate::support::process::{call, successful};
use crate::support::stack::root;

const TEMPLATE: &str = "pgBackRest by pgbackrest-keeper";
const FILE: &str = "packaging/zabbix/template.yaml";

#[test]
fn the_template_is_generated_from_the_services() {
    let path = root().join(FILE);
    let template = template();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, template).unwrap();
        return;
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == template, "{FILE} is not what the services say; run with UPDATE_GOLDEN=1");
    let parsed: Value = serde_saphyr::from_str(&stands).unwrap();
    let items = parsed["zabbix_export"]["templates"][0]["items"].as_array().unwrap();
    assert_eq!(items.len(), 3 * services::ALL.len());
    let keys: Vec<&str> = items.iter().map(|item| item["key"].as_str().unwrap()).collect();
    for item in items.iter().filter(|item| item["type"] == "DEPENDENT") {
        assert!(keys.contains(&item["master_item"]["key"].as_str().unwrap()), "{item}");
    }
    let mut ids: Vec<&str> =
        stands.split("uuid: ").skip(1).map(|rest| rest.lines().next().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

/// A version 4 UUID as Zabbix demands it, always the same for a name.
fn uuid(name: &str) -> String {
    let hash = hex::encode(digest(&SHA256, format!("{TEMPLATE}/{name}").as_bytes()));
    format!("{}4{}a{}", &hash[..12], &hash[13..16], &hash[17..32])
}

fn template() -> String {
    let mut text = format!(
        "zabbix_export:\n  version: '6.0'\n  date: '2026-11-30T00:00:00Z'\n  groups:\n    - uuid: 748ad4d098d447d492bb935c907f652f\n      \
         name: Templates/Databases\n  templates:\n    - uuid: {}\n      template: '{TEMPLATE}'\n      name: '{TEMPLATE}'\n      \
         description: 'Backups and WAL of pgBackRest, checked by pgbackrest-keeper. Needs the parameters of the agent in pgbackrest-keeper.conf.'\n      \
         groups:\n        - name: Templates/Databases\n      items:\n",
        uuid("template")
    );
    for service in services::ALL {
        items(&mut text, service);
    }
    text.push_str("      discovery_rules:\n");
    for service in services::ALL {
        discovery(&mut text, service.name);
    }
    text.push_str(
        "      macros:\n        - macro: '{$PGBACKREST.URL}'\n          value: 'http://127.0.0.1:9854/metrics'\n          \
         description: 'The metrics of the exporter, as seen from the host of the agent.'\n        \
         - macro: '{$PGBACKREST.NODATA}'\n          value: 15m\n          description: 'How long the check may give no result.'\n",
    );
    writeln!(
        text,
        "      valuemaps:\n        - uuid: {}\n          name: 'State of a plugin'\n          mappings:\n            \
         - value: '0'\n              newvalue: OK\n            - value: '1'\n              newvalue: WARNING\n            \
         - value: '2'\n              newvalue: CRITICAL\n            - value: '3'\n              newvalue: UNKNOWN",
        uuid("valuemap")
    )
    .unwrap();
    text
}

fn master(service: &str) -> String {
    format!("pgbackrest.keeper[{service},\"{{$PGBACKREST.URL}}\"]")
}

fn items(text: &mut String, service: &Service) {
    let name = service.name;
    write!(
        text,
        "        - uuid: {}\n          name: 'pgBackRest {name}: check'\n          key: '{}'\n          delay: 5m\n          history: 1d\n          \
         trends: '0'\n          value_type: TEXT\n          description: '{}.'\n          tags:\n            - tag: component\n              \
         value: pgbackrest\n",
        uuid(&format!("check {name}")),
        master(name),
        service.about.replace('\'', "''"),
    )
    .unwrap();
    let dependent = format!(
        "          type: DEPENDENT\n          delay: '0'\n          master_item:\n            key: '{}'\n",
        master(name)
    );
    write!(
        text,
        "        - uuid: {}\n          name: 'pgBackRest {name}: state'\n          key: 'pgbackrest.state[{name}]'\n{dependent}          \
         history: 90d\n          trends: '0'\n          valuemap:\n            name: 'State of a plugin'\n          preprocessing:\n            \
         - type: JSONPATH\n              parameters:\n                - $.state\n          tags:\n            - tag: component\n              \
         value: pgbackrest\n          triggers:\n            - uuid: {}\n              \
         expression: 'nodata(/{TEMPLATE}/pgbackrest.state[{name}],{{$PGBACKREST.NODATA}})=1'\n              \
         name: 'pgBackRest {name}: no result of the check'\n              priority: AVERAGE\n",
        uuid(&format!("state {name}")),
        uuid(&format!("nodata {name}")),
    )
    .unwrap();
    write!(
        text,
        "        - uuid: {}\n          name: 'pgBackRest {name}: summary'\n          key: 'pgbackrest.summary[{name}]'\n{dependent}          \
         history: 30d\n          trends: '0'\n          value_type: TEXT\n          preprocessing:\n            - type: JSONPATH\n              \
         parameters:\n                - $.summary\n          tags:\n            - tag: component\n              value: pgbackrest\n          \
         triggers:\n",
        uuid(&format!("summary {name}")),
    )
    .unwrap();
    for (state, word, priority) in
        [(1, "warning", "WARNING"), (3, "unknown", "AVERAGE"), (2, "critical", "HIGH")]
    {
        write!(
            text,
            "            - uuid: {}\n              expression: 'last(/{TEMPLATE}/pgbackrest.state[{name}])={state} and \
             length(last(/{TEMPLATE}/pgbackrest.summary[{name}]))>=0'\n              name: 'pgBackRest {name}: {word}'\n              \
             opdata: '{{ITEM.LASTVALUE2}}'\n              priority: {priority}\n",
            uuid(&format!("{word} {name}")),
        )
        .unwrap();
    }
}

fn discovery(text: &mut String, name: &str) {
    write!(
        text,
        "        - uuid: {}\n          name: 'pgBackRest {name}: values'\n          type: DEPENDENT\n          \
         key: 'pgbackrest.values[{name}]'\n          delay: '0'\n          lifetime: 7d\n          item_prototypes:\n            - uuid: {}\n              \
         name: 'pgBackRest: {{#LABEL}}'\n              type: DEPENDENT\n              key: 'pgbackrest.value[{name},\"{{#LABEL}}\"]'\n              \
         delay: '0'\n              history: 30d\n              value_type: FLOAT\n              preprocessing:\n                \
         - type: JSONPATH\n                  parameters:\n                    - '$.values[?(@.label == \"{{#LABEL}}\")].value.first()'\n                  \
         error_handler: DISCARD_VALUE\n              master_item:\n                key: '{}'\n              tags:\n                \
         - tag: component\n                  value: pgbackrest\n          master_item:\n            key: '{}'\n          lld_macro_paths:\n            \
         - lld_macro: '{{#LABEL}}'\n              path: $.label\n          preprocessing:\n            - type: JSONPATH\n              \
         parameters:\n                - $.values\n",
        uuid(&format!("values {name}")),
        uuid(&format!("value {name}")),
        master(name),
        master(name),
    )
    .unwrap();
}

#[test]
fn the_agent_of_zabbix_runs_the_check() {
    let agent = match program("zabbix_agentd") {
        Ok(agent) => agent,
        Err(missing) => return skip("the_agent_of_zabbix_runs_the_check", missing),
    };
    let directory = tempfile::Builder::new().prefix("zabbix-").tempdir().unwrap();
    let exporter = Exporter::start(directory.path());
    let path = directory.path().join("zabbix_agentd.conf");
    let settings = "Server=127.0.0.1\nHostname=db1\nTimeout=30\nAllowRoot=1\nLogType=console\n";
    fs::write(&path, format!("{settings}{}", shipped("zabbix/pgbackrest-keeper.conf"))).unwrap();
    for service in services::ALL {
        // With the user macro resolved, as the server sends it.
        let key = master(service.name).replace("{$PGBACKREST.URL}", &exporter.url);
        let said = successful(call(None, &agent).arg("-c").arg(&path).args(["-t", &key]));
        let (_, value) = said.split_once("[t|").unwrap_or_else(|| panic!("{said}"));
        let document: Value = serde_json::from_str(value.trim().trim_end_matches(']').trim_end())
            .unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(document["service"], service.name, "{said}");
        let word = document["status"].as_str().unwrap();
        assert!(exporter.says(service.name).contains(&format!(" {word}: ")), "{said}");
        // What discovery takes for names, and items for values.
        for value in document["values"].as_array().unwrap() {
            assert!(value["label"].is_string() && value["value"].is_number(), "{value}");
        }
    }
}
