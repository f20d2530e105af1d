//! deploy/components for monitoring: generated from alerts/ and dashboards/, matching deploy/base, and accepted by the real API server
//! with the CRDs of Prometheus Operator.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{build, kubectl, kustomize, list, named, one, root, text};
use crate::operator::deploy::server::{STRICT, installed};
use crate::support::machine::skip;
use crate::support::process::output;

const OVERLAY: &str = "deploy/overlays/monitoring";
/// As an API server takes it in one object, with room for the rest of it.
const LARGEST_CONFIG_MAP: usize = 1_000_000;

/// Everything below deploy/components that is made: file and content.
fn made() -> Vec<(PathBuf, String)> {
    let rules = fs::read_to_string(root().join("alerts/pgbackrest.rules.yml")).unwrap();
    let mut files = vec![(
        PathBuf::from("deploy/components/prometheus-operator/prometheus-rule.yaml"),
        format!(
            "# Made from alerts/pgbackrest.rules.yml.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n{}spec:\n{}",
            metadata("pgbackrest-keeper", "alerts", ""),
            indented(&rules, 2)
        ),
    )];
    let grafana = Path::new("deploy/components/grafana");
    let mut kustomization =
        "# Generated from dashboards/: a ConfigMap each, which Grafana's sidecar finds by its label.\n\
        apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
            .to_owned();
    let dashboards = dashboards();
    kustomization.push_str(if dashboards.is_empty() { "resources: []\n" } else { "resources:\n" });
    for (name, json) in dashboards {
        writeln!(kustomization, "  - {name}.yaml").unwrap();
        let metadata = metadata(
            &format!("pgbackrest-keeper-dashboard-{name}"),
            "dashboard",
            "    grafana_dashboard: \"1\"\n",
        );
        let data = indented(&json, 4);
        let object = format!(
            "# Generated from dashboards/{name}.json.\napiVersion: v1\nkind: ConfigMap\n{metadata}data:\n  \
            pgbackrest-{name}.json: |\n{data}"
        );
        files.push((grafana.join(format!("{name}.yaml")), object));
    }
    files.push((grafana.join("kustomization.yaml"), kustomization));
    files
}

/// By name, without the ending.
fn dashboards() -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(root().join("dashboards")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<(String, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn metadata(name: &str, component: &str, labels: &str) -> String {
    format!(
        "metadata:\n  name: {name}\n  namespace: pgbackrest-keeper\n  labels:\n    \
        app.kubernetes.io/name: pgbackrest-keeper\n    app.kubernetes.io/component: {component}\n    \
        app.kubernetes.io/part-of: pgbackrest-keeper\n{labels}"
    )
}

fn indented(text: &str, by: usize) -> String {
    let mut deeper = String::new();
    for line in text.lines() {
        if !line.is_empty() {
            deeper.extend(std::iter::repeat_n(' ', by));
            deeper.push_str(line);
        }
        deeper.push('\n');
    }
    deeper
}

#[test]
fn what_is_made_is_what_alerts_and_dashboards_say() {
    let made = made();
    let grafana = root().join("deploy/components/grafana");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        for entry in fs::read_dir(&grafana).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, content) in &made {
            fs::write(root().join(path), content).unwrap();
        }
        return;
    }
    for (path, content) in &made {
        let stands = fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(stands == *content, "{} is old; run with UPDATE_GOLDEN=1", path.display());
    }
    let stands = fs::read_dir(grafana).unwrap().count();
    assert_eq!(stands, dashboards().len() + 1, "a dashboard that is gone has its ConfigMap still");
}

