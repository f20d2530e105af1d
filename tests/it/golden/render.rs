//! The output format of `render`. The objects themselves are recorded elsewhere.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const GOOD: &[&str] =
    &["pvc", "s3", "encryption", "azure", "gcs", "several_repos", "long_name", "annotations", "standby"];

#[test]
fn yaml_and_json_are_the_same_objects() {
    for name in GOOD {
        let file = format!("fixtures/clusters/{name}.yaml");
        let yaml = render(&[&file]);
        assert_eq!(yaml.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&yaml.stderr));
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(std::str::from_utf8(&yaml.stdout).unwrap()).unwrap();
        let list: Value = serde_json::from_slice(&render(&[&file, "--output", "json"]).stdout).unwrap();
        assert_eq!(list["kind"], "List");
        assert_eq!(list["items"].as_array(), Some(&documents), "{name}");
        assert!(documents.iter().any(|object| object["kind"] == "CronJob"), "{name}");
        assert!(
            documents
                .iter()
                .all(|object| object["apiVersion"].is_string() && object["metadata"]["name"].is_string()),
            "{name}"
        );
    }
}

#[test]
fn secrets_are_neither_taken_nor_made() {
    for name in GOOD {
        let text = String::from_utf8(render(&[&format!("fixtures/clusters/{name}.yaml")]).stdout).unwrap();
        for secret in ["ledger-key-id", "ledger-key-secret", "ledger-passphrase", "PRIVATE KEY", "bGVkZ2Vy"] {
            assert!(!text.contains(secret), "{name}: {secret}");
        }
    }
    let text = String::from_utf8(render(&["fixtures/clusters/pvc.yaml"]).stdout).unwrap();
    assert!(text.contains("<generated>"), "{text}");
}

#[test]
fn nothing_is_printed_when_anything_is_wrong() {
    let both = ["fixtures/clusters/pvc.yaml", "fixtures/clusters/two_clusters.yaml"];
    let output = render(&both);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("two_clusters.yaml: error storage-unknown: spec.backup.pgbackrest.repos[0].storage"),
        "{said}"
    );
}

#[test]
fn input_that_is_of_no_use_is_told_apart() {
    assert_eq!(render(&["fixtures/clusters/key_twice.yaml"]).status.code(), Some(2));
    assert_eq!(render(&["fixtures/clusters/no_cluster.yaml"]).status.code(), Some(2));
    assert_eq!(render(&[]).status.code(), Some(2));
    let nothing_asked = render(&["fixtures/clusters/no_backup.yaml"]);
    assert_eq!((nothing_asked.status.code(), nothing_asked.stdout.len()), (Some(0), 0));
}

#[test]
fn flags_reach_the_objects() {
    let output = render(&[
        "fixtures/clusters/pvc.yaml",
        "--cluster-domain=k8s.example",
        "--keeper-image=keeper.example:7",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(".svc.k8s.example") && !text.contains("cluster.local"), "{text}");
    assert!(text.contains("keeper.example:7"), "{text}");
}

#[test]
fn images_are_pulled_as_flags_say() {
    let objects = rendered(&["--image-pull-secrets=registry,mirror", "--image-pull-policy=Always"]);
    let pods = pods(&objects);
    assert_eq!(pods.len(), 2, "{pods:#?}");
    for pod in pods {
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}, {"name": "mirror"}]));
        assert_eq!(pod["containers"][0]["imagePullPolicy"], "Always");
    }
    for wrong in ["--image-pull-secrets=../other", "--image-pull-policy=sometimes", "--repo-host-user=0"] {
        assert_eq!(render(&["fixtures/clusters/pvc.yaml", wrong]).status.code(), Some(2), "{wrong}");
    }
}

/// What OpenShift's security context constraint `restricted-v2` admits, which assigns users and groups of its own.
#[test]
fn openshift_admits_pods_without_users_of_their_own() {
    let objects = rendered(&["--repo-host-user=none", "--repo-host-fs-group=none", "--job-user=none"]);
    for pod in pods(&objects) {
        let (security, containers) = (&pod["securityContext"], pod["containers"].as_array().unwrap());
        for assigned in ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions"] {
            assert!(security[assigned].is_null(), "{assigned}: {pod}");
        }
        assert_eq!(
            (&security["runAsNonRoot"], &security["seccompProfile"]["type"]),
            (&json!(true), &json!("RuntimeDefault"))
        );
        for of_host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[of_host].is_null(), "{pod}");
        }
        for container in containers {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["privileged"], false);
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
            assert!(security["runAsUser"].is_null(), "{container}");
            let mut ports = container["ports"].as_array().into_iter().flatten();
            assert!(ports.all(|port| port["hostPort"].is_null()), "{container}");
        }
        let allowed =
            ["name", "configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"];
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let mut kinds = volume.as_object().unwrap().keys();
            assert!(kinds.all(|kind| allowed.contains(&kind.as_str())), "{volume}");
        }
    }
}

/// The objects of a cluster with a repo host and jobs.
fn rendered(flags: &[&str]) -> Vec<Value> {
    let arguments = [&["fixtures/clusters/pvc.yaml", "--output=json"][..], flags].concat();
    let output = render(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// The pod of the repo host, and those of the jobs.
fn pods(objects: &[Value]) -> Vec<&Value> {
    let places = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
    objects.iter().flat_map(|object| places.iter().filter_map(|place| object.pointer(place))).collect()
}

fn render(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    command.arg("render").args(arguments).current_dir(root).stdin(Stdio::null()).output().unwrap()
}
