//! Findings about verifications.

use chrono::{DateTime, Utc};

use super::super::human;
use super::super::proofs::Outcome;
use super::super::records::INCONCLUSIVE_LIMIT;
use super::super::snapshot::Repo;
use super::super::verification_history::NotVerified;
use super::TEXT_LIMIT;

/// Verifications that failed since the last one that passed, and repeated ones without a result.
pub(super) fn sentences(repo: &Repo, now: DateTime<Utc>) -> Vec<String> {
    let Some(history) = repo.verifications.as_deref() else { return Vec::new() };
    let mut sentences = Vec::new();
    if let Some(failed) = history.not_passed.get(&Outcome::Failed) {
        let what = match history.consecutive_failures {
            0 | 1 => "a verification failed".to_owned(),
            several => format!("{several} verifications failed in a row, the last one"),
        };
        sentences.push(format!("{what} {}", why(failed, now)));
    }
    if history.consecutive_inconclusive >= INCONCLUSIVE_LIMIT {
        let without = [Outcome::Inconclusive, Outcome::TimedOut];
        let newest = without.iter().filter_map(|outcome| history.not_passed.get(outcome));
        let newest = newest.max_by_key(|verification| verification.start).map(|newest| why(newest, now));
        sentences.push(format!(
            "the last {} verifications had no result, the last one {}",
            history.consecutive_inconclusive,
            newest.unwrap_or_default()
        ));
    }
    sentences
}

/// `3 h ago (damaged_backup): …`
fn why(verification: &NotVerified, now: DateTime<Utc>) -> String {
    let message = human::line(&verification.message, TEXT_LIMIT);
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{} ({}){message}", human::age(verification.start, now), verification.class.as_str())
}
