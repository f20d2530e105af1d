//! The facts about verifications on the card of a repository.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::state::proofs::Outcome;
use crate::state::restore_tests;
use crate::state::verification_history::VerificationHistory;
use crate::state::verifications;

use super::pieces;

/// The newest verification, and when one last passed.
pub(super) fn facts(history: &VerificationHistory, now: DateTime<Utc>) -> Markup {
    let last = &history.last;
    let outcome = restore_tests::outcome_words(last.outcome);
    html! {
        dt { "Verification" }
        dd {
            @if last.outcome == Outcome::Passed { (outcome) } @else { span.reason.warning { (outcome) } }
            " " (pieces::age(last.stop, now))
            @if let Some(read) = verifications::read_words(last) { ": " (read) }
            @if let Some(gaps) = verifications::gaps_words(last) { span.soft { ", " (gaps) } }
            @if last.outcome != Outcome::Passed {
                br;
                @match history.last_success {
                    Some(success) => { "last passed " (pieces::age(success, now)) }
                    None => { "none has passed" }
                }
            }
        }
    }
}
