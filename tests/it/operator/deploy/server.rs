//! The real API server accepts the manifests in deploy/, and allows the operator exactly what it needs.

use std::fs;
use std::path::Path;
use std::sync::Once;

use pgbackrest_keeper::cli::manifest::Manifests;
use pgbackrest_keeper::cluster::finding::Finding;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validate;
use serde_json::{Value, json};

use super::{build, directories, kustomize, list, named, root, text};
use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::process::wait_for;

pub(super) const STRICT: [&str; 2] = ["--validate=strict", "--warnings-as-errors"];

#[test]
fn the_operators_pods_are_admitted() {
    let Some(plane) = installed("the_operators_pods_are_admitted") else { return };
    let pods = "--selector=app.kubernetes.io/component=operator";
    wait_for("both replicas", || {
        let listed =
            plane.kubectl().run(&["--namespace=pgbackrest-keeper", "get", "pods", pods, "--output=name"]);
        (listed.lines().count() == 2).then_some(())
    });
}

/// Five schemas of the resource are in use, and all of their fields arrive.
#[test]
fn the_resource_keeps_what_every_schema_of_it_has() {
    let Some(plane) = installed("the_resource_keeps_what_every_schema_of_it_has") else { return };
    let repo = json!({"name": "repo1", "storage": "azure", "resource": "c", "endpoint": "e", "region": "r",
        "account": "a", "key": "k", "keyType": "shared", "schedule": {"full": "1 1 * * *", "diff": null}});
    let volume = json!({"size": "15Gi", "storageClass": "fast", "selector": {"matchLabels": {"a": "b"}},
        "iops": 100, "throughput": 50, "subPath": "x"});
    let pgbackrest = |section: Value| json!({"backup": {"pgbackrest": section}});
    let specs = [
        json!({}),
        json!({"teamId": "t", "numberOfInstances": 3, "postgresql": {"version": "17", "parameters": {"a": "b"}},
            "volume": {"size": "9Gi", "iops": 3}, "users": {"x": ["superuser"]}, "patroni": {"ttl": 30}}),
        json!({"monitor": {"image": "x", "customQueries": [], "env": []}, "clone": {"cluster": "other",
            "pgbackrest": {"repo": {"storage": "s3"}}}, "standby": {"standby_host": "h"}, "tde": {"enable": true}}),
        pgbackrest(
            json!({"image": "x", "repos": [repo, {"name": "repo2", "storage": "pvc", "volume": volume}],
            "global": {"repo1-retention-full": "7"}, "configuration": {"secret": "s", "protection": {"restore": true}},
            "restore": {"id": "1", "repo": "repo1", "options": {"type": "time"}},
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], "labels": {"a": "b"}}),
        ),
        pgbackrest(json!({"image": "x", "repos": [{"name": "repo1", "storage": "pvc", "pvcsize": "3Gi"}]})),
        pgbackrest(
            json!({"repos": null, "global": null, "configuration": null, "restore": null, "env": null,
            "labels": null, "resources": null, "image": null}),
        ),
        pgbackrest(json!({"repos": [], "schedules": "a typing error"})),
        json!({"backup": {"pgbackrest": null}, "monitor": null}),
        json!({"backup": null}),
    ];
    let resources =
        specs.iter().enumerate().map(|(number, spec)| resource(&format!("variant-{number}"), spec));
    keeps(plane.kubectl(), &resources.collect::<Vec<_>>());
}

/// What `lint` lets pass can be applied, and nothing of it is dropped.
#[test]
fn the_resource_takes_what_lint_lets_pass() {
    let Some(plane) = installed("the_resource_takes_what_lint_lets_pass") else { return };
    let settings = Settings::default();
    let mut resources = Vec::new();
    for entry in fs::read_dir(root().join("fixtures/clusters")).unwrap() {
        let Ok(manifests) = Manifests::read(&[entry.unwrap().path()], "default") else { continue };
        for found in &manifests.resources {
            let references = manifests.references(found, "default");
            let (cluster, findings) = validate::document(found.document.clone(), &references, &settings);
            if cluster.is_some() && !findings.iter().any(Finding::is_error) {
                let mut document = found.document.clone();
                document["metadata"] = json!({"name": format!("fixture-{}", resources.len())});
                resources.push(document);
            }
        }
    }
    assert!(resources.len() > 15, "only {} resources", resources.len());
    keeps(plane.kubectl(), &resources);
}

