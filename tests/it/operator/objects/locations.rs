//! Clusters in one location of an object store: the one that uses it keeps it, and the others are not set up there.

use serde_json::{Value, json};

use super::{Shop, resource};

#[test]
fn a_copy_is_not_set_up_where_its_source_archives() {
    let Some(shop) = Shop::open("a_copy_is_not_set_up_where_its_source_archives") else { return };
    create_secret(&shop, "keys", "");
    shop.apply(&in_bucket("source", "keys"));
    shop.wait_until("the source to be set up", || shop.get("cronjob", &full("source", 1)).is_some());
    shop.pretend_stanzas("source");
    shop.wait_until("its CronJob to go on", || {
        shop.get("cronjob", &full("source", 1)).unwrap()["spec"]["suspend"] == false
    });

    let mut copy = in_bucket("copy", "keys");
    copy["spec"]["clone"] = json!({"cluster": "source"});
    shop.apply(&copy);
    shop.wait_until("the copy to be reported", || shop.has_finding("copy", "location-shared"));
    shop.wait_until("its status", || status(&shop, "copy").0 == "Error");
    let (_, message) = status(&shop, "copy");
    let place =
        format!("repo1 of {}/source: s3 bucket at s3.example, path /var/lib/pgbackrest", shop.namespace);
    assert!(message.contains(&place), "{message}");
    for note in ["a", "b"] {
        shop.run(&["annotate", "--overwrite", "postgresql", "copy", &format!("somebodys={note}")]);
        shop.a_while_passes();
    }
    let events = shop.events("LocationShared");
    assert_eq!(events.matches("the same location").count(), 1, "{events}");
    assert!(shop.get("configmap", "copy-pgbackrest-config").is_none());
    assert!(shop.get("cronjob", &full("copy", 1)).is_none());
    assert!(!shop.has_finding("source", "location-shared"), "it takes no harm");

    // A second repo of the copy is elsewhere.
    let repos = copy["spec"]["backup"]["pgbackrest"]["repos"].as_array_mut().unwrap();
    let mut second = repos[0].clone();
    (second["name"], second["resource"]) = (json!("repo2"), json!("other"));
    repos.push(second);
    shop.apply(&copy);
    shop.wait_until("the second repo", || shop.get("cronjob", &full("copy", 2)).is_some());
    shop.wait_until("the first one to be left out", || shop.has_finding("copy", "repo-left-out"));
    let text = configuration(&shop, "copy");
    assert!(!text.contains("repo1-") && text.contains("repo2-s3-bucket=other"), "{text}");

    // The location is free once the other resource is gone.
    shop.run(&["delete", "postgresql", "source"]);
    shop.wait_until("the first repo", || shop.get("cronjob", &full("copy", 1)).is_some());
    shop.wait_until("the finding to go", || !shop.has_finding("copy", "location-shared"));
    assert!(configuration(&shop, "copy").contains("repo1-s3-bucket=bucket"));
}

#[test]
fn a_cluster_does_not_move_to_where_another_one_is() {
    let Some(shop) = Shop::open("a_cluster_does_not_move_to_where_another_one_is") else { return };
    // The path of one is in its Secret.
    create_secret(&shop, "keys", "");
    create_secret(&shop, "hidden", "repo1-path=/ledger\n");
    shop.apply(&in_bucket("ledger", "hidden"));
    shop.apply(&in_bucket("orders", "keys"));
    for cluster in ["ledger", "orders"] {
        shop.wait_until("the CronJob", || shop.get("cronjob", &full(cluster, 1)).is_some());
        shop.pretend_stanzas(cluster);
        shop.wait_until("it to go on", || {
            shop.get("cronjob", &full(cluster, 1)).unwrap()["spec"]["suspend"] == false
        });
    }
    let before = configuration(&shop, "orders");
    shop.patch("postgresql", "orders", &with_path("/ledger"));
    shop.wait_until("the finding", || shop.has_finding("orders", "location-shared"));
    shop.a_while_passes();
    assert_eq!(configuration(&shop, "orders"), before, "what runs stays as it is");
    assert!(!shop.has_finding("ledger", "location-shared"));
    let log = shop.keeper.log();
    assert!(!log.contains("hunter2"), "{log}");

    shop.patch("postgresql", "orders", &with_path("/orders"));
    shop.wait_until("the move elsewhere", || configuration(&shop, "orders").contains("repo1-path=/orders"));
    shop.wait_until("the finding to go", || !shop.has_finding("orders", "location-shared"));
}

/// A cluster in a bucket, at pgBackRest's default path.
fn in_bucket(name: &str, secret: &str) -> Value {
    resource(
        name,
        &json!({"image": "registry.example/pgbackrest:2",
            "configuration": {"secret": secret},
            "global": {"repo1-retention-full": "2", "repo2-retention-full": "2"},
            "repos": [{"name": "repo1", "storage": "s3", "endpoint": "s3.example", "region": "eu",
                "resource": "bucket", "schedule": {"full": "0 1 * * 0"}}]}),
    )
}

fn with_path(path: &str) -> Value {
    json!({"spec": {"backup": {"pgbackrest": {"global": {"repo1-path": path}}}}})
}

fn create_secret(shop: &Shop, name: &str, more: &str) {
    let keys = "repo1-s3-key=a\nrepo1-s3-key-secret=hunter2\nrepo2-s3-key=a\nrepo2-s3-key-secret=hunter2\n";
    let literal = format!("--from-literal=s3.conf=[global]\n{keys}{more}");
    shop.run(&["create", "secret", "generic", name, &literal]);
}

fn full(cluster: &str, repo: u32) -> String {
    format!("pgbackrest-{cluster}-repo{repo}-full")
}

fn configuration(shop: &Shop, cluster: &str) -> String {
    let map = shop.get("configmap", &format!("{cluster}-pgbackrest-config")).unwrap();
    map["data"]["pgbackrest_instance.conf"].as_str().unwrap().to_owned()
}

/// `BackupStatus` and `BackupMessage`.
fn status(shop: &Shop, cluster: &str) -> (String, String) {
    let resource = shop.get("postgresql", cluster).unwrap();
    let text = |key: &str| resource["status"][key].as_str().unwrap_or_default().to_owned();
    (text("BackupStatus"), text("BackupMessage"))
}
