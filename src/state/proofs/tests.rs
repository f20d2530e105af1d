//! Records that are written, and those of other versions that are read.

use std::path::Path;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn record() -> RestoreTest {
    RestoreTest {
        format: FORMAT,
        source: Source::Host,
        stanza: "demo".to_owned(),
        repo: 2,
        versions: Versions {
            keeper: "0.1.0".to_owned(),
            pgbackrest: Some("pgBackRest 2.60.0".to_owned()),
            postgres: Some("15.14".to_owned()),
        },
        start: at("2026-11-22T10:00:00.125Z"),
        stop: at("2026-11-22T10:01:00Z"),
        target: Target { kind: TargetKind::Time, time: Some(at("2026-11-22T09:30:00Z")), random: true },
        backup: Some(TestedBackup {
            label: "20261122-092719F".to_owned(),
            backup_type: BackupType::Full,
            start: at("2026-11-22T09:27:19Z"),
            stop: at("2026-11-22T09:27:25Z"),
            lsn_start: Lsn::parse("0/2000028"),
            lsn_stop: Lsn::parse("0/2000100"),
            size: Some(30_000_000),
            repo_size: None,
        }),
        databases: vec!["shop".to_owned()],
        reached: Some(Position {
            lsn: Lsn(0x300_0110),
            timeline: Some(1),
            last_commit: Some(at("2026-11-22T09:29:59.5Z")),
        }),
        phases: vec![PhaseRun {
            phase: Phase::Restore,
            duration: Duration::from_millis(1234),
            deadline: Duration::from_hours(1),
        }],
        checks: vec![Check {
            kind: CheckKind::Assertion,
            name: Some("orders".to_owned()),
            verdict: Verdict::Failed,
            message: Some("3 is not 4".to_owned()),
        }],
        restored_bytes: Some(31_000_000),
        wal_segments: Some(2),
        wal_bytes: Some(16_777_448),
        outcome: Outcome::Failed,
        reason: Some(Reason {
            class: ReasonClass::Assertion,
            phase: Phase::Check,
            message: "orders: 3 is not 4".to_owned(),
        }),
        chain: None,
    }
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let document = record().document().unwrap();
    assert_eq!(RestoreTest::parse(document.as_bytes()), Ok(record()));
    let value: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(value["phases"][0]["duration_seconds"], 1.234);
    assert_eq!(value["reached"]["lsn"], "0/3000110");
    assert_eq!(value["source"]["kind"], "host");
    assert_eq!(value["backup"]["type"], "full");
    assert_eq!(record().phase(Phase::Restore), Some(Duration::from_millis(1234)));
    assert_eq!(record().phase(Phase::Replay), None);
}

#[test]
fn what_a_newer_version_adds_does_not_make_a_record_unreadable() {
    let mut value = serde_json::to_value(record()).unwrap();
    value["weather"] = "fine".into();
    value["phases"][0]["phase"] = "wait".into();
    value["checks"][0]["kind"] = "smell".into();
    value["checks"][0]["verdict"] = "maybe".into();
    value["reason"]["class"] = "moon".into();
    value["target"]["kind"] = "name".into();
    for optional in ["backup", "reached", "wal_bytes"] {
        value.as_object_mut().unwrap().remove(optional);
    }
    let read = RestoreTest::parse(value.to_string().as_bytes()).unwrap();
    assert_eq!(read.phases[0].phase, Phase::Unknown);
    assert_eq!((read.checks[0].kind, read.checks[0].verdict), (CheckKind::Unknown, Verdict::Unknown));
    assert_eq!(read.reason.unwrap().class, ReasonClass::Unclassified);
    assert_eq!(read.target.kind, TargetKind::Unknown);
    assert_eq!((read.backup, read.reached, read.wal_bytes), (None, None, None));
}

