//! `check` and the alert rules say the same: the situations of the tests of each alert, which promtool evaluates, are judged by `check`.
//!
//! It remembers nothing. What an alert waits for (`for`) is what monitoring waits for by trying again, so `check` must find a problem as
//! long as the alert waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use pgbackrest_keeper::check::limits::Limits;
use pgbackrest_keeper::check::range::Range;
use pgbackrest_keeper::check::report::Severity;
use pgbackrest_keeper::check::services::{self, Question};
use regex::Regex;
use serde::Deserialize;

use super::{RULES, Rule, alerts, root, rules, words};

/// Alerts about what one look cannot tell: they compare with the past, or are about jobs, the operator, or Prometheus itself.
const NOT_CHECKED: &[&str] = &[
    "PgBackRestBackupNoProgress",
    "PgBackRestClusterNeverTested",
    "PgBackRestClusterNotOk",
    "PgBackRestCronJobSuspended",
    "PgBackRestEncryptionMissing",
    "PgBackRestExporterAbsent",
    "PgBackRestExporterDown",
    "PgBackRestJobFailed",
    "PgBackRestJobFailingRepeatedly",
    "PgBackRestJobLockConflicts",
    "PgBackRestJobStuck",
    // Right after a backup was interrupted, leftovers are normal; the alert waits for a day.
    "PgBackRestLeftoverBackups",
    // Whoever is notified of it would not hear of it.
    "PgBackRestNotificationsFailing",
    "PgBackRestOperatorNoLeader",
    "PgBackRestOperatorTwoLeaders",
    "PgBackRestReconcileErrors",
    "PgBackRestRepoDiskFilling",
    "PgBackRestRepoGrowth",
    "PgBackRestRestoreTestCoverageLow",
    "PgBackRestRestoreTestScheduleStopped",
    "PgBackRestScheduleConflict",
    "PgBackRestScheduleMissed",
    "PgBackRestSeriesDropped",
    "PgBackRestVersionSkew",
    "PgBackRestWalArchivingStalled",
];

/// Situations that only the past explains: the alert, and a part of the name of its test.
const PAST: &[(&str, &str)] = &[
    ("PgBackRestBackupStale", "the schedule was known until the operator stopped"),
    // That a database that writes continuously writes no more.
    ("PgBackRestRpoExceeded", "fires if WAL arrives after a gap, and if no more WAL arrives"),
];

/// The limits of alerts that can be changed, and the thresholds that are the same.
const SAME: &[(&str, &str)] = &[
    ("full_age_seconds", "full-age"),
    ("any_age_seconds", "age"),
    ("repo_skew_seconds", "backup-skew"),
    ("repo_skew_segments", "wal-skew"),
    ("rpo_seconds", "lag"),
    ("wal_wait_seconds", "waiting-age"),
    ("wal_drop_seconds", "drop-in"),
    ("recovery_window_seconds", "window"),
    ("restore_test_age_seconds", "restore-test-age"),
    ("restore_test_success_age_seconds", "restore-test-success-age"),
    ("recovery_time_seconds", "recovery-time"),
    ("verify_age_seconds", "verify-age"),
    ("verify_success_age_seconds", "verify-success-age"),
];

#[derive(Debug, Deserialize)]
struct File {
    evaluation_interval: String,
    tests: Vec<Situation>,
}

#[derive(Debug, Deserialize)]
struct Situation {
    name: String,
    interval: String,
    #[serde(default)]
    input_series: Vec<Input>,
    #[serde(default)]
    alert_rule_test: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
struct Input {
    series: String,
    values: String,
}

#[derive(Debug, Deserialize)]
struct Expected {
    eval_time: String,
    #[serde(default)]
    exp_alerts: Vec<Fired>,
}

#[derive(Debug, Deserialize)]
struct Fired {
    exp_labels: BTreeMap<String, String>,
}

/// What an alert is about: instance, namespace, cluster, stanza, repository.
type Subject = [String; 5];

/// Seconds of a duration such as `90m` and `1h30m`.
fn seconds(text: &str) -> u64 {
    let unit = |unit: &str| match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        other => panic!("{other}"),
    };
    let parts = Regex::new("([0-9]+)([smhd])").unwrap();
    parts.captures_iter(text).map(|part| part[1].parse::<u64>().unwrap() * unit(&part[2])).sum()
}

