//! The real kubectl, and kubeconfig files.

use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::place::Place;
use super::proxy;
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

    /// An object as JSON; `None` where it is not there.
    ///
    /// # Panics
    /// If the server refuses, with what it said.
    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let collection = proxy::collection(namespace, kind);
        if let Some(answer) =
            collection.and_then(|path| proxy::ask(&self.socket(), &format!("{path}/{name}")))
        {
            let mut object: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            if answer.status == 404 && object["reason"] == "NotFound" {
                return None;
            }
            assert_eq!(answer.status, 200, "{kind} {name} in {namespace}: {}", answer.body);
            // As kubectl leaves them out.
            object["metadata"].as_object_mut().unwrap().remove("managedFields");
            return Some(object);
        }
        let found =
            self.run(&["--namespace", namespace, "get", kind, name, "--ignore-not-found", "--output=json"]);
        (!found.trim().is_empty()).then(|| serde_json::from_str(&found).unwrap())
    }

    /// The objects of a kind in a namespace. `query` may select some, such as `labelSelector=app=web`.
    ///
    /// # Panics
    /// If the server refuses, with what it said, or if it is a kind that nobody has asked for before.
    pub(crate) fn list(&self, namespace: &str, kind: &str, query: &str) -> Vec<Value> {
        let path = proxy::collection(namespace, kind).expect("a kind that proxy::collection knows");
        let list = self.raw(&format!("{path}?{query}")).unwrap_or_else(|said| panic!("{path}: {said}"));
        let mut list: Value = serde_json::from_str(&list).unwrap();
        list["items"].take().as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What a pod has printed so far; nothing where it has not started.
    pub(crate) fn log(&self, namespace: &str, pod: &str) -> String {
        self.raw(&format!("/api/v1/namespaces/{namespace}/pods/{pod}/log")).unwrap_or_default()
    }

    /// What the server has at this path; an error is what it said instead.
    pub(crate) fn raw(&self, path: &str) -> Result<String, String> {
        if let Some(answer) = proxy::ask(&self.socket(), path) {
            return if answer.status == 200 { Ok(answer.body) } else { Err(answer.body) };
        }
        let output = self.output(&["get", "--raw", path, "--request-timeout=5s"]);
        let said = if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) };
        let text = |said: Vec<u8>| String::from_utf8_lossy(&said).into_owned();
        said.map(text).map_err(text)
    }

    /// A proxy with the rights of the kubeconfig file, which answers in place of further kubectls for as long as it runs.
    pub(crate) fn proxy(&self) -> Command {
        let mut command = self.place.command(&self.program);
        command
            .arg("proxy")
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--unix-socket={}", self.socket().display()));
        command
    }

    fn socket(&self) -> PathBuf {
        self.kubeconfig.with_extension("socket")
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
    /// After twenty minutes, with what there is to know of the namespace.
    pub(crate) fn wait(&self, namespace: &str, what: &str, so: &str) {
        let deadline = Instant::now() + Duration::from_mins(20);
        let so = format!("--for={so}");
        let (kind, name) = what.split_once('/').unwrap();
        loop {
            let mut said = "it is not there".to_owned();
            // kubectl does not wait for what is not there yet.
            if self.get(namespace, kind, name).is_some() {
                let waited = self.output(&["--namespace", namespace, "wait", what, &so, "--timeout=5m"]);
                if waited.status.success() {
                    return;
                }
                said = String::from_utf8_lossy(&waited.stderr).into_owned();
            }
            let is_early = Instant::now() < deadline;
            assert!(is_early, "waiting for {what} to be {so}: {said}\n{}", self.state_of(namespace));
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

    /// Nobody waits for their end.
    pub(crate) fn delete_namespaces(&self, names: &[&str]) {
        self.output(&[&["delete", "namespace", "--ignore-not-found", "--wait=false"], names].concat());
    }

    /// To be run by the caller.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.call(&self.program);
        command.arg(format!("--kubeconfig={}", self.kubeconfig.display())).args(arguments);
        // Its cache of what the server offers lies beside the kubeconfig file, and goes with it.
        command.env("KUBECACHEDIR", self.kubeconfig.with_extension("cache")).env_remove("KUBECONFIG");
        // It ends before collecting garbage pays off.
        command.env("GOGC", "off");
        command
    }
}

fn said(arguments: &[&str], output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {}\n{text}{error}", output.status);
    text
}
