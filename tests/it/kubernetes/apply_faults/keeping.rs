//! The writer once the watches know its objects: usually it writes nothing.

use pgbackrest_keeper::cluster::labels::{CLUSTER, MANAGED_BY, SUSPENDED_BECAUSE};
use serde_json::{Value, json};

use super::api::Fault;
use super::fake_cluster::{
    CLAIM, CONFIG, CRON_JOB, FakeCluster, OWNER, SERVICE, STATEFUL_SET, codes, place, reasons, somebodys,
    writes,
};

/// Everything is made, and the watches know.
async fn settled() -> FakeCluster {
    let mut fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    fake_cluster.see();
    fake_cluster.api.take_seen();
    fake_cluster
}

fn only_s3(document: &mut Value) {
    document["spec"]["backup"]["pgbackrest"]["repos"] = json!([{"name": "repo2", "storage": "s3",
        "resource": "bucket", "endpoint": "s3.example", "region": "r", "schedule": {"full": "30 1 * * *"}}]);
    document["spec"]["backup"]["pgbackrest"]["global"] = json!({"repo2-retention-full": "2"});
    document["spec"]["backup"]["pgbackrest"]["configuration"] = json!({"secret": "keys"});
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_nothing_changes() {
    let mut fake_cluster = settled().await;
    fake_cluster.apply().await.unwrap();
    // A controller writes a status.
    for path in [CRON_JOB, STATEFUL_SET] {
        let mut object = fake_cluster.api.get(path).unwrap();
        object["status"] = json!({"observedGeneration": 1});
        fake_cluster.api.put(path, object);
    }
    fake_cluster.see();
    let applied = fake_cluster.apply().await.unwrap();
    assert!(applied.actions.is_empty() && applied.again_after.is_none());
    assert_eq!(fake_cluster.api.take_seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_behind_causes_no_request() {
    let mut fake_cluster = settled().await;
    fake_cluster.wait_for(&["no-stanza"]);
    fake_cluster.apply().await.unwrap();
    assert_eq!(writes(&fake_cluster.api.take_seen()).len(), 1);
    // The watch still shows the CronJob as it was before.
    fake_cluster.apply().await.unwrap();
    assert_eq!(fake_cluster.api.take_seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_whose_schedule_has_an_error_stays_as_it_is() {
    let mut fake_cluster = settled().await;
    let before = fake_cluster.api.get(CRON_JOB);
    fake_cluster.ask_for(|document| {
        document["spec"]["backup"]["pgbackrest"]["repos"][0]["schedule"]["full"] = json!("61 1 * * *");
    });
    let applied = fake_cluster.apply().await.unwrap();
    assert!(applied.actions.is_empty() && before.is_some(), "{:?}", applied.actions);
    assert_eq!(fake_cluster.api.get(CRON_JOB), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_desired_goes_and_volumes_stay() {
    let mut fake_cluster = settled().await;
    fake_cluster.api.put("/api/v1/namespaces/shop/configmaps/mine", somebodys("kubectl"));
    fake_cluster.ask_for(only_s3);
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(reasons(&applied), ["BackupObjectsCreated", "BackupObjectsRemoved"]);
    let removed = &applied.actions[1].message;
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
        assert!(fake_cluster.api.get(path).is_some(), "{path}");
    }
    for deletion in fake_cluster.api.take_seen().iter().filter(|seen| seen.method == "DELETE") {
        assert!(deletion.body["preconditions"]["uid"].is_string(), "{deletion:?}");
    }
    fake_cluster.see();
    assert!(fake_cluster.apply().await.unwrap().actions.is_empty());
    assert_eq!(writes(&fake_cluster.api.take_seen()).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_job_keeps_what_it_needs() {
    let mut fake_cluster = settled().await;
    fake_cluster.start_job();
    fake_cluster.ask_for(only_s3);
    let applied = fake_cluster.apply().await.unwrap();
    assert!(codes(&applied).iter().all(|code| *code == "object-waits") && codes(&applied).len() == 7);
    assert!(applied.again_after.is_some());
    let cron_job = fake_cluster.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], true);
    assert_eq!(cron_job["metadata"]["annotations"][SUSPENDED_BECAUSE], "not-desired");
    assert!(fake_cluster.api.get(STATEFUL_SET).is_some());
    fake_cluster.end_job();
    fake_cluster.see();
    fake_cluster.apply().await.unwrap();
    assert!(fake_cluster.api.get(CRON_JOB).is_none() && fake_cluster.api.get(STATEFUL_SET).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_comes_back_before_its_last_job_ends_is_woken() {
    let mut fake_cluster = settled().await;
    fake_cluster.start_job();
    let before = fake_cluster.cluster.clone();
    fake_cluster.ask_for(only_s3);
    fake_cluster.apply().await.unwrap();
    fake_cluster.see();
    fake_cluster.ask_for(|document| {
        document["spec"]["backup"]["pgbackrest"]["repos"] = json!([{"name": "repo1", "storage": "pvc",
            "volume": {"size": "5Gi"}, "schedule": {"full": "30 1 * * *"}}]);
        document["spec"]["backup"]["pgbackrest"]["global"] = json!({"repo1-retention-full": "2"});
        document["spec"]["backup"]["pgbackrest"].as_object_mut().unwrap().remove("configuration");
    });
    assert_eq!(fake_cluster.cluster, before);
    let applied = fake_cluster.apply().await.unwrap();
    assert!(reasons(&applied).contains(&"BackupsResumed"), "{:?}", applied.actions);
    let cron_job = fake_cluster.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], false);
    assert_eq!(cron_job["metadata"]["annotations"].get(SUSPENDED_BECAUSE), None);
}

#[tokio::test(start_paused = true)]
async fn removal_takes_two_keys() {
    let mut fake_cluster = settled().await;
    let applied = fake_cluster.writer.withdraw(OWNER, false).await.unwrap();
    assert_eq!(codes(&applied), ["removal-not-authorized"]);
    assert_eq!(reasons(&applied), ["BackupsSuspended"]);
    let cron_job = fake_cluster.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], true);
    assert_eq!(cron_job["metadata"]["annotations"][SUSPENDED_BECAUSE], "removal-not-authorized");
    assert!(fake_cluster.api.get(STATEFUL_SET).is_some() && fake_cluster.api.get(CONFIG).is_some());
    fake_cluster.see();
    fake_cluster.api.take_seen();
    let applied = fake_cluster.writer.withdraw(OWNER, false).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec!["removal-not-authorized"], vec![]));
    assert_eq!(fake_cluster.api.take_seen().len(), 0);

    // The section comes back.
    let applied = fake_cluster.apply().await.unwrap();
    assert!(reasons(&applied).contains(&"BackupsResumed"));
    assert_eq!(fake_cluster.api.get(CRON_JOB).unwrap()["spec"]["suspend"], false);

    fake_cluster.see();
    let applied = fake_cluster.writer.withdraw(OWNER, true).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec![], vec!["BackupObjectsRemoved"]));
    let left: Vec<Value> =
        fake_cluster.api.objects().into_iter().map(|object| object["kind"].clone()).collect();
    assert_eq!(left, [json!("PersistentVolumeClaim"), json!("Service")]);
}

