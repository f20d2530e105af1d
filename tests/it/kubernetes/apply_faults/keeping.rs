//! What the writer does once the watches know its objects: nothing, most of the time.

use pgbackrest_keeper::cluster::labels::{CLUSTER, MANAGED_BY, SUSPENDED_BECAUSE};
use serde_json::{Value, json};

use super::api::Fault;
use super::world::{
    CLAIM, CONFIG, CRON_JOB, OWNER, SERVICE, STATEFUL_SET, World, codes, place, reasons, somebodys, writes,
};

/// Everything is made, and the watches know.
async fn settled() -> World {
    let mut world = World::new();
    world.apply().await.unwrap();
    world.see();
    world.api.take_seen();
    world
}

fn only_s3(document: &mut Value) {
    document["spec"]["backup"]["pgbackrest"]["repos"] = json!([{"name": "repo2", "storage": "s3",
        "resource": "bucket", "endpoint": "s3.example", "region": "r", "schedule": {"full": "30 1 * * *"}}]);
    document["spec"]["backup"]["pgbackrest"]["global"] = json!({"repo2-retention-full": "2"});
    document["spec"]["backup"]["pgbackrest"]["configuration"] = json!({"secret": "keys"});
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_nothing_changes() {
    let mut world = settled().await;
    world.apply().await.unwrap();
    // A controller writes a status.
    for path in [CRON_JOB, STATEFUL_SET] {
        let mut object = world.api.get(path).unwrap();
        object["status"] = json!({"observedGeneration": 1});
        world.api.put(path, object);
    }
    world.see();
    let applied = world.apply().await.unwrap();
    assert!(applied.deeds.is_empty() && applied.again_after.is_none());
    assert_eq!(world.api.take_seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_behind_causes_no_request() {
    let mut world = settled().await;
    world.wait_for(&["no-stanza"]);
    world.apply().await.unwrap();
    assert_eq!(writes(&world.api.take_seen()).len(), 1);
    // The watch still shows the CronJob as it was before.
    world.apply().await.unwrap();
    assert_eq!(world.api.take_seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_desired_goes_and_volumes_stay() {
    let mut world = settled().await;
    world.api.put("/api/v1/namespaces/shop/configmaps/mine", somebodys("kubectl"));
    world.ask_for(only_s3);
    let applied = world.apply().await.unwrap();
    assert_eq!(reasons(&applied), ["BackupObjectsCreated", "BackupObjectsRemoved"]);
    let removed = &applied.deeds[1].message;
    for name in [
        "CronJob pgbackrest-orders-repo1-full",
        "StatefulSet orders-pgbackrest-repo-host",
        "Secret orders-pgbackrest-ca",
        "Secret orders-pgbackrest-cert",
        "ConfigMap orders-pgbackrest-repohost-config",
        "NetworkPolicy orders-pgbackrest-repo-host",
        "ServiceAccount orders-pgbackrest-repo-host",
    ] {
        assert!(removed.contains(name), "{removed}");
    }
    assert_eq!(removed.matches(", ").count(), 6, "{removed}");
    for path in [CLAIM, SERVICE, CONFIG, "/api/v1/namespaces/shop/configmaps/mine"] {
        assert!(world.api.get(path).is_some(), "{path}");
    }
    for deletion in world.api.take_seen().iter().filter(|seen| seen.method == "DELETE") {
        assert!(deletion.body["preconditions"]["uid"].is_string(), "{deletion:?}");
    }
    world.see();
    assert!(world.apply().await.unwrap().deeds.is_empty());
    assert_eq!(writes(&world.api.take_seen()).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_job_keeps_what_it_needs() {
    let mut world = settled().await;
    world.start_job();
    world.ask_for(only_s3);
    let applied = world.apply().await.unwrap();
    assert!(codes(&applied).iter().all(|code| *code == "object-waits") && codes(&applied).len() == 7);
    assert!(applied.again_after.is_some());
    let cron_job = world.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], true);
    assert_eq!(cron_job["metadata"]["annotations"][SUSPENDED_BECAUSE], "not-desired");
    assert!(world.api.get(STATEFUL_SET).is_some());
    world.end_job();
    world.see();
    world.apply().await.unwrap();
    assert!(world.api.get(CRON_JOB).is_none() && world.api.get(STATEFUL_SET).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_comes_back_before_its_last_job_ends_is_woken() {
    let mut world = settled().await;
    world.start_job();
    let before = world.cluster.clone();
    world.ask_for(only_s3);
    world.apply().await.unwrap();
    world.see();
    world.ask_for(|document| {
        document["spec"]["backup"]["pgbackrest"]["repos"] = json!([{"name": "repo1", "storage": "pvc",
            "volume": {"size": "5Gi"}, "schedule": {"full": "30 1 * * *"}}]);
        document["spec"]["backup"]["pgbackrest"]["global"] = json!({"repo1-retention-full": "2"});
        document["spec"]["backup"]["pgbackrest"].as_object_mut().unwrap().remove("configuration");
    });
    assert_eq!(world.cluster, before);
    let applied = world.apply().await.unwrap();
    assert!(reasons(&applied).contains(&"BackupsResumed"), "{:?}", applied.deeds);
    let cron_job = world.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], false);
    assert_eq!(cron_job["metadata"]["annotations"].get(SUSPENDED_BECAUSE), None);
}

#[tokio::test(start_paused = true)]
async fn removal_takes_two_keys() {
    let mut world = settled().await;
    let applied = world.writer.withdraw(OWNER, false).await.unwrap();
    assert_eq!(codes(&applied), ["removal-not-authorized"]);
    assert_eq!(reasons(&applied), ["BackupsSuspended"]);
    let cron_job = world.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], true);
    assert_eq!(cron_job["metadata"]["annotations"][SUSPENDED_BECAUSE], "removal-not-authorized");
    assert!(world.api.get(STATEFUL_SET).is_some() && world.api.get(CONFIG).is_some());
    world.see();
    world.api.take_seen();
    let applied = world.writer.withdraw(OWNER, false).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec!["removal-not-authorized"], vec![]));
    assert_eq!(world.api.take_seen().len(), 0);

    // The section comes back.
    let applied = world.apply().await.unwrap();
    assert!(reasons(&applied).contains(&"BackupsResumed"));
    assert_eq!(world.api.get(CRON_JOB).unwrap()["spec"]["suspend"], false);

    world.see();
    let applied = world.writer.withdraw(OWNER, true).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec![], vec!["BackupObjectsRemoved"]));
    let left: Vec<Value> = world.api.objects().into_iter().map(|object| object["kind"].clone()).collect();
    assert_eq!(left, [json!("PersistentVolumeClaim"), json!("Service")]);
}

