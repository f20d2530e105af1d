//! Patroni, as CPO's images run it: it makes the primary and the standby, and labels their pods with their roles. As on Debian, the
//! configuration of PostgreSQL is not in its data directory.

use serde_json::{Value, json};

use crate::support::example::{CLUSTER, Example};

pub(super) const ROLE: &str = "member.cpo.opensource.cybertec.at/role";

const CONFIGURATION: &str = "/etc/patroni/patroni.yml";
const DATA: &str = "/home/postgres/pgdata/pgroot/data";
/// Where PostgreSQL's configuration is, and what Patroni includes in it.
const POSTGRES_CONFIGURATION: &str = "/home/postgres/pgdata/config";
const INCLUDED: &str = "/etc/patroni/postgresql.conf";
/// Of Patroni's own process, beside the first one of the container, which starts it.
const COMMAND_LINE: &str = "/usr/bin/python3 /usr/bin/patroni ";

/// Lets it manage PostgreSQL in the StatefulSet of these objects.
pub(super) fn manage(objects: &mut Vec<Value>, namespace: &str) {
    let set = objects.iter_mut().find(|object| object["kind"] == "StatefulSet").unwrap();
    let template = &mut set["spec"]["template"];
    template["metadata"]["labels"].as_object_mut().unwrap().remove(ROLE).unwrap();
    let spec = &mut template["spec"];
    spec["serviceAccountName"] = json!("patroni");
    spec["automountServiceAccountToken"] = json!(true);
    let volume = json!({"name": "patroni", "configMap": {"name": "patroni"}});
    spec["volumes"].as_array_mut().unwrap().push(volume);
    // The data directory is Patroni's to make.
    spec["initContainers"][0]["args"] =
        json!(["cd /home/postgres/pgdata; mkdir -p pgbackrest/log pgbackrest/spool-path config"]);
    let postgres = &mut spec["containers"][0];
    assert_eq!(postgres["name"], "postgres");
    postgres["command"] = json!(["patroni", CONFIGURATION]);
    postgres.as_object_mut().unwrap().remove("lifecycle").unwrap();
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    postgres["env"] = json!([
        {"name": "POD_IP", "valueFrom": field("status.podIP")},
        {"name": "PATRONI_NAME", "valueFrom": field("metadata.name")},
        {"name": "PATRONI_POSTGRESQL_CONNECT_ADDRESS", "value": "$(POD_IP):5432"},
        {"name": "PATRONI_RESTAPI_CONNECT_ADDRESS", "value": "$(POD_IP):8008"},
    ]);
    let mount = json!({"name": "patroni", "mountPath": "/etc/patroni", "readOnly": true});
    postgres["volumeMounts"].as_array_mut().unwrap().push(mount);
    objects.extend(surroundings(namespace));
}

/// Its configuration and its rights.
fn surroundings(namespace: &str) -> [Value; 4] {
    let metadata = json!({"name": "patroni", "namespace": namespace});
    // JSON is YAML.
    let data = json!({"patroni.yml": configuration(namespace).to_string(), "postgresql.conf": ""});
    let rule =
        |resource: &str, verbs: &[&str]| json!({"apiGroups": [""], "resources": [resource], "verbs": verbs});
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [
            rule("configmaps", &["create", "get", "list", "patch", "update", "watch", "delete", "deletecollection"]),
            rule("pods", &["get", "list", "patch", "update", "watch"]),
        ]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patroni"},
            "subjects": [{"kind": "ServiceAccount", "name": "patroni", "namespace": namespace}]}),
    ]
}

