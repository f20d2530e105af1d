//! Restore tests and recovery times in words, for the status page and the terminal.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::human;
use super::super::proofs::{Outcome, RestoreTest, Target, TargetKind, Verdict};
use super::super::speeds::{Estimate, RecoveryTime};
use super::super::test_history::{Coverage, RestoreTests};

/// Maximum length of a label, and of the name of a database.
const LABEL_LIMIT: usize = 60;

/// The result as the label value and in words.
#[must_use]
pub const fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Inconclusive => "was inconclusive",
        Outcome::TimedOut => "timed out",
    }
}

/// The label value of a target.
#[must_use]
pub const fn target_name(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Latest => "latest",
        TargetKind::Immediate => "immediate",
        TargetKind::Time => "time",
        TargetKind::Unknown => "unknown",
    }
}

/// `20260101-000000F to the latest point in time`, `…, only the database shop`; what the newest test restored.
#[must_use]
pub fn restored_words(test: &RestoreTest) -> String {
    let label = test.backup.as_ref().map(|backup| human::line(&backup.label, LABEL_LIMIT));
    let label = label.unwrap_or_else(|| "no backup".to_owned());
    let only = match &test.databases[..] {
        [] => String::new(),
        [one] => format!(", only the database {}", human::line(one, LABEL_LIMIT)),
        several => format!(", only {} databases", several.len()),
    };
    format!("{label} to {}{only}", target_words(test.target))
}

fn target_words(target: Target) -> String {
    match (target.kind, target.time) {
        (TargetKind::Latest, _) => "the latest point in time".to_owned(),
        (TargetKind::Immediate, _) => "the end of the backup".to_owned(),
        (TargetKind::Time, Some(time)) => human::instant(time),
        (TargetKind::Time, None) | (TargetKind::Unknown, _) => "an unknown target".to_owned(),
    }
}

/// `4 checks passed, 1 not made`; none without a check.
#[must_use]
pub fn checks_words(test: &RestoreTest) -> Option<String> {
    let count = |verdict| test.checks.iter().filter(|check| check.verdict == verdict).count();
    let counts = [
        (count(Verdict::Passed), "passed"),
        (count(Verdict::Failed), "failed"),
        (count(Verdict::NotChecked), "not made"),
        (count(Verdict::Unknown), "with an unknown result"),
    ];
    let mut words = counts.into_iter().filter(|(number, _)| *number > 0);
    let (number, verdict) = words.next()?;
    let first = format!("{} {verdict}", human::count(number, "check"));
    Some(words.fold(first, |words, (number, verdict)| format!("{words}, {number} {verdict}")))
}

/// `2 of 5 full backups tested`; none without a full backup.
#[must_use]
pub fn coverage_words(coverage: &Coverage) -> Option<String> {
    let Coverage { full_backups, tested_full_backups, .. } = coverage;
    (*full_backups > 0)
        .then(|| format!("{tested_full_backups} of {} tested", human::count(*full_backups, "full backup")))
}

/// `about 41 min to the latest point in time (at worst 52 min), about 1 h to the one that takes longest (at worst 2 h), measured 3 d ago`.
#[must_use]
pub fn recovery_time_words(time: &RecoveryTime, now: DateTime<Utc>) -> Option<String> {
    let words = |estimate: Estimate, point: &str| {
        format!("{} to {point} (at worst {})", about(estimate), length(estimate.worst))
    };
    let points = [
        time.latest.map(|estimate| words(estimate, "the latest point in time")),
        time.worst_point.map(|estimate| words(estimate, "the one that takes longest")),
    ];
    let points: Vec<String> = points.into_iter().flatten().collect();
    (!points.is_empty())
        .then(|| format!("{}, measured {}", points.join(", "), human::age(time.measured_at, now)))
}

/// `about 41 min (measured 3 d ago), at worst 52 min`
#[must_use]
pub fn estimate_words(estimate: Estimate, measured_at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let measured = human::age(measured_at, now);
    format!("{} (measured {measured}), at worst {}", about(estimate), length(estimate.worst))
}

fn about(estimate: Estimate) -> String {
    format!("about {}", length(estimate.median))
}

/// At least a second.
fn length(seconds: f64) -> String {
    let length = Duration::try_from_secs_f64(seconds.max(1.0).round()).ok();
    human::duration(length.and_then(|length| TimeDelta::from_std(length).ok()).unwrap_or(TimeDelta::MAX))
}

/// One line for each fact, for the notes in the terminal.
#[must_use]
pub fn lines(tests: &RestoreTests, now: DateTime<Utc>) -> Vec<String> {
    let last = &tests.history.last;
    let outcome = outcome_words(last.outcome);
    let checks = checks_words(last).map_or_else(String::new, |checks| format!(", {checks}"));
    let mut lines = vec![format!(
        "restore test {outcome} {}: {}{checks}",
        human::age(last.stop, now),
        restored_words(last)
    )];
    if last.outcome != Outcome::Passed {
        let success = tests.history.last_success.map_or_else(|| "never".to_owned(), |at| human::age(at, now));
        lines.push(format!("last restore test that passed: {success}"));
    }
    let coverage = tests.coverage.as_ref().and_then(coverage_words);
    lines.extend(coverage.map(|coverage| format!("restore tests: {coverage}")));
    let time = tests.recovery_time.and_then(|time| recovery_time_words(&time, now));
    lines.extend(time.map(|time| format!("recovery time: {time}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::examples::{day, restore_test};
    use super::*;

    #[test]
    fn estimates_are_rough() {
        let at = |median, worst| estimate_words(Estimate { median, worst }, day(1), day(4));
        assert_eq!(at(2465.2, 3120.0), "about 41 min (measured 3 d ago), at worst 52 min");
        assert_eq!(at(0.0, 59.6), "about 1 s (measured 3 d ago), at worst 1 min");
        assert!(at(f64::MAX, f64::INFINITY).starts_with("about "));
    }

    #[test]
    fn a_test_is_told_in_a_sentence() {
        let mut test = restore_test(day(1), Outcome::Passed);
        assert_eq!(restored_words(&test), "20260101-000000F to the latest point in time");
        assert_eq!(checks_words(&test).unwrap(), "1 check passed, 1 not made");
        test.target = Target { kind: TargetKind::Time, time: Some(day(1)), random: true };
        (test.backup, test.checks) = (None, Vec::new());
        test.databases = vec!["shop".to_owned()];
        assert_eq!(restored_words(&test), "no backup to 2026-01-02 00:00:00 UTC, only the database shop");
        test.databases.push("stock".to_owned());
        assert!(restored_words(&test).ends_with(", only 2 databases"));
        assert_eq!(checks_words(&test), None);
    }
}
