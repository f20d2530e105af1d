//! The permissions of the operator: sufficient for every object that it creates and every permission that it grants, no more than
//! docs/operator.md explains, and none for deleting backups.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use serde_json::Value;

use super::{list, root};
use crate::golden::objects::recorded;

/// The rights of whoever only observes.
pub(crate) const OBSERVE: &str = "../overlays/observe/cluster-role.yaml";
/// Those in one namespace.
const NAMESPACED: &str = "../components/namespaced/rights/role.yaml";

/// What restore tests need besides.
pub(crate) const RESTORE_TESTS: &str = "../components/restore-tests/cluster-role.yaml";

/// One thing that may be done: group, resource, verb.
pub(crate) type Right = (String, String, String);

/// By kind: its group and its plural.
fn kinds() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    fn of<K: Resource>() -> (&'static str, (&'static str, &'static str)) {
        (K::KIND, (K::GROUP, K::URL_PATH_SEGMENT))
    }
    BTreeMap::from([
        of::<ServiceAccount>(),
        of::<Role>(),
        of::<RoleBinding>(),
        of::<Secret>(),
        of::<ConfigMap>(),
        of::<PersistentVolumeClaim>(),
        of::<Service>(),
        of::<NetworkPolicy>(),
        of::<StatefulSet>(),
        of::<CronJob>(),
    ])
}

#[test]
fn every_object_that_is_made_may_be_made() {
    let rights = rights(&rules("cluster-role.yaml"));
    let kinds = kinds();
    let mut seen = BTreeSet::new();
    for path in recorded() {
        let object: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let (group, plural) = kinds.get(kind.as_str()).unwrap_or_else(|| panic!("{kind} is not known here"));
        // Watched, looked at when somebody else's may be in the way, applied.
        for verb in ["list", "watch", "get", "create", "patch"] {
            let right = ((*group).to_owned(), (*plural).to_owned(), verb.to_owned());
            assert!(rights.contains(&right), "{right:?} is missing");
        }
        seen.insert(kind);
    }
    assert_eq!(seen.len(), kinds.len(), "{seen:?}");
}

/// Kubernetes lets nobody give a right that he has not.
#[test]
fn every_right_that_is_given_is_held() {
    let held = rights(&rules("cluster-role.yaml"));
    let mut given = BTreeSet::new();
    for path in recorded() {
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("\nkind: Role\n") {
            let role: Role = serde_saphyr::from_str(&text).unwrap();
            given.extend(rights(&role.rules.unwrap()));
        }
    }
    assert!(given.len() >= 4, "{given:?}");
    let missing: Vec<&Right> = given.difference(&held).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_is_given_wholesale() {
    for file in ["cluster-role.yaml", "role.yaml", OBSERVE, NAMESPACED, RESTORE_TESTS] {
        for (group, resource, verb) in rights(&rules(file)) {
            let right = format!("{file}: {group} {resource} {verb}");
            for word in [&group, &resource, &verb] {
                assert!(!word.contains('*'), "{right}");
            }
            assert!(
                !["escalate", "bind", "impersonate", "deletecollection"].contains(&verb.as_str()),
                "{right}"
            );
            assert!(resource != "persistentvolumeclaims" || verb != "delete", "{right}");
            assert!(
                !["postgresqls", "restoretests"].contains(&resource.as_str())
                    || ["get", "list", "watch"].contains(&verb.as_str()),
                "{right}"
            );
        }
    }
}

/// An operator that only observes has no right to write.
#[test]
fn to_observe_is_to_read() {
    for (group, resource, verb) in rights(&rules(OBSERVE)) {
        let tells = matches!(resource.as_str(), "events" | "pods/exec");
        assert!(tells || ["get", "list", "watch"].contains(&verb.as_str()), "{group} {resource} {verb}");
        assert!(!["secrets", "configmaps"].contains(&resource.as_str()), "{resource}");
    }
}

/// What belongs to no namespace nobody can give in one.
#[test]
fn the_rights_in_one_namespace_are_those_in_all() {
    let everywhere = rights(&rules("cluster-role.yaml"));
    let missing: BTreeSet<Right> = everywhere.difference(&rights(&rules(NAMESPACED))).cloned().collect();
    let class = ["storage.k8s.io", "storageclasses", "get"].map(str::to_owned);
    assert_eq!(missing, BTreeSet::from([class.into()]));
    assert!(rights(&rules(NAMESPACED)).is_subset(&everywhere));
}

#[test]
fn a_right_stands_in_one_rule() {
    for file in ["cluster-role.yaml", "role.yaml", OBSERVE, NAMESPACED, RESTORE_TESTS] {
        let mut seen = BTreeSet::new();
        for rule in rules(file) {
            for right in rights(&[rule]) {
                assert!(seen.insert(right.clone()), "{file}: {right:?} is there twice");
            }
        }
    }
}

/// The table in docs/operator.md: `| group | resources | verbs | what for |`.
#[test]
fn the_documented_rights_are_those_of_the_manifests() {
    let document = fs::read_to_string(root().join("docs/operator.md")).unwrap();
    for (marker, file) in [
        ("permissions", "cluster-role.yaml"),
        ("own-permissions", "role.yaml"),
        ("observe-permissions", OBSERVE),
        ("restore-test-permissions", RESTORE_TESTS),
    ] {
        let (_, rest) = document.split_once(&format!("<!-- {marker} -->\n")).expect(marker);
        let (table, _) = rest.split_once(&format!("<!-- /{marker} -->")).expect(marker);
        let mut documented = BTreeSet::new();
        for row in table.lines().skip(2) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [group, resources, verbs, purpose] = cells[..] else { panic!("{row}") };
            assert!(!purpose.is_empty(), "{row}");
            let words = |cell: &str| -> Vec<String> {
                cell.split(',').map(|word| word.trim().trim_matches('`').to_owned()).collect()
            };
            let group = if group == "core" { String::new() } else { words(group).remove(0) };
            for resource in words(resources) {
                documented
                    .extend(words(verbs).into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
        let held = rights(&rules(file));
        let undocumented: Vec<&Right> = held.difference(&documented).collect();
        let untrue: Vec<&Right> = documented.difference(&held).collect();
        assert!(
            undocumented.is_empty() && untrue.is_empty(),
            "{file}: not told {undocumented:?}, untrue {untrue:?}"
        );
    }
}

/// Each thing that rules allow. Names of single objects are left out.
pub(crate) fn rights(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        assert!(rule.non_resource_urls.is_none(), "{rule:?}");
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

pub(crate) fn rules(file: &str) -> Vec<PolicyRule> {
    let path: PathBuf = root().join("deploy/base").join(file);
    let role: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    list(&role["rules"]).iter().map(|rule| serde_json::from_value(rule.clone()).unwrap()).collect()
}
