//! Backups: age by type and repository, number, retention, damage.

use std::collections::BTreeSet;

use crate::check::facts::{Place, Series, clean};
use crate::check::judge::{Judge, Reading, repositories};
use crate::check::quantity::{Quantity, Thresholds};
use crate::check::range::Range;
use crate::check::report::Severity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::backups as metrics;
use crate::metrics::catalogue::jobs::{SCHEDULE_INTERVAL_SECONDS, SCHEDULE_SUSPENDED};
use crate::metrics::catalogue::wal::REPO_FUTURE_TIMESTAMPS;
use crate::state::human;

use super::Service;

pub(super) const SERVICE: Service = Service {
    name: "backups",
    about: "Age of the newest backups by type and repository, number of backups, retention, page checksum errors, failed attempts",
    metrics: &[
        &metrics::BACKUPS,
        &metrics::BACKUPS_WITH_ERRORS,
        &metrics::BACKUP_CHAIN_LAST_COMPLETION_TIMESTAMP_SECONDS,
        &metrics::BACKUP_LAST_ATTEMPT_FAILURE_INFO,
        &metrics::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS,
        &metrics::BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS,
        &metrics::BACKUP_SIZE_DEVIATION_RATIO,
        &metrics::EXPIRY_BLOCKED_SINCE_TIMESTAMP_SECONDS,
        &metrics::EXPIRY_OVERDUE_SINCE_TIMESTAMP_SECONDS,
        &REPO_FUTURE_TIMESTAMPS,
        &metrics::RETENTION_SATISFIED,
        &SCHEDULE_INTERVAL_SECONDS,
        &SCHEDULE_SUSPENDED,
        &metrics::STANZA_REPO_BACKUP_SKEW_SECONDS,
    ],
    quantities: QUANTITIES,
    alerts: &[
        "PgBackRestBackupStale",
        "PgBackRestFullBackupStale",
        "PgBackRestFullBackupStaleStatic",
        "PgBackRestNoBackupEver",
        "PgBackRestNoFullBackup",
        "PgBackRestPageChecksumErrors",
        "PgBackRestRetentionNotMet",
        "PgBackRestBackupAttemptFailed",
        "PgBackRestBackupShrunk",
        "PgBackRestBackupGrew",
        "PgBackRestExpiryBlocked",
        "PgBackRestExpiryOverdue",
        "PgBackRestClockWrong",
        "PgBackRestRepoLagging",
    ],
    judge,
};

const QUANTITIES: &[&Quantity] = &[
    &AGE,
    &FULL_AGE,
    &DIFF_AGE,
    &OLDEST_AGE,
    &BACKUPS,
    &FULL_BACKUPS,
    &DIFF_BACKUPS,
    &INCR_BACKUPS,
    &DAMAGED,
    &SIZE,
    &SKEW,
];

