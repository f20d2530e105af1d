//! Clusters of CPO whose resources `lint` does not accept, or does with a warning. Their pods have a pgBackRest like any other.

use serde_json::{Value, json};

use crate::support::example::Example;
use crate::support::kubernetes::images::POSTGRES;

pub(super) const NAMESPACE: &str = "kinds";

const REPO_HOST: &str = "cluster-pgbackrest-repo-host-0";

/// What CPO requires or accepts, by name.
fn resources() -> [(&'static str, Value); 6] {
    let s3 = |repo: Value| {
        let mut all = json!({"name": "repo1", "storage": "s3", "resource": "b", "endpoint": "s3.example", "region": "r",
            "schedule": {"full": "0 1 * * 0"}});
        all.as_object_mut().unwrap().extend(repo.as_object().unwrap().clone());
        all
    };
    let of = |repo: Value, global: Value, env: Value| {
        json!({"teamId": "team", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "env": env,
            "backup": {"pgbackrest": {"image": "registry.example/pgbackrest:2", "repos": [repo], "global": global,
                "configuration": {"secret": "keys"}}}})
    };
    let azure = json!({"name": "repo1", "storage": "azure", "resource": "container", "account": "account",
        "endpoint": "blob.example", "key": "c2VjcmV0", "schedule": {"full": "0 1 * * 0"}});
    let gcs = json!({"name": "repo1", "storage": "gcs", "resource": "bucket", "keyType": "service",
        "key": "/mounted/by some/pod.json", "schedule": {"full": "0 1 * * 0"}});
    let none = json!({});
    [
        ("azure-key", of(azure, none.clone(), json!([]))),
        ("gcs-path", of(gcs, none.clone(), json!([]))),
        (
            "incr-empty",
            of(s3(json!({"schedule": {"full": "0 1 * * 0", "incr": ""}})), none.clone(), json!([])),
        ),
        (
            "keys-global",
            of(s3(none.clone()), json!({"repo1-s3-key": "a", "repo1-s3-key-secret": "b"}), json!([])),
        ),
        ("password", of(s3(none.clone()), none.clone(), json!([{"name": "PGPASSWORD", "value": "secret"}]))),
        ("schedule-bad", of(s3(json!({"schedule": {"full": "0 25 * * *"}})), none, json!([]))),
    ]
}

/// One pod for each, with the repository of the example as it is now.
pub(super) fn apply(cluster: &Example<'_>) -> Vec<&'static str> {
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "namespace", NAMESPACE]);
    let read = |file: &str| {
        cluster.said(REPO_HOST, "pgbackrest", &["cat", &format!("/data/pgbackrest/repo1/{file}")])
    };
    let given = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given", "namespace": NAMESPACE},
        "data": {
            "backup.info": read("backup/db/backup.info"),
            "archive.info": read("archive/db/archive.info"),
            "given.conf": "[global]\nrepo1-path=/tmp/repo\n[db]\npg1-path=/tmp/data\n",
        },
    });
    kubectl.apply(&given.to_string(), &[]);
    let script = "for kind in backup archive; do mkdir -p /tmp/repo/$kind/db && cp /given/$kind.info /tmp/repo/$kind/db/ || exit; \
                  done; exec sleep infinity";
    for (name, spec) in resources() {
        let resource = json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
            // The operators of other tests leave it alone; who observes does not.
            "metadata": {"name": name, "namespace": NAMESPACE,
                "annotations": {"cpo.opensource.cybertec.at/controller": "cpo"}},
            "spec": spec,
        });
        kubectl.apply(&resource.to_string(), &[]);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-0"), "namespace": NAMESPACE, "labels": {
                "application": "cpo",
                "cluster.cpo.opensource.cybertec.at/name": name,
                "member.cpo.opensource.cybertec.at/type": "postgresql",
                "member.cpo.opensource.cybertec.at/role": "master",
            }},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "postgres", "image": POSTGRES, "command": ["sh", "-c", script],
                    "volumeMounts": [
                        {"name": "given", "mountPath": "/given"},
                        {"name": "configuration", "mountPath": "/etc/pgbackrest/conf.d"},
                    ],
                }],
                "volumes": [
                    {"name": "given", "configMap": {"name": "given"}},
                    {"name": "configuration", "configMap": {"name": "given",
                        "items": [{"key": "given.conf", "path": "given.conf"}]}},
                ],
            },
        });
        kubectl.apply(&pod.to_string(), &[]);
    }
    resources().map(|(name, _)| name).to_vec()
}
