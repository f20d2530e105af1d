//! From the first apply to the deletion.

use serde_json::{Value, json};

use super::{Shop, with_volume};

pub(super) const OBJECTS: [&str; 14] = [
    "ConfigMap/orders-pgbackrest-config",
    "ConfigMap/orders-pgbackrest-repohost-config",
    "CronJob/pgbackrest-orders-repo1-full",
    "CronJob/pgbackrest-orders-repo1-incr",
    "NetworkPolicy/orders-pgbackrest-repo-host",
    "PersistentVolumeClaim/repo1-orders-pgbackrest-repo-host-0",
    "Role/orders-pgbackrest-backup",
    "RoleBinding/orders-pgbackrest-backup",
    "Secret/orders-pgbackrest-ca",
    "Secret/orders-pgbackrest-cert",
    "Service/orders-clusterpods",
    "ServiceAccount/orders-pgbackrest-backup",
    "ServiceAccount/orders-pgbackrest-repo-host",
    "StatefulSet/orders-pgbackrest-repo-host",
];

#[test]
fn the_documented_examples_become_their_objects() {
    let Some(shop) = Shop::open("the_documented_examples_become_their_objects") else { return };
    let names = ["pvc", "s3", "azure", "gcs", "encryption"];
    for (index, name) in names.iter().enumerate() {
        // All are called `cluster`, and two have a Secret of one name; here they stand side by side.
        let example = format!("{}/deploy/examples/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = shop.run(&["kustomize", &example]);
        let cluster = format!("cluster-{}", index + 1);
        let text = text
            .replace("namespace: cpo", &format!("namespace: {}", shop.namespace))
            .replace("name: cluster\n", &format!("name: {cluster}\n"))
            .replace("-credential\n", &format!("-credential-{}\n", index + 1));
        shop.kubectl.apply(&text, &[]);
    }
    // The example names a class of its own.
    shop.wait_until("the missing storage class", || shop.has_finding("cluster-1", "storage-class-missing"));
    assert!(shop.get("cronjob", "pgbackrest-cluster-1-repo1-full").is_none());
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "default"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"});
    shop.kubectl.apply(&class.to_string(), &[]);
    shop.is_looked_at("cluster-1");
    for job in [
        "pgbackrest-cluster-1-repo1-full",
        "pgbackrest-cluster-2-repo1-full",
        "pgbackrest-cluster-2-repo1-incr",
        "pgbackrest-cluster-3-repo1-full",
        "pgbackrest-cluster-4-repo1-full",
        "pgbackrest-cluster-5-repo1-full",
    ] {
        let found = shop.wait_for(job, || shop.get("cronjob", job));
        assert_eq!(found["spec"]["concurrencyPolicy"], "Forbid");
        assert_eq!(found["metadata"]["ownerReferences"][0]["kind"], "postgresql");
    }
    let host = shop.wait_for("the repo host", || shop.get("statefulset", "cluster-1-pgbackrest-repo-host"));
    assert_eq!(host["spec"]["replicas"], 1);
    assert!(shop.get("pvc", "repo1-cluster-1-pgbackrest-repo-host-0").is_some());
    for (index, _) in names.iter().enumerate().skip(1) {
        assert!(shop.get("statefulset", &format!("cluster-{}-pgbackrest-repo-host", index + 1)).is_none());
    }
    // The secrets of the examples are in no object of ours.
    let all = shop.run(&["get", "configmaps,cronjobs,statefulsets", "--output=yaml"]);
    assert!(!all.contains("YOUR_"), "a credential has left its Secret");
    // A Job under the name that people know, with a pod that the namespace's rules let in.
    let job = "pgbackrest-cluster-1-repo1-full-28597110";
    shop.run(&["create", "job", job, "--from=cronjob/pgbackrest-cluster-1-repo1-full"]);
    let pod = shop.wait_for("the job's pod", || {
        let pods = shop.run(&["get", "pods", "--selector", &format!("job-name={job}"), "--output=name"]);
        pods.lines().next().map(str::to_owned)
    });
    assert!(pod.starts_with(&format!("pod/{job}-")), "{pod}");
    let pod = shop.wait_for("the repo host's pod", || shop.get("pod", "cluster-1-pgbackrest-repo-host-0"));
    assert_eq!(pod["spec"]["containers"][0]["command"], json!(["pgbackrest", "server"]));
}

#[test]
fn edits_are_followed_and_drift_is_undone() {
    let Some(shop) = Shop::open("edits_are_followed_and_drift_is_undone") else { return };
    shop.apply(&with_volume("orders"));
    shop.wait_until("all objects", || shop.ours() == OBJECTS);
    let full = "pgbackrest-orders-repo1-full";
    let schedule = |shop: &Shop| shop.get("cronjob", full).map(|job| job["spec"]["schedule"].clone());
    let configuration = |shop: &Shop| {
        shop.get("configmap", "orders-pgbackrest-config").unwrap()["data"]["pgbackrest_instance.conf"]
            .to_string()
    };

    // The resource is edited.
    let mut edited = with_volume("orders");
    edited["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"]["full"] = json!("15 3 * * 6");
    edited["spec"]["backup"]["pgbackrest"]["global"]["process-max"] = json!("4");
    let generation =
        shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap()["metadata"]["generation"].clone();
    shop.apply(&edited);
    shop.wait_until("the new schedule", || schedule(&shop) == Some(json!("15 3 * * 6")));
    shop.wait_until("the new option", || configuration(&shop).contains("process-max=4"));
    let after = shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap();
    assert_eq!(after["metadata"]["generation"], generation, "configuration alone replaces no pod");

    // Objects are edited and deleted.
    shop.patch("cronjob", full, &json!({"spec": {"schedule": "0 0 1 1 *", "concurrencyPolicy": "Allow"}}));
    shop.patch("statefulset", "orders-pgbackrest-repo-host", &json!({"spec": {"replicas": 0}}));
    shop.patch(
        "configmap",
        "orders-pgbackrest-config",
        &json!({"data": {"pgbackrest_instance.conf": "gone"}}),
    );
    shop.run(&["delete", "role", "orders-pgbackrest-backup"]);
    shop.run(&["delete", "service", "orders-clusterpods"]);
    shop.wait_until("the schedule again", || schedule(&shop) == Some(json!("15 3 * * 6")));
    shop.wait_until("the configuration again", || configuration(&shop).contains("process-max=4"));
    shop.wait_until("the repo host again", || {
        shop.get("statefulset", "orders-pgbackrest-repo-host").unwrap()["spec"]["replicas"] == 1
    });
    shop.wait_until("everything again", || shop.ours() == OBJECTS);
    assert_eq!(shop.keeper.drift(), ["ConfigMap", "CronJob", "Role", "Service", "StatefulSet"]);
    assert_eq!(shop.get("cronjob", full).unwrap()["spec"]["concurrencyPolicy"], "Forbid");

    // What somebody adds beside ours stays.
    shop.run(&["label", "cronjob", full, "mine=yes"]);
    shop.run(&["annotate", "configmap", "orders-pgbackrest-config", "mine=yes"]);
    shop.a_while_passes();
    assert_eq!(shop.get("cronjob", full).unwrap()["metadata"]["labels"]["mine"], "yes");
    assert_eq!(shop.keeper.drift().len(), 5, "what is not ours is no drift");
}

#[test]
fn a_persons_suspend_is_respected() {
    let Some(shop) = Shop::open("a_persons_suspend_is_respected") else { return };
    let (full, incr) = ("pgbackrest-orders-repo1-full", "pgbackrest-orders-repo1-incr");
    shop.apply(&with_volume("orders"));
    shop.wait_until("all objects", || shop.ours() == OBJECTS);
    shop.pretend_stanzas("orders");
    shop.wait_until("the CronJobs to be awake", || {
        shop.get("cronjob", incr).unwrap()["spec"]["suspend"] == false
    });
    shop.patch("cronjob", full, &json!({"spec": {"suspend": true}}));
    let suspended = |name: &str| shop.get("cronjob", name).unwrap()["spec"]["suspend"] == true;
    let mut edited = with_volume("orders");
    edited["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"] =
        json!({"full": "1 3 * * 6", "incr": "1 4 * * *"});
    shop.apply(&edited);
    shop.wait_until("the new schedule", || {
        shop.get("cronjob", full).unwrap()["spec"]["schedule"] == "1 3 * * 6"
    });
    assert!(suspended(full) && !suspended(incr));

    // We suspend both, and wake only our own.
    edited["spec"]["numberOfInstances"] = json!(0);
    shop.apply(&edited);
    shop.wait_until("both to be suspended", || suspended(full) && suspended(incr));
    let annotations = shop.get("cronjob", incr).unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations["pgbackrest-keeper.io/suspended-because"], "no-instances");
    edited["spec"]["numberOfInstances"] = json!(1);
    shop.apply(&edited);
    shop.wait_until("one to be woken", || !suspended(incr));
    shop.a_while_passes();
    assert!(suspended(full), "a person suspended it");
    assert_eq!(shop.keeper.drift(), [""; 0]);
}

