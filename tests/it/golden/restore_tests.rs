//! What `render` and `lint` make of `RestoreTest` resources. The objects themselves are recorded elsewhere.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clap::Parser;
use pgbackrest_keeper::cli::{Cli, CliCommand};
use serde_json::{Value, json};

const GOOD: [&str; 2] = ["restore_test", "restore_test_s3"];

/// The pod is given arguments that the command takes, and all that were meant.
#[test]
fn the_command_takes_the_arguments_of_the_pod() {
    let mut known = 0;
    for name in GOOD {
        let container = &pod(&rendered(name, &[]))["containers"][0].clone();
        let words = |field: &str| -> Vec<String> {
            container[field]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(words("command"), ["/keeper/pgbackrest-keeper", "restore-test"]);
        let words = [words("command"), words("args")].concat();
        let parsed = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let CliCommand::RestoreTest(args) = parsed.command else { panic!("{words:?}") };
        assert_eq!(args.pod.cluster.as_deref(), Some("ledger"));
        assert_eq!(args.pod.namespace.as_deref(), Some("accounts"));
        assert!(args.place.allow_unsandboxed);
        assert_eq!(args.place.keep_on_failure, name == "restore_test");
        assert_eq!(args.checks.amcheck, name == "restore_test");
        known += words.len();
    }
    assert!(known > 35, "only {known} words");
}

/// The copy is on the only volume that the program can write to.
#[test]
fn nothing_else_is_mounted_or_can_be_written() {
    for name in GOOD {
        let pod = pod(&rendered(name, &[]));
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let mounts = container["volumeMounts"].as_array().unwrap();
        let writable: Vec<&Value> = mounts
            .iter()
            .filter(|mount| mount["readOnly"] != true)
            .map(|mount| &mount["mountPath"])
            .collect();
        assert_eq!(writable, ["/restore"]);
        let paths: BTreeSet<&str> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        let mut expected = BTreeSet::from(["/keeper", "/restore", "/etc/pgbackrest/conf.d"]);
        if name == "restore_test" {
            expected.extend(["/etc/pgbackrest/certs", "/etc/pgbackrest-keeper"]);
        }
        assert_eq!(paths, expected);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["volumes"].as_array().unwrap().len(), mounts.len());
    }
}

/// What OpenShift's security context constraint `restricted-v2` admits, which assigns users and groups of its own.
#[test]
fn openshift_admits_the_pod() {
    let pod = pod(&rendered("restore_test", &["--repo-host-user=none", "--repo-host-fs-group=none"]));
    for assigned in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert!(pod["securityContext"][assigned].is_null(), "{assigned}: {pod}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let containers = [&pod["initContainers"], &pod["containers"]];
    for container in containers.into_iter().flat_map(|list| list.as_array().unwrap()) {
        assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert!(container["resources"]["requests"]["memory"].is_string(), "{container}");
    }
    for volume in pod["volumes"].as_array().unwrap() {
        let mut kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        let allowed = ["configMap", "emptyDir", "ephemeral", "projected"];
        assert!(kinds.all(|kind| allowed.contains(&kind.as_str())), "{volume}");
    }
}

/// Each use of a secret is by name.
#[test]
fn no_secret_is_printed() {
    for name in GOOD {
        let text = rendered(name, &[]).iter().map(Value::to_string).collect::<String>();
        for secret in ["ledger-key-id", "ledger-key-secret"] {
            assert!(!text.contains(secret), "{name}: {secret}");
        }
    }
}

#[test]
fn a_restore_test_alone_is_checked_and_leads_to_nothing() {
    let output = run(&["lint", "fixtures/clusters/restore_test_bad.yaml", "--output=json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clusters"], json!([]));
    assert_eq!(report["restore_tests"][0]["valid"], false);
    assert_eq!(report["restore_tests"][1]["name"], "late");
    assert_eq!(report["restore_tests"][1]["valid"], true);
    let output = run(&["render", "fixtures/clusters/restore_test_bad.yaml"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

/// The objects of the restore test alone.
fn rendered(name: &str, flags: &[&str]) -> Vec<Value> {
    let file = format!("fixtures/clusters/{name}.yaml");
    let output = run(&[&["render", &file, "--output=json"], flags].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut objects = list["items"].as_array().unwrap().clone();
    let label = "pgbackrest-keeper.io/restore-test";
    objects.retain(|object| object["metadata"]["labels"][label].is_string());
    assert!(objects.len() >= 2, "{objects:#?}");
    objects
}

fn pod(objects: &[Value]) -> Value {
    let job = objects.iter().find(|object| object["kind"] == "CronJob").unwrap();
    job["spec"]["jobTemplate"]["spec"]["template"]["spec"].clone()
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    command.args(arguments).current_dir(root).stdin(Stdio::null()).output().unwrap()
}
