//! Real pods on a real node: our images run where pods are restricted, names resolve, volumes are claimed.

use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::kubernetes::images::{KEEPER, POSTGRES};
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::node::Node;

/// A pod that the standard `restricted` allows, with a volume at /data if there is a claim.
pub(crate) fn pod(
    namespace: &str,
    name: &str,
    image: &str,
    arguments: &[&str],
    claim: Option<&str>,
) -> Value {
    let mut volume =
        claim.map_or(json!({"emptyDir": {}}), |claim| json!({"persistentVolumeClaim": {"claimName": claim}}));
    volume["name"] = json!("data");
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "node-test"}},
        "spec": {
            "hostname": name,
            "subdomain": "headless",
            "enableServiceLinks": false,
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "fsGroup": 26, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": image,
                "args": arguments,
                "imagePullPolicy": "Never",
                // One that requests nothing gets next to nothing beside pods that do.
                "resources": {"requests": {"cpu": "50m"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [volume],
        },
    })
}

/// Waits for the pod's end and gives its log; it must have ended well.
pub(crate) fn log_of_ended(kubectl: &Kubectl, namespace: &str, name: &str) -> String {
    kubectl.wait(namespace, &format!("pod/{name}"), "jsonpath={.status.phase}=Succeeded");
    kubectl.run(&["--namespace", namespace, "logs", name])
}

#[test]
fn the_image_of_postgresql_runs_where_pods_are_restricted() {
    let Some(node) = Node::shared("the_image_of_postgresql_runs_where_pods_are_restricted") else { return };
    let (kubectl, namespace) = (node.kubectl(), "restricted");
    kubectl.create_restricted_namespace(namespace);
    kubectl.apply(&pod(namespace, "postgres", POSTGRES, &["sleep", "1000"], None).to_string(), &[]);
    kubectl.wait(namespace, "pod/postgres", "condition=Ready");
    let exec = |command: &[&str]| {
        let mut arguments = vec!["--namespace", namespace, "exec", "postgres", "--"];
        arguments.extend_from_slice(command);
        kubectl.output(&arguments)
    };
    let said = |command: &[&str]| {
        let output = exec(command);
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert!(said(&["pgbackrest", "version"]).starts_with("pgBackRest 2."));
    assert!(said(&["postgres", "--version"]).starts_with("postgres (PostgreSQL) 15."));
    assert_eq!(said(&["id"]), "uid=26(postgres) gid=26(postgres) groups=26(postgres)");
    said(&[
        "sh",
        "-ec",
        "initdb --pgdata=/data/pg >/dev/null; pg_ctl --pgdata=/data/pg --wait --log=/data/log start",
    ]);
    assert_eq!(said(&["psql", "--no-align", "--tuples-only", "--command=select 40 + 2"]), "42");
    // The code of what was run is kubectl's own.
    assert_eq!(exec(&["sh", "-c", "exit 7"]).status.code(), Some(7));
}

#[test]
fn our_image_holds_nothing_but_our_program_and_resolves_names() {
    let Some(node) = Node::shared("our_image_holds_nothing_but_our_program_and_resolves_names") else {
        return;
    };
    let (kubectl, namespace) = (node.kubectl(), "scratch");
    kubectl.create_restricted_namespace(namespace);
    kubectl.apply(&pod(namespace, "version", KEEPER, &["--version"], None).to_string(), &[]);
    let version = log_of_ended(kubectl, namespace, "version");
    assert_eq!(version.trim(), format!("pgbackrest-keeper {}", env!("CARGO_PKG_VERSION")));

    // There is no pgBackRest to ask; alive it is all the same.
    let listen = "--web.listen-address=0.0.0.0:9854";
    kubectl.apply(&pod(namespace, "exporter", KEEPER, &["exporter", listen], None).to_string(), &[]);
    kubectl.wait(namespace, "pod/exporter", "condition=Ready");
    kubectl.run(&["--namespace", namespace, "expose", "pod", "exporter", "--port=9854"]);
    let url = "--url=http://exporter.scratch.svc.cluster.local:9854/healthz";
    let mut asks = pod(namespace, "asks", KEEPER, &["healthcheck", url], None);
    // The exporter may not listen yet.
    asks["spec"]["restartPolicy"] = json!("OnFailure");
    kubectl.apply(&asks.to_string(), &[]);
    let log = log_of_ended(kubectl, namespace, "asks");
    assert!(log.contains("/healthz: ok"), "{log}");

    let url = "--url=http://nobody.scratch.svc.cluster.local:9854/healthz";
    kubectl.apply(&pod(namespace, "asks-nobody", KEEPER, &["healthcheck", url], None).to_string(), &[]);
    kubectl.wait(namespace, "pod/asks-nobody", "jsonpath={.status.phase}=Failed");
    let log = kubectl.run(&["--namespace", namespace, "logs", "asks-nobody"]);
    assert!(log.contains("failed to lookup address information"), "{log}");
}

#[test]
fn pods_have_names_before_they_are_ready() {
    let Some(node) = Node::shared("pods_have_names_before_they_are_ready") else { return };
    let (kubectl, namespace) = (node.kubectl(), "names");
    kubectl.create_restricted_namespace(namespace);
    let service = |name: &str, address: Option<&str>| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "clusterIP": address,
                "publishNotReadyAddresses": true,
                "selector": {"app": "node-test"},
                "ports": [{"port": 5432}],
            },
        })
    };
    kubectl.apply(&service("headless", Some("None")).to_string(), &[]);
    kubectl.apply(&service("balanced", None).to_string(), &[]);
    let store = node.host("names-store");
    let serve = "initdb --pgdata=/data/pg && exec postgres -D /data/pg -c listen_addresses='*'";
    let mut unready = pod(namespace, "member-0", POSTGRES, &["sh", "-c", serve], None);
    // Nothing listens there, ever.
    unready["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 1}});
    kubectl.apply(&unready.to_string(), &[]);
    kubectl.wait(namespace, "pod/member-0", "jsonpath={.status.phase}=Running");
    let ask = "
        up() { for try in $(seq 100); do pg_isready --quiet --host=$1 && return; sleep 0.2; done; echo no $1; }
        up member-0.headless.names.svc.cluster.local
        up balanced
        for name in member-0.headless.names.svc.cluster.local names-store.test; do getent ahostsv4 $name | head -n 1; done
        getent ahostsv4 nobody.example || echo unknown
    ";
    let mut asks = pod(namespace, "asks", POSTGRES, &["bash", "-c", ask], None);
    asks["metadata"]["labels"] = Value::Null;
    kubectl.apply(&asks.to_string(), &[]);
    let log = log_of_ended(kubectl, namespace, "asks");
    let member = kubectl.get(namespace, "pod", "member-0").unwrap();
    let address = member["status"]["podIP"].as_str().unwrap();
    let said: Vec<&str> = log.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(said, [address, &store.address.to_string(), "unknown"], "{log}");

    // From the test itself, which is asked to come into the node's network.
    node.in_network(|| TcpStream::connect((address, 5432)).unwrap());
}

