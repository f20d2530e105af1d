//! The real kubectl, and the kubeconfig files that it and everybody else reads.

use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgbackrest_keeper::kubernetes::client::{self, ConnectOptions};
use serde_json::{Value, json};

use super::place::Place;
use crate::support::process;
use crate::support::web::Issued;

/// Who asks the API server.
pub(crate) enum Credentials<'a> {
    Certificate(&'a Issued),
    Token(&'a str),
}

/// Writes a kubeconfig file that only its owner may read.
pub(crate) fn write_kubeconfig(file: &Path, url: &str, authority: &str, credentials: &Credentials<'_>) {
    let user = match credentials {
        Credentials::Certificate(issued) => json!({
            "client-certificate-data": STANDARD.encode(&issued.certificate_pem),
            "client-key-data": STANDARD.encode(&issued.key_pem),
        }),
        Credentials::Token(token) => json!({"token": token}),
    };
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    });
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file).unwrap();
    file.write_all(text.to_string().as_bytes()).unwrap();
}

/// kubectl with the rights of one kubeconfig file.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    pub(crate) place: Place,
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
}

impl Kubectl {
    /// Gives standard output.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        said(arguments, &self.output(arguments))
    }

    /// Whatever comes of it.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        process::output(&mut self.command(arguments))
    }

    /// An object as JSON; `None` where it is not there. Waits ask for it often, and kubectl takes a tenth of a second of a
    /// core each time, so this process asks the API server itself.
    ///
    /// # Panics
    /// If there is no other answer.
    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let path = path(namespace, kind, name);
        let options =
            ConnectOptions { kubeconfig: Some(self.kubeconfig.clone()), ..ConnectOptions::default() };
        self.place.in_network(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = client::connect(&options).await.unwrap();
                let request = http::Request::get(&path).body(Vec::new()).unwrap();
                match client.request::<Value>(request).await {
                    Ok(object) => Some(object),
                    Err(kube::Error::Api(status)) if status.code == 404 => None,
                    Err(error) => panic!("{path}: {error}"),
                }
            })
        })
    }

    /// Server-side apply of manifests, which may name their namespaces. More arguments come after.
    ///
    /// # Panics
    /// If the server refuses, with what it said.
    pub(crate) fn apply(&self, manifests: &str, arguments: &[&str]) -> String {
        let mut all = vec!["apply", "--server-side", "--filename=-"];
        all.extend_from_slice(arguments);
        said(&all, &self.output_with_input(&all, manifests))
    }

    /// Whatever comes of it when it reads this.
    pub(crate) fn output_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        file.rewind().unwrap();
        self.command(arguments).stdin(file).output().unwrap()
    }

    /// Waits until it is so, as `kubectl wait --for` understands it; what is waited for may come into being meanwhile.
    ///
    /// # Panics
    /// After two minutes, with what there is to know of the namespace.
    pub(crate) fn wait(&self, namespace: &str, what: &str, so: &str) {
        let deadline = Instant::now() + Duration::from_mins(2);
        let so = format!("--for={so}");
        let arguments = ["--namespace", namespace, "wait", what, &so, "--timeout=10s"];
        loop {
            let waited = self.output(&arguments);
            if waited.status.success() {
                return;
            }
            if Instant::now() > deadline {
                let said = String::from_utf8_lossy(&waited.stderr);
                panic!("waiting for {what} to be {so}: {said}\n{}", self.state_of(namespace));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a reader of a failed test wants to know: pods with their events, and the end of their logs.
    fn state_of(&self, namespace: &str) -> String {
        let said = |arguments: &[&str]| {
            let output = self.output(&[&["--namespace", namespace], arguments].concat());
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        let mut state = said(&["get", "all", "--output=wide"]) + &said(&["describe", "pods"]);
        for pod in said(&["get", "pods", "--output=name"]).lines() {
            state += &said(&["logs", pod, "--all-containers", "--prefix", "--tail=20"]);
        }
        state
    }

    /// A new namespace in which the pod security standard `restricted` is enforced on pods, and a warning comes for
    /// what would make others.
    pub(crate) fn create_restricted_namespace(&self, name: &str) {
        self.run(&["create", "namespace", name]);
        let label = |mode: &str| format!("pod-security.kubernetes.io/{mode}=restricted");
        self.run(&["label", "namespace", name, &label("enforce"), &label("warn")]);
    }

    /// To be run by the caller.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.call(&self.program);
        command.arg(format!("--kubeconfig={}", self.kubeconfig.display())).args(arguments);
        // Its cache of what the server offers lies beside the kubeconfig file, and goes with it.
        command.env("KUBECACHEDIR", self.kubeconfig.with_extension("cache")).env_remove("KUBECONFIG");
        command
    }
}

fn said(arguments: &[&str], output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {}\n{text}{error}", output.status);
    text
}

/// Where the API server has an object.
fn path(namespace: &str, kind: &str, name: &str) -> String {
    let (group, plural) = match kind {
        "configmap" => ("api/v1", "configmaps"),
        "cronjob" => ("apis/batch/v1", "cronjobs"),
        "customresourcedefinition" => ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
        "deployment" => ("apis/apps/v1", "deployments"),
        "job" => ("apis/batch/v1", "jobs"),
        "lease" => ("apis/coordination.k8s.io/v1", "leases"),
        "namespace" => ("api/v1", "namespaces"),
        "networkpolicy" => ("apis/networking.k8s.io/v1", "networkpolicies"),
        "node" => ("api/v1", "nodes"),
        "pod" => ("api/v1", "pods"),
        "postgresql" => ("apis/cpo.opensource.cybertec.at/v1", "postgresqls"),
        "pvc" | "persistentvolumeclaim" => ("api/v1", "persistentvolumeclaims"),
        "role" => ("apis/rbac.authorization.k8s.io/v1", "roles"),
        "rolebinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
        "secret" => ("api/v1", "secrets"),
        "service" => ("api/v1", "services"),
        "serviceaccount" => ("api/v1", "serviceaccounts"),
        "statefulset" => ("apis/apps/v1", "statefulsets"),
        _ => panic!("tell where the API server has objects of kind {kind}"),
    };
    match kind {
        "customresourcedefinition" | "namespace" | "node" => format!("/{group}/{plural}/{name}"),
        _ => format!("/{group}/namespaces/{namespace}/{plural}/{name}"),
    }
}
