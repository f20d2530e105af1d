//! Clusters that another operator manages: five with encrypted repos in an object store, of a database whose configuration is not in its
//! data directory. They have their turns, also while the operator restarts. Nothing runs but the tests, so the repos must not change, and
//! who stands in production's place must not be contacted.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Tests, assert_confined, faults, repository};
use crate::end_to_end::node::{log_of_ended, pod};
use crate::support::example::install_overlay;
use crate::support::kubernetes::images::POSTGRES;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::machine::skip;
use crate::support::node::Node;
use crate::support::object_store::{BUCKET, Kind, ObjectStore};
use crate::support::web::Authority;

pub(super) const NAMESPACE: &str = "observed";
const OPERATOR: &str = "keeper-observed";
const CLUSTERS: [&str; 5] = ["c1", "c2", "c3", "c4", "c5"];
/// What PostgreSQL, Patroni and pgBackRest listen on in production.
const PORTS: [u16; 3] = [5432, 8008, 8432];
const SECRET: &str = "repos";
const CIPHER: &str = "repo1-cipher-type=aes-256-cbc";
const PASSPHRASE: &str = "repo1-cipher-pass=not-a-secret";

#[test]
fn clusters_that_are_observed_have_their_turns_whatever_happens() {
    let test = "clusters_that_are_observed_have_their_turns_whatever_happens";
    let Some(node) = Node::shared(test) else { return };
    let authority = Authority::new();
    let source = node.directory().join("store-of-source");
    let store = match ObjectStore::start(Kind::S3, node.host("s3-source"), &authority, &source) {
        Ok(store) => store,
        Err(missing) => return skip(test, missing),
    };
    let kubectl = node.kubectl();
    let arguments = ["--mode=observe", "--namespaces=observed", "--collect.interval=60"];
    install_overlay(node, "restore-tests", OPERATOR, &arguments);
    kubectl.create_restricted_namespace(NAMESPACE);
    kubectl.apply(&secret(&store, &authority).to_string(), &[]);
    back_up(kubectl, &store);
    drop(store);
    // A store that runs would not notice other directories at once.
    let directory = node.directory().join("store-of-observed");
    let files = directory.join("s3/files").join(BUCKET);
    for cluster in CLUSTERS {
        copy(&source.join("s3/files").join(BUCKET).join("repo"), &files.join(cluster));
    }
    let store = ObjectStore::start(Kind::S3, node.host("s3-observed"), &authority, &directory).unwrap();
    for cluster in CLUSTERS {
        apply_cluster(kubectl, &store, cluster);
    }
    let listener = listen_in_production_s_place(node);
    let before = repository::below(&files);

    node.provide_volumes(8, "5Gi");
    kubectl.apply(&round().to_string(), &[]);
    let tests = Tests { kubectl, namespace: NAMESPACE, name: "round" };
    for (number, cluster) in CLUSTERS.into_iter().enumerate() {
        if number == 3 {
            kubectl.run(&["--namespace", OPERATOR, "delete", "pods", "--all", "--wait=false"]);
        }
        let job = tests.start(&format!("next#{number}"));
        tests.wait_for_job(&job, "Complete");
        let result = tests.results(cluster, 1).remove(0);
        let found = (&result["outcome"], &result["target"]);
        assert_eq!(found, (&json!("passed"), &json!("time")), "{cluster}: {result}");
        assert_confined(&tests.pod(&job).unwrap());
    }
    kubectl.wait(NAMESPACE, "restoretest/round", "condition=Passed");
    let results = tests.status()["results"].as_array().unwrap().clone();
    let counts: Vec<usize> = results.iter().map(|result| result["tests"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [1; 5], "{results:?}");

    faults::happen(node);
    assert_eq!(repository::below(&files), before, "a repository has changed");
    nobody_was_contacted(node, listener);
    kubectl.delete_namespaces(&[OPERATOR, NAMESPACE]);
}

fn secret(store: &ObjectStore, authority: &Authority) -> Value {
    let secrets = store.secrets(1).into_iter().map(|(name, value)| format!("{name}={value}"));
    let lines: Vec<String> = secrets.chain([PASSPHRASE.to_owned()]).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {
            "repos.conf": format!("[global]\n{}\n", lines.join("\n")),
            "ca.crt": authority.certificate_pem(),
        },
    })
}

