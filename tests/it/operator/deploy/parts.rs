//! Operators with permissions in some namespaces only: each has exactly the permissions that it needs, and several can run in the same
//! namespace without conflicts.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use pgbackrest_keeper::cli::Cli;
use serde_json::Value;

use super::{build, kubectl, list, text};

/// Overlays, and the namespaces that each of their operators looks after.
const OVERLAYS: [(&str, &[(&str, &str)]); 2] = [
    ("deploy/overlays/namespaced", &[("pgbackrest-keeper-operator", "cpo")]),
    (
        "deploy/overlays/split",
        &[("pgbackrest-keeper-operator-bank", "bank"), ("pgbackrest-keeper-operator-shop", "shop")],
    ),
];

#[test]
fn each_operator_has_rights_where_it_looks_and_nowhere_else() {
    let Some(kubectl) = kubectl("each_operator_has_rights_where_it_looks_and_nowhere_else") else { return };
    for (overlay, operators) in OVERLAYS {
        let objects = build(&kubectl, Path::new(overlay));
        assert!(objects.iter().all(|object| !text(object, "/kind").starts_with("ClusterRole")), "{overlay}");
        assert_eq!(of_kind(&objects, "CustomResourceDefinition").len(), 1);
        let deployments = of_kind(&objects, "Deployment");
        assert_eq!(deployments.len(), operators.len());
        for (deployment, (name, namespace)) in deployments.iter().zip(operators) {
            assert_eq!(deployment["metadata"]["name"], *name);
            let pod = &deployment["spec"]["template"]["spec"];
            let arguments: Vec<&str> =
                list(&pod["containers"][0]["args"]).iter().map(|word| word.as_str().unwrap()).collect();
            assert_eq!(arguments, ["operator", &format!("--namespaces={namespace}")]);
            assert!(Cli::try_parse_from([&["pgbackrest-keeper"], &arguments[..]].concat()).is_ok());

            let account = text(pod, "/serviceAccountName");
            let bound: BTreeSet<(&str, &str)> = of_kind(&objects, "RoleBinding")
                .into_iter()
                .filter(|binding| {
                    let subjects = list(&binding["subjects"]);
                    assert!(subjects.len() == 1 && subjects[0]["namespace"] == "pgbackrest-keeper");
                    subjects[0]["name"] == account
                })
                .map(|binding| (text(binding, "/metadata/namespace"), text(binding, "/roleRef/name")))
                .collect();
            let clusters = name.replace("-operator", "-clusters");
            assert_eq!(
                bound,
                BTreeSet::from([("pgbackrest-keeper", *name), (*namespace, clusters.as_str())])
            );
            for (namespace, role) in bound {
                let found = of_kind(&objects, "Role").into_iter().filter(|object| {
                    text(object, "/metadata/namespace") == namespace && text(object, "/metadata/name") == role
                });
                assert_eq!(found.count(), 1, "{namespace}/{role}");
            }
        }
    }
}

#[test]
fn each_operator_has_a_lease_of_its_own() {
    let Some(kubectl) = kubectl("each_operator_has_a_lease_of_its_own") else { return };
    for (overlay, _) in OVERLAYS.into_iter().chain([("deploy/base", &[][..])]) {
        let objects = build(&kubectl, Path::new(overlay));
        for deployment in of_kind(&objects, "Deployment") {
            let name = text(deployment, "/metadata/name");
            let environment = list(&deployment["spec"]["template"]["spec"]["containers"][0]["env"]);
            let lease = environment.iter().find(|one| one["name"] == "KEEPER_LEASE_NAME").unwrap();
            assert_eq!(lease["value"], name, "{overlay}");
            let role = of_kind(&objects, "Role").into_iter().find(|role| role["metadata"]["name"] == name);
            let leases: Vec<&Value> = list(&role.unwrap()["rules"])
                .iter()
                .filter(|rule| rule["resources"][0] == "leases")
                .flat_map(|rule| list(&rule["resourceNames"]))
                .collect();
            assert_eq!(leases, [name], "{overlay}");
        }
    }
}

/// What selects pods selects those of one part alone.
#[test]
fn nothing_of_one_part_selects_pods_of_another() {
    let Some(kubectl) = kubectl("nothing_of_one_part_selects_pods_of_another") else { return };
    let objects = build(&kubectl, Path::new("deploy/overlays/split"));
    let deployments = of_kind(&objects, "Deployment");
    let mut selectors = 0;
    for object in &objects {
        let selector = match text(object, "/kind") {
            "Service" => &object["spec"]["selector"],
            "Deployment" | "PodDisruptionBudget" => &object["spec"]["selector"]["matchLabels"],
            _ => continue,
        };
        selectors += 1;
        let selector = selector.as_object().unwrap();
        let selected: Vec<&str> = deployments
            .iter()
            .filter(|deployment| {
                let labels = &deployment["spec"]["template"]["metadata"]["labels"];
                selector.iter().all(|(key, value)| labels[key] == *value)
            })
            .map(|deployment| text(deployment, "/metadata/name"))
            .collect();
        assert_eq!(selected, [text(object, "/metadata/name")]);
    }
    assert_eq!(selectors, 6);
}

fn of_kind<'objects>(objects: &'objects [Value], kind: &str) -> Vec<&'objects Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}