#[test]
fn schedules_and_repos_that_go_take_their_objects_along_and_leave_volumes() {
    let Some(shop) = Shop::open("schedules_and_repos_that_go_take_their_objects_along") else { return };
    let mut both = with_volume("orders");
    let s3 = json!({"name": "repo2", "storage": "s3", "resource": "b", "endpoint": "s3.example", "region": "r",
        "schedule": {"full": "15 2 * * *"}});
    both["spec"]["backup"]["pgbackrest"]["repos"].as_array_mut().unwrap().push(s3.clone());
    both["spec"]["backup"]["pgbackrest"]["configuration"] = json!({"secret": "keys"});
    shop.run(&[
        "create",
        "secret",
        "generic",
        "keys",
        "--from-literal=s3.conf=[global]\nrepo2-s3-key=a\nrepo2-s3-key-secret=b",
    ]);
    shop.apply(&both);
    shop.wait_until("all objects", || shop.ours().len() == OBJECTS.len() + 1);

    // A schedule goes.
    shop.patch("postgresql", "orders", &json!({"spec": {"backup": {"pgbackrest": {"repos": [
        {"name": "repo1", "storage": "pvc", "volume": {"size": "2Gi"}, "schedule": {"full": "30 1 * * 0"}}, s3]}}}}));
    shop.wait_until("one CronJob less", || shop.get("cronjob", "pgbackrest-orders-repo1-incr").is_none());

    // A repo goes while its Job runs.
    shop.run(&["create", "job", "running", "--from=cronjob/pgbackrest-orders-repo1-full"]);
    shop.patch("postgresql", "orders", &json!({"spec": {"backup": {"pgbackrest": {"repos": [s3]}}}}));
    shop.wait_until("the wait for the Job", || shop.has_finding("orders", "object-waits"));
    shop.wait_until("the CronJob to be suspended", || {
        shop.get("cronjob", "pgbackrest-orders-repo1-full").unwrap()["spec"]["suspend"] == true
    });
    assert!(shop.get("statefulset", "orders-pgbackrest-repo-host").is_some());
    shop.run(&["delete", "job", "running"]);
    shop.is_looked_at("orders");
    let left = [
        "ConfigMap/orders-pgbackrest-config",
        "CronJob/pgbackrest-orders-repo2-full",
        "PersistentVolumeClaim/repo1-orders-pgbackrest-repo-host-0",
        "Role/orders-pgbackrest-backup",
        "RoleBinding/orders-pgbackrest-backup",
        "Service/orders-clusterpods",
        "ServiceAccount/orders-pgbackrest-backup",
    ];
    shop.wait_until("the rest", || shop.ours() == left);
}

