//! Objects of another owner: left alone, adopted on request, and released.

use serde_json::{Value, json};

use super::{Shop, with_volume};

/// What CPO 0.9 makes for the same cluster, as far as it matters here.
fn cpos(shop: &Shop) -> Vec<Value> {
    let owner = shop.get("postgresql", "orders").unwrap()["metadata"]["uid"].clone();
    let labels = |kind: &str| {
        json!({"application": "cpo", "cluster.cpo.opensource.cybertec.at/name": "orders",
            "member.cpo.opensource.cybertec.at/type": kind, "team": "shop"})
    };
    let pod = |name: &str| {
        json!({"restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": name, "image": "registry.example/cpo:1",
                "env": [{"name": "MODE", "value": "backup"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]})
    };
    let cron_job = |name: &str| {
        json!({"apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": name, "labels": labels("backup-job")},
            "spec": {"schedule": "30 1 * * 0", "concurrencyPolicy": "Forbid",
                "jobTemplate": {"spec": {"template": {"metadata": {"labels": labels("backup-job")},
                    "spec": pod("pgbackrest-backup")}}}}})
    };
    let mut host = pod("pgbackrest");
    host["restartPolicy"] = json!("Always");
    vec![
        cron_job("pgbackrest-orders-repo1-full"),
        cron_job("pgbackrest-orders-repo1-incr"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-pgbackrest-config"},
            "data": {"pgbackrest_instance.conf": "[global]\n"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-pgbackrest-cert"},
            "stringData": {"pgbackrest.ca-roots": "theirs"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-clusterpods"},
            "spec": {"clusterIP": "None", "selector": {"theirs": "yes"}}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "orders-pgbackrest-repo-host", "labels": labels("repo-host"), "ownerReferences": [
                {"apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql", "name": "orders", "uid": owner,
                    "controller": true}]},
            "spec": {"replicas": 1, "serviceName": "orders-clusterpods",
                "selector": {"matchLabels": labels("repo-host")},
                "template": {"metadata": {"labels": labels("repo-host")}, "spec": host},
                "volumeClaimTemplates": [{"metadata": {"name": "repo1"}, "spec": {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "2Gi"}}}}]}}),
    ]
}

/// The cluster, at first paused, with everything that CPO has made for it.
fn open(test: &str) -> Option<Shop> {
    let shop = Shop::open(test)?;
    let mut paused = with_volume("orders");
    paused["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/paused": "true"});
    shop.apply(&paused);
    for object in cpos(&shop) {
        let mut object = object;
        object["metadata"]["namespace"] = json!(shop.namespace);
        shop.kubectl.apply(&object.to_string(), &["--field-manager=cpo"]);
    }
    let claim = "repo1-orders-pgbackrest-repo-host-0";
    shop.wait_until("the volume that the StatefulSet asks for", || shop.get("pvc", claim).is_some());
    shop.annotate("orders", "paused-");
    Some(shop)
}

impl Shop {
    fn uid(&self, kind: &str, name: &str) -> Value {
        self.get(kind, name).unwrap()["metadata"]["uid"].clone()
    }
}

const THEIRS: [(&str, &str); 7] = [
    ("cronjob", "pgbackrest-orders-repo1-full"),
    ("cronjob", "pgbackrest-orders-repo1-incr"),
    ("configmap", "orders-pgbackrest-config"),
    ("secret", "orders-pgbackrest-cert"),
    ("service", "orders-clusterpods"),
    ("statefulset", "orders-pgbackrest-repo-host"),
    ("pvc", "repo1-orders-pgbackrest-repo-host-0"),
];

