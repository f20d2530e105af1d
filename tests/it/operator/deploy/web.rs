//! Ways to pods and from them: deploy/components/{web-config,network-policy,notifications,exporter-sidecar} against the manifests that
//! they change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Parser;
use pgbackrest_keeper::cli::Cli;
use pgbackrest_keeper::http::web_config::load;
use pgbackrest_keeper::notify::config as notify_config;
use serde_json::{Value, json};

use super::{build, kubectl, list, one, root, text};
use crate::support::web::Authority;

const SECURED: &str = "deploy/overlays/secured";

/// The file that stands as an example, in the directory that the Deployment mounts.
#[test]
fn the_example_of_a_web_configuration_is_taken() {
    let Some(kubectl) = kubectl("the_example_of_a_web_configuration_is_taken") else { return };
    let objects = build(&kubectl, Path::new(SECURED));
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments: Vec<&str> = list(&container["args"]).iter().map(|word| word.as_str().unwrap()).collect();
    assert!(Cli::try_parse_from([&["pgbackrest-keeper"], &arguments[..]].concat()).is_ok(), "{arguments:?}");
    let file = arguments.iter().find_map(|word| word.strip_prefix("--web.config.file=")).unwrap();
    let (directory, file) = file.rsplit_once('/').unwrap();
    assert_eq!(container["volumeMounts"][0]["mountPath"], directory);
    for probe in ["readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS");
    }

    let certificate = Authority::new().issue(&["localhost"]);
    let example = root().join("deploy/components/web-config/web-config.example.yml");
    let contents = BTreeMap::from([
        ("web-config.yml", fs::read_to_string(example).unwrap()),
        ("tls.crt", certificate.certificate_pem),
        ("tls.key", certificate.key_pem),
    ]);
    let place = tempfile::tempdir().unwrap();
    let volume = &pod["volumes"][0];
    assert_eq!(volume["name"], container["volumeMounts"][0]["name"]);
    for source in list(&volume["projected"]["sources"]) {
        for item in list(&source["secret"]["items"]) {
            fs::write(place.path().join(text(item, "/path")), &contents[text(item, "/key")]).unwrap();
        }
    }
    let loaded = load(&place.path().join(file));
    assert!(loaded.is_ok(), "{:?}", loaded.err());
}