/// A pod with a database as Debian sets it up, which makes a backup and archives WAL, and is gone then.
fn back_up(kubectl: &Kubectl, store: &ObjectStore) {
    let options: Vec<String> =
        store.options(1).iter().map(|(name, value)| format!("{name}={value}")).collect();
    let configuration =
        [&["[global]", CIPHER, "start-fast=y", "log-level-file=off"].map(str::to_owned)[..], &options]
            .concat()
            .join("\n");
    let script = format!(
        "
        mkdir /data/conf.d /data/etc
        cp /etc/pgbackrest/repos.conf /data/conf.d
        printf '%s\\n' '{configuration}' repo1-storage-ca-file=/etc/pgbackrest/ca.crt repo1-retention-full=2 \\
            '[db]' pg1-path=/data/pg pg1-socket-path=/tmp >/data/pgbackrest.conf
        run() {{ pgbackrest --config=/data/pgbackrest.conf --config-include-path=/data/conf.d --stanza=db \"$@\"; }}
        initdb --pgdata=/data/pg --username=postgres --data-checksums >/dev/null
        mv /data/pg/postgresql.conf /data/pg/pg_hba.conf /data/pg/pg_ident.conf /data/etc
        printf '%s\\n' \"data_directory='/data/pg'\" \"hba_file='/data/etc/pg_hba.conf'\" \\
            \"ident_file='/data/etc/pg_ident.conf'\" \"unix_socket_directories='/tmp'\" archive_mode=on \\
            \"archive_command='pgbackrest --config=/data/pgbackrest.conf --config-include-path=/data/conf.d --stanza=db archive-push %p'\" \\
            >>/data/etc/postgresql.conf
        pg_ctl --pgdata=/data/etc --wait --log=/data/log start >/dev/null
        run stanza-create
        run backup --type=full
        for number in 1 2 3; do
            psql --host=/tmp --username=postgres --dbname=postgres --quiet --command=\"create table kept_$number as select generate_series(1, 1000)\"
            sleep 1
        done
        run check
        psql --host=/tmp --username=postgres --dbname=postgres --quiet --command='create table last (id int)'
        run check
        pg_ctl --pgdata=/data/etc --wait --mode=fast stop >/dev/null
        "
    );
    let mut backs_up = pod(NAMESPACE, "backs-up", POSTGRES, &["bash", "-e", "-c", &script], None);
    let spec = &mut backs_up["spec"];
    let volume = json!({"name": "conf", "secret": {"secretName": SECRET}});
    spec["volumes"].as_array_mut().unwrap().push(volume);
    let mount = json!({"name": "conf", "mountPath": "/etc/pgbackrest"});
    spec["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    kubectl.apply(&backs_up.to_string(), &[]);
    log_of_ended(kubectl, NAMESPACE, "backs-up");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { _ = fs::copy(entry.path(), to).unwrap() }
    }
}

/// The resource, and the ConfigMap that its operator makes.
fn apply_cluster(kubectl: &Kubectl, store: &ObjectStore, name: &str) {
    let options: Vec<(String, String)> = store.options(1);
    let option = |wanted: &str| {
        let found = options.iter().find(|(name, _)| name == &format!("repo1-{wanted}"));
        found.map(|(_, value)| value.clone()).unwrap()
    };
    let resource = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "teamId": "t", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {
                "image": POSTGRES,
                "configuration": {"secret": SECRET},
                "repos": [{"name": "repo1", "storage": "s3", "resource": BUCKET, "endpoint": option("s3-endpoint"),
                    "region": option("s3-region"), "schedule": {"full": "5 5 * * 0"}}],
                "global": {
                    "repo1-path": format!("/{name}"), "repo1-cipher-type": "aes-256-cbc", "repo1-s3-uri-style": "path",
                    "repo1-storage-port": option("storage-port"), "repo1-retention-full": "2",
                    "repo1-storage-ca-file": "/etc/pgbackrest/conf.d/ca.crt",
                },
            }},
        },
    });
    let resource = resource.to_string();
    let mut render = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    render.args(["render", "-", "--output=json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut render = render.spawn().unwrap();
    render.stdin.take().unwrap().write_all(resource.as_bytes()).unwrap();
    let objects: Value = serde_json::from_slice(&render.wait_with_output().unwrap().stdout).unwrap();
    let wanted = format!("{name}-pgbackrest-config");
    let config_map =
        objects["items"].as_array().unwrap().iter().find(|object| object["metadata"]["name"] == *wanted);
    kubectl.apply(&config_map.unwrap().to_string(), &[]);
    kubectl.apply(&resource, &[]);
}

/// Tests of all clusters in turn, to a random point in time.
fn round() -> Value {
    json!({
        "apiVersion": "pgbackrest-keeper.io/v1alpha1", "kind": "RestoreTest",
        "metadata": {"name": "round", "namespace": NAMESPACE},
        "spec": {"clusters": {"selector": {}}, "schedule": "0 0 1 1 *", "target": "random",
            "storage": {"ephemeral": {"size": "5Gi"}}, "pod": pod_of_test()},
    })
}

pub(super) fn pod_of_test() -> Value {
    json!({"image": POSTGRES, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}})
}

/// Under the name of the primary of the first cluster, and on its ports. Gives its address.
fn listen_in_production_s_place(node: &Node) -> IpAddr {
    let ports = PORTS.map(|port| port.to_string()).join(", ");
    let script = format!(
        "import selectors, socket
all = selectors.DefaultSelector()
for port in ({ports}):
    all.register(socket.create_server(('', port)), selectors.EVENT_READ, port)
print('listening', flush=True)
while True:
    for key, _ in all.select():
        key.fileobj.accept()[0].close()
        print('contacted on', key.data, flush=True)"
    );
    let mut listener = pod(NAMESPACE, "c1-0", POSTGRES, &["python3", "-c", &script], None);
    listener["metadata"]["labels"] = json!({"app": "in-place-of-production"});
    listener["spec"]["subdomain"] = json!("c1-clusterpods");
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "c1-clusterpods", "namespace": NAMESPACE},
        "spec": {"clusterIP": "None", "selector": {"app": "in-place-of-production"}},
    });
    let kubectl = node.kubectl();
    kubectl.apply(&service.to_string(), &[]);
    kubectl.apply(&listener.to_string(), &[]);
    kubectl.wait(NAMESPACE, "pod/c1-0", "condition=Ready");
    let address = kubectl.get(NAMESPACE, "pod", "c1-0").unwrap()["status"]["podIP"].clone();
    address.as_str().unwrap().parse().unwrap()
}

fn nobody_was_contacted(node: &Node, listener: IpAddr) {
    let log = || node.kubectl().log(NAMESPACE, "c1-0");
    assert_eq!(log().trim(), "listening");
    // It would have noticed.
    node.in_network(|| TcpStream::connect(SocketAddr::new(listener, PORTS[0])).unwrap());
    let tests = Tests { kubectl: node.kubectl(), namespace: NAMESPACE, name: "round" };
    tests.wait("the listener to notice", || log().contains("contacted on 5432").then_some(()));
}
