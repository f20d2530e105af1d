//! deploy/components/restore-tests: generated from the schema in the program, and the real API server takes it, with the resources that
//! `lint` lets pass, and none of those that it does not.

use std::fs;
use std::path::Path;

use pgbackrest_keeper::cli::manifest::Manifests;
use pgbackrest_keeper::cluster::finding::Finding;
use pgbackrest_keeper::cluster::restore_test::resource::{API_VERSION, KIND};
use pgbackrest_keeper::cluster::restore_test::schema;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate;
use serde_json::{Value, json};

use super::server::{STRICT, keeps, many};
use super::{kubectl, kustomize, objects, root};
use crate::support::control_plane::ControlPlane;

const DEFINITION: &str = "deploy/components/restore-tests/crd.yaml";
const OVERLAY: &str = "deploy/overlays/restore-tests";

#[test]
fn the_definition_is_that_of_the_program() {
    let made = format!(
        "# Generated from src/cluster/restore_test/schema.rs.\n{}",
        serde_saphyr::to_string(&schema::definition()).unwrap()
    );
    let path = root().join(DEFINITION);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, made).unwrap();
        return;
    }
    assert!(fs::read_to_string(&path).unwrap() == made, "run with UPDATE_GOLDEN=1");
}

/// None of it exists where it is not asked for.
#[test]
fn the_definition_is_only_in_its_component() {
    let Some(kubectl) = kubectl("the_definition_is_only_in_its_component") else { return };
    let has = |directory: &str| {
        let built = objects(&kustomize(&kubectl, Path::new(directory)));
        built.iter().any(|object| object["metadata"]["name"] == "restoretests.pgbackrest-keeper.io")
    };
    assert!(has(OVERLAY));
    for directory in ["deploy/base", "deploy/overlays/default", "deploy/overlays/secured"] {
        assert!(!has(directory), "{directory}");
    }
}

#[test]
fn the_resource_takes_what_lint_lets_pass() {
    let Some(plane) = installed("the_resource_takes_what_lint_lets_pass") else { return };
    let settings = Settings::default();
    let mut resources = vec![everything()];
    for entry in fs::read_dir(root().join("fixtures/clusters")).unwrap() {
        let Ok(manifests) = Manifests::read(&[entry.unwrap().path()], "default") else { continue };
        for found in &manifests.restore_tests {
            let (test, findings) = validate::restore_test(found.document.clone(), &settings);
            if test.is_some() && !findings.iter().any(Finding::is_error) {
                let mut document = found.document.clone();
                document["metadata"] = json!({"name": format!("fixture-{}", resources.len())});
                resources.push(document);
            }
        }
    }
    assert!(resources.len() > 3, "only {} resources", resources.len());
    keeps(plane.kubectl(), &resources);
}

#[test]
fn the_resource_refuses_what_lint_refuses() {
    let Some(plane) = installed("the_resource_refuses_what_lint_refuses") else { return };
    let settings = Settings::default();
    for (name, field, value, complaint) in [
        ("good", "clusters", json!({}), "set either names or selector"),
        ("good", "clusters", json!({"names": ["a"], "selector": {}}), "set either names or selector"),
        ("good", "repo", json!("repo5"), "spec.repo"),
        ("good", "repo", json!(1), "spec.repo"),
        ("good", "schedule", json!(""), "spec.schedule"),
        ("good", "jitter", json!("30 minutes"), "spec.jitter"),
        ("good", "timeouts", json!({"total": "8 h"}), "spec.timeouts.total"),
        ("good", "storage", json!({"ephemeral": {}, "emptyDir": {}}), "set either ephemeral or emptyDir"),
        ("good", "storage", json!({"ephemeral": {"size": "50GB"}}), "spec.storage.ephemeral.size"),
        ("good", "processMax", json!(0), "spec.processMax"),
        ("good", "checks", json!({"assertions": {}}), "spec.checks.assertions.configMap"),
        ("good", "pod", json!({"serviceAccount": "A"}), "spec.pod.serviceAccount"),
        ("a-name-that-is-too-long-for-its-cron-job", "repo", json!("any"), "the name must have at most 39"),
        ("dotted.name", "repo", json!("any"), "no dots"),
    ] {
        let mut resource =
            resource(name, &json!({"clusters": {"names": ["ledger"]}, "schedule": "0 3 * * *"}));
        resource["spec"][field] = value;
        let (test, _) = validate::restore_test(resource.clone(), &settings);
        assert_eq!(test, None, "{resource}");
        let arguments = ["apply", "--server-side", "--dry-run=server", "--filename=-"];
        let refused = plane.kubectl().output_with_input(&arguments, &resource.to_string());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(complaint), "{resource}: {said}");
    }
}