const AGE: Quantity = Quantity {
    name: "age",
    unit: Unit::Seconds,
    is_everywhere: true,
    warning: None,
    critical: Some("26h"),
    alert: Some("PgBackRestBackupStale"),
    about: "age of the newest backup of any type in a repository",
};
const FULL_AGE: Quantity = Quantity {
    name: "full-age",
    unit: Unit::Seconds,
    is_everywhere: true,
    warning: Some("8d"),
    critical: None,
    alert: Some("PgBackRestFullBackupStaleStatic"),
    about: "age of the newest full backup",
};
const DIFF_AGE: Quantity = Quantity {
    name: "diff-age",
    unit: Unit::Seconds,
    is_everywhere: true,
    warning: None,
    critical: None,
    alert: None,
    about: "age of the newest differential or full backup",
};
const OLDEST_AGE: Quantity = Quantity {
    name: "oldest-age",
    unit: Unit::Seconds,
    is_everywhere: true,
    warning: None,
    critical: None,
    alert: None,
    about: "age of the oldest backup; use a minimum, such as 30d:",
};
const BACKUPS: Quantity = Quantity {
    name: "backups",
    unit: Unit::Count,
    is_everywhere: true,
    warning: None,
    critical: Some("1:"),
    alert: Some("PgBackRestNoBackupEver"),
    about: "number of backups in a repository",
};
const FULL_BACKUPS: Quantity = Quantity {
    name: "full-backups",
    unit: Unit::Count,
    is_everywhere: true,
    warning: None,
    critical: Some("1:"),
    alert: Some("PgBackRestNoFullBackup"),
    about: "number of full backups, if there are backups",
};
const DIFF_BACKUPS: Quantity = Quantity {
    name: "diff-backups",
    unit: Unit::Count,
    is_everywhere: true,
    warning: None,
    critical: None,
    alert: None,
    about: "number of differential backups",
};
const INCR_BACKUPS: Quantity = Quantity {
    name: "incr-backups",
    unit: Unit::Count,
    is_everywhere: true,
    warning: None,
    critical: None,
    alert: None,
    about: "number of incremental backups",
};
const DAMAGED: Quantity = Quantity {
    name: "damaged-backups",
    unit: Unit::Count,
    is_everywhere: true,
    warning: None,
    critical: Some("0"),
    alert: Some("PgBackRestPageChecksumErrors"),
    about: "number of backups with page checksum errors",
};
const SIZE: Quantity = Quantity {
    name: "size",
    unit: Unit::Percent,
    is_everywhere: false,
    warning: Some("50:200"),
    critical: None,
    alert: None,
    about: "size of the database in the newest backup, relative to the median of its predecessors of the same type",
};
const SKEW: Quantity = Quantity {
    name: "backup-skew",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("26h"),
    critical: None,
    alert: Some("PgBackRestRepoLagging"),
    about: "how far the newest backup of one repository lags behind that of another; not judged if schedules are known",
};

/// Expire may run for an hour before it counts as blocked.
const BLOCKED_AFTER: f64 = 3600.0;

fn judge(judge: &mut Judge<'_>) {
    judge.expect_facts_of("info");
    let facts = judge.facts;
    let repos = facts.repos();
    let mut newest: Option<f64> = None;
    let mut backups = 0.0;
    for repo in &repos {
        let (age, count) = of_repo(judge, repo);
        backups += count;
        newest = [newest, age].into_iter().flatten().reduce(f64::min);
    }
    ages_without_repos(judge);
    damage(judge);
    attempts(judge);
    retention(judge);
    comparisons(judge);
    let age = newest.map_or_else(String::new, |age| format!(", the newest {} ago", Unit::Seconds.words(age)));
    let backups = human::count(backups, "backup");
    judge.report.summaries.push(format!("{backups} in {}{age}", repositories(repos.len())));
}

/// The age of the newest backup, and the number of backups, as far as they are known.
fn of_repo(judge: &mut Judge<'_>, repo: &Place) -> (Option<f64>, f64) {
    let facts = judge.facts;
    let counts = facts.at(&metrics::BACKUPS, repo);
    match facts.unreadable(repo) {
        Some(why) if counts.is_empty() => judge.unknown(repo, format!("its backups are unknown: {why}")),
        Some(why) => {
            judge.unknown(repo, format!("it cannot be read now, so newer backups are unknown: {why}"));
        }
        None if counts.is_empty() => judge.unknown(repo, "its backups are unknown"),
        None => {}
    }
    if counts.is_empty() {
        return (None, 0.0);
    }
    let of_type =
        |kind: &str| counts.iter().find(|series| series.label("backup_type") == kind).map(|s| s.value);
    let total: f64 = counts.iter().map(|series| series.value).sum();
    let text = if total == 0.0 { "there is no backup".to_owned() } else { human::count(total, "backup") };
    judge.measure(&Reading::new(&BACKUPS, repo, total, text));
    if total > 0.0
        && let Some(full) = of_type("full")
    {
        let text = if full == 0.0 {
            "there is no full backup".to_owned()
        } else {
            human::count(full, "full backup")
        };
        judge.measure(&Reading::new(&FULL_BACKUPS, repo, full, text));
    }
    for (quantity, kind, name) in
        [(&DIFF_BACKUPS, "diff", "differential"), (&INCR_BACKUPS, "incr", "incremental")]
    {
        if let Some(count) = of_type(kind) {
            judge.measure(&Reading::new(
                quantity,
                repo,
                count,
                human::count(count, &format!("{name} backup")),
            ));
        }
    }
    if total > 0.0 && facts.at(&metrics::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS, repo).is_empty() {
        judge.unknown(repo, "no backup has a credible time: check the clock of the PostgreSQL host");
    }
    (ages(judge, repo), total)
}

