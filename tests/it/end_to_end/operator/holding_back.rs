//! A repo host that must be replaced while a backup is running in it.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::support::example::Example;

const HOST: &str = "cluster-pgbackrest-repo-host-0";
const CONTAINER: &str = "pgbackrest";
const SET: &str = "cluster-pgbackrest-repo-host";

/// A new pod template waits for the end of the backup, and is then applied.
pub(super) fn of_the_repo_host(cluster: &Example<'_>) {
    let kubectl = cluster.kubectl();
    // What the operator has ordered itself is not what it shall wait for.
    kubectl.run(&["--namespace", NAMESPACE, "delete", "jobs", "--all", "--wait=true"]);
    let uid = || kubectl.get(NAMESPACE, "pod", HOST).map(|pod| pod["metadata"]["uid"].clone());
    let generation = || kubectl.get(NAMESPACE, "statefulset", SET).unwrap()["metadata"]["generation"].clone();
    let (pod, template) = (uid(), generation());
    let mut backup = start_backup(cluster);
    // It is stopped in the middle, which is as good as a long one.
    cluster.wait("the backup to hold its lock and stand still", || {
        signal(cluster, "STOP").then_some(())?;
        let info = cluster.info(HOST, CONTAINER);
        let held = info[0]["status"]["lock"]["backup"]["held"] == true;
        if !held {
            signal(cluster, "CONT");
        }
        held.then_some(())
    });

    let resources = json!({"requests": {"cpu": "110m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}});
    cluster.patch(
        "postgresql",
        "cluster",
        &json!({"spec": {"backup": {"pgbackrest": {"resources": resources}}}}),
    );
    cluster.wait("the operator to say that it waits", || {
        let resource = cluster.resource();
        let message = resource["status"]["BackupMessage"].as_str()?;
        (message.contains("object-waits") && message.contains("holds its backup lock")).then_some(())
    });
    assert!(backup.try_wait().unwrap().is_none(), "the backup runs");
    assert_eq!((uid(), generation()), (pod.clone(), template.clone()), "the repo host is left alone");

    assert!(signal(cluster, "CONT"));
    let end = backup.wait().unwrap();
    assert!(end.success(), "the backup was disturbed: {end}");
    cluster.wait("the repo host to be replaced", || {
        (generation() != template && uid().is_some_and(|uid| Some(uid) != pod)).then_some(())
    });
    kubectl.wait(NAMESPACE, &format!("pod/{HOST}"), "condition=Ready");
    let set = kubectl.get(NAMESPACE, "statefulset", SET).unwrap();
    let asked: &Value = &set["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"];
    assert_eq!(asked, "110m");
    cluster.archive();
}

fn start_backup(cluster: &Example<'_>) -> Child {
    let exec = ["--namespace", NAMESPACE, "exec", HOST, "--container", CONTAINER, "--"];
    let backup = ["pgbackrest", "backup", "--stanza=db", "--repo=1", "--type=full"];
    let mut command = cluster.kubectl().command(&[&exec[..], &backup].concat());
    command.stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Sends a signal to the backup's own process. `false`: there is none.
fn signal(cluster: &Example<'_>, name: &str) -> bool {
    cluster.signal(HOST, CONTAINER, "pgbackrest backup ", name)
}
