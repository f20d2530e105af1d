//! Situations, as series, and what is said about them.

mod proofs;
mod stanzas;

use super::*;
use crate::check::facts::Selection;
use crate::check::limits::Level;
use crate::check::output;
use crate::check::report::Severity;
use crate::metrics::exposition;
use crate::metrics::{CollectionMetrics, Options};
use crate::pgbackrest::{info, sanitize};
use crate::state::assemble;
use crate::state::filter::Filter;
use crate::state::snapshot::{ScopeHealth, ScopeKind, Snapshot};

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

const NOW: f64 = 1_800_000_000.0;

fn facts(text: &str) -> Facts {
    let mut reader = reader();
    reader.feed(text.as_bytes()).unwrap();
    reader.end(false).unwrap()
}

fn of(services: &[&str], limits: &Limits, text: &str) -> Report {
    let services: Vec<_> = ALL.iter().copied().filter(|service| services.contains(&service.name)).collect();
    judge(&question(&services, limits), &facts(text), NOW)
}

/// As `check` asks by default.
fn question<'a>(services: &'a [&'static Service], limits: &'a Limits) -> Question<'a> {
    Question { services, limits, ignored: &[], expects_scan: true, demands_proof: false }
}

fn said(report: &Report) -> Vec<String> {
    report
        .problems
        .iter()
        .map(|problem| format!("{} {}", problem.severity.as_str(), problem.sentence()))
        .collect()
}

fn limits(set: &[(&str, Level)]) -> Limits {
    let mut limits = Limits::default();
    for (text, level) in set {
        limits.set(text, *level, quantities()).unwrap();
    }
    limits
}

/// A repository with one full backup of this age, and nothing wrong.
fn healthy(age: f64) -> String {
    let repo = "repo_key=\"1\",stanza=\"demo\"";
    let at = NOW - age;
    let mut text = format!(
        "pgbackrest_collector_up{{collector=\"info\",stanza=\"demo\"}} 1\n\
         pgbackrest_collector_last_success_timestamp_seconds{{collector=\"info\",stanza=\"demo\"}} {NOW}\n\
         pgbackrest_collector_interval_seconds{{collector=\"info\"}} 600\n\
         pgbackrest_collector_timeout_seconds{{collector=\"info\"}} 120\n\
         pgbackrest_repo_up{{{repo}}} 1\n\
         pgbackrest_stanza_status{{stanza=\"demo\"}} 0\n\
         pgbackrest_stanza_stopped{{stanza=\"demo\"}} 0\n\
         pgbackrest_backups_with_errors{{{repo}}} 0\n\
         pgbackrest_retention_satisfied{{backup_type=\"full\",{repo}}} 1\n\
         pgbackrest_wal_listed_timestamp_seconds{{{repo}}} {NOW}\n\
         pgbackrest_wal_last_archived_timestamp_seconds{{{repo}}} {at}\n\
         pgbackrest_recovery_latest_timestamp_seconds{{{repo}}} {at}\n\
         pgbackrest_recovery_window_seconds{{{repo}}} 90000\n\
         pgbackrest_recovery_window_verified{{{repo}}} 1\n"
    );
    for class in ["backup", "pitr_new", "pitr_old", "wrong_size"] {
        writeln!(text, "pgbackrest_wal_missing_segments{{class=\"{class}\",{repo}}} 0").unwrap();
    }
    for (kind, count) in [("full", 1), ("diff", 0), ("incr", 0)] {
        writeln!(text, "pgbackrest_backups{{backup_type=\"{kind}\",{repo}}} {count}").unwrap();
    }
    for name in ["last_completion", "chain_last_completion", "oldest_completion"] {
        writeln!(text, "pgbackrest_backup_{name}_timestamp_seconds{{backup_type=\"full\",{repo}}} {at}")
            .unwrap();
    }
    text
}

const EVERY: [&str; 4] = ["backups", "wal", "stanza", "collection"];

#[test]
fn names_are_unique_and_thresholds_are_ranges() {
    let mut names: Vec<&str> = quantities().map(|quantity| quantity.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), quantities().count());
    for quantity in quantities() {
        let usual = quantity.usual();
        assert_eq!(usual.warning.is_some(), quantity.warning.is_some(), "{}", quantity.name);
        assert_eq!(usual.critical.is_some(), quantity.critical.is_some(), "{}", quantity.name);
    }
}