/// Ages of the newest backups of a repository. Returns the smallest.
fn ages(judge: &mut Judge<'_>, repo: &Place) -> Option<f64> {
    let facts = judge.facts;
    let newest_of = |all: &[Series]| all.iter().map(|one| one.value).reduce(f64::max);
    let newest = facts.at(&metrics::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS, repo);
    let (_, is_scheduled) = schedule(judge, repo, None);
    let age = newest_of(newest).and_then(|at| judge.age(repo, "the time of the newest backup", at));
    if let Some(age) = age {
        let mut reading = Reading::new(&AGE, repo, age, aged("the newest backup", age));
        reading.usual = is_scheduled.then(Thresholds::default);
        judge.measure(&reading);
    }
    let full = newest.iter().find(|series| series.label("backup_type") == "full");
    if let Some(age) = full.and_then(|full| judge.age(repo, "the time of the newest full backup", full.value))
    {
        let mut reading = Reading::new(&FULL_AGE, repo, age, aged("the newest full backup", age));
        let (interval, is_scheduled) = schedule(judge, repo, Some("full"));
        if is_scheduled {
            let limit = |interval: f64| Range::at_most(1.5 * interval + 3600.0);
            reading.usual = Some(Thresholds { warning: None, critical: interval.map(limit) });
            reading.alert = Some("PgBackRestFullBackupStale");
        }
        judge.measure(&reading);
    }
    let chain = facts.at(&metrics::BACKUP_CHAIN_LAST_COMPLETION_TIMESTAMP_SECONDS, repo);
    let diff = chain.iter().find(|series| series.label("backup_type") == "diff");
    if let Some(age) = diff.and_then(|diff| judge.age(repo, "the time of the newest backup", diff.value)) {
        let text = aged("the newest differential or full backup", age);
        judge.measure(&Reading::new(&DIFF_AGE, repo, age, text));
    }
    let oldest = facts.at(&metrics::BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS, repo);
    if let Some(at) = oldest.iter().map(|one| one.value).reduce(f64::min)
        && let Some(age) = judge.age(repo, "the time of the oldest backup", at)
    {
        judge.measure(&Reading::new(&OLDEST_AGE, repo, age, aged("the oldest backup", age)));
    }
    age
}

/// Ages at places that tell nothing else.
fn ages_without_repos(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    let known = facts.repos();
    let times = facts.of(&metrics::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS).map(|(place, _)| place);
    let others: BTreeSet<&Place> = times.filter(|place| !known.contains(place)).collect();
    for place in others {
        judge.unknown(place, "its state is unknown");
        ages(judge, place);
    }
}

fn aged(what: &str, age: f64) -> String {
    format!("{what} is {} old", Unit::Seconds.words(age))
}

/// The interval of the schedule of a type for a repository of a cluster, and whether there is a schedule. Without a type, only the
/// latter. None counts as due while it is suspended.
fn schedule(judge: &Judge<'_>, repo: &Place, kind: Option<&str>) -> (Option<f64>, bool) {
    let of_cluster = Place { stanza: "".into(), ..repo.clone() };
    let all = judge.facts.at(&SCHEDULE_INTERVAL_SECONDS, &of_cluster);
    let Some(kind) = kind else { return (None, !all.is_empty()) };
    let of_type = all.iter().find(|series| series.label("backup_type") == kind);
    let suspended = judge.facts.at(&SCHEDULE_SUSPENDED, &of_cluster);
    let is_suspended = suspended.iter().any(|series| series.label("backup_type") == kind && series.is_true());
    (of_type.filter(|_| !is_suspended).map(|series| series.value), of_type.is_some())
}

