//! What prevents a test in a pod says nothing about the backup, and the reason is told.

use serde_json::{Value, json};

use super::Tests;
use super::observed::{NAMESPACE, pod_of_test};
use crate::support::node::Node;

const NAME: &str = "faulty";
/// The only cluster that is tested.
const CLUSTER: &str = "c1";

/// Each of them once, then a test that passes.
pub(super) fn happen(node: &Node) {
    let tests = Tests { kubectl: node.kubectl(), namespace: NAMESPACE, name: NAME };
    let in_directory = json!({"storage": {"emptyDir": {"sizeLimit": "5Gi"}}});

    let library = json!({"postgresql": {"parameters": {"shared_preload_libraries": "not_in_this_image"}}});
    let job = start(&tests, "library", &[&in_directory, &library]);
    tests.wait_for_job(&job, "Failed");
    let reason = inconclusive(&tests, 1, "missing_library");
    assert!(reason.contains("not_in_this_image"), "{reason}");

    node.provide_small_volume("small", 24);
    let small = json!({"storage": {"ephemeral": {"storageClass": "small", "size": "24Mi"}}});
    let job = start(&tests, "volume", &[&small]);
    tests.wait_for_job(&job, "Failed");
    inconclusive(&tests, 2, "no_space");

    a_pod_is_killed_in_the_middle(&tests, &in_directory);

    let image = json!({"pod": {"image": "registry.invalid/postgres:15"}});
    let job = start(&tests, "image", &[&in_directory, &image]);
    tests.wait("the image to be missing", || {
        let status = tests.pod(&job)?["status"].clone();
        let why = status["containerStatuses"][0]["state"]["waiting"]["reason"].as_str()?.to_owned();
        ["ErrImagePull", "ImagePullBackOff"].contains(&why.as_str()).then_some(())
    });
    // As after the time that a pod has to start.
    let patch = r#"{"spec":{"activeDeadlineSeconds":1}}"#;
    tests.kubectl.run(&["--namespace", NAMESPACE, "patch", "job", &job, "--type=merge", "--patch", patch]);
    tests.wait_for_job(&job, "Failed");
    let reason = inconclusive(&tests, 4, "configuration");
    assert!(reason.contains("image cannot be pulled"), "{reason}");

    let job = start(&tests, "nothing", &[&in_directory]);
    tests.wait_for_job(&job, "Complete");
    assert_eq!(tests.results(CLUSTER, 5)[0]["outcome"], "passed");
}

fn a_pod_is_killed_in_the_middle(tests: &Tests<'_>, in_directory: &Value) {
    let file =
        "- name: takes long\n  database: postgres\n  query: SELECT pg_sleep(600)::text\n  equals: ''\n";
    let assertions = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "takes-long", "namespace": NAMESPACE}, "data": {"assertions.yaml": file}});
    tests.kubectl.apply(&assertions.to_string(), &[]);
    let checks = json!({"checks": {"assertions": {"configMap": "takes-long"}}});
    let job = start(tests, "kill", &[in_directory, &checks]);
    let pod = tests.wait("PostgreSQL to run in the pod", || {
        let pod = tests.pod(&job)?["metadata"]["name"].as_str()?.to_owned();
        let find = ["sh", "-c", "find /restore -name postmaster.pid | grep ."];
        let exec = ["--namespace", NAMESPACE, "exec", &pod, "--container=restore-test", "--"];
        tests.kubectl.output(&[&exec[..], &find].concat()).status.success().then_some(pod)
    });
    tests.kubectl.run(&["--namespace", NAMESPACE, "delete", "pod", &pod, "--force", "--grace-period=0"]);
    tests.wait_for_job(&job, "Failed");
    inconclusive(tests, 3, "interrupted");
}

/// Changes the resource, and requests a test of that.
fn start(tests: &Tests<'_>, token: &str, changes: &[&Value]) -> String {
    let mut test = json!({
        "apiVersion": "pgbackrest-keeper.io/v1alpha1", "kind": "RestoreTest",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"clusters": {"names": [CLUSTER]}, "schedule": "0 0 1 1 *", "pod": pod_of_test()},
    });
    for change in changes {
        for (field, value) in change.as_object().unwrap() {
            let field = &mut test["spec"][field];
            match (field.as_object_mut(), value.as_object()) {
                (Some(field), Some(value)) => field.extend(value.clone()),
                _ => *field = value.clone(),
            }
        }
    }
    tests.kubectl.apply(&test.to_string(), &[]);
    tests.start(&format!("{CLUSTER}#{token}"))
}

/// The newest result of so many, and its message.
fn inconclusive(tests: &Tests<'_>, count: usize, class: &str) -> String {
    let result = tests.results(CLUSTER, count).remove(0);
    let found = (&result["outcome"], &result["class"]);
    assert_eq!(found, (&json!("inconclusive"), &json!(class)), "{result}");
    result["message"].as_str().unwrap().to_owned()
}