#[test]
fn a_healthy_repository_is_fine() {
    let report = of(&EVERY, &Limits::default(), &healthy(3600.0));
    assert_eq!((said(&report), report.severity()), (Vec::new(), Severity::Ok));
    let out = output::plugin("", &report);
    assert!(out.starts_with(
        "PGBACKREST OK: 1 backup in 1 repository, the newest 1 h ago; 1 recovery window is proven"
    ));
    assert!(out.contains(" 'demo/repo1/age'=3600s;;93600"), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
}

#[test]
fn the_thresholds_of_alerts_are_the_usual_ones() {
    let report = of(&["backups"], &Limits::default(), &healthy(9.0 * 86_400.0));
    assert_eq!(
        said(&report),
        [
            "CRITICAL demo repo1: the newest backup is 9 d old (expected: at most 1 d 2 h)",
            "WARNING demo repo1: the newest full backup is 9 d old (expected: at most 8 d)",
        ]
    );
}

#[test]
fn thresholds_can_be_set() {
    let set = limits(&[
        ("age=10d", Level::Critical),
        ("full-age=~:", Level::Warning),
        ("oldest-age=30d:", Level::Warning),
        ("diff-backups=2:", Level::Critical),
        ("wal-age=1h", Level::Warning),
    ]);
    let report = of(&EVERY, &set, &healthy(9.0 * 86_400.0));
    assert_eq!(
        said(&report),
        [
            "CRITICAL demo repo1: 0 differential backups (expected: at least 2)",
            "WARNING demo repo1: the oldest backup is 9 d old (expected: at least 30 d)",
            "WARNING demo repo1: the newest WAL segment is 9 d old (expected: at most 1 h)",
        ]
    );
    for (text, part) in [("age", "NAME=RANGE"), ("ages=1", "known are age, full-age"), ("age=x", "26h")] {
        let error = Limits::default().set(text, Level::Warning, quantities()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Every series that is left out or says that a fact is not known.
#[test]
fn what_is_not_known_is_never_fine() {
    let unknown = |services: &[&str], text: &str, part: &str| {
        let report = of(services, &Limits::default(), text);
        assert_eq!(report.severity(), Severity::Unknown, "{services:?} {part}: {:?}", said(&report));
        assert!(said(&report).iter().any(|said| said.contains(part)), "{part}: {:?}", said(&report));
    };
    let healthy = healthy(3600.0);
    let without = |name: &str| -> String {
        healthy.lines().filter(|line| !line.starts_with(name)).collect::<Vec<_>>().join("\n") + "\n"
    };
    unknown(&["backups"], &without("pgbackrest_backups{"), "its backups are unknown");
    unknown(&["backups"], &without("pgbackrest_backup_last_completion"), "no backup has a credible time");
    unknown(
        &["backups", "wal", "stanza"],
        &without("pgbackrest_repo_up"),
        "not known whether it can be read",
    );
    unknown(&["wal"], &without("pgbackrest_wal_listed"), "not scanned");
    unknown(&["wal"], &without("pgbackrest_wal_missing_segments"), "timelines are unknown");
    for service in ["backups", "wal", "stanza"] {
        let failing = healthy.replace(
            "_up{collector=\"info\",stanza=\"demo\"} 1",
            "_up{collector=\"info\",stanza=\"demo\"} 0",
        );
        unknown(&[service], &failing, "the last collection failed");
        let outdated = healthy.replace(
            &format!("stanza=\"demo\"}} {NOW}\npgbackrest_collector_interval"),
            &format!("stanza=\"demo\"}} {}\npgbackrest_collector_interval", NOW - 2000.0),
        );
        assert_ne!(outdated, healthy);
        unknown(&[service], &outdated, "the facts are outdated");
        let ahead = healthy.replace(
            &format!("stanza=\"demo\"}} {NOW}\npgbackrest_collector_interval"),
            &format!("stanza=\"demo\"}} {}\npgbackrest_collector_interval", NOW + 2000.0),
        );
        unknown(&[service], &ahead, "in the future");
    }
    let (repo, down) = (
        "pgbackrest_repo_up{repo_key=\"1\",stanza=\"demo\"}",
        "pgbackrest_repo_state{repo_key=\"1\",stanza=\"demo\",state=\"timeout\"} 1\n",
    );
    let down = healthy.replace(&format!("{repo} 1"), &format!("{repo} 0")) + down;
    unknown(&["backups"], &down, "no response");
    unknown(&["wal"], &down, "no response");
    let critical = of(&["stanza"], &Limits::default(), &down);
    assert_eq!(said(&critical), ["CRITICAL demo repo1: the repository is not available: no response"]);
    for service in EVERY {
        let report = of(&[service], &Limits::default(), "pgbackrest_exporter_series 1\n");
        assert_eq!(report.severity(), Severity::Unknown, "{service}: {:?}", said(&report));
    }
    let future = healthy.replace(
        "last_completion_timestamp_seconds{backup_type=\"full\",repo_key=\"1\",stanza=\"demo\"} 1799996400",
        "last_completion_timestamp_seconds{backup_type=\"full\",repo_key=\"1\",stanza=\"demo\"} 1800090000",
    );
    assert_ne!(future, healthy);
    unknown(&["backups"], &future, "in the future");
}

#[test]
fn collection_that_never_worked_is_unknown_and_stale_data_is_critical() {
    let never = "pgbackrest_collector_up{collector=\"info\",stanza=\"all-stanzas\"} 0\n";
    let report = of(&["collection"], &Limits::default(), never);
    assert_eq!(said(&report), ["UNKNOWN all-stanzas: the last collection failed"]);
    let since = format!(
        "{never}pgbackrest_collector_last_success_timestamp_seconds{{collector=\"info\",stanza=\"all-stanzas\"}} {}\npgbackrest_collector_interval_seconds{{collector=\"info\"}} 600\npgbackrest_collector_timeout_seconds{{collector=\"info\"}} 120\n",
        NOW - 4000.0
    );
    let report = of(&["collection"], &Limits::default(), &since);
    assert_eq!(
        said(&report),
        [
            "CRITICAL all-stanzas: the last collection that succeeded was 1 h 6 min ago (expected: at most 32 min)",
            "WARNING all-stanzas: the last collection failed",
        ]
    );
}

#[test]
fn what_the_user_ignores_does_not_count() {
    let text = healthy(3600.0).replace("stopped{stanza=\"demo\"} 0", "stopped{stanza=\"demo\"} 1");
    let ignored = ["PgBackRestStopped".to_owned()];
    let limits = Limits::default();
    for (ignored, severity) in [(&[][..], Severity::Warning), (&ignored, Severity::Ok)] {
        let question = Question { ignored, ..question(ALL, &limits) };
        let report = judge(&question, &facts(&text), NOW);
        assert_eq!(report.severity(), severity);
        assert!(output::plugin("", &report).contains("[PgBackRestStopped]"));
    }
}

#[test]
fn a_stanza_that_was_asked_for_must_be_known() {
    let mut facts = facts(&healthy(3600.0));
    let filter = Filter::new(&["demo".to_owned(), "crm".to_owned()], &[], None, None, &[]).unwrap();
    facts.select(Selection { filter, clusters: Vec::new() });
    for service in ALL {
        let report = judge(&question(&[service], &Limits::default()), &facts, NOW);
        assert_eq!(said(&report), ["UNKNOWN crm: the stanza is not known"], "{}", service.name);
    }
}

/// What one collection finds, through the metrics, as this host is checked.
#[test]
fn a_snapshot_is_judged_by_its_series() {
    let cleaned =
        sanitize::clean(include_bytes!("../../../fixtures/info/2.60.0/two_repos_repo2_wrong_pass.json"));
    let document = info::parse(&cleaned.text).unwrap();
    let now: DateTime<Utc> = DateTime::from_timestamp(1_795_345_200, 0).unwrap();
    let stanzas: Vec<_> = document.stanzas().map(|stanza| assemble::stanza(stanza, now)).collect();
    let newest = stanzas[0].repos[0].backups.iter().map(|backup| backup.stop).max().unwrap();
    let now = newest + TimeDelta::hours(1);
    let mut snapshot = Snapshot { stanzas, ..Snapshot::default() };
    let scope = ScopeHealth {
        kind: ScopeKind::Stanza,
        up: true,
        last_run: now,
        last_success: Some(now),
        failure: None,
    };
    snapshot.collection.scopes.insert("demo".into(), scope);
    let options = Arc::new(Options::default());
    let text =
        exposition::written(&Arc::new(snapshot), &Arc::new(CollectionMetrics::new()), &options, now).unwrap();
    let mut facts = facts(&text);
    facts.explain(
        crate::check::facts::Place { repo: Some(2), ..crate::check::facts::Place::stanza("demo") },
        "wrong passphrase".to_owned(),
    );
    let limits = Limits::default();
    let question = question(&[&backups::SERVICE, &stanza::SERVICE], &limits);
    let report = judge(&question, &facts, now.timestamp() as f64);
    assert_eq!(report.severity(), Severity::Critical);
    let said = said(&report);
    assert!(
        said.contains(&"CRITICAL demo repo2: the repository is not available: wrong passphrase".to_owned()),
        "{said:#?}"
    );
    assert!(
        said.contains(&"UNKNOWN demo repo2: its backups are unknown: wrong passphrase".to_owned()),
        "{said:#?}"
    );
    assert!(
        report
            .measures
            .iter()
            .any(|measure| measure.quantity.name == "age" && (measure.value - 3600.0).abs() < 1.0)
    );
}
