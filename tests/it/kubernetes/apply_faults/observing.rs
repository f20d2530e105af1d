//! What the first phase reads, and what it does not read again.

use std::sync::Arc;

use pgbackrest_keeper::cluster::record::Record;
use pgbackrest_keeper::cluster::references::Lookup;
use pgbackrest_keeper::cluster::resource::{self, Postgresql};
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::validated::RepoNumber;
use pgbackrest_keeper::kubernetes::client::CallFailure;
use pgbackrest_keeper::operator::observe::Observer;
use serde_json::{Value, json};

use super::api::Fault;
use super::fake_cluster::{CLAIM, CONFIG, FakeCluster};

const SECRET: &str = "/api/v1/namespaces/shop/secrets/keys";
const CLASS: &str = "/apis/storage.k8s.io/v1/storageclasses/fast";

fn resource(generation: i64) -> Postgresql {
    let (resource, _) = resource::read(json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "3f0c", "generation": generation},
        "spec": {"backup": {"pgbackrest": {"image": "pgbackrest:2", "configuration": {"secret": "keys"},
            "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "5Gi", "storageClass": "fast"}}]}}},
    }));
    resource
}

fn observer(fake_cluster: &FakeCluster) -> Observer {
    let settings = Arc::new(Settings::default());
    Observer::new(
        fake_cluster.api.client(),
        Arc::clone(&fake_cluster.inventory),
        settings,
        &fake_cluster.writer,
    )
}

/// `s3.conf` and a key, as base64.
fn secret() -> Value {
    json!({"metadata": {"name": "keys"}, "data": {"s3.conf": "W2dsb2JhbF0KcmVwbzEtczMta2V5PWh1bnRlcjIK"}})
}

fn paths(fake_cluster: &FakeCluster) -> Vec<String> {
    fake_cluster.api.take_seen().into_iter().map(|seen| seen.path).collect()
}

#[tokio::test(start_paused = true)]
async fn before_anything_is_made_everything_is_looked_for() {
    let fake_cluster = FakeCluster::new();
    let observed = observer(&fake_cluster).observe(&resource(1)).await.unwrap();
    assert_eq!(observed.references.secret, Lookup::Missing);
    assert_eq!(observed.references.storage_classes["fast"], Lookup::Missing);
    assert!(observed.references.volumes.is_empty() && observed.stored.is_none());
    assert_eq!(observed.references.taken, Lookup::Missing);
    assert_eq!(observed.record, Record::default());
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_not_read_again() {
    let mut fake_cluster = FakeCluster::new();
    fake_cluster.api.put(SECRET, secret());
    fake_cluster
        .api
        .put(CLASS, json!({"metadata": {"name": "fast"}, "provisioner": "p", "allowVolumeExpansion": true}));
    fake_cluster.apply().await.unwrap();
    fake_cluster.see();
    let observer = observer(&fake_cluster);
    fake_cluster.api.take_seen();
    let first = observer.observe(&resource(1)).await.unwrap();
    assert_eq!(
        paths(&fake_cluster).len(),
        6,
        "the Secret, the class, the claim, the Service, and two Secrets of ours"
    );
    let Lookup::Found(facts) = &first.references.secret else { panic!("{first:?}") };
    assert_eq!(facts.files["s3.conf"].options[0].name, "repo1-s3-key");
    let Lookup::Found(class) = &first.references.storage_classes["fast"] else { panic!("{first:?}") };
    assert!(class.allows_expansion);
    let repo1 = RepoNumber::of_name("repo1").unwrap();
    assert_eq!(first.references.volumes[&repo1].size, "5Gi");
    let stored = first.stored.as_ref().unwrap();
    assert_eq!(stored.authority["ca.crt"], b"-----authority-----");
    assert_eq!(stored.pods["pgbackrest.ca-roots"], b"-----roots-----");
    assert!(!format!("{first:?}").contains("hunter2"));

    let again = observer.observe(&resource(1)).await.unwrap();
    assert_eq!(paths(&fake_cluster), [""; 0]);
    assert_eq!(again.references, first.references);
    assert_eq!(again.stored.unwrap().authority, stored.authority);

    // Only what has changed is.
    let mut claim = fake_cluster.api.get(CLAIM).unwrap();
    claim["spec"]["resources"]["requests"]["storage"] = json!("7Gi");
    fake_cluster.api.put(CLAIM, claim);
    fake_cluster.see();
    let again = observer.observe(&resource(1)).await.unwrap();
    assert_eq!(paths(&fake_cluster), [CLAIM]);
    assert_eq!(again.references.volumes[&repo1].size, "7Gi");
    observer.observe(&resource(2)).await.unwrap();
    assert_eq!(paths(&fake_cluster), [SECRET]);
    observer.invalidate("shop", "orders");
    observer.observe(&resource(2)).await.unwrap();
    assert_eq!(paths(&fake_cluster), [SECRET]);
    observer.forget("shop", "orders");
    observer.observe(&resource(2)).await.unwrap();
    assert_eq!(paths(&fake_cluster).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_watches_do_not_know_yet_are_not_taken_for_absent() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    let observed = observer(&fake_cluster).observe(&resource(1)).await.unwrap();
    assert_eq!(observed.stored.unwrap().authority["ca.crt"], b"-----authority-----");
}

#[tokio::test(start_paused = true)]
async fn keys_of_somebody_else_are_not_ours() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    for name in ["orders-pgbackrest-ca", "orders-pgbackrest-cert"] {
        let path = format!("/api/v1/namespaces/shop/secrets/{name}");
        let mut secret = fake_cluster.api.get(&path).unwrap();
        secret["metadata"].as_object_mut().unwrap().remove("labels");
        fake_cluster.api.put(&path, secret);
    }
    assert!(observer(&fake_cluster).observe(&resource(1)).await.unwrap().stored.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_record_is_never_older_than_what_was_written() {
    let mut fake_cluster = FakeCluster::new();
    fake_cluster.apply().await.unwrap();
    fake_cluster.see();
    let observer = observer(&fake_cluster);
    assert_eq!(observer.observe(&resource(1)).await.unwrap().record, Record::default());
    // It is written, and the watch is behind.
    let record = Record { backup_now: Some("full@repo1".to_owned()), ..Record::default() };
    fake_cluster.remember(&record);
    fake_cluster.apply().await.unwrap();
    fake_cluster.api.take_seen();
    assert_eq!(observer.observe(&resource(1)).await.unwrap().record, record);
    assert!(paths(&fake_cluster).contains(&CONFIG.to_owned()));
    fake_cluster.see();
    assert_eq!(observer.observe(&resource(1)).await.unwrap().record, record);
    assert!(!paths(&fake_cluster).contains(&CONFIG.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_not_looked_at_and_what_cannot_be_asked_is_an_error() {
    let fake_cluster = FakeCluster::new();
    fake_cluster.api.judge(|seen| {
        let forbidden = seen.path == SECRET || seen.path == CLASS;
        forbidden.then_some(Fault::Status(403, "Forbidden", "no"))
    });
    let observed = observer(&fake_cluster).observe(&resource(1)).await.unwrap();
    assert_eq!(observed.references.secret, Lookup::NotChecked);
    assert_eq!(observed.references.storage_classes["fast"], Lookup::NotChecked);
    fake_cluster.api.judge(|_| Some(Fault::Status(503, "ServiceUnavailable", "no")));
    let error = observer(&fake_cluster).observe(&resource(1)).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Unavailable);
}