/// What kubectl makes of it holds the rules and the dashboards unchanged.
#[test]
fn nothing_is_lost_on_the_way() {
    let Some(kubectl) = kubectl("nothing_is_lost_on_the_way") else { return };
    let objects = build(&kubectl, Path::new(OVERLAY));
    let rules = fs::read_to_string(root().join("alerts/pgbackrest.rules.yml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&rules).unwrap();
    let spec = &one(&objects, "PrometheusRule")["spec"];
    assert!(list(&spec["groups"]).len() > 3);
    assert_eq!(*spec, rules);
    for (name, json) in dashboards() {
        let object = format!("ConfigMap pgbackrest-keeper-dashboard-{name}");
        let object = objects.iter().find(|found| named(found) == object).unwrap();
        let held = object["data"][format!("pgbackrest-{name}.json")].as_str().unwrap();
        assert_eq!(held.trim_end(), json.trim_end());
        assert!(held.len() < LARGEST_CONFIG_MAP, "{name}: {} bytes", held.len());
        assert_eq!(object["metadata"]["labels"]["grafana_dashboard"], "1");
    }
}

#[test]
fn monitors_select_what_is_there() {
    let Some(kubectl) = kubectl("monitors_select_what_is_there") else { return };
    let objects = build(&kubectl, Path::new(OVERLAY));
    let monitor = one(&objects, "ServiceMonitor");
    let service = one(&objects, "Service");
    // Without a namespaceSelector only the Services of its own namespace are looked at.
    assert!(monitor["spec"]["namespaceSelector"].is_null());
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
    let selector = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(!selector.is_empty());
    for (key, value) in selector {
        assert_eq!(&service["metadata"]["labels"][key], value, "{key}");
    }
    let endpoints = list(&monitor["spec"]["endpoints"]);
    assert_eq!(endpoints.len(), 1);
    let port = list(&service["spec"]["ports"]).iter().find(|port| port["name"] == endpoints[0]["port"]);
    let target = &port.expect("the Service has a port of that name")["targetPort"];
    let container = &one(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert!(list(&container["ports"]).iter().any(|port| port["name"] == *target), "{target}");

    // The alert on what cannot be scraped goes by the name of the job, which prometheus-operator makes of these.
    for job in [text(service, "/metadata/name"), text(one(&objects, "PodMonitor"), "/metadata/name")] {
        assert!(job.contains("pgbackrest"), "{job}");
    }
}

/// Each component is part of something that the other tests of deploy/ build.
#[test]
fn every_component_is_in_an_overlay() {
    let used: String = super::directories()
        .iter()
        .map(|directory| fs::read_to_string(directory.join("kustomization.yaml")).unwrap())
        .collect();
    for entry in fs::read_dir(root().join("deploy/components")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(used.contains(&format!("/components/{name}\n")), "no overlay has {name}");
    }
}

#[test]
fn the_api_server_takes_monitors_and_rules_as_they_are_meant() {
    let test = "the_api_server_takes_monitors_and_rules_as_they_are_meant";
    let Some(plane) = installed(test) else { return };
    let fetched = output(Command::new(root().join("scripts/fetch-prometheus-operator")).arg("--path"));
    if !fetched.status.success() {
        skip(test, "prometheus-operator's definitions are not here; run scripts/fetch-prometheus-operator");
        return;
    }
    let definitions = String::from_utf8(fetched.stdout).unwrap();
    let kubectl = plane.kubectl();
    for kind in ["podmonitors", "prometheusrules", "servicemonitors"] {
        let file = Path::new(definitions.trim()).join(format!("{kind}.yaml"));
        kubectl.apply(&fs::read_to_string(file).unwrap(), &[]);
        let definition = format!("customresourcedefinition/{kind}.monitoring.coreos.com");
        kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", &definition]);
    }
    for overlay in [OVERLAY, "deploy/overlays/secured"] {
        let yaml = kustomize(&kubectl.program, Path::new(overlay));
        kubectl.apply(&yaml, &[&["--dry-run=server"], &STRICT[..]].concat());
        // It is not one that takes everything.
        let wrong = yaml.replace("honorLabels: true", "honourLabels: true");
        assert_ne!(wrong, yaml);
        let arguments = ["apply", "--server-side", "--dry-run=server", "--filename=-"];
        let refused = kubectl.output_with_input(&[&arguments[..], &STRICT].concat(), &wrong);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("honourLabels"), "{said}");
    }
}