#[test]
fn removal_takes_a_second_key() {
    let Some(shop) = Shop::open("removal_takes_a_second_key") else { return };
    shop.apply(&with_volume("orders"));
    shop.wait_until("all objects", || shop.ours() == OBJECTS);
    shop.pretend_stanzas("orders");
    let full = "pgbackrest-orders-repo1-full";
    let suspend = |shop: &Shop| shop.get("cronjob", full).unwrap()["spec"]["suspend"].clone();
    shop.wait_until("the CronJobs to be awake", || suspend(&shop) == false);
    for nothing in
        [json!({"spec": {"backup": null}}), json!({"spec": {"backup": {"pgbackrest": {"repos": []}}}})]
    {
        shop.patch("postgresql", "orders", &nothing);
        shop.wait_until("the warning", || shop.has_finding("orders", "removal-not-authorized"));
        shop.wait_until("the CronJobs to be suspended", || suspend(&shop) == true);
        assert_eq!(shop.ours(), OBJECTS);
        // It was a mistake.
        shop.apply(&with_volume("orders"));
        shop.wait_until("the CronJobs to be woken", || suspend(&shop) == false);
        let annotations = shop.get("cronjob", full).unwrap()["metadata"]["annotations"].clone();
        assert_eq!(annotations, Value::Null);
    }
    shop.patch("postgresql", "orders", &json!({"spec": {"backup": null}}));
    shop.wait_until("the warning", || shop.has_finding("orders", "removal-not-authorized"));
    shop.annotate("orders", "authorize-removal=true");
    let left = ["PersistentVolumeClaim/repo1-orders-pgbackrest-repo-host-0", "Service/orders-clusterpods"];
    shop.wait_until("the removal", || shop.ours() == left);
    shop.wait_until("the warning to go", || !shop.has_finding("orders", "removal-not-authorized"));
}

