//! Findings about restore tests.

use chrono::{DateTime, Utc};

use super::super::human;
use super::super::proofs::Outcome;
use super::super::records::INCONCLUSIVE_LIMIT;
use super::super::snapshot::Repo;
use super::super::test_history::NotPassed;
use super::TEXT_LIMIT;

/// Maximum characters of a backup's label.
const LABEL_LIMIT: usize = 60;

/// Tests that failed since the last one that passed, and repeated ones without a result.
pub(super) fn sentences(repo: &Repo, now: DateTime<Utc>) -> Vec<String> {
    let Some(tests) = repo.restore_tests.as_deref() else { return Vec::new() };
    let history = &tests.history;
    let mut sentences = Vec::new();
    if let Some(failed) = history.not_passed.get(&Outcome::Failed) {
        let what = match history.consecutive_failures {
            0 | 1 => "a restore test failed".to_owned(),
            several => format!("{several} restore tests failed in a row, the last one"),
        };
        sentences.push(format!("{what} {}", why(failed, now)));
    }
    if history.consecutive_inconclusive >= INCONCLUSIVE_LIMIT {
        let without = [Outcome::Inconclusive, Outcome::TimedOut];
        let newest = without.iter().filter_map(|outcome| history.not_passed.get(outcome));
        let newest = newest.max_by_key(|test| test.start).map(|newest| why(newest, now));
        sentences.push(format!(
            "the last {} restore tests had no result, the last one {}",
            history.consecutive_inconclusive,
            newest.unwrap_or_default()
        ));
    }
    sentences
}

/// `3 h ago with 20260101-000000F (missing_wal, replay): …`
fn why(test: &NotPassed, now: DateTime<Utc>) -> String {
    let backup = test.backup.as_deref().map(|label| format!(" with {}", human::line(label, LABEL_LIMIT)));
    let message = human::line(&test.message, TEXT_LIMIT);
    format!(
        "{}{} ({}, {}){}",
        human::age(test.start, now),
        backup.unwrap_or_default(),
        test.class.as_str(),
        test.phase.as_str(),
        if message.is_empty() { String::new() } else { format!(": {message}") }
    )
}
