//! What no recorded finding shows: what is carried over, and that nothing makes the checks fall over.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::restore_test::schema;
use crate::cluster::restore_test::validated::RepoWish;
use crate::cluster::validated::RepoNumber;

fn judged(spec: &Value) -> (Option<ValidatedRestoreTest>, Vec<(&'static str, String)>) {
    let document = json!({
        "apiVersion": resource::API_VERSION, "kind": resource::KIND,
        "metadata": {"name": "nightly", "namespace": "accounts", "uid": "77aa"}, "spec": spec,
    });
    let (test, findings) = restore_test(document, &Settings::default());
    (test, findings.into_iter().map(|finding| (finding.code.word, finding.field)).collect())
}

fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({"clusters": {"names": ["ledger"]}, "schedule": "30 3 * * *"});
    spec[field] = value;
    spec
}

#[test]
fn little_is_required() {
    let (test, findings) = judged(&json!({"clusters": {"names": ["ledger"]}, "schedule": "30 3 * * *"}));
    assert_eq!(findings, []);
    let test = test.unwrap();
    assert_eq!((test.repo, test.backup.as_str(), test.target.as_str()), (RepoWish::Any, "latest", "latest"));
    assert_eq!(test.schedule, "30 3 * * *");
    assert_eq!(test.storage, Storage::Ephemeral { storage_class: None, size: None });
    assert_eq!(test.history.time_to_live, TIME_TO_LIVE);
    assert!(test.clusters.selects("ledger", &BTreeMap::new()));
    assert!(!test.clusters.selects("orders", &BTreeMap::new()));
    let kept = judged(&with("keepOnFailure", json!(true))).0.unwrap();
    assert_eq!(kept.history.time_to_live, TIME_TO_LOOK);
}

#[test]
fn everything_is_carried_over() {
    let (test, findings) = judged(&json!({
        "clusters": {"selector": {"matchLabels": {"tier": "gold"},
            "matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["test"]}]}},
        "schedule": "0 3 * * *", "timeZone": "Europe/Vienna", "jitter": "30m", "startingDeadline": "1h",
        "suspend": true, "duringBackups": true, "repo": "repo2", "backup": "20261122-092719F",
        "target": "2026-11-23T06:00:00+01:00", "databases": ["shop"], "processMax": 4,
        "timeouts": {"total": "8h", "restore": "3h", "replay": "2h", "check": "90m"},
        "storage": {"emptyDir": {"sizeLimit": "20Gi"}},
        "configuration": {"secret": "read-only"},
        "postgresql": {"binDirectory": "/usr/pgsql-17/bin", "user": "admin", "parameters": {"work_mem": "64MB"}},
        "checks": {"amcheck": true, "assertions": {"configMap": "expectations"}},
        "pod": {"image": "registry.example/postgres:17", "imagePullSecrets": ["registry"], "serviceAccount": "reader",
            "resources": {"requests": {"cpu": "1"}}, "labels": {"cost": "a"}, "annotations": {"b": "c"},
            "nodeSelector": {"disk": "fast"}, "affinity": {"nodeAffinity": {}},
            "tolerations": [{"operator": "Exists"}], "priorityClass": "low"},
        "keepOnFailure": true, "history": {"successful": 0, "failed": 2, "timeToLive": "6h"},
    }));
    assert_eq!(findings, []);
    let test = test.unwrap();
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert!(test.clusters.selects("any", &labels(&[("tier", "gold")])));
    assert!(!test.clusters.selects("any", &labels(&[("tier", "gold"), ("stage", "test")])));
    assert!(test.schedule.ends_with(" 3 * * *") && test.schedule != "0 3 * * *", "{}", test.schedule);
    assert_eq!(test.repo, RepoWish::Repo(RepoNumber::of_name("repo2").unwrap()));
    assert_eq!(test.target, "2026-11-23T05:00:00Z");
    assert_eq!(test.storage, Storage::EmptyDir { size_limit: Some("20Gi".to_owned()) });
    assert_eq!(test.checks.assertions.as_ref().unwrap().key, "assertions.yaml");
    assert_eq!(test.timeouts.check, Duration::from_mins(90));
    assert!(test.is_suspended && test.runs_during_backups && test.keeps_failed);
    assert_eq!(test.history.time_to_live, Duration::from_hours(6));
    assert_eq!((test.uid.as_deref(), test.process_max), (Some("77aa"), Some(4)));
}

#[test]
fn an_error_names_its_field() {
    for (field, value, code, place) in [
        ("clusters", json!({}), "field-empty", "spec.clusters"),
        ("clusters", json!({"names": ["a"], "selector": {}}), "field-malformed", "spec.clusters"),
        ("clusters", json!({"names": ["A"]}), "field-malformed", "spec.clusters.names[0]"),
        ("clusters", json!({"selector": []}), "field-malformed", "spec.clusters.selector"),
        (
            "clusters",
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}),
            "field-malformed",
            "spec.clusters.selector.matchExpressions",
        ),
        ("schedule", json!(""), "field-empty", "spec.schedule"),
        ("schedule", json!("0 25 * * *"), "schedule-invalid", "spec.schedule"),
        ("timeZone", json!("Vienna"), "field-malformed", "spec.timeZone"),
        ("jitter", json!("25h"), "field-malformed", "spec.jitter"),
        ("startingDeadline", json!("5s"), "field-malformed", "spec.startingDeadline"),
        ("repo", json!("repo5"), "field-malformed", "spec.repo"),
        ("repo", json!("1"), "field-malformed", "spec.repo"),
        ("backup", json!("newest"), "field-malformed", "spec.backup"),
        ("target", json!("yesterday"), "field-malformed", "spec.target"),
        ("target", json!("2026-11-23 05:00:00"), "field-malformed", "spec.target"),
        ("databases", json!(["a,b"]), "field-malformed", "spec.databases[0]"),
        ("processMax", json!(0), "field-malformed", "spec.processMax"),
        ("processMax", json!(70_000), "field-malformed", "spec.processMax"),
        ("timeouts", json!({"total": "500ms"}), "field-malformed", "spec.timeouts.total"),
        ("timeouts", json!({"check": "1 h"}), "field-malformed", "spec.timeouts.check"),
        ("storage", json!({"ephemeral": {}, "emptyDir": {}}), "field-malformed", "spec.storage"),
        (
            "storage",
            json!({"ephemeral": {"size": "0"}}),
            "volume-size-invalid",
            "spec.storage.ephemeral.size",
        ),
        ("configuration", json!({"secret": "a/b"}), "field-malformed", "spec.configuration.secret"),
        (
            "postgresql",
            json!({"parameters": {"a b": "c"}}),
            "field-malformed",
            "spec.postgresql.parameters.a b",
        ),
        ("checks", json!({"assertions": {}}), "field-empty", "spec.checks.assertions.configMap"),
        ("pod", json!({"image": "a b"}), "field-malformed", "spec.pod.image"),
        ("pod", json!({"affinity": []}), "field-malformed", "spec.pod.affinity"),
        ("pod", json!({"nodeSelector": {"a": "b c"}}), "field-malformed", "spec.pod.nodeSelector.a"),
        ("history", json!({"failed": -1}), "field-malformed", "spec.history.failed"),
        ("suspend", json!("no"), "wrong-type", "spec.suspend"),
    ] {
        let (test, findings) = judged(&with(field, value.clone()));
        assert_eq!(findings, [(code, place.to_owned())], "{field} {value}");
        assert_eq!(test, None, "{field} {value}");
    }
}

