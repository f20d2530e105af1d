//! What depends on the container in which pgBackRest runs, and on its version there.

use serde_json::{Value, json};

use super::{cluster, judged, with_secret};
use crate::cluster::references::{Lookup, References};
use crate::cluster::validated::{BackupStandby, GcsCredentials, KeyFile, Storage};
use crate::pgbackrest::version;

const KEYS: &str = "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\n";

type Change = fn(&mut Value);

/// A repo in an object store and one on a volume.
fn section(change: impl FnOnce(&mut Value)) -> Value {
    let mut section = json!({
        "image": "registry.example/pgbackrest:latest", "configuration": {"secret": "vault"},
        "repos": [
            {"name": "repo1", "storage": "s3", "resource": "b", "region": "r", "endpoint": "h",
             "schedule": {"full": "1 1 * * *"}},
            {"name": "repo2", "storage": "pvc", "volume": {"size": "1Gi"}, "schedule": {"full": "1 2 * * *"}},
        ],
        "global": {"repo1-retention-full": "7", "repo2-retention-full": "7"},
    });
    change(&mut section);
    section
}

fn codes(document: Value, references: &References) -> Vec<&'static str> {
    judged(document, references).1.into_iter().map(|(code, _)| code).collect()
}

fn seen(printed: &str) -> References {
    References { version: version::parse(printed), ..with_secret(&[("s.conf", KEYS)]) }
}

/// A variable that takes its value from a Secret.
fn variable(option: &str) -> Value {
    let name = format!("PGBACKREST_{}", option.to_ascii_uppercase().replace('-', "_"));
    json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}})
}

#[test]
fn each_container_sees_its_own_variables() {
    let keys = || json!([variable("repo1-s3-key"), variable("repo1-s3-key-secret")]);
    let pass = || json!([variable("repo2-cipher-pass")]);
    let of = |spec: Value, backup: Value| {
        let mut document = cluster(&section(|section| {
            section["configuration"] = json!({});
            section["global"]["repo2-cipher-type"] = json!("aes-256-cbc");
            section["env"] = backup;
        }));
        document["spec"]["env"] = spec;
        codes(document, &References { taken: Lookup::Missing, ..References::default() })
    };
    let none: [&str; 0] = [];
    assert_eq!(of(keys(), pass()), none, "as CPO passes them on");
    let wrong = of(pass(), keys());
    assert_eq!(wrong.iter().filter(|code| **code == "env-elsewhere").count(), 3, "{wrong:?}");
    assert!(wrong.contains(&"secret-not-named"));
    assert!(of(keys(), json!([])).contains(&"secret-not-named"), "the repo host has no passphrase");
    let plain = json!([{"name": "PGBACKREST_REPO2_CIPHER_PASS", "value": "hunter2"}]);
    assert!(of(keys(), plain).contains(&"secret-not-named"), "the repo host does not get it");
    let empty = json!([{"name": "PGBACKREST_REPO2_CIPHER_PASS", "value": ""}]);
    assert!(of(keys(), empty).contains(&"secret-not-named"));
}

#[test]
fn choices_in_the_environment_count() {
    let of = |name: &str, value: &str| {
        let mut document = cluster(&section(|section| section["configuration"] = json!({})));
        document["spec"]["env"] = json!([{"name": name, "value": value}]);
        codes(document, &References { taken: Lookup::Missing, ..References::default() })
    };
    assert_eq!(of("PGBACKREST_REPO1_S3_KEY_TYPE", "auto"), [""; 0]);
    assert_eq!(of("PGBACKREST_REPO1_S3_KEY_TYPE", "shared"), ["secret-not-named", "repo-left-out"]);
}

#[test]
fn schedules_that_meet_are_one_finding_with_all_pairs() {
    let document = || {
        cluster(&section(|section| {
            section["repos"][0]["schedule"] =
                json!({"full": "0 0 * * 0", "diff": "0 0 * * *", "incr": "0 * * * *"});
            section["repos"][1]["schedule"] = json!({"full": "0 0 * * 0", "diff": "0 0 * * *"});
        }))
    };
    let told = |references: &References| {
        let settings = crate::cluster::settings::Settings::default();
        let (_, findings) = crate::cluster::validate::document(document(), references, &settings);
        let messages: Vec<String> = findings.into_iter().map(|finding| finding.message).collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.concat()
    };
    for unknown_or_old in ["", "pgBackRest 2.52.1"] {
        let message = told(&seen(unknown_or_old));
        assert!(message.contains("repo1 full and repo1 diff (Sun 00:00)"), "{message}");
        assert!(message.contains("and 2 more; from pgBackRest 2.53 on, only within a repo"), "{message}");
    }
    let message = told(&seen("pgBackRest 2.53"));
    assert_eq!(message.matches(" and repo1").count(), 3, "{message}");
    assert_eq!(message.matches(" and repo2").count(), 1, "{message}");
}

