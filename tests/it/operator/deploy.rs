//! The manifests in deploy/: built with kubectl, and compared with the schemas of three Kubernetes versions, with `lint`, and with the
//! objects and requests of the program.

pub(crate) mod chart;
mod examples;
mod monitoring;
mod parts;
mod restore_tests;
pub(crate) mod rights;
mod server;
mod web;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::golden::objects::schemas;
use crate::support::machine::{program, skip};
use crate::support::process::{output, successful};

/// Objects that belong to no namespace.
const CLUSTER_WIDE: [&str; 4] =
    ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"];

#[test]
fn every_object_has_its_labels_and_its_namespace() {
    let Some(kubectl) = kubectl("every_object_has_its_labels_and_its_namespace") else { return };
    for directory in directories() {
        for object in build(&kubectl, &directory) {
            let named = named(&object);
            let label =
                |key: &str| object.pointer("/metadata/labels").and_then(|labels| labels[key].as_str());
            assert!(label("app.kubernetes.io/name").is_some(), "{}: {named}", directory.display());
            // The operator takes what carries it for its own work.
            assert_eq!(label("app.kubernetes.io/managed-by"), None, "{}: {named}", directory.display());
            let is_cluster_wide = CLUSTER_WIDE.contains(&text(&object, "/kind"));
            let namespace = object.pointer("/metadata/namespace");
            assert_eq!(namespace.is_none(), is_cluster_wide, "{}: {named}", directory.display());
        }
    }
}

#[test]
fn the_version_is_that_of_the_program() {
    let Some(kubectl) = kubectl("the_version_is_that_of_the_program") else { return };
    let version = env!("CARGO_PKG_VERSION");
    let base = build(&kubectl, Path::new("deploy/base"));
    for object in &base {
        let label = &object["metadata"]["labels"]["app.kubernetes.io/version"];
        assert_eq!(label, version, "{}", named(object));
    }
    let deployment = one(&base, "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("pgbackrest-keeper:{version}"));
    assert_eq!(container["args"], serde_json::json!(["operator"]));
    let mut images = 0;
    for object in directories().iter().flat_map(|directory| build(&kubectl, directory)) {
        let pod = &object["spec"]["template"]["spec"];
        for container in list(&pod["initContainers"]).iter().chain(list(&pod["containers"])) {
            if let Some((_, tag)) = text(container, "/image").split_once("pgbackrest-keeper:") {
                assert_eq!(tag, version, "{}", named(&object));
                images += 1;
            }
        }
    }
    assert!(images > 5, "only {images} images");
}

#[test]
fn objects_pass_strict_schemas() {
    let Some(kubectl) = kubectl("objects_pass_strict_schemas") else { return };
    let Some(package) = schemas::package() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for directory in directories() {
        for object in build(&kubectl, &directory) {
            // Their schemas are deploy/crd/crd.yaml and prometheus-operator's, which the API server goes by.
            let is_defined = text(&object, "/apiVersion").starts_with("monitoring.coreos.com/");
            if is_defined || object["kind"] == "postgresql" {
                continue;
            }
            let file = scratch.path().join(format!("{}.json", files.len()));
            fs::write(&file, object.to_string()).unwrap();
            files.push(file);
        }
    }
    assert!(files.len() > 15, "only {} objects", files.len());
    let (judged, complaints) =
        schemas::judge(&package, &files).unwrap_or_else(|complaints| panic!("{complaints}"));
    assert_eq!(judged, files.len() * schemas::VERSIONS.len(), "{complaints}");
}

/// What the pod security standard `restricted` asks for, and a little more.
#[test]
fn every_pod_is_restricted() {
    let Some(kubectl) = kubectl("every_pod_is_restricted") else { return };
    let mut pods = 0;
    for object in directories().iter().flat_map(|directory| build(&kubectl, directory)) {
        let Some(pod) = object.pointer("/spec/template/spec") else { continue };
        pods += 1;
        let named = named(&object);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{named}");
        assert!(pod["securityContext"]["runAsUser"].as_i64().is_some_and(|user| user > 0), "{named}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{named}");
        assert_eq!(pod["enableServiceLinks"], false, "{named}");
        assert!(pod["automountServiceAccountToken"].is_boolean(), "{named}: says nothing about its token");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[field].is_null(), "{named}: {field}");
        }
        for volume in list(&pod["volumes"]) {
            let kinds: Vec<&String> =
                volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
            assert!(["emptyDir", "projected"].contains(&kinds[0].as_str()), "{named}: {kinds:?}");
        }
        for container in list(&pod["initContainers"]).iter().chain(list(&pod["containers"])) {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{named}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{named}");
            assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}), "{named}");
            assert!(container["resources"]["requests"]["memory"].is_string(), "{named}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{named}");
        }
    }
    assert!(pods >= 2, "only {pods} pods");
}

