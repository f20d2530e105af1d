//! When repos are verified.

use std::time::Duration;

use super::*;
use crate::cluster::settings::VerifySettings;
use crate::cluster::validated::{Verifications, VerifyTemplate};

/// Of a cluster of this name with these annotations, and the codes of findings about them.
fn verifications(
    name: &str,
    annotations: &[(&str, &str)],
    usual: Option<&str>,
) -> (Verifications, Vec<&'static str>) {
    let mut document = cluster(&json!({
        "image": "registry.example/pgbackrest:2.58",
        "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "15Gi"}, "schedule": {"full": "30 2 * * 0"}}],
        "global": {"repo1-retention-full": "7"},
    }));
    document["metadata"]["name"] = json!(name);
    for (name, value) in annotations {
        document["metadata"]["annotations"][format!("pgbackrest-keeper.io/{name}")] = json!(value);
    }
    let verify = VerifySettings {
        schedule: usual.map(str::to_owned),
        time_zone: Some("Europe/Vienna".to_owned()),
        jitter: Duration::from_hours(2),
        timeout: Duration::from_hours(24),
    };
    let settings = Settings { verify, ..Settings::default() };
    let (cluster, findings) = super::super::document(document, &References::default(), &settings);
    let about = |finding: &&Finding| finding.field.contains("verify") || finding.field.contains("time-zone");
    (cluster.unwrap().verifications, findings.iter().filter(about).map(|finding| finding.code.word).collect())
}

fn template(found: (Verifications, Vec<&'static str>)) -> VerifyTemplate {
    match found {
        (Verifications::Scheduled(template), findings) if findings.is_empty() => template,
        found => panic!("{found:?}"),
    }
}

#[test]
fn the_schedule_of_the_installation_is_moved_for_each_cluster() {
    let usual = Some("30 3 * * 6");
    assert_eq!(verifications("ledger", &[], None), (Verifications::Off, vec![]));
    let ledger = template(verifications("ledger", &[], usual));
    assert_eq!(ledger, template(verifications("ledger", &[], usual)));
    assert_ne!(ledger.schedule, template(verifications("orders", &[], usual)).schedule);
    assert!(ledger.schedule.ends_with(" * * 6"), "{}", ledger.schedule);
    assert_eq!(
        (ledger.time_zone.as_deref(), ledger.timeout, ledger.resources),
        (Some("Europe/Vienna"), Duration::from_hours(24), None)
    );
}

#[test]
fn annotations_have_priority() {
    let usual = Some("30 3 * * 6");
    assert_eq!(verifications("ledger", &[("verify-schedule", "off")], usual), (Verifications::Off, vec![]));
    let given = [
        ("verify-schedule", "15 5 1 * *"),
        ("verify-timeout", "6h"),
        ("verify-resources", r#"{"limits": {"memory": "2Gi"}}"#),
        ("time-zone", "Asia/Tokyo"),
    ];
    for usual in [usual, None] {
        let found = template(verifications("ledger", &given, usual));
        assert_eq!((found.schedule.as_str(), found.timeout), ("15 5 1 * *", Duration::from_hours(6)));
        assert_eq!(found.time_zone.as_deref(), Some("Asia/Tokyo"));
        assert!(found.resources.is_some());
    }
}

#[test]
fn what_has_an_error_stays_as_it_is() {
    for (annotation, value, code) in
        [("verify-schedule", "30 3 * *", "schedule-invalid"), ("time-zone", "Vienna", "annotation-invalid")]
    {
        let found = verifications("ledger", &[(annotation, value)], Some("30 3 * * 6"));
        assert_eq!(found, (Verifications::Held, vec![code]));
    }
    let (found, codes) = verifications("ledger", &[("verify-timeout", "10s")], Some("30 3 * * 6"));
    assert!(matches!(found, Verifications::Scheduled(_)), "the usual timeout is used");
    assert_eq!(codes, ["annotation-invalid"]);
}
