//! The real API server validates our objects, and keeps its state after a crash.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;
use crate::support::process::wait_for;
use crate::support::web::{Session, tls_client, tls_connect};

#[test]
fn an_http_client_can_be_an_administrator() {
    let Some(plane) = ControlPlane::shared("an_http_client_can_be_an_administrator") else { return };
    assert_eq!(asked_as_administrator(plane, "/api/v1/namespaces/default")["metadata"]["name"], "default");
}

/// Asks the API server on connections of this process.
pub(crate) fn asked_as_administrator(plane: &ControlPlane, path: &str) -> Value {
    let admin = plane.admin();
    let address: SocketAddr = admin.url.strip_prefix("https://").unwrap().parse().unwrap();
    let client = tls_client(plane.authority(), Some(&admin.identity), &["h2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let stream = tls_connect(address, client).await.unwrap();
        Session::http2(stream).await.unwrap().ask(path, &[]).await.unwrap()
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_controllers_are_at_work() {
    let Some(plane) = ControlPlane::shared("the_controllers_are_at_work") else { return };
    let kubectl = plane.kubectl();
    kubectl.create_restricted_namespace("at-work");
    let container =
        json!({"name": "idle", "image": "localhost/idle:1", "resources": {"requests": {"cpu": "1m"}}});
    let cron_job = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "every-minute", "namespace": "at-work"},
        "spec": {
            "schedule": "* * * * *",
            "timeZone": "Europe/Vienna",
            "suspend": true,
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": true, "runAsUser": 26,
                    "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "idle", "image": "localhost/idle:1",
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            }}}},
        },
    });
    kubectl.apply(&cron_job.to_string(), &[]);
    kubectl.run(&["--namespace=at-work", "create", "job", "once", "--from=cronjob/every-minute"]);
    let pod = wait_for("the job controller to make a pod", || {
        let pods =
            kubectl.run(&["--namespace=at-work", "get", "pods", "--selector=job-name=once", "--output=name"]);
        pods.lines().next().map(str::to_owned)
    });
    assert!(pod.starts_with("pod/once-"), "{pod}");

    // The same with more rights than the namespace allows.
    let too_much = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "too-much", "namespace": "at-work"},
        "spec": {"containers": [container]},
    });
    let refused = kubectl.output_with_input(&["create", "--filename=-"], &too_much.to_string());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("violates PodSecurity"), "{said}");
    // What would make such pods is taken with a warning.
    let arguments = ["create", "deployment", "too-much", "--image=localhost/idle:1"];
    let warned = kubectl.output(&[&["--namespace=at-work", "--warnings-as-errors"], &arguments[..]].concat());
    let said = String::from_utf8_lossy(&warned.stderr);
    assert!(!warned.status.success() && said.contains("would violate PodSecurity"), "{said}");
}

#[test]
fn a_service_account_may_only_what_a_role_says() {
    let Some(plane) = ControlPlane::shared("a_service_account_may_only_what_a_role_says") else { return };
    let kubectl = plane.kubectl();
    kubectl.run(&["create", "namespace", "rights"]);
    kubectl.run(&["--namespace=rights", "create", "serviceaccount", "reader"]);
    kubectl.run(&["--namespace=rights", "create", "role", "reader", "--verb=get,list", "--resource=pods"]);
    let binding = ["--role=reader", "--serviceaccount=rights:reader"];
    kubectl.run(&["--namespace=rights", "create", "rolebinding", "reader", binding[0], binding[1]]);
    let mut reader = kubectl.clone();
    reader.kubeconfig = plane.service_account("rights", "reader");
    reader.run(&["--namespace=rights", "get", "pods"]);
    let refused = reader.output(&["--namespace=rights", "get", "secrets"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("cannot list resource \"secrets\""), "{said}");
}

#[test]
fn the_api_server_takes_every_object_where_pods_are_restricted() {
    let test = "the_api_server_takes_every_object_where_pods_are_restricted";
    let Some(plane) = ControlPlane::shared(test) else { return };
    let kubectl = plane.kubectl();
    let directories = subdirectories(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/objects"));
    assert!(directories.len() > 15, "only {} directories", directories.len());
    let mut wrong = Vec::new();
    let mut checked = 0;
    for directory in directories {
        let mut manifests: Vec<String> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        manifests.sort();
        for namespace in manifests.iter().filter_map(|text| namespace_of(text)) {
            if kubectl.get("default", "namespace", namespace).is_none() {
                kubectl.create_restricted_namespace(namespace);
            }
        }
        checked += manifests.len();
        // What pod security thinks of a template comes as a warning.
        let arguments =
            ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];
        let judged = kubectl
            .output_with_input(&[&arguments[..], &["--filename=-"]].concat(), &manifests.join("---\n"));
        if !judged.status.success() {
            wrong.push(format!("{}: {}", directory.display(), String::from_utf8_lossy(&judged.stderr)));
        }
    }
    assert!(checked > 200, "only {checked} objects");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_api_server_knew_outlives_its_crash() {
    let Some(mut plane) = ControlPlane::start("what_the_api_server_knew_outlives_its_crash") else { return };
    let kubectl = plane.kubectl().clone();
    kubectl.run(&["--namespace=default", "create", "configmap", "kept", "--from-literal=answer=42"]);
    plane.stop_api_server();
    let refused = kubectl.output(&["get", "namespaces", "--request-timeout=2s"]);
    assert!(!refused.status.success());
    plane.start_api_server();
    assert_eq!(kubectl.get("default", "configmap", "kept").unwrap()["data"]["answer"], "42");
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

fn namespace_of(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| line.strip_prefix("  namespace: "))
}
