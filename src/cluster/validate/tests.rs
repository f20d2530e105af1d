//! The rules that cross subjects, and that nothing can make the checks fall over.

mod annotated;
mod containers;
mod left_out;
mod verifications;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cluster::line::Line;
use crate::cluster::references::{Lookup, SecretFacts, StorageClassFacts, TakenName, VolumeFacts};
use crate::cluster::validated::{AccessMode, GcsCredentials, KeyFile, RepoNumber, Storage};

fn judged(
    document: Value,
    references: &References,
) -> (Option<ValidatedCluster>, Vec<(&'static str, String)>) {
    let (cluster, findings) = super::document(document, references, &Settings::default());
    (cluster, findings.into_iter().map(|finding| (finding.code.word, finding.field)).collect())
}

fn cluster(section: &Value) -> Value {
    json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": "ledger", "namespace": "accounts", "uid": "0f6b"},
        "spec": {
            "teamId": "treasury", "numberOfInstances": 3, "postgresql": {"version": "17"}, "volume": {"size": "9Gi"},
            "backup": {"pgbackrest": section},
        },
    })
}

fn volume_section() -> Value {
    json!({
        "image": "registry.example/pgbackrest:2",
        "repos": [
            {"name": "repo3", "storage": "pvc", "volume": {"size": "15Gi", "storageClass": "slow"},
             "schedule": {"full": "30 2 * * *"}},
        ],
        "global": {"repo3-retention-full": "7"},
    })
}

fn with_secret(files: &[(&str, &str)]) -> References {
    let facts = SecretFacts::read(files.iter().map(|(key, text)| (*key, text.as_bytes())));
    References { secret: Lookup::Found(facts), taken: Lookup::Missing, ..References::default() }
}

#[test]
fn a_good_cluster_carries_everything_over() {
    let mut document = cluster(&volume_section());
    document["metadata"]["annotations"] = json!({
        "pgbackrest-keeper.io/job-deadline": "6h",
        "pgbackrest-keeper.io/job-ttl": "86400",
        "pgbackrest-keeper.io/failed-jobs-history": "5",
        "pgbackrest-keeper.io/time-zone": "Europe/Vienna",
        "pgbackrest-keeper.io/job-resources": r#"{"requests": {"cpu": "50m"}}"#,
        "pgbackrest-keeper.io/backup-now": "diff@repo3#2",
        "pgbackrest-keeper.io/stanza-upgrade": "17",
    });
    document["spec"]["tolerations"] = json!([{"key": "db", "operator": "Exists"}]);
    let (cluster, findings) = super::document(document, &References::default(), &Settings::default());
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:#?}"));
    assert_eq!(
        (cluster.name.as_str(), cluster.namespace.as_str(), cluster.instances),
        ("ledger", "accounts", 3)
    );
    assert_eq!(cluster.repos[0].number.get(), 3);
    assert!(cluster.needs_repo_host());
    assert_eq!(cluster.schedules().count(), 1);
    assert_eq!(cluster.jobs.deadline.unwrap().as_secs(), 21_600);
    assert_eq!(cluster.jobs.starting_deadline.as_secs(), 300);
    assert_eq!(cluster.jobs.failed_history, 5);
    assert_eq!(cluster.jobs.time_zone.as_deref(), Some("Europe/Vienna"));
    assert!(cluster.jobs.resources.is_some());
    assert_eq!(cluster.backup_now.unwrap().token, "diff@repo3#2");
    assert_eq!(cluster.stanza_upgrade.as_deref(), Some("17"));
    assert_eq!(cluster.repo_host.tolerations.len(), 1);
}

#[test]
fn repos_are_sorted_by_number_and_not_by_place() {
    let (cluster, findings) = judged(
        cluster(&json!({
            "image": "i", "configuration": {"secret": "s"},
            "repos": [
                {"name": "repo4", "storage": "gcs", "resource": "b", "key": "gcs.json", "keyType": "service"},
                {"name": "repo1", "storage": "pvc", "volume": {"size": "1Gi"}},
                {"name": "repo2", "storage": "azure", "resource": "c", "account": "a", "endpoint": "blob.example"},
            ],
        })),
        &References::default(),
    );
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:#?}"));
    let storages: Vec<_> =
        cluster.repos.iter().map(|repo| (repo.number.get(), repo.storage.as_str())).collect();
    assert_eq!(storages, [(1, "pvc"), (2, "azure"), (4, "gcs")]);
    assert_eq!(
        cluster.repos[2].storage,
        Storage::Gcs {
            bucket: Line::of("b").unwrap(),
            endpoint: None,
            credentials: GcsCredentials::Service(KeyFile::InSecret("gcs.json".to_owned()))
        }
    );
}

