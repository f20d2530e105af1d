//! What an error keeps from being set up, and what it does not.

use serde_json::{Value, json};

use super::{cluster, judged, with_secret};
use crate::cluster::references::References;
use crate::cluster::settings::Settings;
use crate::cluster::validate;
use crate::cluster::validated::{RepoNumber, ValidatedCluster};
use crate::pgbackrest::label::BackupType;

fn repo(number: u8) -> RepoNumber {
    RepoNumber::of_name(&format!("repo{number}")).unwrap()
}

type Change = fn(&mut Value);

/// Three repos, of which the first and the second are in object stores.
fn section(change: impl FnOnce(&mut Value)) -> Value {
    let mut section = json!({
        "image": "registry.example/pgbackrest:2.58", "configuration": {"secret": "vault"},
        "repos": [
            {"name": "repo1", "storage": "s3", "resource": "b", "region": "r", "endpoint": "h",
             "schedule": {"full": "1 1 * * *"}},
            {"name": "repo2", "storage": "azure", "resource": "c", "account": "a", "endpoint": "e",
             "schedule": {"full": "1 2 * * *", "incr": "1 3 * * *"}},
            {"name": "repo3", "storage": "pvc", "volume": {"size": "1Gi"}, "schedule": {"full": "1 4 * * *"}},
        ],
        "global": {"repo1-retention-full": "7", "repo2-retention-full": "7", "repo3-retention-full": "7",
                   "repo2-path": "/two", "process-max": "2"},
    });
    change(&mut section);
    section
}

fn secret() -> References {
    with_secret(&[("s.conf", "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\nrepo2-azure-key=c\n")])
}

fn judge(change: impl FnOnce(&mut Value)) -> (Option<ValidatedCluster>, Vec<&'static str>) {
    judge_with(change, &secret())
}

fn judge_with(
    change: impl FnOnce(&mut Value),
    references: &References,
) -> (Option<ValidatedCluster>, Vec<&'static str>) {
    let (cluster, findings) = judged(cluster(&section(change)), references);
    (cluster, findings.into_iter().map(|(code, _)| code).collect())
}

fn numbers(cluster: &ValidatedCluster) -> Vec<u8> {
    cluster.repos.iter().map(|repo| repo.number.get()).collect()
}

#[test]
fn a_repo_with_an_error_is_left_out_with_its_options() {
    let (good, findings) = judge(|_| {});
    assert_eq!((numbers(&good.unwrap()), findings), (vec![1, 2, 3], vec![]));
    let cases: [(Change, &str); 8] = [
        (|section| section["repos"][1]["endpoint"] = json!("a b"), "field-malformed"),
        (|section| section["repos"][1]["resource"] = json!(""), "field-empty"),
        (|section| section["repos"][1]["storage"] = json!("nfs"), "storage-unknown"),
        (|section| section["global"]["repo2-type"] = json!("s3"), "option-contradicts"),
        (|section| section["global"]["repo2-cipher-type"] = json!("aes"), "option-value-invalid"),
        (|section| section["global"]["repo2-azure-key"] = json!("hunter2"), "secret-in-resource"),
        (|section| section["global"]["repo2-cipher-passs"] = json!("hunter2"), "secret-in-resource"),
        (|section| section["global"]["repo2_bundle"] = json!("y"), "option-malformed"),
    ];
    for (change, code) in cases {
        let (cluster, findings) = judge(change);
        assert_eq!(findings, [code, "repo-left-out"]);
        let cluster = cluster.unwrap();
        assert_eq!(numbers(&cluster), [1, 3], "{code}");
        let of_repo = cluster.global.keys().filter(|option| option.contains("repo2")).count();
        assert_eq!(of_repo, 0, "it would define repo2 on the local disk: {:?}", cluster.global);
    }
}

#[test]
fn an_option_of_no_repo_is_left_out_alone() {
    for (option, value) in [("process-max", "two"), ("archive-async", ""), ("compress-type", "zip")] {
        let (cluster, findings) = judge(|section| section["global"][option] = json!(value));
        let cluster = cluster.unwrap();
        assert_eq!((numbers(&cluster), findings.len()), (vec![1, 2, 3], 1), "{option}");
        assert!(!cluster.global.contains_key(option));
    }
}

#[test]
fn without_an_image_or_a_secret_the_others_are_set_up() {
    let (cluster, findings) = judge(|section| section["image"] = json!("i\""));
    assert_eq!(
        (numbers(&cluster.unwrap()), findings),
        (vec![1, 2], vec!["field-malformed", "repo-left-out"])
    );
    let (cluster, _) = judge_with(|section| section["configuration"] = json!({}), &References::default());
    assert_eq!(numbers(&cluster.unwrap()), [3]);
    let part = with_secret(&[("s.conf", "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\n")]);
    let (cluster, findings) = judge_with(|_| {}, &part);
    assert_eq!(numbers(&cluster.unwrap()), [1, 3]);
    assert_eq!(findings, ["secret-option-missing", "repo-left-out"]);
}