#[tokio::test(start_paused = true)]
async fn a_person_who_suspended_is_not_overruled_by_a_return() {
    let mut world = settled().await;
    let mut cron_job = world.api.get(CRON_JOB).unwrap();
    cron_job["spec"]["suspend"] = json!(true);
    world.api.put(CRON_JOB, cron_job);
    let applied = world.writer.withdraw(OWNER, false).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec!["removal-not-authorized"], vec![]));
    world.see();
    world.apply().await.unwrap();
    assert_eq!(world.api.get(CRON_JOB).unwrap()["spec"]["suspend"], true);
}

#[tokio::test(start_paused = true)]
async fn handing_back_takes_labels_and_owner_off_and_nothing_else() {
    let mut world = settled().await;
    let before = world.api.objects();
    let applied = world.writer.release(OWNER).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec![], vec!["BackupObjectsReleased"]));
    let after = world.api.objects();
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["spec"], after["spec"]);
        assert_eq!(before["data"], after["data"]);
        assert_eq!(after["metadata"]["ownerReferences"], json!([]), "{}", after["metadata"]["name"]);
        let labels = after["metadata"]["labels"].as_object().unwrap();
        assert!(!labels.contains_key(MANAGED_BY) && !labels.contains_key(CLUSTER));
        assert!(labels.contains_key("application"));
    }
    world.see();
    world.api.take_seen();
    world.writer.release(OWNER).await.unwrap();
    assert_eq!(world.api.take_seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn handing_back_overwrites_nothing_that_came_meanwhile() {
    let world = settled().await;
    let mut config = world.api.get(CONFIG).unwrap();
    config["metadata"]["ownerReferences"] = json!([{"uid": "another"}]);
    world.api.put(CONFIG, config.clone());
    let applied = world.writer.release(OWNER).await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert_eq!(world.api.get(CONFIG).unwrap()["metadata"]["ownerReferences"], json!([{"uid": "another"}]));
}

#[tokio::test(start_paused = true)]
async fn taking_over_deletes_and_makes_anew_and_keeps_volumes_and_a_persons_suspend() {
    let mut world = World::new();
    let mut suspended = somebodys("cpo");
    suspended["spec"] = json!({"suspend": true});
    let mut claim = somebodys("cpo");
    claim["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "s"}]);
    claim["spec"] = json!({"resources": {"requests": {"storage": "5Gi"}}, "accessModes": ["ReadWriteMany"]});
    world.api.put(CRON_JOB, suspended);
    world.api.put(STATEFUL_SET, somebodys("cpo"));
    world.api.put(CLAIM, claim);
    world.api.put(SERVICE, somebodys("cpo"));
    world.conduct.adopt = true;
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert!(applied.in_place.iter().all(|(_, in_place)| *in_place));
    assert_eq!(reasons(&applied), ["BackupObjectsAdopted", "BackupObjectsCreated"]);
    assert!(
        applied.deeds[0].message.contains("from the client that wrote it as cpo"),
        "{}",
        applied.deeds[0].message
    );
    let policy = |path: &str| {
        let seen = world.api.seen();
        let deletion = seen.iter().find(|seen| seen.method == "DELETE" && seen.path == path);
        deletion.map(|deletion| deletion.body["propagationPolicy"].as_str().unwrap().to_owned())
    };
    assert_eq!(policy(STATEFUL_SET).as_deref(), Some("Orphan"));
    assert_eq!(policy(CRON_JOB).as_deref(), Some("Background"));
    assert_eq!((policy(CLAIM), policy(SERVICE)), (None, None));
    let claim = world.api.get(CLAIM).unwrap();
    assert_eq!(claim["metadata"].get("ownerReferences"), None);
    assert_eq!(claim["metadata"]["labels"][CLUSTER], "orders");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(world.api.get(SERVICE).unwrap()["spec"], json!({"mine": true}));
    let cron_job = world.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], true);
    assert!(cron_job["spec"]["jobTemplate"].is_object());
}