/// The samples of a series in promtool's notation; none where it has no sample.
fn samples(notation: &str) -> Vec<Option<f64>> {
    let part = Regex::new(r"^(-?[0-9.]+)(?:([+-][0-9.]+))?(?:x([0-9]+))?$").unwrap();
    let mut all = Vec::new();
    for word in notation.split_whitespace() {
        if word == "stale" {
            all.push(None);
        } else if let Some(missing) = word.strip_prefix('_') {
            let count = missing.strip_prefix('x').map_or(1, |count| count.parse().unwrap());
            all.extend(std::iter::repeat_n(None, count));
        } else {
            let found = part.captures(word).unwrap_or_else(|| panic!("{word}"));
            let number = |index| found.get(index).map(|found| found.as_str().parse::<f64>().unwrap());
            let (start, step) = (number(1).unwrap(), number(2).unwrap_or(0.0));
            let count = found.get(3).map_or(0, |count| count.as_str().parse::<u32>().unwrap());
            all.extend((0..=count).map(|index| Some(start + step * f64::from(index))));
        }
    }
    all
}

impl Situation {
    /// What each instance serves at a time: the newest samples of the last five minutes.
    fn scraped_at(&self, time: u64) -> BTreeMap<String, String> {
        let label = Regex::new(r#"(job|instance)="([^"]*)",? ?"#).unwrap();
        let interval = seconds(&self.interval);
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for input in &self.input_series {
            let instance = label.captures_iter(&input.series).find(|found| &found[1] == "instance");
            let instance = instance.map(|found| found[2].to_owned()).unwrap_or_default();
            let text = texts.entry(instance).or_insert_with(|| "pgbackrest_exporter_series 1\n".to_owned());
            let all = samples(&input.values);
            let newest = usize::try_from(time / interval).unwrap();
            let newest = (time % interval < 300).then(|| all.get(newest).copied().flatten()).flatten();
            if let Some(value) = newest {
                writeln!(text, "{} {value}", label.replace_all(&input.series, "")).unwrap();
            }
        }
        texts
    }

    /// The problems of an alert at a time.
    fn found_at(&self, alert: &str, time: u64) -> BTreeMap<Subject, Severity> {
        let limits = Limits::default();
        let question = Question {
            services: services::ALL,
            limits: &limits,
            ignored: &[],
            expects_scan: true,
            demands_proof: false,
        };
        let mut found = BTreeMap::new();
        for (instance, text) in self.scraped_at(time) {
            let mut reader = services::reader();
            reader.feed(text.as_bytes()).unwrap();
            let facts = reader.end(false).unwrap();
            let report = services::judge(&question, &facts, time as f64);
            for problem in report.problems.iter().filter(|problem| problem.alert == Some(alert)) {
                let place = &problem.place;
                let repo = place.repo.map(|repo| repo.to_string()).unwrap_or_default();
                let [namespace, cluster, stanza] =
                    [&place.namespace, &place.cluster, &place.stanza].map(ToString::to_string);
                let subject = [instance.clone(), namespace, cluster, stanza, repo];
                let worst = found.entry(subject).or_insert(problem.severity);
                *worst = problem.severity.max(*worst);
            }
        }
        found
    }

    /// What would be notified at a time: problems that have been there as long as the rule waits. By subject, with the worst severity.
    fn fired_at(&self, alert: &str, rules: &[Rule], step: u64, time: u64) -> BTreeMap<Subject, Severity> {
        let last = time - time % step;
        let mut fired: BTreeMap<Subject, Severity> = BTreeMap::new();
        for rule in rules {
            let pending = rule.pending.as_deref().map_or(0, seconds);
            let severity = severity(&rule.labels["severity"]);
            let mut holding = self.found_at(alert, last);
            holding.retain(|_, found| *found >= severity);
            let mut at = last;
            while last - at < pending {
                if at < step {
                    holding.clear();
                    break;
                }
                at -= step;
                let before = self.found_at(alert, at);
                holding.retain(|subject, _| before.get(subject).is_some_and(|found| *found >= severity));
            }
            for (subject, found) in holding {
                let told = if found == Severity::Unknown { found } else { severity };
                let worst = fired.entry(subject).or_insert(told);
                *worst = told.max(*worst);
            }
        }
        fired
    }
}

fn severity(word: &str) -> Severity {
    match word {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        other => panic!("{other}"),
    }
}

fn expected(fired: &[Fired]) -> BTreeMap<Subject, Severity> {
    let mut expected: BTreeMap<Subject, Severity> = BTreeMap::new();
    for Fired { exp_labels } in fired {
        let names = ["instance", "namespace", "pg_cluster", "stanza", "repo_key"];
        let subject = names.map(|name| exp_labels.get(name).cloned().unwrap_or_default());
        let severity = severity(&exp_labels["severity"]);
        let worst = expected.entry(subject).or_insert(severity);
        *worst = severity.max(*worst);
    }
    expected
}

#[test]
fn every_alert_is_checked_or_known_not_to_be() {
    let checked: BTreeSet<&str> =
        services::ALL.iter().flat_map(|service| service.alerts.iter().copied()).collect();
    let not_checked: BTreeSet<&str> = NOT_CHECKED.iter().copied().collect();
    assert_eq!(checked.intersection(&not_checked).count(), 0);
    let known: BTreeSet<String> = alerts(RULES).into_iter().map(|(name, _)| name).collect();
    let all: BTreeSet<String> = checked.union(&not_checked).map(ToString::to_string).collect();
    assert_eq!(all, known);
}

#[test]
fn thresholds_are_those_of_the_rules() {
    let rules = rules(RULES);
    for (record, name) in SAME {
        let record = format!("pgbackrest:threshold:{record}");
        let rule = rules.iter().find(|rule| rule.record.as_deref() == Some(&record)).unwrap();
        let product = words(r"vector\(([0-9. *]+)\)", &rule.expr)[0];
        let value: f64 = product.split('*').map(|factor| factor.trim().parse::<f64>().unwrap()).product();
        let quantity = services::quantities().find(|quantity| quantity.name == *name).unwrap();
        let usual = quantity.usual();
        let range: Range = usual.critical.or(usual.warning).unwrap();
        let (below, at, above) = (value - 1.0, value, value + 1.0);
        let is_minimum = range.is_violated_by(below);
        assert_eq!(
            [below, at, above].map(|value| range.is_violated_by(value)),
            [is_minimum, false, !is_minimum],
            "{name}"
        );
    }
    let all: Vec<&str> = rules
        .iter()
        .filter_map(|rule| rule.record.as_deref()?.strip_prefix("pgbackrest:threshold:"))
        .collect();
    // The first is about the past, the second about an operator. The others are given in other units, and compared by situations.
    let others = ["wal_age_seconds", "restore_test_coverage_ratio", "credential_days", "wal_unneeded_ratio"];
    assert!(
        all.iter().all(|name| others.contains(name) || SAME.iter().any(|(same, _)| same == name)),
        "{all:?}"
    );
}

#[test]
fn alerts_and_check_agree() {
    let checked: BTreeSet<&str> =
        services::ALL.iter().flat_map(|service| service.alerts.iter().copied()).collect();
    let mut wrong = Vec::new();
    for alert in checked {
        let file = root().join(format!("alerts/tests/{alert}.test.yml"));
        let file: File = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let rules: Vec<Rule> =
            alerts(RULES).into_iter().filter(|(name, _)| name == alert).map(|(_, rule)| rule).collect();
        let (step, mut agreed) = (seconds(&file.evaluation_interval), 0);
        for situation in &file.tests {
            let is_past = PAST.iter().any(|(of, name)| *of == alert && situation.name.contains(name));
            for test in &situation.alert_rule_test {
                let expected = expected(&test.exp_alerts);
                let fired = situation.fired_at(alert, &rules, step, seconds(&test.eval_time));
                agreed += fired.keys().filter(|subject| expected.contains_key(*subject)).count();
                let is_same = |(subject, severity): (&Subject, &Severity)| {
                    expected
                        .get(subject)
                        .is_some_and(|expected| severity == expected || *severity == Severity::Unknown)
                };
                let do_agree = fired.len() == expected.len() && fired.iter().all(is_same);
                if do_agree == is_past {
                    let past = if is_past { ", which does not depend on the past" } else { "" };
                    let name = &situation.name;
                    wrong.push(format!("{alert}, {name}{past}: the alert {expected:?}, check {fired:?}"));
                }
            }
        }
        if agreed == 0 {
            wrong.push(format!("{alert} and check never agreed that there is a problem"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