#[test]
fn the_resource_refuses_what_cannot_be_meant() {
    let Some(plane) = installed("the_resource_refuses_what_cannot_be_meant") else { return };
    let repos = |repos: Value| json!({"backup": {"pgbackrest": {"repos": repos}}});
    let cases = [
        (repos(json!([{"name": "repo5", "storage": "pvc"}])), "repos[0].name"),
        (repos(json!([{"name": "repo1", "storage": "blob"}])), "repos[0].storage"),
        (repos(json!([{"name": "repo1"}])), "repos[0].storage"),
        (
            repos(json!([{"name": "repo1", "storage": "s3"}, {"name": "repo1", "storage": "gcs"}])),
            "duplicate entries for key [name=\"repo1\"]",
        ),
        (
            repos(json!([{"name": "repo1", "storage": "pvc", "volume": {"size": "15 GB"}}])),
            "repos[0].volume.size",
        ),
        (json!({"backup": {"pgbackrest": {"global": {"process-max": 2}}}}), "global.process-max"),
        (json!({"numberOfInstances": -1}), "spec.numberOfInstances"),
    ];
    for (spec, complaint) in cases {
        let refused = plane.kubectl().output_with_input(
            &["apply", "--server-side", "--dry-run=server", "--filename=-"],
            &resource("wrong", &spec).to_string(),
        );
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(complaint), "{spec}: {said}");
    }
}

#[test]
fn examples_are_taken_where_pods_are_restricted() {
    let Some(plane) = installed("examples_are_taken_where_pods_are_restricted") else { return };
    let kubectl = plane.kubectl();
    let program = &kubectl.program;
    // It has a namespace of its own, in which the others have a place, too.
    let complete = build(program, Path::new("deploy/examples/complete"));
    let (resources, others): (Vec<Value>, Vec<Value>) =
        complete.into_iter().partition(|object| object["kind"] == "postgresql");
    kubectl.apply(&many(&others), &STRICT);
    let dry = [&["--dry-run=server"], &STRICT[..]].concat();
    // An operator may be at work here, and this is not its business.
    kubectl.apply(&many(&resources), &dry);
    let examples = root().join("deploy/examples");
    for directory in directories().iter().filter(|directory| directory.starts_with(&examples)) {
        kubectl.apply(&kustomize(program, directory), &dry);
    }
    wait_for("the pod of the complete example", || kubectl.get("cpo", "pod", "cluster-0"));
    let claim = wait_for("its volume", || kubectl.get("cpo", "pvc", "pgdata-cluster-0"));
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "10Gi");
}

/// Each overlay as people apply it, into namespaces that warn of pods which are not restricted. What prometheus-operator
/// defines is judged in `monitoring`.
#[test]
fn overlays_are_taken_where_pods_are_restricted() {
    let Some(plane) = installed("overlays_are_taken_where_pods_are_restricted") else { return };
    let kubectl = plane.kubectl();
    let restricted = "pod-security.kubernetes.io/warn";
    let namespaces = ["bank", "cpo", "shop"].map(|name| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {restricted: "restricted"}}})
    });
    kubectl.apply(&many(&namespaces), &["--field-manager=overlays"]);
    let arguments = [&["apply", "--server-side", "--filename=-", "--dry-run=server"], &STRICT[..]].concat();
    let overlays = root().join("deploy/overlays");
    let mut taken = 0;
    for directory in directories().iter().filter(|directory| directory.starts_with(&overlays)) {
        let mut objects = build(&kubectl.program, directory);
        objects.retain(|object| !text(object, "/apiVersion").starts_with("monitoring.coreos.com/"));
        let said = kubectl.output_with_input(&arguments, &many(&objects));
        assert!(said.status.success(), "{}: {}", directory.display(), String::from_utf8_lossy(&said.stderr));
        taken += 1;
        // It is not one that takes every pod.
        if let Some(deployment) = objects.iter_mut().find(|object| object["kind"] == "Deployment") {
            deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
            let refused = kubectl.output_with_input(&arguments, &deployment.to_string());
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(!refused.status.success() && said.contains("runAsNonRoot != true"), "{said}");
        }
    }
    assert!(taken >= 7, "only {taken} overlays");
}