#[test]
fn what_a_version_does_not_have_is_told() {
    let http: Change = |section| section["repos"][0]["endpoint"] = json!("http://h");
    let prefer: Change = |section| section["global"]["backup-standby"] = json!("prefer");
    let tag: Change = |section| section["global"]["repo1-storage-tag"] = json!("a=b");
    let none: &[&str] = &[];
    let cases: [(Change, &str, &[&str]); 10] = [
        (http, "pgBackRest 2.58.0", none),
        (http, "pgBackRest 2.57.0", &["version-too-old", "repo-left-out"]),
        (http, "", &["version-not-checked"]),
        (http, "pgxbackup 2.1", none),
        (prefer, "pgBackRest 2.54.0", none),
        (prefer, "pgBackRest 2.53", &["version-too-old"]),
        (prefer, "", &["version-not-checked"]),
        (tag, "pgBackRest 2.48", none),
        (tag, "pgBackRest 2.47", &["option-ignored"]),
        (tag, "", none),
    ];
    for (change, printed, expected) in cases {
        assert_eq!(codes(cluster(&section(change)), &seen(printed)), expected, "{printed}");
    }
    let mut document = cluster(&section(http));
    document["spec"]["dockerImage"] = json!("registry.example/pgbackrest:2.57.0");
    assert_eq!(codes(document, &seen("")), ["version-too-old", "repo-left-out"], "by the tag of the image");
    let from_secret = format!("{KEYS}repo1-s3-key-type=pod-id\n");
    let references = References {
        version: version::parse("pgBackRest 2.57.0"),
        ..with_secret(&[("s.conf", &from_secret)])
    };
    assert_eq!(codes(cluster(&section(|_| {})), &references), ["version-too-old", "repo-left-out"]);
}

#[test]
fn options_that_fail_in_a_container_are_left_out_there() {
    let of = |option: &str, value: &str, instances: u32| {
        let mut document = cluster(&section(|section| section["global"][option] = json!(value)));
        document["spec"]["numberOfInstances"] = json!(instances);
        codes(document, &seen("pgBackRest 2.58.0"))
    };
    assert_eq!(of("backup-standby", "y", 3), ["option-left-out"], "in PostgreSQL's containers");
    assert_eq!(of("backup-standby", "y", 1), ["option-left-out", "option-left-out"]);
    assert_eq!(of("lock-path", "/tmp/locks", 3), [""; 0]);
    assert_eq!(of("lock-path", "/home/postgres/locks", 3), ["option-left-out"]);
}

#[test]
fn backups_from_a_standby_are_made_on_the_repo_host() {
    let of = |value: &str, change: Change, references: &References| {
        let mut document = cluster(&section(change));
        document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/backup-standby": value});
        let (cluster, findings) = judged(document, references);
        let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
        let places: Vec<bool> = cluster.repos.iter().map(|repo| repo.on_repo_host).collect();
        let codes: Vec<&str> = findings.into_iter().map(|(code, _)| code).collect();
        (cluster.backup_standby.map(BackupStandby::as_str), places, codes)
    };
    let same: Change = |_| {};
    let none = Vec::<&str>::new();
    let both = vec![true, true];
    let only_volume = vec![false, true];
    let (newest, oldest) = (seen("pgBackRest 2.58.0"), seen("pgBackRest 2.45"));
    for references in [&newest, &oldest] {
        assert_eq!(of("y", same, references), (Some("y"), both.clone(), none.clone()));
        assert_eq!(of("n", same, references), (None, only_volume.clone(), none.clone()));
    }
    assert_eq!(of("prefer", same, &newest), (Some("prefer"), both.clone(), none));
    assert_eq!(of("prefer", same, &oldest), (None, only_volume.clone(), vec!["version-too-old"]));
    assert_eq!(of("prefer", same, &seen("")), (Some("prefer"), both.clone(), vec!["version-not-checked"]));
    let overrides: Change = |section| section["global"]["backup-standby"] = json!("n");
    assert_eq!(of("y", overrides, &newest), (Some("y"), both, vec!["option-overrides"]));
    let twice = with_secret(&[("s.conf", &format!("{KEYS}backup-standby=y\n"))]);
    for (value, references) in [("yes", &newest), ("Y", &newest), ("", &newest), ("y", &twice)] {
        assert_eq!(
            of(value, same, references),
            (None, only_volume.clone(), vec!["annotation-invalid"]),
            "{value}"
        );
    }
}

#[test]
fn the_repo_host_gets_what_it_needs_for_backups_from_a_standby() {
    let keys = || json!([variable("repo1-s3-key"), variable("repo1-s3-key-secret")]);
    let of = |spec: Value, backup: Value| {
        let mut document = cluster(&section(|section| {
            section["configuration"] = json!({});
            section["env"] = backup;
        }));
        document["spec"]["env"] = spec;
        document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/backup-standby": "y"});
        codes(document, &References { taken: Lookup::Missing, ..References::default() })
    };
    assert_eq!(of(keys(), keys()), [""; 0]);
    assert_eq!(of(keys(), json!([])), ["annotation-invalid"]);
    let elsewhere = of(json!([]), keys());
    assert_eq!(elsewhere.iter().filter(|code| **code == "env-elsewhere").count(), 2, "{elsewhere:?}");
}