#[tokio::test(start_paused = true)]
async fn a_person_who_suspended_is_not_overruled_by_a_return() {
    let mut fake_cluster = settled().await;
    let mut cron_job = fake_cluster.api.get(CRON_JOB).unwrap();
    cron_job["spec"]["suspend"] = json!(true);
    fake_cluster.api.put(CRON_JOB, cron_job);
    let applied = fake_cluster.writer.withdraw(OWNER, false).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec!["removal-not-authorized"], vec![]));
    fake_cluster.see();
    fake_cluster.apply().await.unwrap();
    assert_eq!(fake_cluster.api.get(CRON_JOB).unwrap()["spec"]["suspend"], true);
}

#[tokio::test(start_paused = true)]
async fn handing_back_takes_labels_and_owner_off_and_nothing_else() {
    let mut fake_cluster = settled().await;
    let before = fake_cluster.api.objects();
    let applied = fake_cluster.writer.release(OWNER).await.unwrap();
    assert_eq!((codes(&applied), reasons(&applied)), (vec![], vec!["BackupObjectsReleased"]));
    let after = fake_cluster.api.objects();
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["spec"], after["spec"]);
        assert_eq!(before["data"], after["data"]);
        assert_eq!(after["metadata"]["ownerReferences"], json!([]), "{}", after["metadata"]["name"]);
        let labels = after["metadata"]["labels"].as_object().unwrap();
        assert!(!labels.contains_key(MANAGED_BY) && !labels.contains_key(CLUSTER));
        assert!(labels.contains_key("application"));
    }
    fake_cluster.see();
    fake_cluster.api.take_seen();
    fake_cluster.writer.release(OWNER).await.unwrap();
    assert_eq!(fake_cluster.api.take_seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn handing_back_overwrites_nothing_that_came_meanwhile() {
    let fake_cluster = settled().await;
    let mut config = fake_cluster.api.get(CONFIG).unwrap();
    config["metadata"]["ownerReferences"] = json!([{"uid": "another"}]);
    fake_cluster.api.put(CONFIG, config.clone());
    let applied = fake_cluster.writer.release(OWNER).await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert_eq!(
        fake_cluster.api.get(CONFIG).unwrap()["metadata"]["ownerReferences"],
        json!([{"uid": "another"}])
    );
}

#[tokio::test(start_paused = true)]
async fn taking_over_deletes_and_makes_anew_and_keeps_volumes_and_a_persons_suspend() {
    let mut fake_cluster = FakeCluster::new();
    let mut suspended = somebodys("cpo");
    suspended["spec"] = json!({"suspend": true});
    let mut claim = somebodys("cpo");
    claim["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "s"}]);
    claim["spec"] = json!({"resources": {"requests": {"storage": "5Gi"}}, "accessModes": ["ReadWriteMany"]});
    fake_cluster.api.put(CRON_JOB, suspended);
    fake_cluster.api.put(STATEFUL_SET, somebodys("cpo"));
    fake_cluster.api.put(CLAIM, claim);
    fake_cluster.api.put(SERVICE, somebodys("cpo"));
    fake_cluster.conduct.adopt = true;
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), [""; 0]);
    assert!(applied.in_place.iter().all(|(_, in_place)| *in_place));
    assert_eq!(reasons(&applied), ["BackupObjectsAdopted", "BackupObjectsCreated"]);
    assert!(
        applied.actions[0].message.contains("from the client that wrote it as cpo"),
        "{}",
        applied.actions[0].message
    );
    let policy = |path: &str| {
        let seen = fake_cluster.api.seen();
        let deletion = seen.iter().find(|seen| seen.method == "DELETE" && seen.path == path);
        deletion.map(|deletion| deletion.body["propagationPolicy"].as_str().unwrap().to_owned())
    };
    assert_eq!(policy(STATEFUL_SET).as_deref(), Some("Orphan"));
    assert_eq!(policy(CRON_JOB).as_deref(), Some("Background"));
    assert_eq!((policy(CLAIM), policy(SERVICE)), (None, None));
    let claim = fake_cluster.api.get(CLAIM).unwrap();
    assert_eq!(claim["metadata"].get("ownerReferences"), None);
    assert_eq!(claim["metadata"]["labels"][CLUSTER], "orders");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(fake_cluster.api.get(SERVICE).unwrap()["spec"], json!({"mine": true}));
    let cron_job = fake_cluster.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], true);
    assert!(cron_job["spec"]["jobTemplate"].is_object());
}

