//! The facts about restore tests on the card of a repository.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::state::proofs::Outcome;
use crate::state::restore_tests;
use crate::state::test_history::RestoreTests;

use super::pieces;

/// The newest test, what was tested of the existing backups, and how long a recovery takes.
pub(super) fn facts(tests: &RestoreTests, now: DateTime<Utc>) -> Markup {
    let last = &tests.history.last;
    let coverage = tests.coverage.as_ref().and_then(restore_tests::coverage_words);
    let newest = tests.coverage.and_then(|coverage| coverage.newest_backup);
    let time = tests.recovery_time.and_then(|time| restore_tests::recovery_time_words(&time, now));
    let outcome = restore_tests::outcome_words(last.outcome);
    html! {
        dt { "Restore test" }
        dd {
            @if last.outcome == Outcome::Passed { (outcome) } @else { span.reason.warning { (outcome) } }
            " " (pieces::age(last.stop, now)) ": " (restore_tests::restored_words(last))
            @if let Some(checks) = restore_tests::checks_words(last) { span.soft { ", " (checks) } }
            @if last.outcome != Outcome::Passed {
                br;
                @match tests.history.last_success {
                    Some(success) => { "last passed " (pieces::age(success, now)) }
                    None => { "none has passed" }
                }
            }
        }
        @if let Some(coverage) = coverage {
            dt { "Tested backups" }
            dd {
                (coverage)
                @if let Some(newest) = newest { span.soft { ", newest tested backup " (pieces::age(newest, now)) } }
            }
        }
        @if let Some(time) = time { dt { "Recovery time" } dd { (time) } }
    }
}
