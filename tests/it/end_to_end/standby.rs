//! A primary with a standby, which Patroni manages: backups from the standby into an object store, also after they have changed places,
//! and which of two pods is the primary. Meanwhile, copies of the manifest are in the same location.

mod copies;
mod patroni;

use serde_json::{Value, json};

use crate::end_to_end::node::pod;
use crate::end_to_end::restore_tests::Tests;
use crate::support::example::{CLUSTER, Example, complete, install_overlay, node_with_operator};
use crate::support::kubernetes::images::POSTGRES;
use crate::support::machine::skip;
use crate::support::node::Node;
use crate::support::object_store::{Kind, ObjectStore};
use crate::support::web::Authority;
use patroni::ROLE;

const NAMESPACE: &str = "standby";
/// The pod that is there first is the primary.
const FIRST: &str = "cluster-0";
const SECOND: &str = "cluster-1";
const REPO_HOST: &str = "cluster-pgbackrest-repo-host-0";
/// The CronJob of full backups.
const FULL: &str = "pgbackrest-cluster-repo2-full";

#[test]
fn backups_are_made_from_a_standby_and_never_of_one() {
    let test = "backups_are_made_from_a_standby_and_never_of_one";
    let Some(node) = node_with_operator(test) else { return };
    let authority = Authority::new();
    let directory = node.directory().join("stores-of-standby");
    let store = match ObjectStore::start(Kind::S3, node.host("s3-standby"), &authority, &directory) {
        Ok(store) => store,
        Err(missing) => return skip(test, missing),
    };
    let cluster = with_a_standby(node);
    let annotation = json!({"metadata": {"annotations": {"pgbackrest-keeper.io/backup-standby": "y"}}});
    cluster.patch("postgresql", CLUSTER, &annotation);
    cluster.add_repos(std::slice::from_ref(&store), &authority);

    cluster.wait("the stanza", || cluster.record("stanzas").filter(|seen| seen.contains("repo2=")));
    cluster.wake_archiver(FIRST);
    let first = cluster.wait("the Job of the first full backup", || cluster.jobs().pop());
    files_come_from_the_standby(&cluster, &first, "", (FIRST, SECOND));
    who_observes_tests_the_backup(&cluster);
    let set = cluster.kubectl().get(NAMESPACE, "statefulset", "cluster-pgbackrest-repo-host").unwrap();
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().all(|volume| volume["persistentVolumeClaim"].is_null()), "{set}");

    let copy = copies::apply(&cluster);
    let logged = log_of_repo_host(&cluster);
    patroni::switch_over(&cluster, FIRST, SECOND);
    cluster.start_job("after-the-switchover", FULL, &[]);
    files_come_from_the_standby(&cluster, "after-the-switchover", &logged, (SECOND, FIRST));

    postgresql_is_asked_which_of_two_pods_is_the_primary(&cluster, (SECOND, FIRST));
    copies::are_not_set_up_before_they_move(&cluster, SECOND, &copy);
}

/// With the image of the cluster's pods, by an operator that does not manage it.
fn who_observes_tests_the_backup(cluster: &Example<'_>) {
    let (kubectl, operator) = (cluster.kubectl(), "keeper-standby");
    let arguments = ["--mode=observe", "--namespaces=standby", "--collect.interval=60"];
    install_overlay(cluster.node, "restore-tests", operator, &arguments);
    let test = json!({
        "apiVersion": "pgbackrest-keeper.io/v1alpha1", "kind": "RestoreTest",
        "metadata": {"name": "patroni", "namespace": NAMESPACE},
        "spec": {"clusters": {"names": [CLUSTER]}, "schedule": "0 0 1 1 *",
            "storage": {"emptyDir": {"sizeLimit": "5Gi"}},
            "pod": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}},
    });
    kubectl.apply(&test.to_string(), &[]);
    let tests = Tests { kubectl, namespace: NAMESPACE, name: "patroni" };
    let job = tests.start("next");
    tests.wait_for_job(&job, "Complete");
    assert_eq!(tests.results(CLUSTER, 1)[0]["outcome"], "passed");
    kubectl.run(&["--namespace", NAMESPACE, "delete", "restoretest", "patroni"]);
    // Waits for its end, because it would report the copies, too.
    kubectl.run(&["delete", "namespace", operator]);
}

fn log_of_repo_host(cluster: &Example<'_>) -> String {
    cluster.said(REPO_HOST, "pgbackrest", &["cat", "/var/log/pgbackrest/db-backup.log"])
}

/// In the backup of this Job, which is the only one that was made since this had been logged.
fn files_come_from_the_standby(
    cluster: &Example<'_>,
    job: &str,
    logged: &str,
    (primary, standby): (&str, &str),
) {
    cluster.wait_for_job(job, "Complete");
    let said = cluster.log_of_job(job);
    assert!(said.contains("replay on the standby reached"), "{said}");
    let log = log_of_repo_host(cluster);
    let log = log.strip_prefix(logged).unwrap();
    // Detail of a file: its host, and its path there.
    let hosts = |part: &str| -> Vec<String> {
        let files = log.lines().filter_map(|line| line.split_once(" backup file ")).map(|(_, file)| file);
        let files = files.filter(|file| file.contains(part));
        files.map(|file| file.split(['.', ':']).next().unwrap().to_owned()).collect()
    };
    let tables = hosts("/pgroot/data/base/");
    assert!(tables.len() > 100 && tables.iter().all(|host| host == standby), "{log}");
    assert_eq!(hosts("/global/pg_control"), [primary], "{log}");
    // The backup is in the store, wherever one asks.
    for (pod, container) in [(REPO_HOST, "pgbackrest"), (primary, "postgres"), (standby, "postgres")] {
        let makers = cluster.makers(pod, container);
        assert!(makers.iter().any(|maker| maker.starts_with(&format!("{job}/"))), "{pod}: {makers:?}");
    }
}