#[test]
fn no_secret_reaches_a_finding_or_the_cluster() {
    let document = json!({
        "metadata": {"name": "ledger"},
        "spec": {"backup": {"pgbackrest": {
            "image": "i",
            "repos": [
                {"name": "repo1", "storage": "azure", "resource": "c", "account": "a", "key": "hunter2"},
                {"name": "repo2", "storage": "gcs", "resource": "b", "key": "{\"private_key\": \"hunter2\"}"},
                {"name": "repo3", "storage": "s3", "resource": "b", "region": "r", "endpoint": "u:hunter2@host"},
                {"name": "repo4", "storage": "gcs", "resource": "b", "keyType": "token", "key": "hunter2"},
            ],
            "global": {
                "repo1-cipher-pass": "hunter2", "repo1-s3-key": "hunter2", "repo9-new-token": "hunter2",
                "repo3-s3-key-secret": ["hunter2"], "repo1-sftp-private-key-passphrase": "hunter2",
                "repo1-cipher-passs": "hunter2", "repo2-cipherpass": "hunter2", "repo1-s3-keysecret": "hunter2",
                "repo1-azure-keys": "hunter2",
            },
            "env": [{"name": "PGBACKREST_REPO1_CIPHER_PASS", "value": "hunter2"}, {"name": 4, "value": "hunter2"}],
        }}},
    });
    let (cluster, findings) = super::document(document, &References::default(), &Settings::default());
    assert_eq!(cluster, None);
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:#?}");
    let secrets = findings.iter().filter(|finding| finding.code == &codes::SECRET_IN_RESOURCE).count();
    assert_eq!(secrets, 13, "{findings:#?}");
}

#[test]
fn what_the_secret_lacks_is_told() {
    let section = json!({
        "image": "i", "configuration": {"secret": "vault"},
        "repos": [{"name": "repo1", "storage": "s3", "resource": "b", "region": "r", "endpoint": "h",
                   "schedule": {"full": "@daily"}}],
        "global": {"repo1-retention-full": "7", "repo1-path": "/x"},
    });
    let codes_of = |files: &[(&str, &str)]| -> Vec<&'static str> {
        let (_, findings) = judged(cluster(&section), &with_secret(files));
        findings.into_iter().map(|(code, _)| code).collect()
    };
    let keys = "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\n";
    assert_eq!(codes_of(&[("s3.conf", keys)]), Vec::<&str>::new());
    assert_eq!(codes_of(&[("s3.configuration", keys)]), ["secret-without-conf"]);
    assert_eq!(codes_of(&[("s3.conf", "[global]\nrepo1-s3-key=a\n")]), ["secret-option-missing"]);
    assert_eq!(codes_of(&[("s3.conf", &format!("{keys}repo1-cipher-pass=p\n"))]), ["cipher-type-missing"]);
    assert_eq!(
        codes_of(&[("s3.conf", &format!("{keys}repo1-cipher-type=aes-256-cbc\n"))]),
        ["cipher-pass-missing"]
    );
    assert_eq!(codes_of(&[("s3.conf", &format!("{keys}repo1-path=/y\n"))]), ["option-twice"]);
    assert_eq!(codes_of(&[("s3.conf", &format!("{keys}repo1-s3-bucket=b\n"))]), ["option-twice"]);
    assert_eq!(codes_of(&[("a.conf", keys), ("b.conf", keys)]), ["option-twice", "option-twice"]);
    assert_eq!(codes_of(&[("s3.conf", &format!("{keys}nonsense\n"))]), ["secret-malformed"]);
    assert_eq!(codes_of(&[("s3.conf", &format!("{keys}process-max=\n"))]), ["secret-option-empty"]);
    assert_eq!(codes_of(&[("s3.conf", &format!("{keys}repo2-s3-key=a\n"))]), ["secret-option-unused"]);
}

#[test]
fn what_the_kubernetes_cluster_holds_is_compared() {
    let repo3 = RepoNumber::of_name("repo3").unwrap();
    let mut references = References { taken: Lookup::Missing, ..References::default() };
    let codes_of = |references: &References| -> Vec<&'static str> {
        let (_, findings) = judged(cluster(&volume_section()), references);
        findings.into_iter().map(|(code, _)| code).collect()
    };
    assert_eq!(codes_of(&references), ["storage-class-not-checked"]);
    references.storage_classes.insert("slow".to_owned(), Lookup::Missing);
    assert_eq!(codes_of(&references), ["storage-class-missing"]);
    let facts = StorageClassFacts { allows_expansion: false };
    references.storage_classes.insert("slow".to_owned(), Lookup::Found(facts));
    assert_eq!(codes_of(&references), Vec::<&str>::new());
    let access_modes = vec!["ReadWriteOnce".to_owned()];
    let small =
        VolumeFacts { size: "10Gi".to_owned(), storage_class: None, access_modes: access_modes.clone() };
    references.volumes.insert(repo3, small);
    assert_eq!(codes_of(&references), ["volume-cannot-grow"]);
    let fast = VolumeFacts { size: "16Gi".to_owned(), storage_class: Some("fast".to_owned()), access_modes };
    references.volumes.insert(repo3, fast);
    assert_eq!(codes_of(&references), ["volume-shrinks", "volume-class-fixed"]);
    references.volumes.clear();
    references.taken = Lookup::Found(vec![TakenName {
        kind: "StatefulSet".to_owned(),
        name: "ledger-pgbackrest-repo-host".to_owned(),
        owner: "cpo".to_owned(),
    }]);
    assert_eq!(codes_of(&references), ["name-taken"]);
}