#[test]
fn claimed_volumes_belong_to_the_group_of_the_pod() {
    let Some(node) = Node::shared("claimed_volumes_belong_to_the_group_of_the_pod") else { return };
    let (kubectl, namespace) = (node.kubectl(), "volumes");
    kubectl.create_restricted_namespace(namespace);
    node.provide_volumes(1, "1Gi");
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    kubectl.apply(&claim.to_string(), &[]);
    let ended = |name: &str, command: &str| {
        kubectl.apply(&pod(namespace, name, POSTGRES, &["sh", "-c", command], Some("data")).to_string(), &[]);
        log_of_ended(kubectl, namespace, name)
    };
    ended("writes", "echo 42 >/data/kept");
    assert_eq!(ended("reads", "cat /data/kept; stat --format=%g /data"), "42\n26\n");
}

#[test]
fn a_cron_job_runs_at_its_minute() {
    let Some(node) = Node::shared("a_cron_job_runs_at_its_minute") else { return };
    let (kubectl, namespace) = (node.kubectl(), "minute");
    kubectl.create_restricted_namespace(namespace);
    let template = pod(namespace, "unused", KEEPER, &["--version"], None);
    let cron_job = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "every-minute", "namespace": namespace},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": template["spec"]}}},
        },
    });
    kubectl.apply(&cron_job.to_string(), &[]);
    kubectl.wait(namespace, "cronjob/every-minute", "jsonpath={.status.lastSuccessfulTime}");
}
