//! A real Prometheus that scrapes what our monitors select, configured as prometheus-operator does it.
//!
//! Debian's Prometheus has no service discovery for Kubernetes. So the test queries Kubernetes, and passes the targets to Prometheus
//! with the labels that discovery would set.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support::example::LONGEST;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::process::wait_up_to;
use crate::support::prometheus::Prometheus;

/// The one endpoint of a PodMonitor or ServiceMonitor, in the namespaces that it looks into. `credentials` stand for the
/// Secrets that it names: the file of the authority, and the password.
pub(super) fn job(monitor: &Value, kubectl: &Kubectl, credentials: Option<(&Path, &str)>) -> Value {
    let text = |pointer: &str| monitor.pointer(pointer).and_then(Value::as_str).unwrap();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let is_of_pods = monitor["kind"] == "PodMonitor";
    let (of, port, endpoints, job_name) = if is_of_pods {
        ("pod", "pod_container_port_name", "podMetricsEndpoints", format!("{namespace}/{name}"))
    } else {
        ("service", "endpoint_port_name", "endpoints", name.to_owned())
    };
    let endpoint = &monitor["spec"][endpoints][0];
    let mut relabeling: Vec<Value> = Vec::new();
    for (key, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        relabeling.push(json!({"action": "keep", "regex": value, "source_labels": [label_of(of, key)]}));
    }
    relabeling.push(json!({"action": "keep", "regex": endpoint["port"],
        "source_labels": [format!("__meta_kubernetes_{port}")]}));
    for (target, source) in [("namespace", "namespace"), ("pod", "pod_name")] {
        relabeling
            .push(json!({"source_labels": [format!("__meta_kubernetes_{source}")], "target_label": target}));
    }
    relabeling.push(json!({"target_label": "job", "replacement": job_name}));
    for more in endpoint["relabelings"].as_array().into_iter().flatten() {
        relabeling.push(json!({"source_labels": more["sourceLabels"], "regex": more["regex"],
            "target_label": more["targetLabel"]}));
    }
    let any = monitor["spec"]["namespaceSelector"]["any"] == true;
    let place = if any { "--all-namespaces".to_owned() } else { format!("--namespace={namespace}") };
    let targets = if is_of_pods { of_pods(kubectl, &place) } else { of_services(kubectl, &place) };
    let mut job = json!({"job_name": job_name, "honor_labels": endpoint["honorLabels"],
        "metrics_path": endpoint["path"], "static_configs": targets, "relabel_configs": relabeling});
    if let Some((authority, password)) = credentials {
        job["scheme"] = endpoint["scheme"].clone();
        job["tls_config"] = json!({"ca_file": authority, "server_name": endpoint["tlsConfig"]["serverName"]});
        job["basic_auth"] = json!({"username": "prometheus", "password": password});
    }
    job
}

/// The discovered label for a label of an object.
fn label_of(kind: &str, key: &str) -> String {
    format!("__meta_kubernetes_{kind}_label_{}", key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

fn labels_of(kind: &str, object: &Value) -> Map<String, Value> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let mut found: Map<String, Value> =
        labels.map(|(key, value)| (label_of(kind, key), value.clone())).collect();
    found.insert("__meta_kubernetes_namespace".to_owned(), object["metadata"]["namespace"].clone());
    found
}

fn listed(kubectl: &Kubectl, place: &str, kind: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(&kubectl.run(&["get", kind, place, "--output=json"])).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Each port that a container of a pod declares.
fn of_pods(kubectl: &Kubectl, place: &str) -> Vec<Value> {
    let mut targets = Vec::new();
    for pod in listed(kubectl, place, "pods") {
        let Some(address) = pod["status"]["podIP"].as_str() else { continue };
        for container in pod["spec"]["containers"].as_array().unwrap() {
            for port in container["ports"].as_array().into_iter().flatten() {
                let mut labels = labels_of("pod", &pod);
                labels.insert("__meta_kubernetes_pod_name".to_owned(), pod["metadata"]["name"].clone());
                labels.insert("__meta_kubernetes_pod_container_port_name".to_owned(), port["name"].clone());
                targets.push(json!({"targets": [format!("{address}:{}", port["containerPort"])],
                    "labels": labels}));
            }
        }
    }
    targets
}

/// Each address behind each port of a Service.
fn of_services(kubectl: &Kubectl, place: &str) -> Vec<Value> {
    let mut targets = Vec::new();
    for service in listed(kubectl, place, "services") {
        let name = service["metadata"]["name"].as_str().unwrap();
        let slices = listed(kubectl, place, "endpointslices");
        for slice in
            slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name)
        {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                for port in slice["ports"].as_array().unwrap() {
                    let mut labels = labels_of("service", &service);
                    labels.insert(
                        "__meta_kubernetes_pod_name".to_owned(),
                        endpoint["targetRef"]["name"].clone(),
                    );
                    labels.insert("__meta_kubernetes_endpoint_port_name".to_owned(), port["name"].clone());
                    let address = endpoint["addresses"][0].as_str().unwrap();
                    targets
                        .push(json!({"targets": [format!("{address}:{}", port["port"])], "labels": labels}));
                }
            }
        }
    }
    targets
}

/// Waits until a query has this one value.
pub(super) fn wait_for(prometheus: &Prometheus, query: &str, value: f64) {
    wait_up_to(LONGEST, &format!("{query} to be {value}"), || {
        let found = prometheus.query(query);
        (found.len() == 1 && found[0].1 == value).then_some(())
    });
}