#[test]
fn anything_else_is_not_a_record() {
    let parse = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(record()).unwrap();
        change(&mut value);
        RestoreTest::parse(value.to_string().as_bytes())
    };
    assert_eq!(parse(&|value| value["format"] = 2.into()), Err(RecordError::Newer { format: 2, known: 1 }));
    for (member, value) in [
        ("outcome", "splendid".into()),
        ("stanza", 7.into()),
        ("start", "yesterday".into()),
        ("repo", (-1).into()),
    ] {
        let read = parse(&|record| record[member] = serde_json::Value::clone(&value));
        assert!(matches!(read, Err(RecordError::Malformed { .. })), "{member}: {read:?}");
    }
    let negative = parse(&|record| record["phases"][0]["duration_seconds"] = (-1.0).into());
    assert!(matches!(negative, Err(RecordError::Malformed { .. })), "{negative:?}");
    for document in ["", "{", "[]", "{\"format\":1}"] {
        let read = RestoreTest::parse(document.as_bytes());
        assert!(matches!(read, Err(RecordError::Malformed { .. })), "{document}: {read:?}");
    }
    assert_eq!(RestoreTest::parse(&vec![b' '; MAX_BYTES + 1]), Err(RecordError::TooLarge));
}

#[test]
fn every_word_is_written_as_it_is_labelled() {
    let words = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    for class in ReasonClass::ALL {
        assert_eq!(words(serde_json::to_value(class).unwrap()), class.as_str());
        assert_ne!(class.outcome(), Outcome::Passed);
    }
    for phase in Phase::ALL {
        assert_eq!(words(serde_json::to_value(phase).unwrap()), phase.as_str());
    }
    for kind in CheckKind::ALL {
        assert_eq!(words(serde_json::to_value(kind).unwrap()), kind.as_str());
    }
    for outcome in Outcome::ALL {
        assert_eq!(words(serde_json::to_value(outcome).unwrap()), outcome.as_str());
    }
    for verdict in [Verdict::Passed, Verdict::Failed, Verdict::NotChecked] {
        assert_eq!(words(serde_json::to_value(verdict).unwrap()), verdict.as_str());
    }
}

#[test]
fn the_names_of_files_tell_what_is_in_them() {
    let start = record().start;
    assert_eq!(file::name(start), "20261122T100000.125Z.json");
    assert_eq!(file::start("20261122T100000.125Z.json"), Some(start));
    for other in
        [".20261122T100000.125Z.json", "20261122T100000Z.json", "20261122T100000.125Z.json.new", "x.json", ""]
    {
        assert_eq!(file::start(other), None, "{other}");
    }
    assert_eq!(
        file::directory::<RestoreTest>("my db", 2).as_deref(),
        Some(Path::new("restore-tests/my db/repo2"))
    );
    for stanza in ["", ".", "..", "a/b", "a/", "/a", "a\0b"] {
        assert_eq!(file::directory::<RestoreTest>(stanza, 1), None, "{stanza:?}");
    }
    assert_eq!(
        ["repo1", "repo12", "repo01", "repo", "repo+1", "x"].map(file::repo),
        [Some(1), Some(12), None, None, None, None]
    );
}

#[test]
fn the_last_fifty_are_kept() {
    let names = |range: std::ops::Range<i64>| {
        range
            .map(|minute| file::name(record().start + chrono::TimeDelta::minutes(minute)))
            .collect::<Vec<_>>()
    };
    let unlinked =
        |range: std::ops::Range<i64>| names(range).into_iter().map(|name| (None, name)).collect::<Vec<_>>();
    let mut all = unlinked(0..53);
    all.reverse();
    assert_eq!(file::outdated(all), names(0..3));
    assert_eq!(file::outdated(unlinked(0..50)), Vec::<String>::new());
    // The clock was set back.
    let mut all = unlinked(0..50);
    all.extend(names(-3..0).into_iter().zip(1..).map(|(name, number)| (Some(number), name)));
    assert_eq!(file::outdated(all), names(0..3));
}