#[tokio::test(start_paused = true)]
async fn a_job_of_somebody_else_that_runs_is_waited_for() {
    let mut fake_cluster = FakeCluster::new();
    let mut busy = somebodys("cpo");
    busy["status"] = json!({"active": [{"name": "j"}]});
    fake_cluster.api.put(CRON_JOB, busy);
    fake_cluster.conduct.adopt = true;
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert_eq!(fake_cluster.api.get(CRON_JOB).unwrap()["spec"], json!({"mine": true}));
    assert!(!place(&applied, "CronJob"));
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_cluster_is_not_taken_over() {
    let mut fake_cluster = FakeCluster::new();
    let mut others = somebodys("pgbackrest-keeper");
    others["metadata"]["labels"] = json!({MANAGED_BY: "pgbackrest-keeper", CLUSTER: "invoices"});
    fake_cluster.api.put(CONFIG, others);
    fake_cluster.conduct.adopt = true;
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert_eq!(fake_cluster.api.get(CONFIG).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn cpos_cron_jobs_under_cut_names_are_found() {
    let name = "warehouse-of-the-eastern-region";
    let mut fake_cluster = FakeCluster::new();
    let cut = format!("/apis/batch/v1/namespaces/shop/cronjobs/pgbackrest-{name}-repo1-ful");
    let mut cpos = somebodys("cpo");
    cpos["metadata"]["name"] = json!(format!("pgbackrest-{name}-repo1-ful"));
    fake_cluster.api.put(&cut, cpos);
    fake_cluster.ask_for(|document| document["metadata"]["name"] = json!(name));
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["name-taken"]);
    assert!(applied.findings[0].message.contains("is also backed up by"), "{}", applied.findings[0]);
    assert!(fake_cluster.api.get(&cut).is_some());
    let listed =
        fake_cluster.api.take_seen().into_iter().find(|seen| seen.path.ends_with("/cronjobs")).unwrap();
    assert!(listed.query.contains("backup-job"), "{}", listed.query);
    fake_cluster.conduct.adopt = true;
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(reasons(&applied), ["BackupObjectsRemoved"]);
    assert!(fake_cluster.api.get(&cut).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_volume_grows_where_its_class_lets_it() {
    for (class, code) in [("grows", None), ("fixed", Some("volume-cannot-grow"))] {
        let mut fake_cluster = settled().await;
        for (name, allows) in [("grows", true), ("fixed", false)] {
            fake_cluster.api.put(
                &format!("/apis/storage.k8s.io/v1/storageclasses/{name}"),
                json!({"metadata": {"name": name}, "provisioner": "p", "allowVolumeExpansion": allows}),
            );
        }
        let mut claim = fake_cluster.api.get(CLAIM).unwrap();
        claim["spec"]["storageClassName"] = json!(class);
        claim["status"] = json!({"phase": "Bound"});
        fake_cluster.api.put(CLAIM, claim);
        let size = |size: &str| {
            let size = size.to_owned();
            move |document: &mut Value| {
                document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["size"] = json!(size);
            }
        };
        fake_cluster.ask_for(size("9Gi"));
        let applied = fake_cluster.apply().await.unwrap();
        assert_eq!(codes(&applied), code.into_iter().collect::<Vec<_>>());
        let now = |fake_cluster: &FakeCluster| {
            fake_cluster.api.get(CLAIM).unwrap()["spec"]["resources"]["requests"]["storage"].clone()
        };
        assert_eq!(now(&fake_cluster), if code.is_none() { "9Gi" } else { "5Gi" });
        assert_eq!(reasons(&applied).contains(&"RepoVolumeGrown"), code.is_none());
        assert!(place(&applied, "StatefulSet"), "a volume that cannot grow holds nothing up");
        // Less than it has is never asked for.
        fake_cluster.see();
        fake_cluster.ask_for(size("1Gi"));
        fake_cluster.apply().await.unwrap();
        assert_ne!(now(&fake_cluster), "1Gi");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_volume_grows_when_it_has_one() {
    let mut fake_cluster = settled().await;
    fake_cluster.ask_for(|document| {
        document["spec"]["backup"]["pgbackrest"]["repos"][0]["volume"]["size"] = json!("9Gi");
    });
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-waits"]);
    assert_eq!(writes(&fake_cluster.api.take_seen()).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_cannot_be_listed_keep_everything() {
    let mut fake_cluster = settled().await;
    fake_cluster
        .api
        .judge(|seen| seen.path.ends_with("/jobs").then_some(Fault::Status(403, "Forbidden", "no")));
    fake_cluster.ask_for(only_s3);
    let applied = fake_cluster.apply().await.unwrap();
    assert_eq!(codes(&applied), ["object-refused"]);
    assert!(fake_cluster.api.get(STATEFUL_SET).is_some() && fake_cluster.api.get(CRON_JOB).is_some());
}
