//! Comparison with the Go exporter: our exporter serves everything that version 0.23 served for a recorded call, with the same values
//! and help.
//!
//! `fixtures/peer-metrics` contains its responses without `go_`, `process_` and `promhttp_` metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use chrono::{DateTime, Utc};

use pgbackrest_keeper::metrics::exposition::Format;
use pgbackrest_keeper::pgbackrest::version::{self, Version};

use crate::golden::fixtures;

/// What differs on purpose: a series that begins so, in cases whose name begins so, and why.
const DELIBERATE: &[(&str, &str, &str)] = &[
    ("pgbackrest_exporter_build_info", "", "it names what was built"),
    (
        "pgbackrest_exporter_status",
        "encrypted_repo_wrong_pass",
        "the output is cleaned and read; the repository's own status says what is wrong",
    ),
    (
        "pgbackrest_exporter_status",
        "two_repos_repo2_wrong_pass",
        "the healthy repository is shown, where the Go exporter loses every stanza",
    ),
];

#[test]
fn every_series_of_the_go_exporter_is_there_with_its_value() {
    let cases: BTreeMap<_, _> =
        fixtures::all().into_iter().map(|case| ((case.version.clone(), case.name.clone()), case)).collect();
    let (mut compared, mut differences, mut used) = (0, Vec::new(), BTreeSet::new());
    for directory in fixtures::entries(&fixtures::directory().join("peer-metrics")) {
        for file in fixtures::entries(&directory) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let directory = directory.file_name().unwrap().to_str().unwrap().to_owned();
            let stdout = &cases[&(directory.clone(), name.clone())].stdout;
            let peer = fs::read_to_string(&file).unwrap();
            let theirs = fixtures::series(&peer);
            let version = asked_version(&theirs);
            let read_at = fixtures::newest_stop(&fixtures::snapshot(stdout, version, DateTime::UNIX_EPOCH));
            let now = scraped_at(&theirs, read_at);
            let snapshot = fixtures::snapshot(stdout, version, now);
            let text = fixtures::exposition(snapshot, fixtures::options(), now, Format::Classic);
            let ours = fixtures::series(&text);
            for (series, value) in &theirs {
                compared += 1;
                let mine = ours.get(series);
                if mine == Some(value) {
                    continue;
                }
                let deliberate = DELIBERATE
                    .iter()
                    .position(|(of, case, _)| series.starts_with(of) && name.starts_with(case));
                match deliberate {
                    Some(index) => drop(used.insert(index)),
                    None => differences.push(format!("{directory}/{name}: {series}: {value}, we {mine:?}")),
                }
            }
            for line in peer.lines().filter(|line| line.starts_with('#')) {
                let is_ours = text.contains(&format!("{line}\n"));
                if !is_ours {
                    differences.push(format!("{directory}/{name}: {line}"));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > 7_000, "only {compared} series");
    let unused: Vec<_> = (0..DELIBERATE.len()).filter(|index| !used.contains(index)).collect();
    assert!(unused.is_empty(), "differences that no longer exist: {unused:?}");
}

/// The version that the Go exporter was told, which was not always the one that the call was recorded with.
fn asked_version(series: &BTreeMap<String, f64>) -> Option<Version> {
    version::parse(&series["pgbackrest_version_info"].to_string())
}

/// When it computed its ages: the last backup of any type satisfies incr.
fn scraped_at(series: &BTreeMap<String, f64>, newest_stop: DateTime<Utc>) -> DateTime<Utc> {
    let ages = series.iter().filter(|(name, _)| {
        name.starts_with("pgbackrest_backup_since_last_completion_seconds") && name.contains("=\"incr\"")
    });
    let smallest = ages.map(|(_, age)| *age).fold(f64::INFINITY, f64::min);
    let age = if smallest.is_finite() { smallest } else { 0.0 };
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds of some hours")]
    DateTime::from_timestamp(newest_stop.timestamp() + age as i64, 0).unwrap()
}