/// The kustomization that docs/operator.md shows, beside the base.
#[test]
fn the_documented_kustomization_names_another_image() {
    let Some(kubectl) = kubectl("the_documented_kustomization_names_another_image") else { return };
    let document = fs::read_to_string(root().join("docs/operator.md")).unwrap();
    let (_, rest) = document.split_once("```yaml\n").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for directory in ["base", "crd", "mine"] {
        fs::create_dir(scratch.path().join(directory)).unwrap();
    }
    for directory in ["base", "crd"] {
        for entry in fs::read_dir(root().join("deploy").join(directory)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, scratch.path().join(directory).join(path.file_name().unwrap())).unwrap();
        }
    }
    let mine = scratch.path().join("mine");
    fs::write(mine.join("kustomization.yaml"), rest.split_once("```").unwrap().0).unwrap();
    let objects = build(&kubectl, &mine);
    let container = &one(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], format!("registry.example/pgbackrest-keeper:{version}"));
}

/// What refers to one another within the base does so by the right names.
#[test]
fn services_and_budgets_select_the_operator() {
    let Some(kubectl) = kubectl("services_and_budgets_select_the_operator") else { return };
    let base = build(&kubectl, Path::new("deploy/base"));
    let deployment = one(&base, "Deployment");
    let pod = &deployment["spec"]["template"];
    let selects = |selector: &Value| {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty());
        selector.iter().all(|(key, value)| &pod["metadata"]["labels"][key] == value)
    };
    assert!(selects(&deployment["spec"]["selector"]["matchLabels"]));
    assert!(selects(&one(&base, "Service")["spec"]["selector"]));
    assert!(selects(&one(&base, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]));
    let account = one(&base, "ServiceAccount");
    assert_eq!(pod["spec"]["serviceAccountName"], account["metadata"]["name"]);
    for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        let binding = one(&base, binding);
        assert_eq!(binding["roleRef"]["kind"], role);
        assert_eq!(binding["roleRef"]["name"], one(&base, role)["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["namespace"], account["metadata"]["namespace"]);
    }
}

/// Every directory that kubectl can be pointed at; components are parts of overlays.
fn directories() -> Vec<PathBuf> {
    fn look(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "components") {
                look(&path, found);
            } else if path.file_name().is_some_and(|name| name == "kustomization.yaml") {
                found.push(directory.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    look(&root().join("deploy"), &mut found);
    found.sort();
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The objects of one directory.
fn build(kubectl: &Path, directory: &Path) -> Vec<Value> {
    objects(&kustomize(kubectl, directory))
}

/// What `kubectl kustomize` prints for one directory.
fn kustomize(kubectl: &Path, directory: &Path) -> String {
    successful(Command::new(kubectl).arg("kustomize").arg(root().join(directory)))
}

fn objects(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    assert!(!objects.is_empty());
    let names: BTreeSet<String> = objects.iter().map(named).collect();
    assert_eq!(names.len(), objects.len(), "an object is there twice: {names:?}");
    objects
}

/// The one that the tests bring, or else the machine's.
fn kubectl(test: &str) -> Option<PathBuf> {
    let fetched = output(Command::new(root().join("scripts/fetch-kubernetes")).arg("--path"));
    if fetched.status.success() {
        let programs = String::from_utf8(fetched.stdout).unwrap();
        return Some(Path::new(programs.trim()).join("kubectl"));
    }
    match program("kubectl") {
        Ok(kubectl) => Some(kubectl),
        Err(missing) => {
            skip(test, missing);
            None
        }
    }
}

/// The one object of a kind.
fn one<'objects>(objects: &'objects [Value], kind: &str) -> &'objects Value {
    let mut of_kind = objects.iter().filter(|object| object["kind"] == kind);
    let found = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(of_kind.next().is_none(), "more than one {kind}");
    found
}

fn named(object: &Value) -> String {
    format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"))
}

fn text<'object>(object: &'object Value, pointer: &str) -> &'object str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