/// The example of who is notified, in the directory that the Deployment mounts, and what the policy lets through.
#[test]
fn the_example_of_notifications_is_taken() {
    let Some(kubectl) = kubectl("the_example_of_notifications_is_taken") else { return };
    let objects = build(&kubectl, Path::new("deploy/overlays/notifications"));
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments: Vec<&str> = list(&container["args"]).iter().map(|word| word.as_str().unwrap()).collect();
    assert!(Cli::try_parse_from([&["pgbackrest-keeper"], &arguments[..]].concat()).is_ok(), "{arguments:?}");
    let file = arguments.iter().find_map(|word| word.strip_prefix("--notify.config.file=")).unwrap();
    let (directory, file) = file.rsplit_once('/').unwrap();
    assert_eq!(container["volumeMounts"][0]["mountPath"], directory);
    let (volume, mount) = (&pod["volumes"][0], &container["volumeMounts"][0]);
    assert_eq!((&volume["name"], &mount["readOnly"]), (&mount["name"], &json!(true)));
    let secret = text(volume, "/projected/sources/0/secret/name");
    let document = fs::read_to_string(root().join("docs/notifications.md")).unwrap();
    assert!(document.contains(&format!("create secret generic {secret} ")), "{secret}");
    assert!(objects.iter().all(|object| object["kind"] != "Secret"));

    let place = tempfile::tempdir().unwrap();
    fs::copy(root().join("deploy/components/notifications/notify.example.yml"), place.path().join(file))
        .unwrap();
    fs::write(place.path().join("oncall.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let loaded = notify_config::load(&place.path().join(file));
    assert!(loaded.is_ok(), "{:?}", loaded.err());
    let named = |object: &&Value| object["metadata"]["name"] == "pgbackrest-keeper-operator";
    let mut policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    let egress = list(&policies.find(named).unwrap()["spec"]["egress"]).iter();
    let ports: Vec<u64> = egress
        .flat_map(|rule| list(&rule["ports"]).iter().map(|port| port["port"].as_u64().unwrap()))
        .collect();
    assert_eq!(ports, [443, 6443, 53, 53]);
}

#[test]
fn prometheus_comes_as_the_operator_asks_it_to() {
    let Some(kubectl) = kubectl("prometheus_comes_as_the_operator_asks_it_to") else { return };
    let objects = build(&kubectl, Path::new(SECURED));
    let service = one(&objects, "Service");
    let endpoint = &one(&objects, "ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["scheme"], "https");
    let name = format!("{}.{}.svc", text(service, "/metadata/name"), text(service, "/metadata/namespace"));
    assert_eq!(endpoint["tlsConfig"]["serverName"], name);
    // No Secret is made here: what it holds is somebody's own.
    assert!(objects.iter().all(|object| object["kind"] != "Secret"));
    let document = fs::read_to_string(root().join("docs/operator.md")).unwrap();
    for pointer in ["/tlsConfig/ca/secret/name", "/basicAuth/username/name", "/basicAuth/password/name"] {
        let secret = text(endpoint, pointer);
        assert!(document.contains(&format!("create secret generic {secret} ")), "{secret}");
    }
}

#[test]
fn the_network_policies_leave_the_operator_its_ways() {
    let Some(kubectl) = kubectl("the_network_policies_leave_the_operator_its_ways") else { return };
    let objects = build(&kubectl, Path::new(SECURED));
    let policy = |name: &str| {
        let named = |object: &&Value| object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == name;
        objects.iter().find(named).unwrap()
    };
    let deny = &policy("pgbackrest-keeper-default-deny")["spec"];
    assert_eq!(*deny, json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let own = &policy("pgbackrest-keeper-operator")["spec"];
    let deployment = one(&objects, "Deployment");
    assert_eq!(own["podSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
    let port = &own["ingress"][0]["ports"][0]["port"];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert!(list(&container["ports"]).iter().any(|one| one["name"] == *port));
    assert_eq!(own["ingress"][0]["from"][0]["namespaceSelector"].as_object().unwrap().len(), 1);
}

/// It finds pgBackRest, its configuration and its locks where PostgreSQL has them, and is found by the PodMonitor.
#[test]
fn the_exporter_sees_what_postgresql_sees() {
    let Some(kubectl) = kubectl("the_exporter_sees_what_postgresql_sees") else { return };
    let objects = build(&kubectl, Path::new("deploy/examples/exporter"));
    let template = &one(&objects, "StatefulSet")["spec"]["template"];
    let named = |list_of: &str, name: &str| {
        let containers = list(&template["spec"][list_of]);
        containers.iter().find(|container| container["name"] == name).unwrap().clone()
    };
    let (exporter, postgres) = (named("containers", "exporter"), named("containers", "postgres"));
    assert_eq!(exporter["image"], postgres["image"]);
    let mounts = |container: &Value| -> BTreeMap<String, String> {
        let mounts = list(&container["volumeMounts"]).iter();
        mounts.map(|mount| (text(mount, "/name").to_owned(), text(mount, "/mountPath").to_owned())).collect()
    };
    let (seen, has) = (mounts(&exporter), mounts(&postgres));
    // pgBackRest connects to PostgreSQL for backups, not for what the exporter asks.
    let unseen: Vec<&String> = has.keys().filter(|name| !seen.contains_key(*name)).collect();
    assert_eq!(unseen, ["socket"]);
    assert!(has.iter().all(|(name, path)| seen.get(name).is_none_or(|seen| seen == path)));

    let install = named("initContainers", "install-exporter");
    let directory = install["args"][1].as_str().unwrap();
    assert_eq!(install["args"][0], "install");
    assert_eq!(mounts(&install)["keeper"], directory);
    assert_eq!(seen["keeper"], directory);
    let command: Vec<&str> = list(&exporter["command"]).iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[0], format!("{directory}/pgbackrest-keeper"));
    assert!(Cli::try_parse_from(command).is_ok());

    let monitoring = build(&kubectl, Path::new("deploy/overlays/monitoring"));
    let monitor = &one(&monitoring, "PodMonitor")["spec"];
    for (key, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(template["metadata"]["labels"][key], *value);
    }
    assert_eq!(exporter["ports"][0]["name"], monitor["podMetricsEndpoints"][0]["port"]);
}