/// With its own account's token alone: makes, changes and removes every kind of object, but no volume.
#[test]
fn the_operators_account_may_do_its_work_and_no_more() {
    let Some(plane) = installed("the_operators_account_may_do_its_work_and_no_more") else { return };
    let namespace = "rights-of-the-operator";
    plane.kubectl().create_restricted_namespace(namespace);
    let mut operator = plane.kubectl().clone();
    operator.kubeconfig = plane.service_account("pgbackrest-keeper", "pgbackrest-keeper-operator");
    let mut objects: Vec<Value> = fs::read_dir(root().join("fixtures/objects/pvc"))
        .unwrap()
        .map(|entry| serde_saphyr::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    for object in &mut objects {
        object["metadata"]["namespace"] = Value::from(namespace);
    }
    assert!(objects.len() > 10, "only {} objects", objects.len());
    operator.apply(&many(&objects), &["--field-manager=pgbackrest-keeper"]);
    // A change needs no other right than making does.
    operator.apply(&many(&objects), &["--field-manager=pgbackrest-keeper", "--force-conflicts"]);
    for object in &objects {
        let target = format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"));
        let deleted = operator.output(&["--namespace", namespace, "delete", "--wait=false", &target]);
        let said = String::from_utf8_lossy(&deleted.stderr);
        let stays = ["PersistentVolumeClaim", "Service"].contains(&text(object, "/kind"));
        assert_eq!(deleted.status.success(), !stays, "{}: {said}", named(object));
        assert!(!stays || said.contains("forbidden"), "{said}");
    }

    let too_much = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "too-much", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]});
    let refused =
        operator.output_with_input(&["apply", "--server-side", "--filename=-"], &too_much.to_string());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("attempting to grant RBAC permissions not currently held"), "{said}");

    let may = |namespace: &str, asked: &str| {
        let mut arguments = vec!["auth", "can-i", "--quiet", "--namespace", namespace];
        arguments.extend(asked.split(' '));
        operator.output(&arguments).status.success()
    };
    let own = "pgbackrest-keeper";
    for (namespace, asked) in [
        (namespace, "patch postgresqls.cpo.opensource.cybertec.at --subresource=status"),
        (namespace, "create events.events.k8s.io"),
        (namespace, "create pods --subresource=exec"),
        (own, "create leases.coordination.k8s.io"),
        (own, "update leases.coordination.k8s.io/pgbackrest-keeper-operator"),
    ] {
        assert!(may(namespace, asked), "{asked}");
    }
    for (namespace, asked) in [
        (namespace, "patch postgresqls.cpo.opensource.cybertec.at"),
        (namespace, "create pods"),
        (namespace, "delete pods"),
        (namespace, "get leases.coordination.k8s.io"),
        (namespace, "get nodes"),
        (own, "update leases.coordination.k8s.io/another"),
    ] {
        assert!(!may(namespace, asked), "{asked}");
    }
}

/// The shared control plane, with deploy/base in it.
pub(super) fn installed(test: &str) -> Option<&'static ControlPlane> {
    static APPLIED: Once = Once::new();
    let plane = ControlPlane::shared(test)?;
    APPLIED.call_once(|| {
        let kubectl = plane.kubectl();
        kubectl.apply(&kustomize(&kubectl.program, Path::new("deploy/base")), &STRICT);
        let definition = "customresourcedefinition/postgresqls.cpo.opensource.cybertec.at";
        kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", definition]);
    });
    Some(plane)
}

/// Lets the API server take resources without keeping them, and compares what it would have kept.
pub(super) fn keeps(kubectl: &Kubectl, resources: &[Value]) {
    let arguments = ["apply", "--server-side", "--dry-run=server", "--output=json", "--filename=-"];
    let taken = kubectl.output_with_input(&[&arguments[..], &STRICT].concat(), &many(resources));
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let kept: Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!(list(&kept["items"]).len(), resources.len());
    for (kept, sent) in list(&kept["items"]).iter().zip(resources) {
        assert_eq!(kept["spec"], sent["spec"], "{}", named(sent));
    }
}

fn resource(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql", "metadata": {"name": name},
        "spec": spec})
}

pub(super) fn many(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