#[test]
fn what_is_somebody_elses_is_left_alone_until_it_is_to_be_taken_over() {
    let Some(shop) = open("what_is_somebody_elses_is_left_alone") else { return };
    let before = THEIRS.map(|(kind, name)| shop.get(kind, name).unwrap()["metadata"].clone());
    shop.wait_until("six findings", || shop.keeper.findings("orders", "name-taken") == 6);
    shop.wait_until("the Events", || {
        let told = shop.events("NameTaken");
        told.contains("ConfigMap orders-pgbackrest-config, which belongs to the client that wrote it as cpo")
            && told.contains("StatefulSet orders-pgbackrest-repo-host, which belongs to postgresql orders (written by cpo)")
    });
    shop.a_while_passes();
    for ((kind, name), before) in THEIRS.iter().zip(&before) {
        let now = shop.get(kind, name).unwrap()["metadata"].clone();
        assert_eq!((&now["uid"], &now["labels"]), (&before["uid"], &before["labels"]), "{kind} {name}");
    }

    // A person had suspended one of them.
    shop.patch("cronjob", "pgbackrest-orders-repo1-full", &json!({"spec": {"suspend": true}}));
    let pod = shop.wait_for("the repo host's pod", || shop.get("pod", "orders-pgbackrest-repo-host-0"));
    shop.annotate("orders", "adopt=true");
    shop.wait_until("no finding any more", || {
        !shop.has_finding("orders", "name-taken") && !shop.has_finding("orders", "object-waits")
    });
    for ((kind, name), before) in THEIRS.iter().zip(&before) {
        let now = shop.get(kind, name).unwrap()["metadata"].clone();
        let stays = matches!(*kind, "service" | "pvc");
        assert_eq!(now["uid"] == before["uid"], stays, "{kind} {name}");
        let is_ours = now["labels"]["app.kubernetes.io/managed-by"] == "pgbackrest-keeper";
        assert_eq!(is_ours, *kind != "service", "{kind} {name}");
    }
    // Until there is a stanza we suspend both; after that a person's suspend holds.
    shop.pretend_stanzas("orders");
    shop.wait_until("one to be woken", || {
        shop.get("cronjob", "pgbackrest-orders-repo1-incr").unwrap()["spec"]["suspend"] == false
    });
    let full = shop.get("cronjob", "pgbackrest-orders-repo1-full").unwrap();
    assert_eq!((&full["spec"]["suspend"], full["metadata"].get("annotations")), (&json!(true), None));
    let claim = shop.get("pvc", "repo1-orders-pgbackrest-repo-host-0").unwrap();
    assert_eq!(claim["metadata"].get("ownerReferences"), None);
    assert_eq!(claim["metadata"].get("deletionTimestamp"), None);
    let host = shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap();
    assert_eq!(host["spec"].get("volumeClaimTemplates"), None);
    // The pod goes over to the new StatefulSet, which replaces it by its own.
    shop.wait_until("the pod to be replaced", || {
        shop.get("pod", "orders-pgbackrest-repo-host-0").is_some_and(|now| {
            now["metadata"]["uid"] != pod["metadata"]["uid"]
                && now["metadata"]["ownerReferences"][0]["uid"] == host["metadata"]["uid"]
        })
    });
    let told = shop.events("BackupObjectsAdopted");
    assert!(
        told.contains("ConfigMap orders-pgbackrest-config from the client that wrote it as cpo"),
        "{told}"
    );
}

#[test]
fn what_is_handed_back_stays_and_is_left_alone() {
    let Some(shop) = Shop::open("what_is_handed_back_stays_and_is_left_alone") else { return };
    shop.apply(&with_volume("orders"));
    shop.wait_until("all objects", || shop.ours().len() == 14);
    let everything = "application=cpo,cluster.cpo.opensource.cybertec.at/name=orders";
    let before = shop.labelled(everything);
    let uid = shop.uid("statefulset", "orders-pgbackrest-repo-host");
    let template =
        |shop: &Shop| shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap()["spec"].clone();
    let pods = template(&shop);
    shop.annotate("orders", "release=true");
    shop.wait_until("nothing to be ours", || shop.ours().is_empty());
    assert_eq!(shop.labelled(everything), before);
    assert_eq!(shop.uid("statefulset", "orders-pgbackrest-repo-host"), uid);
    assert_eq!(template(&shop), pods, "no pod is replaced");
    for name in &before {
        let (kind, name) = name.split_once('/').unwrap();
        let metadata = shop.get(kind, name).unwrap()["metadata"].clone();
        assert_eq!(metadata.get("ownerReferences"), None, "{kind} {name}");
    }
    // No more writes.
    shop.run(&["delete", "configmap", "orders-pgbackrest-config"]);
    shop.patch("cronjob", "pgbackrest-orders-repo1-full", &json!({"spec": {"schedule": "0 0 1 1 *"}}));
    shop.a_while_passes();
    assert!(shop.get("configmap", "orders-pgbackrest-config").is_none());
    // The resource may go without them.
    shop.run(&["delete", "postgresql", "orders", "--wait=true"]);
    shop.a_while_passes();
    assert_eq!(shop.uid("statefulset", "orders-pgbackrest-repo-host"), uid);
    assert_eq!(shop.get("cronjob", "pgbackrest-orders-repo1-full").unwrap()["spec"]["schedule"], "0 0 1 1 *");
}

#[test]
fn cpos_cut_names_are_taken_over_too() {
    let Some(shop) = Shop::open("cpos_cut_names_are_taken_over_too") else { return };
    let cluster = "warehouse-of-the-eastern-regions";
    let mut document = with_volume(cluster);
    document["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"] = json!({"full": "30 1 * * 0"});
    let cut = format!("pgbackrest-{cluster}-repo1-full")[..52].to_owned();
    let labels = json!({"application": "cpo", "cluster.cpo.opensource.cybertec.at/name": cluster,
        "member.cpo.opensource.cybertec.at/type": "backup-job"});
    let container = json!({"name": "b", "image": "registry.example/cpo:1"});
    shop.apply(
        &json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": cut, "labels": labels},
        "spec": {"schedule": "30 1 * * 0", "jobTemplate": {"spec": {"template": {"spec":
            {"restartPolicy": "Never", "containers": [container]}}}}}}),
    );
    shop.apply(&document);
    shop.wait_until("the finding", || shop.has_finding(cluster, "name-taken"));
    shop.wait_until("the Event", || shop.events("NameTaken").contains("is also backed up by"));
    shop.annotate(cluster, "adopt=true");
    shop.wait_until("the other CronJob to go", || shop.get("cronjob", &cut).is_none());
    shop.wait_until("the finding to go", || !shop.has_finding(cluster, "name-taken"));
    let ours = shop.labelled(&format!("pgbackrest-keeper.io/cluster={cluster}"));
    assert_eq!(ours.iter().filter(|name| name.starts_with("CronJob/")).count(), 1, "{ours:?}");
}
