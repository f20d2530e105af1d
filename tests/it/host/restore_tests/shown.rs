//! What real tests found is shown: in metrics, on the status page, and by `info`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::trial::Trial;
use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::{STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, output};

const REPO: &[(&str, &str)] = &[("repo_key", "1"), ("stanza", STANZA)];
const UNUSABLE: &str = "pgbackrest_restore_test_records_unusable";
const ESTIMATE: &str = "pgbackrest_recovery_time_estimate_seconds";

#[test]
fn tests_with_the_installed_version_are_shown() {
    check("tests_with_the_installed_version_are_shown", Pgbackrest::installed());
}

#[test]
fn tests_with_the_newest_version_are_shown() {
    check("tests_with_the_newest_version_are_shown", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let trial = Trial::start(&site);
    let labels = [trial.lab.back_up(1, "full"), trial.lab.back_up(1, "full")];
    trial.lab.back_up(1, "incr");
    let marked = trial.mark(1);
    trial.mark(2);
    trial.lab.postgres.archive_all();
    let state = format!("--state-directory={}", trial.state().display());
    let exporter = Exporter::start(&site, &trial.lab.both, &["--collect.interval=1", &state]);
    let samples = exporter.wait("proven windows", |samples| {
        let is_proven = samples.find("pgbackrest_recovery_window_verified", REPO) == Some(1.0);
        is_proven.then(|| exporter.samples())
    });
    assert!(!samples.names().iter().any(|name| name.contains("restore_test")), "there was no test yet");

    let oldest = trial.test(&["--repo=1", &format!("--backup={}", labels[0])]).passed();
    let samples = wait_for_test(&exporter, &oldest);
    let fulls = "full_backups_ratio";
    assert_eq!((value(&samples, fulls), value(&samples, "consecutive_failures")), (0.5, 0.0));
    samples.assert("pgbackrest_restore_test_last_outcome", &[("outcome", "passed")], 1.0);
    let what = [("backup_name", &*labels[0]), ("backup_type", "full"), ("target", "latest")];
    samples.assert("pgbackrest_restore_test_last_info", &what, 1.0);
    for run in oldest["phases"].as_array().unwrap() {
        let phase = [REPO, &[("phase", run["phase"].as_str().unwrap())]].concat();
        let shown = samples.value("pgbackrest_restore_test_last_phase_duration_seconds", &phase);
        assert!((shown - run["duration_seconds"].as_f64().unwrap()).abs() < 0.001, "{run}");
    }
    assert_eq!(value(&samples, "last_restored_bytes"), oldest["restored_bytes"].as_f64().unwrap());
    assert_eq!(value(&samples, "last_replayed_bytes"), oldest["wal_bytes"].as_f64().unwrap());
    let reached = time(&oldest["reached"]["last_commit"]);
    assert_eq!(value(&samples, "last_reached_timestamp_seconds"), reached.timestamp() as f64);
    for kind in ["target", "relations", "pages"] {
        let passed = [REPO, &[("check", kind), ("verdict", "passed")]].concat();
        samples.assert("pgbackrest_restore_test_last_checks", &passed, 1.0);
    }
    // Little was restored and replayed, so that is the fixed part.
    let measured = phase(&oldest, "restore") + phase(&oldest, "replay");
    for point in ["latest", "worst"] {
        let estimate = samples.value(ESTIMATE, &[REPO, &[("point", point), ("speed", "median")]].concat());
        assert!((estimate - measured).abs() < 0.01, "{estimate}, not {measured}");
    }

    let target = format!("--target={marked}");
    let newest = trial.test(&["--repo=1", &format!("--backup={}", labels[1]), &target]).passed();
    let samples = wait_for_test(&exporter, &newest);
    assert_eq!(value(&samples, fulls), 1.0);
    let target = time(&newest["target"]["time"]).timestamp() as f64;
    assert_eq!(value(&samples, "last_target_timestamp_seconds"), target);
    let stop = |record: &Value| time(&record["backup"]["stop"]).timestamp() as f64;
    assert_eq!(value(&samples, "newest_backup_timestamp_seconds"), stop(&newest));
    assert_eq!(value(&samples, "oldest_backup_timestamp_seconds"), stop(&oldest));
    assert!(exporter.get("/", &[]).text().contains("2 of 2 full backups tested"));
    is_told_by_info(&trial, &state, &newest, &marked);

    // A backup that is gone, a directory without space, and another repository.
    let directory = site.path(&format!("repo1/backup/{STANZA}/{}", labels[1]));
    let aside = site.path("aside");
    fs::rename(&directory, &aside).unwrap();
    let broken =
        trial.test(&["--repo=1", &format!("--backup={}", labels[1])]).ended("failed", "missing_backup");
    fs::rename(&aside, &directory).unwrap();
    let samples = wait_for_test(&exporter, &broken);
    assert_eq!(value(&samples, "consecutive_failures"), 1.0);
    let why = [("outcome", "failed"), ("phase", "restore"), ("reason", "missing_backup")];
    samples.assert("pgbackrest_restore_test_not_passed_info", &why, 1.0);
    let success = time(&newest["stop"]).timestamp() as f64;
    assert_eq!(value(&samples, "last_success_timestamp_seconds"), success);
    let page = exporter.get("/", &[]).text().to_owned();
    assert!(page.contains("a restore test failed") && page.contains("missing_backup"), "{page}");
    let full = trial.test(&["--repo=1", "--space-limit=1MiB"]).ended("inconclusive", "no_space");
    let samples = wait_for_test(&exporter, &full);
    assert_eq!(value(&samples, "consecutive_failures"), 1.0);
    assert_eq!(value(&samples, "consecutive_inconclusive"), 1.0);
    let other = trial.test(&["--repo=2"]).ended("failed", "no_backup");
    let samples = wait_for_test(&exporter, &other);
    assert_eq!(samples.all("pgbackrest_restore_test_last_start_timestamp_seconds", &[]).len(), 2);

    // Only backups that exist count.
    trial.lab.pgbackrest(&["--repo=1", &format!("--set={}", labels[0]), "expire"]);
    exporter.wait("the expiry", |samples| {
        (value(samples, "oldest_backup_timestamp_seconds") == stop(&newest)).then_some(())
    });
    // The superuser reads everything.
    if site.account.is_some() {
        let records = trial.state().join("restore-tests");
        fs::set_permissions(&records, fs::Permissions::from_mode(0o000)).unwrap();
        exporter
            .wait("the problem", |samples| samples.find(UNUSABLE, &[]).filter(|unusable| *unusable == 1.0));
        assert!(exporter.get("/", &[]).text().contains("Permission denied"));
        fs::set_permissions(&records, fs::Permissions::from_mode(0o755)).unwrap();
        wait_for_test(&exporter, &other);
    }
    assert_eq!(exporter.stop(), Some(0));
}

/// The table, the document, and the estimate for a point in time.
fn is_told_by_info(trial: &Trial<'_>, state: &str, newest: &Value, target: &str) {
    let info = |arguments: &[&str]| {
        let mut command = call(trial.site.account.as_ref(), our_program(trial.site));
        let told = output(
            command
                .args(["info", state])
                .arg(format!("--backrest.binary={}", trial.site.pgbackrest.program.display()))
                .arg(format!("--backrest.config={}", trial.lab.both.display()))
                .args(arguments),
        );
        assert!(told.status.success(), "{told:?}");
        [told.stdout, told.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [table, _] = info(&[]);
    for text in ["restore test passed", "2 of 2 full backups tested", "recovery time: about"] {
        let words: Vec<&str> = table.split(['│', ' ', '\n']).filter(|word| !word.is_empty()).collect();
        assert!(words.join(" ").contains(text), "{text} is missing in\n{table}");
    }
    let [document, _] = info(&["--output=json"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    let told = &document["stanzas"][0]["repos"][0]["restore_tests"];
    for member in ["backup", "outcome", "phases", "reached", "target", "versions", "wal_bytes"] {
        assert_eq!(told["last"][member], newest[member], "{member}: {told:#}");
    }
    assert_eq!(told["coverage"]["tested_full_backups"], 2);
    let [_, remarks] = info(&["--restore-command", &format!("--target={target}")]);
    for text in ["recovery takes about ", " (measured ", "), at worst "] {
        assert!(remarks.contains(text), "{text} is missing in {remarks}");
    }
}

/// Waits until the exporter has read a record.
fn wait_for_test(exporter: &Exporter, record: &Value) -> Samples {
    let repo = record["repo"].to_string();
    let start = time(&record["start"]).timestamp() as f64;
    exporter.wait("the record", |samples| {
        let find = |name: &str, labels: &[(&str, &str)]| {
            let labels = [&[("repo_key", &*repo), ("stanza", STANZA)], labels].concat();
            samples.find(&format!("pgbackrest_restore_test_{name}"), &labels)
        };
        let outcome = record["outcome"].as_str().unwrap();
        let is_it = find("last_start_timestamp_seconds", &[]) == Some(start)
            && find("last_outcome", &[("outcome", outcome)]) == Some(1.0);
        is_it.then(|| exporter.samples())
    })
}

fn value(samples: &Samples, name: &str) -> f64 {
    samples.value(&format!("pgbackrest_restore_test_{name}"), REPO)
}

fn phase(record: &Value, name: &str) -> f64 {
    let runs = record["phases"].as_array().unwrap();
    let run = runs.iter().find(|run| run["phase"] == name).unwrap();
    run["duration_seconds"].as_f64().unwrap()
}

fn time(text: &Value) -> DateTime<Utc> {
    text.as_str().unwrap().parse().unwrap()
}
