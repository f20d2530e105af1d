//! pgBackRest keeps its repos in object stores, from this host and from a pod.

use std::fmt::Write;
use std::process::Command;

use serde_json::{Value, json};

use crate::end_to_end::node::{log_of_ended, pod};
use crate::support::kubernetes::images::POSTGRES;
use crate::support::machine::{Pgbackrest, skip};
use crate::support::node::Node;
use crate::support::object_store::{Host, Kind, ObjectStore};
use crate::support::process::successful;
use crate::support::web::Authority;

const KINDS: [(u8, Kind, &str); 3] = [(1, Kind::S3, "s3"), (2, Kind::Azure, "azure"), (3, Kind::Gcs, "gcs")];

/// A configuration with these stores as repos, and what else it needs beside it.
fn configuration(stores: &[(u8, ObjectStore)], authority: &str, token: &str) -> String {
    let mut text = "[global]\nlog-level-file=off\nstart-fast=y\n".to_owned();
    for (repo, store) in stores {
        for (name, value) in store.options(*repo).into_iter().chain(store.secrets(*repo)) {
            writeln!(text, "{name}={value}").unwrap();
        }
        writeln!(text, "repo{repo}-storage-ca-file={authority}\nrepo{repo}-retention-full=2").unwrap();
    }
    writeln!(text, "repo3-gcs-key={token}\n[demo]\npg1-path=/data/pg\npg1-socket-path=/tmp").unwrap();
    text
}

fn codes(info: &str) -> Vec<i64> {
    let info: Value = serde_json::from_str(info).unwrap();
    info[0]["repo"].as_array().unwrap().iter().map(|repo| repo["status"]["code"].as_i64().unwrap()).collect()
}

#[test]
fn pgbackrest_finds_each_store_on_this_host() {
    let test = "pgbackrest_finds_each_store_on_this_host";
    let directory = tempfile::Builder::new().prefix("stores-").tempdir().unwrap();
    let authority = Authority::new();
    let started = || -> Result<_, String> {
        let pgbackrest = Pgbackrest::in_between()?;
        let start = |kind| ObjectStore::start(kind, Host::local(), &authority, directory.path());
        let stores: Result<Vec<_>, String> =
            KINDS.iter().map(|(repo, kind, _)| Ok((*repo, start(*kind)?))).collect();
        Ok((pgbackrest, stores?))
    };
    let (pgbackrest, stores) = match started() {
        Ok(started) => started,
        Err(missing) => return skip(test, missing),
    };
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (authority, token) = (write("ca.crt", &authority.certificate_pem()), write("token", "any"));
    let config = write("pgbackrest.conf", &configuration(&stores, &authority, &token));
    let mut command = Command::new(&pgbackrest.program);
    command
        .args(["--stanza=demo", "--output=json", "--io-timeout=10"])
        .arg(format!("--config={config}"))
        .arg("info");
    // Nothing is there yet, and no store fails: that would be 99.
    assert_eq!(codes(&successful(&mut command)), [1, 1, 1]);
}

#[test]
fn a_pod_backs_up_into_each_store() {
    let Some(node) = Node::shared("a_pod_backs_up_into_each_store") else { return };
    let (kubectl, namespace) = (node.kubectl(), "stores");
    let authority = Authority::new();
    let directory = node.directory().join("stores");
    let start = |kind, name| ObjectStore::start(kind, node.host(name), &authority, &directory);
    let stores: Result<Vec<_>, String> =
        KINDS.iter().map(|(repo, kind, name)| Ok((*repo, start(*kind, name)?))).collect();
    let stores = match stores {
        Ok(stores) => stores,
        Err(missing) => return skip("a_pod_backs_up_into_each_store", missing),
    };
    kubectl.create_restricted_namespace(namespace);
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pgbackrest", "namespace": namespace},
        "stringData": {
            "pgbackrest.conf": configuration(&stores, "/etc/pgbackrest/ca.crt", "/etc/pgbackrest/token"),
            "ca.crt": authority.certificate_pem(),
            "token": "any",
        },
    });
    kubectl.apply(&secret.to_string(), &[]);
    let script = "
        initdb --pgdata=/data/pg >/dev/null
        printf '%s\\n' \"unix_socket_directories='/tmp'\" archive_mode=on \\
            \"archive_command='pgbackrest --config=/etc/pgbackrest/pgbackrest.conf --stanza=demo archive-push %p'\" >>/data/pg/postgresql.conf
        pg_ctl --pgdata=/data/pg --wait --log=/data/log start >/dev/null
        run() { pgbackrest --config=/etc/pgbackrest/pgbackrest.conf --stanza=demo \"$@\"; }
        run stanza-create
        for repo in 1 2 3; do run --repo=$repo backup --type=full; done
        run info --output=json
    ";
    let mut backs_up = pod(namespace, "backs-up", POSTGRES, &["bash", "-e", "-c", script], None);
    let spec = &mut backs_up["spec"];
    spec["volumes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "conf", "secret": {"secretName": "pgbackrest"}}));
    let mount = json!({"name": "conf", "mountPath": "/etc/pgbackrest"});
    spec["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    kubectl.apply(&backs_up.to_string(), &[]);
    let log = log_of_ended(kubectl, namespace, "backs-up");
    assert_eq!(codes(log.lines().last().unwrap()), [0, 0, 0], "{log}");
}