#[tokio::test(start_paused = true)]
async fn a_job_of_somebody_else_that_runs_is_waited_for() {
    let mut world = World::new();
    let mut busy = somebodys("cpo");
    busy["status"] = json!({"active": [{"name": "j"}]});
    world.api.put(CRON_JOB, busy);
    world.conduct.adopt = true;
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert_eq!(world.api.get(CRON_JOB).unwrap()["spec"], json!({"mine": true}));
    assert!(!place(&applied, "CronJob"));
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_cluster_is_not_taken_over() {
    let mut world = World::new();
    let mut others = somebodys("pgbackrest-keeper");
    others["metadata"]["labels"] = json!({MANAGED_BY: "pgbackrest-keeper", CLUSTER: "invoices"});
    world.api.put(CONFIG, others);
    world.conduct.adopt = true;
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert_eq!(world.api.get(CONFIG).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn cpos_cron_jobs_under_cut_names_are_found() {
    let name = "warehouse-of-the-eastern-region";
    let mut world = World::new();
    let cut = format!("/apis/batch/v1/namespaces/shop/cronjobs/pgbackrest-{name}-repo1-ful");
    let mut cpos = somebodys("cpo");
    cpos["metadata"]["name"] = json!(format!("pgbackrest-{name}-repo1-ful"));
    world.api.put(&cut, cpos);
    world.ask_for(|document| document["metadata"]["name"] = json!(name));
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert!(applied.findings[0].message.contains("is also backed up by"), "{}", applied.findings[0]);
    assert!(world.api.get(&cut).is_some());
    let listed = world.api.take_seen().into_iter().find(|seen| seen.path.ends_with("/cronjobs")).unwrap();
    assert!(listed.query.contains("backup-job"), "{}", listed.query);
    world.conduct.adopt = true;
    let applied = world.apply().await.unwrap();
    assert_eq!(reasons(&applied), ["BackupObjectsRemoved"]);
    assert!(world.api.get(&cut).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_volume_grows_where_its_class_lets_it() {
    for (class, code) in [("grows", None), ("fixed", Some("volume-cannot-grow"))] {
        let mut world = settled().await;
        for (name, allows) in [("grows", true), ("fixed", false)] {
            world.api.put(
                &format!("/apis/storage.k8s.io/v1/storageclasses/{name}"),
                json!({"metadata": {"name": name}, "provisioner": "p", "allowVolumeExpansion": allows}),
            );
        }
        let mut claim = world.api.get(CLAIM).unwrap();
        claim["spec"]["storageClassName"] = json!(class);
        claim["status"] = json!({"phase": "Bound"});
        world.api.put(CLAIM, claim);
        let size = |size: &str| {
            let size = size.to_owned();
            move |document: &mut Value| {
                document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["size"] = json!(size);
            }
        };
        world.ask_for(size("9Gi"));
        let applied = world.apply().await.unwrap();
        assert_eq!(codes(&applied), code.into_iter().collect::<Vec<_>>());
        let now =
            |world: &World| world.api.get(CLAIM).unwrap()["spec"]["resources"]["requests"]["storage"].clone();
        assert_eq!(now(&world), if code.is_none() { "9Gi" } else { "5Gi" });
        assert_eq!(reasons(&applied).contains(&"RepoVolumeGrown"), code.is_none());
        assert!(place(&applied, "StatefulSet"), "a volume that cannot grow holds nothing up");
        // Less than it has is never asked for.
        world.see();
        world.ask_for(size("1Gi"));
        world.apply().await.unwrap();
        assert_ne!(now(&world), "1Gi");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_volume_grows_when_it_has_one() {
    let mut world = settled().await;
    world.ask_for(|document| {
        document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["size"] = json!("9Gi");
    });
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert_eq!(writes(&world.api.take_seen()).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_cannot_be_listed_keep_everything() {
    let mut world = settled().await;
    world.api.judge(|seen| seen.path.ends_with("/jobs").then_some(Fault::Status(403, "Forbidden", "no")));
    world.ask_for(only_s3);
    let applied = world.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert!(world.api.get(STATEFUL_SET).is_some() && world.api.get(CRON_JOB).is_some());
}