#[test]
fn a_deleted_resource_takes_everything_along_but_the_volume() {
    let Some(shop) = Shop::open("a_deleted_resource_takes_everything_along") else { return };
    shop.apply(&with_volume("orders"));
    shop.apply(&with_volume("invoices"));
    shop.wait_until("all objects", || shop.ours().len() == 2 * OBJECTS.len());
    // One comes back at once under the same name, while Kubernetes still removes what it had.
    shop.run(&["delete", "postgresql", "orders", "--wait=true"]);
    shop.apply(&with_volume("orders"));
    shop.run(&["delete", "postgresql", "invoices"]);
    let uid = shop.get("postgresql", "orders").unwrap()["metadata"]["uid"].clone();
    let volume = "PersistentVolumeClaim/repo1-invoices-pgbackrest-repo-host-0";
    shop.wait_until("only the volume of the other one to be left", || {
        let mut ours = shop.ours();
        let before = ours.len();
        ours.retain(|name| name != volume);
        ours.len() + 1 == before && ours == OBJECTS
    });
    shop.wait_until("everything to belong to the new resource", || {
        OBJECTS.iter().filter(|name| !name.starts_with("Persistent")).all(|name| {
            let (kind, name) = name.split_once('/').unwrap();
            shop.get(kind, name).is_some_and(|object| object["metadata"]["ownerReferences"][0]["uid"] == uid)
        })
    });
}

#[test]
fn a_bound_volume_grows_where_its_class_lets_it() {
    let Some(shop) = Shop::open("a_bound_volume_grows_where_its_class_lets_it") else { return };
    for (cluster, grows) in [("grows", true), ("fixed", false)] {
        let class = format!("{}-{cluster}", shop.namespace);
        shop.kubectl.apply(
            &json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
                "provisioner": "kubernetes.io/no-provisioner", "allowVolumeExpansion": grows})
            .to_string(),
            &[],
        );
        let claim = format!("repo1-{cluster}-pgbackrest-repo-host-0");
        shop.kubectl.apply(
            &json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": class},
                "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"},
                    "claimRef": {"namespace": shop.namespace, "name": claim}}})
            .to_string(),
            &[],
        );
        let mut document = with_volume(cluster);
        document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["storageClass"] = json!(class);
        shop.apply(&document);
        shop.wait_until("the claim to be bound", || {
            shop.get("pvc", &claim).is_some_and(|claim| claim["status"]["phase"] == "Bound")
        });
        let size = |shop: &Shop| {
            shop.get("pvc", &claim).unwrap()["spec"]["resources"]["requests"]["storage"].clone()
        };
        document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["size"] = json!("5Gi");
        shop.apply(&document);
        if grows {
            shop.wait_until("the claim to ask for more", || size(&shop) == "5Gi");
            shop.wait_until("the finding to go", || !shop.has_finding(cluster, "volume-cannot-grow"));
        } else {
            shop.wait_until("the finding", || shop.has_finding(cluster, "volume-cannot-grow"));
            assert_eq!(size(&shop), "2Gi");
        }
        document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["size"] = json!("1Gi");
        shop.apply(&document);
        shop.wait_until("the finding", || shop.has_finding(cluster, "volume-shrinks"));
        assert_eq!(size(&shop), if grows { "5Gi" } else { "2Gi" });
    }
}