/// Results and conditions arrive, and `kubectl wait` and `kubectl get` understand them.
#[test]
fn the_status_is_understood() {
    let Some(plane) = installed("the_status_is_understood") else { return };
    let kubectl = plane.kubectl();
    let test = resource("understood", &json!({"clusters": {"names": ["ledger"]}, "schedule": "0 3 * * *"}));
    kubectl.apply(&many(&[test]), &STRICT);
    let at = "2026-11-23T05:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": at, "reason": "AsDescribed", "message": ""});
    let status = json!({
        "observedGeneration": 1, "clusters": 1, "lastTest": at,
        "conditions": [condition("Ready"), condition("Tested"), condition("Passed")],
        "next": {"cluster": "ledger", "repo": "repo1"},
        "results": [{"cluster": "ledger", "repo": "repo1", "lastPassed": at, "tests": [{
            "start": at, "stop": at, "outcome": "passed", "backup": "20261122-092719F", "target": "time",
            "targetTime": at, "reachedLSN": "0/3000000", "lastCommit": at, "bytes": 4_000_000_000_u64,
            "walBytes": 16_777_216, "restoreSeconds": 12, "replaySeconds": 3,
        }]}],
    });
    let patch = format!("--patch={}", json!({"status": status}));
    let name = "restoretest/understood";
    kubectl.run(&["patch", name, "--subresource=status", "--type=merge", &patch]);
    kubectl.run(&["wait", "--for=condition=Passed", "--timeout=5s", name]);
    let shown: Value =
        serde_json::from_str(&kubectl.run(&["get", "rtest", "understood", "--output=json"])).unwrap();
    assert_eq!(shown["status"], status);
    let table = kubectl.run(&["get", "rtest", "understood", "--no-headers"]);
    assert!(table.contains("0 3 * * *") && table.contains("True") && table.contains("ledger"), "{table}");
}

/// The shared control plane, with the component in it.
fn installed(test: &str) -> Option<&'static ControlPlane> {
    let plane = super::server::installed(test)?;
    let kubectl = plane.kubectl();
    // Applied again, it changes nothing.
    kubectl.apply(&fs::read_to_string(root().join(DEFINITION)).unwrap(), &STRICT);
    let definition = "customresourcedefinition/restoretests.pgbackrest-keeper.io";
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", definition]);
    Some(plane)
}

/// Each field once.
fn everything() -> Value {
    resource(
        "everything",
        &json!({
            "clusters": {"selector": {"matchLabels": {"tier": "gold"},
                "matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["test"]}]}},
            "schedule": "0 3 * * *", "timeZone": "Europe/Vienna", "jitter": "30m", "startingDeadline": "1h",
            "suspend": true, "duringBackups": true, "repo": "repo2", "backup": "20261122-092719F",
            "target": "2026-11-23T06:00:00+01:00", "databases": ["shop"], "processMax": 4,
            "timeouts": {"total": "8h", "restore": "3h", "replay": "2h", "check": "90m"},
            "storage": {"emptyDir": {"sizeLimit": "20Gi"}}, "configuration": {"secret": "read-only"},
            "postgresql": {"binDirectory": "/usr/pgsql-17/bin", "user": "admin", "parameters": {"work_mem": "64MB"}},
            "checks": {"amcheck": true, "assertions": {"configMap": "expectations", "key": "a.yaml"}},
            "pod": {"image": "registry.example/postgres:17", "imagePullSecrets": ["registry"], "serviceAccount": "reader",
                "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}, "labels": {"cost": "a"},
                "annotations": {"b": "c"}, "nodeSelector": {"disk": "fast"},
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
                "tolerations": [{"key": "test", "operator": "Exists"}], "priorityClass": "low"},
            "keepOnFailure": true, "history": {"successful": 0, "failed": 2, "timeToLive": "6h"},
        }),
    )
}

fn resource(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec})
}

/// Every field of the schema is in `everything`.
#[test]
fn everything_is_everything() {
    let text = everything().to_string();
    let other_kind_of_storage = ["ephemeral", "storageClass", "size", "names"];
    let missing: Vec<String> = schema::fields()
        .into_iter()
        .filter(|field| !other_kind_of_storage.contains(&field.as_str()))
        .filter(|field| !text.contains(&format!("\"{field}\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