/// Scope, labels and ConfigMaps as CPO's charts set them, and most of PostgreSQL as its images do.
fn configuration(namespace: &str) -> Value {
    json!({
        "scope": CLUSTER,
        "namespace": namespace,
        "kubernetes": {
            "labels": {"application": "cpo"},
            "scope_label": "cluster.cpo.opensource.cybertec.at/name",
            "role_label": ROLE,
        },
        "restapi": {"listen": "0.0.0.0:8008"},
        "bootstrap": {
            "dcs": {
                // On a busy machine, a primary may be silent for long.
                "ttl": 600,
                "loop_wait": 5,
                "retry_timeout": 60,
                "postgresql": {
                    "use_pg_rewind": true,
                    // It would make one for every pod with these labels, which jobs have as well.
                    "use_slots": false,
                    "parameters": {
                        "archive_mode": "on",
                        "archive_timeout": "300s",
                        "wal_level": "replica",
                        "wal_log_hints": "on",
                        "hot_standby": "on",
                    },
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": "*:5432",
            "data_dir": DATA,
            "config_dir": POSTGRES_CONFIGURATION,
            "custom_conf": INCLUDED,
            "pgpass": "/tmp/pgpass",
            "use_unix_socket": true,
            "use_unix_socket_repl": true,
            "parameters": {
                "archive_command": "pgbackrest --stanza=db archive-push %p",
                "unix_socket_directories": "/var/run/postgresql",
            },
            "recovery_conf": {"restore_command": "pgbackrest --stanza=db archive-get %f \"%p\""},
            "pg_hba": [
                "local all all trust",
                "local replication standby trust",
                "host replication standby all scram-sha-256",
                "host all all all scram-sha-256",
            ],
            "authentication": {
                "superuser": {"username": "postgres", "password": "not-a-secret"},
                "replication": {"username": "standby", "password": "not-a-secret"},
            },
            "basebackup": [{"checkpoint": "fast"}],
        },
    })
}

/// Waits until Patroni calls them so, and one streams to the other.
pub(super) fn wait_for_roles(cluster: &Example<'_>, primary: &str, standby: &str) {
    for (pod, role) in [(primary, "master"), (standby, "replica")] {
        cluster.wait(&format!("{pod} to be labelled {role}"), || {
            let labels = cluster.kubectl().get(cluster.namespace, "pod", pod)?["metadata"]["labels"].take();
            (labels[ROLE] == role).then_some(())
        });
    }
    let state = format!("select state from pg_stat_replication where application_name = '{standby}'");
    cluster
        .wait("the standby to stream", || (cluster.psql_in(primary, &[&state]) == "streaming").then_some(()));
}

/// Removes what initdb has left in the data directory, which Debian's tools move.
pub(super) fn leave_no_configuration_in_the_data_directory(cluster: &Example<'_>, pods: [&str; 2]) {
    for pod in pods {
        let shown = cluster.psql_in(pod, &["show config_file"]);
        assert!(shown.starts_with(POSTGRES_CONFIGURATION), "{shown}");
        let remove = format!("cd {DATA} && rm -f postgresql.conf pg_hba.conf pg_ident.conf");
        cluster.said(pod, "postgres", &["sh", "-c", &remove]);
    }
}

/// As people do it. Patroni is asked again if something took it too long.
pub(super) fn switch_over(cluster: &Example<'_>, from: &str, to: &str) {
    let leader = || {
        let map = cluster.kubectl().get(cluster.namespace, "configmap", &format!("{CLUSTER}-leader"));
        map.unwrap()["metadata"]["annotations"]["leader"].take()
    };
    let asked =
        ["patronictl", "--config-file", CONFIGURATION, "switchover", CLUSTER, "--force", "--leader", from];
    cluster.wait("the switchover", || {
        if leader() == to {
            return Some(());
        }
        cluster.exec(from, "postgres", &[&asked[..], &["--candidate", to]].concat());
        None
    });
    wait_for_roles(cluster, to, from);
}

/// While it is stopped it changes no labels, and PostgreSQL runs.
pub(super) fn signal(cluster: &Example<'_>, pod: &str, signal: &str) {
    assert!(cluster.signal(pod, "postgres", COMMAND_LINE, signal), "{}", cluster.state());
}
