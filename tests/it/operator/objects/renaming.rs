//! Names that change: a cluster's, and a repository's.

use serde_json::{Value, json};

use super::lifecycle::OBJECTS;
use super::{Shop, with_volume};

/// What there is for a cluster of this name, with a repo of this name.
fn objects(cluster: &str, repo: &str) -> Vec<String> {
    let rename = |name: &&str| name.replace("orders", cluster).replace("repo1", repo);
    OBJECTS.iter().map(rename).collect()
}

fn volume(cluster: &str, repo: &str) -> String {
    format!("{repo}-{cluster}-pgbackrest-repo-host-0")
}

/// Sorted, as they are listed.
fn with_old_volume(objects: Vec<String>, cluster: &str, repo: &str) -> Vec<String> {
    let mut all = objects;
    all.push(format!("PersistentVolumeClaim/{}", volume(cluster, repo)));
    all.sort();
    all
}

fn uid(shop: &Shop, kind: &str, name: &str) -> Value {
    shop.get(kind, name).unwrap()["metadata"]["uid"].clone()
}

#[test]
fn a_renamed_cluster_begins_anew_and_leaves_its_volume() {
    let Some(shop) = Shop::open("a_renamed_cluster_begins_anew_and_leaves_its_volume") else { return };
    shop.apply(&with_volume("orders"));
    shop.wait_until("all objects", || shop.ours() == OBJECTS);
    let old_volume = uid(&shop, "pvc", &volume("orders", "repo1"));

    // The new name begins with the old one, and comes while Kubernetes still removes what the old one had.
    shop.run(&["delete", "postgresql", "orders", "--wait=true"]);
    shop.apply(&with_volume("orders-2"));
    let expected = with_old_volume(objects("orders-2", "repo1"), "orders", "repo1");
    shop.wait_until("the objects of the new name, and the old volume", || shop.ours() == expected);
    assert_eq!(
        uid(&shop, "pvc", &volume("orders", "repo1")),
        old_volume,
        "backups are a person's to throw away"
    );
    let new = uid(&shop, "postgresql", "orders-2");
    for name in objects("orders-2", "repo1").iter().filter(|name| !name.starts_with("Persistent")) {
        let (kind, name) = name.split_once('/').unwrap();
        let metadata = shop.get(kind, name).unwrap()["metadata"].clone();
        assert_eq!(metadata["ownerReferences"][0]["uid"], new, "{kind} {name}");
        assert_eq!(metadata["labels"]["pgbackrest-keeper.io/cluster"], "orders-2", "{kind} {name}");
    }
    let new_volume = uid(&shop, "pvc", &volume("orders-2", "repo1"));

    // Back again: the old volume is taken up where it was left.
    shop.run(&["delete", "postgresql", "orders-2", "--wait=true"]);
    shop.apply(&with_volume("orders"));
    let expected = with_old_volume(objects("orders", "repo1"), "orders-2", "repo1");
    shop.wait_until("the objects of the old name, and both volumes", || shop.ours() == expected);
    assert_eq!(uid(&shop, "pvc", &volume("orders", "repo1")), old_volume);
    assert_eq!(uid(&shop, "pvc", &volume("orders-2", "repo1")), new_volume);
    assert!(!shop.has_finding("orders", "name-taken"));
}

#[test]
fn a_renamed_repo_is_another_repo() {
    let Some(shop) = Shop::open("a_renamed_repo_is_another_repo") else { return };
    shop.apply(&with_volume("orders"));
    shop.wait_until("all objects", || shop.ours() == OBJECTS);
    let old_volume = uid(&shop, "pvc", &volume("orders", "repo1"));
    let host = uid(&shop, "statefulset", "orders-pgbackrest-repo-host");

    let mut renamed = with_volume("orders");
    let section = &mut renamed["spec"]["backup"]["pgbackrest"];
    section["repos"][0]["name"] = json!("repo2");
    section["global"] = json!({"repo2-retention-full": "2"});
    shop.apply(&renamed);
    // No second key: a repo is left, and no volume goes.
    let expected = with_old_volume(objects("orders", "repo2"), "orders", "repo1");
    shop.wait_until("the objects of the new name, and the old volume", || shop.ours() == expected);
    assert_eq!(uid(&shop, "pvc", &volume("orders", "repo1")), old_volume);
    assert_eq!(
        uid(&shop, "statefulset", "orders-pgbackrest-repo-host"),
        host,
        "it is changed, not made anew"
    );
    shop.wait_until("the repo host to have the new volume alone", || {
        let host = shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap();
        let volumes = host["spec"]["template"]["spec"]["volumes"].to_string();
        volumes.contains(&volume("orders", "repo2")) && !volumes.contains(&volume("orders", "repo1"))
    });
    for map in ["orders-pgbackrest-config", "orders-pgbackrest-repohost-config"] {
        let data = shop.get("configmap", map).unwrap()["data"].to_string();
        assert!(data.contains("repo2-") && !data.contains("repo1-"), "{map}: {data}");
    }
    let job = shop.get("cronjob", "pgbackrest-orders-repo2-full").unwrap();
    assert_eq!(job["metadata"]["labels"]["pgbackrest-keeper.io/repo"], "repo2");
    assert!(!shop.has_finding("orders", "removal-not-authorized"));
}