/// By a job into the store, which runs in the primary's pod again, and by the care for stanzas.
fn postgresql_is_asked_which_of_two_pods_is_the_primary(
    cluster: &Example<'_>,
    (primary, standby): (&str, &str),
) {
    let annotate = |annotations: Value| {
        cluster.patch("postgresql", CLUSTER, &json!({"metadata": {"annotations": annotations}}));
    };
    annotate(json!({"pgbackrest-keeper.io/backup-standby": null}));
    cluster.wait("jobs for the primary", || {
        let job = cluster.kubectl().get(NAMESPACE, "cronjob", FULL)?;
        job.to_string().contains("--target=primary").then_some(())
    });
    cluster.wait("the end of the repo host", || {
        cluster.kubectl().get(NAMESPACE, "pod", REPO_HOST).is_none().then_some(())
    });

    // One that has failed, as after an eviction, and one that is not ready, as on a node that died.
    for (name, command) in [("cluster-8", "exit 1"), ("cluster-9", "sleep 1000")] {
        let mut other = pod(NAMESPACE, name, POSTGRES, &["sh", "-c", command], None);
        other["metadata"]["labels"] =
            cluster.kubectl().get(NAMESPACE, "pod", primary).unwrap()["metadata"]["labels"].clone();
        let labels = other["metadata"]["labels"].as_object_mut().unwrap();
        // They belong to no set.
        labels
            .retain(|key, _| !key.contains("hash") && !key.contains("statefulset") && !key.contains("index"));
        labels.insert("member.cpo.opensource.cybertec.at/type".to_owned(), json!("gone"));
        let container = &mut other["spec"]["containers"][0];
        container["name"] = json!("postgres");
        container["readinessProbe"] = json!({"tcpSocket": {"port": 1}});
        cluster.kubectl().apply(&other.to_string(), &[]);
    }
    cluster.kubectl().wait(NAMESPACE, "pod/cluster-8", "jsonpath={.status.phase}=Failed");
    cluster.kubectl().wait(NAMESPACE, "pod/cluster-9", "jsonpath={.status.phase}=Running");
    cluster.start_job("beside-unready-pods", FULL, &[]);
    cluster.wait_for_job("beside-unready-pods", "Complete");

    // As after a failover that its Patroni has not noticed.
    patroni::signal(cluster, standby, "STOP");
    label(cluster, standby, "master");
    annotate(
        json!({"pgbackrest-keeper.io/stanza-upgrade": "asked", "pgbackrest-keeper.io/backup-now": "full@repo2#asked"}),
    );
    for served in ["stanza-upgrade-served", "backup-now-served"] {
        cluster.wait(served, || cluster.record(served).filter(|token| token.ends_with("asked")));
    }
    let ordered = || {
        let jobs = cluster.jobs().into_iter().filter(|job| job.starts_with(FULL));
        jobs.max_by_key(|job| {
            cluster.kubectl().get(NAMESPACE, "job", job).unwrap()["metadata"]["creationTimestamp"].to_string()
        })
    };
    let ordered = ordered().unwrap();
    cluster.wait_for_job(&ordered, "Complete");
    for job in ["beside-unready-pods", &ordered] {
        let pods = cluster.pods(job);
        assert_eq!(pods.len(), 1, "{job} had to be tried again\n{}", cluster.state());
        let said = cluster.log_of_job(job);
        assert!(said.contains("Running pgBackRest") && said.contains(primary), "{said}");
        let makers = cluster.makers(primary, "postgres");
        assert!(makers.iter().any(|maker| maker.starts_with(&format!("{job}/"))), "{job}: {makers:?}");
    }
    patroni::signal(cluster, standby, "CONT");
}

/// The example with two instances and without a repo.
fn with_a_standby(node: &Node) -> Example<'_> {
    let kubectl = node.kubectl();
    node.provide_volumes(2, "10Gi");
    let text = complete(kubectl, POSTGRES, NAMESPACE);
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    for object in &mut objects {
        match object["kind"].as_str().unwrap() {
            "StatefulSet" => object["spec"]["replicas"] = json!(2),
            "postgresql" => {
                object["spec"]["numberOfInstances"] = json!(2);
                let section = &mut object["spec"]["backup"]["pgbackrest"];
                section["repos"] = json!([]);
                section["global"] = json!({"start-fast": "y", "log-level-file": "detail"});
            }
            _ => {}
        }
    }
    patroni::manage(&mut objects, NAMESPACE);
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(), &[]);
    let cluster = Example { node, namespace: NAMESPACE };
    patroni::wait_for_roles(&cluster, FIRST, SECOND);
    patroni::leave_no_configuration_in_the_data_directory(&cluster, [FIRST, SECOND]);
    cluster
}

fn label(cluster: &Example<'_>, pod: &str, role: &str) {
    let label = format!("{ROLE}={role}");
    cluster.kubectl().run(&["--namespace", NAMESPACE, "label", "--overwrite", "pod", pod, &label]);
}