fn damage(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    for (repo, series) in facts.of(&metrics::BACKUPS_WITH_ERRORS) {
        let text = format!("backups with page checksum errors: {}", series.value);
        judge.measure(&Reading::new(&DAMAGED, repo, series.value, text));
    }
    for repo in facts.repos() {
        if facts.value(&metrics::BACKUPS_WITH_ERRORS, repo).is_none() && facts.unreadable(repo).is_none() {
            judge.unchecked("page checksum errors: told since pgBackRest 2.36");
        }
    }
    for (repo, series) in facts.of(&REPO_FUTURE_TIMESTAMPS) {
        if series.value > 0.0 && series.label("kind") == "backup" {
            let text = format!(
                "backups dated in the future: {}; check the clock of the PostgreSQL host",
                series.value
            );
            judge.problem(Severity::Warning, "PgBackRestClockWrong", repo, text);
        }
    }
}

fn attempts(judge: &mut Judge<'_>) {
    for (repo, series) in judge.facts.of(&metrics::BACKUP_LAST_ATTEMPT_FAILURE_INFO) {
        let reason = series.label("reason");
        if !series.is_true() || reason == "lock_conflict" {
            continue;
        }
        let kind = clean(series.label("backup_type"), 20);
        let reason =
            if reason.is_empty() { "unknown reason".to_owned() } else { clean(reason, 60).replace('_', " ") };
        let code = clean(series.label("exit_code"), 20);
        let code = if code.is_empty() { code } else { format!(", exit code {code}") };
        let kind = if kind.is_empty() { kind } else { format!("{kind} ") };
        let text = format!("the last {kind}backup failed ({reason}{code})");
        judge.problem(Severity::Warning, "PgBackRestBackupAttemptFailed", repo, text);
    }
}

fn retention(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    for (repo, series) in facts.of(&metrics::RETENTION_SATISFIED) {
        if series.value == 0.0 {
            let text =
                format!("fewer {} backups than retention requires", clean(series.label("backup_type"), 20));
            judge.problem(Severity::Warning, "PgBackRestRetentionNotMet", repo, text);
        }
    }
    for repo in facts.repos() {
        if facts.at(&metrics::RETENTION_SATISFIED, repo).is_empty() && facts.unreadable(repo).is_none() {
            judge.unchecked("retention: not configured, or the configuration is unknown");
        }
    }
    for (repo, series) in facts.of(&metrics::EXPIRY_BLOCKED_SINCE_TIMESTAMP_SECONDS) {
        let since = judge.now - series.value;
        if since > BLOCKED_AFTER {
            let text = format!(
                "pgBackRest has refused to expire backups for {}, because a damaged one would become the oldest",
                Unit::Seconds.words(since)
            );
            judge.problem(Severity::Warning, "PgBackRestExpiryBlocked", repo, text);
        }
    }
    for (repo, series) in facts.of(&metrics::EXPIRY_OVERDUE_SINCE_TIMESTAMP_SECONDS) {
        if series.value > 0.0 {
            let text = "it contains backups that expire should have removed";
            judge.problem(Severity::Warning, "PgBackRestExpiryOverdue", repo, text);
        }
    }
}

fn comparisons(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    for (repo, series) in facts.of(&metrics::BACKUP_SIZE_DEVIATION_RATIO) {
        if series.label("what") != "database" {
            continue;
        }
        let (kind, percent) = (clean(series.label("backup_type"), 20), 100.0 * series.value);
        let text = format!("the newest {kind} backup has {} of the usual size", Unit::Percent.words(percent));
        let alert = if series.value < 1.0 { "PgBackRestBackupShrunk" } else { "PgBackRestBackupGrew" };
        let reading = Reading::new(&SIZE, repo, percent, text);
        judge.measure(&Reading { detail: &kind, alert: Some(alert), ..reading });
    }
    let scheduled = |place: &Place| {
        let mut schedules = facts.of(&SCHEDULE_INTERVAL_SECONDS);
        schedules.any(|(of, _)| (&of.namespace, &of.cluster) == (&place.namespace, &place.cluster))
    };
    for (stanza, series) in facts.of(&metrics::STANZA_REPO_BACKUP_SKEW_SECONDS) {
        let text = format!("the repositories are {} apart", Unit::Seconds.words(series.value));
        let mut reading = Reading::new(&SKEW, stanza, series.value, text);
        reading.usual = scheduled(stanza).then(Thresholds::default);
        judge.measure(&reading);
    }
}