#[test]
fn what_is_doubtful_is_a_warning() {
    for (field, value, code, place) in [
        ("jitter", json!("23h"), "jitter-limited", "spec.jitter"),
        ("schedule", json!("* * * * *"), "schedule-frequent", "spec.schedule"),
        ("schedule", json!("0 0 30 2 *"), "schedule-never", "spec.schedule"),
        ("pod", json!({"labels": {"application": "x"}}), "label-reserved", "spec.pod.labels.application"),
        ("repository", json!("repo1"), "unknown-field", "spec.repository"),
        ("timeouts", json!({"restores": "1h"}), "unknown-field", "spec.timeouts.restores"),
    ] {
        let (test, findings) = judged(&with(field, value.clone()));
        assert_eq!(findings, [(code, place.to_owned())], "{field} {value}");
        assert!(test.is_some(), "{field} {value}");
    }
}

#[test]
fn names_leave_room_for_the_cron_job() {
    let findings = |name: &str| {
        let spec = with("repo", json!("any"));
        let (_, findings) =
            restore_test(json!({"metadata": {"name": name}, "spec": spec}), &Settings::default());
        findings.into_iter().map(|finding| finding.code.word).collect::<Vec<_>>()
    };
    assert!(findings(&"a".repeat(39)).is_empty());
    for name in ["", "A", "a.b", "a-", &"a".repeat(40)] {
        assert_eq!(findings(name), ["name-invalid"], "{name}");
    }
    assert_eq!(names::restore_test(&"a".repeat(39)).len(), names::LONGEST_CRON_JOB);
}

/// Any JSON, often with fields of the resource.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9:. \n*-]{0,12}".prop_map(Value::from),
    ];
    let fields: Vec<String> = schema::fields();
    leaf.prop_recursive(4, 64, 6, move |inner| {
        let key = prop_oneof![proptest::sample::select(fields.clone()), "[a-z]{1,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_leads_to_a_test_or_to_an_error(spec in anything()) {
        let document = json!({"metadata": {"name": "nightly"}, "spec": spec});
        let (test, findings) = restore_test(document, &Settings::default());
        prop_assert_eq!(test.is_none(), findings.iter().any(Finding::is_error), "{:?}", findings);
    }
}