#[test]
fn nothing_changes_if_a_repo_that_is_in_use_has_an_error() {
    let spoil: Change = |section| section["repos"][1]["endpoint"] = json!("a b");
    let mut references = secret();
    references.established.extend([repo(1), repo(3)]);
    assert!(judge_with(spoil, &references).0.is_some());
    references.established.insert(repo(2));
    let (cluster, findings) = judge_with(spoil, &references);
    assert_eq!((cluster, findings), (None, vec!["repo-held", "field-malformed"]));
    let misspell: Change = |section| section["repos"][1]["name"] = json!("repo-2");
    assert_eq!(judge_with(misspell, &references).0, None, "repo2 would be given up");
    let remove: Change = |section| _ = section["repos"].as_array_mut().unwrap().remove(1);
    assert!(judge_with(remove, &references).0.is_some(), "it was removed on purpose");
}

#[test]
fn nothing_is_taken_over_without_a_repo_that_may_be_in_use() {
    let spoil: Change = |section| section["repos"][1]["key"] = json!("hunter2");
    let mut document = cluster(&section(spoil));
    assert!(judged(document.clone(), &secret()).0.is_some());
    document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/adopt": "true"});
    let (taken, findings) = judged(document, &secret());
    assert!(taken.is_none() && findings.iter().any(|(code, _)| *code == "repo-held"), "{findings:?}");
}

#[test]
fn a_repo_that_the_secret_defines_cannot_be_left_out() {
    let spoil: Change = |section| section["repos"][1]["endpoint"] = json!("a b");
    let with_path = with_secret(&[(
        "s.conf",
        "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\nrepo2-azure-key=c\nrepo2-bundle=y\n",
    )]);
    let (cluster, findings) = judge_with(spoil, &with_path);
    assert_eq!((cluster, findings), (None, vec!["repo-held", "field-malformed"]));
}

#[test]
fn a_schedule_with_an_error_stays_as_it_is() {
    let (cluster, findings) = judge(|section| section["repos"][1]["schedule"]["incr"] = json!("61 * * * *"));
    let cluster = cluster.unwrap();
    assert_eq!(findings, ["schedule-invalid"]);
    assert_eq!(cluster.repos[1].held.iter().collect::<Vec<_>>(), [&BackupType::Incr]);
    assert_eq!(cluster.schedules().count(), 3);
    let inputs = crate::cluster::desired::BuildInputs::default();
    let desired = crate::cluster::desired::build(&cluster, &Settings::default(), &inputs);
    assert_eq!(desired.held, ["pgbackrest-ledger-repo2-incr"]);
    assert!(desired.objects.iter().all(|object| object.name() != "pgbackrest-ledger-repo2-incr"));
    let mut document = super::cluster(&section(|_| {}));
    document["metadata"]["annotations"] = json!({"pgbackrest-keeper.io/time-zone": "CEST"});
    let cluster = judged(document, &secret()).0.unwrap();
    assert_eq!((cluster.schedules().count(), cluster.repos[1].held.len()), (0, 2));
}

#[test]
fn an_empty_schedule_is_none() {
    let (cluster, findings) = judge(|section| {
        section["repos"][1]["schedule"] = json!({"full": "1 2 * * *", "incr": "", "diff": " "});
    });
    assert_eq!(findings, ["field-unset", "field-unset"]);
    let cluster = cluster.unwrap();
    assert!(cluster.schedules().count() == 3 && cluster.repos[1].held.is_empty());
    let none = |schedule: Value| judge(|section| section["repos"][0]["schedule"] = schedule).1;
    assert_eq!(none(json!({"full": ""})), ["field-unset", "no-schedule"]);
    assert_eq!(none(json!({"full": "", "incr": "5 1 * * *"})), ["field-unset", "no-full-schedule"]);
}

#[test]
fn a_restore_that_is_done_is_no_matter() {
    let asked = |status: Value| {
        let mut document = cluster(&section(|section| section["restore"] = json!({"id": "monday"})));
        document["status"] = status;
        judged(document, &secret()).1.into_iter().map(|(code, _)| code).collect::<Vec<_>>()
    };
    assert_eq!(asked(json!({"RestoreID": "monday"})), Vec::<&str>::new());
    assert_eq!(asked(json!({"RestoreID": "sunday"})), ["restore-not-executed"]);
    assert_eq!(asked(Value::Null), ["restore-not-executed"]);
}

#[test]
fn a_wrong_type_is_about_everything() {
    let document = cluster(&section(|section| section["repos"][1]["endpoint"] = json!(7)));
    let (cluster, findings) = validate::document(document, &secret(), &Settings::default());
    assert!(cluster.is_none(), "the API server does not accept it: {findings:?}");
}