#[test]
fn options_that_pgbackrest_rejects_together_are_left_out() {
    let kept = |options: Value| {
        let mut document = cluster(&volume_section());
        document["spec"]["backup"]["pgbackrest"]["global"] = options;
        let (cluster, findings) = judged(document, &References::default());
        let codes = findings.iter().filter(|(code, _)| *code == "option-contradicts").count();
        (cluster.unwrap().global.into_keys().collect::<Vec<_>>(), codes)
    };
    let found =
        |options: &[&str], codes| (options.iter().map(ToString::to_string).collect::<Vec<_>>(), codes);
    assert_eq!(kept(json!({"compress-type": "gz", "compress-level": "12"})), found(&["compress-type"], 1));
    assert_eq!(
        kept(json!({"compress-level": "12"})),
        found(&["compress-level"], 0),
        "the type may be in the Secret"
    );
    assert_eq!(
        kept(json!({"db-timeout": "30m", "protocol-timeout": "1800"})),
        found(&["protocol-timeout"], 1)
    );
    assert_eq!(kept(json!({"db-timeout": "1h"})), found(&["db-timeout"], 0));
}

#[test]
fn conduct_holds_for_an_invalid_resource_too() {
    let of = |annotations: Value| {
        let document = json!({"metadata": {"name": "UPPER", "annotations": annotations}});
        conduct(&resource::read(document).0, &Settings::default())
    };
    assert!(!of(json!({})).forbids_writes());
    assert!(of(json!({"pgbackrest-keeper.io/paused": "true"})).paused);
    assert!(of(json!({"pgbackrest-keeper.io/paused": "yes"})).paused);
    assert!(!of(json!({"pgbackrest-keeper.io/paused": "false"})).paused);
    assert!(of(json!({"cpo.opensource.cybertec.at/controller": "other"})).forbids_writes());
    assert!(of(json!({"pgbackrest-keeper.io/adopt": "true"})).adopt);
    assert!(!of(json!({"pgbackrest-keeper.io/release": "yes"})).release);
}

#[test]
fn every_annotation_is_known_once() {
    assert!(annotations::KNOWN.windows(2).all(|pair| pair[0] < pair[1]));
}

/// Trees that look like the resource, and trees that look like nothing.
fn any_tree() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "",
        "repo1",
        "repo5",
        "pvc",
        "s3",
        "azure",
        "gcs",
        "30 2 * * *",
        "@every 1h",
        "15Gi",
        "true",
        "é\u{0}\n",
        "y",
        "service",
        "aes-256-cbc",
        "full@repo1",
        "1h",
        "https://h:1/",
        "[::1]:443",
        "0 0 30 2 *",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "annotations",
        "spec",
        "backup",
        "pgbackrest",
        "repos",
        "global",
        "storage",
        "schedule",
        "full",
        "incr",
        "volume",
        "size",
        "storageClass",
        "selector",
        "key",
        "keyType",
        "resource",
        "endpoint",
        "region",
        "account",
        "image",
        "configuration",
        "secret",
        "restore",
        "resources",
        "requests",
        "limits",
        "env",
        "labels",
        "tolerations",
        "nodeAffinity",
        "numberOfInstances",
        "standby",
        "tde",
        "id",
        "value",
        "repo1-retention-full",
        "repo1-path",
        "process-max",
        "repo2-cipher-type",
        "pgbackrest-keeper.io/backup-now",
        "pgbackrest-keeper.io/job-resources",
        "pgbackrest-keeper.io/job-ttl",
        "x/y",
    ]);
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_tree_makes_the_checks_fall_over(whole in any_tree(), section in any_tree(), metadata in any_tree()) {
        let settings = Settings::default();
        for document in [
            whole,
            json!({"metadata": metadata, "spec": {"backup": {"pgbackrest": section}}}),
            json!({"metadata": {"name": "ledger"}, "spec": {"backup": {"pgbackrest": {"repos": [section]}}}}),
        ] {
            let (cluster, findings) = super::document(document, &References::default(), &settings);
            if let Some(cluster) = cluster {
                prop_assert!(!cluster.repos.is_empty(), "{:?}", findings);
            }
            prop_assert!(!findings.is_empty(), "at least that nothing was looked up, or that nothing is asked for");
        }
    }
}