#[test]
fn key_files_can_be_anywhere() {
    let of = |change: Change, references: &References| {
        let document = cluster(&section(|section| {
            section["repos"][0] = json!({"name": "repo1", "storage": "gcs", "resource": "b", "keyType": "service",
                "schedule": {"full": "1 1 * * *"}});
            change(section);
        }));
        let (cluster, findings) = judged(document, references);
        let storage = cluster.and_then(|cluster| Some(cluster.repos.first()?.storage.clone()));
        let key = storage.and_then(|storage| match storage {
            Storage::Gcs { credentials: GcsCredentials::Service(key), .. } => Some(key),
            _ => None,
        });
        (key, findings.into_iter().map(|(code, _)| code).collect::<Vec<_>>())
    };
    let in_secret = |name: &str| Some(KeyFile::InSecret(name.to_owned()));
    let secret = with_secret(&[("a.conf", "[global]\n"), ("gcs.json", "{}")]);
    let none = Vec::<&str>::new();
    assert_eq!(
        of(|s| s["repos"][0]["key"] = json!("gcs.json"), &secret),
        (in_secret("gcs.json"), none.clone())
    );
    assert_eq!(
        of(|s| s["repos"][0]["key"] = json!("/etc/pgbackrest/conf.d/gcs.json"), &secret),
        (in_secret("gcs.json"), none.clone())
    );
    let (key, findings) = of(|s| s["repos"][0]["key"] = json!("/var/run/gcs/key.json"), &secret);
    assert!(
        matches!(key, Some(KeyFile::Mounted(path)) if &*path == "/var/run/gcs/key.json")
            && findings.is_empty()
    );
    assert_eq!(
        of(|s| s["global"]["repo1-gcs-key"] = json!("/var/run/gcs/key.json"), &secret),
        (Some(KeyFile::Named), none.clone())
    );
    let named = with_secret(&[("a.conf", "[global]\nrepo1-gcs-key=/var/run/gcs/key.json\n")]);
    assert_eq!(of(|_| {}, &named), (Some(KeyFile::Named), none));
    let lost = with_secret(&[("a.conf", "[global]\nrepo1-gcs-key=/etc/pgbackrest/conf.d/gcs.json\n")]);
    assert_eq!(of(|_| {}, &lost).1, ["secret-file-missing", "repo-left-out"]);
    for (change, code) in [
        ((|s| s["global"]["repo1-gcs-key"] = json!("ya29.token")) as Change, "secret-in-resource"),
        (|s| s["repos"][0]["key"] = json!("{\"private_key\": 1}"), "secret-in-resource"),
        (|s| s["repos"][0]["key"] = json!("../gcs.json"), "field-malformed"),
        (|s| s["repos"][0]["key"] = json!("/var/../gcs.json"), "field-malformed"),
        (|_| {}, "field-empty"),
    ] {
        let (key, findings) = of(change, &secret);
        assert_eq!((key, findings), (None, vec![code, "repo-left-out"]));
    }
}

#[test]
fn a_token_is_no_path() {
    let document = cluster(&section(|section| {
        section["repos"][0] = json!({"name": "repo1", "storage": "gcs", "resource": "b", "keyType": "token"});
        section["global"]["repo1-gcs-key"] = json!("/looks/like/a/path");
    }));
    assert!(codes(document, &seen("")).contains(&"secret-in-resource"));
}

#[test]
fn a_file_that_an_option_names_must_be_in_the_secret() {
    let of = |path: &str, files: &[(&str, &str)]| {
        let references = References { version: version::parse("pgBackRest 2.58.0"), ..with_secret(files) };
        let document = cluster(&section(|section| section["global"]["repo1-storage-ca-file"] = json!(path)));
        codes(document, &references)
    };
    let conf = ("s.conf", KEYS);
    assert_eq!(of("/etc/pgbackrest/conf.d/ca.crt", &[conf, ("ca.crt", "x")]), [""; 0]);
    assert_eq!(of("/etc/ssl/ca.crt", &[conf]), [""; 0], "the image may have it");
    assert_eq!(of("/etc/pgbackrest/conf.d/ca.crt", &[conf]), ["secret-file-missing", "repo-left-out"]);
}

#[test]
fn what_kubernetes_would_reject_is_left_out_of_the_objects() {
    let mut document = cluster(&section(|_| {}));
    document["spec"]["teamId"] = json!("Team Blue");
    document["spec"]["podAnnotations"] = json!({"good/key": "x y", "bad key": "x"});
    document["spec"]["schedulerName"] = json!("Not A Name");
    let (cluster, findings) = judged(document, &seen(""));
    let cluster = cluster.unwrap();
    assert_eq!(findings.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["field-malformed"; 3]);
    assert_eq!((cluster.team, cluster.jobs.pod.annotations.len()), (None, 1));
    assert_eq!(cluster.jobs.pod.scheduler, None);
}
