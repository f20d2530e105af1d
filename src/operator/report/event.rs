//! The contents of Events. Pure.

use kube::runtime::events::{Event, EventType};

use crate::cluster::finding::Finding;
use crate::text::{cut, lines};

use super::ReconcileFailure;

/// Kubernetes rejects longer notes.
const LONGEST_NOTE: usize = 1024;

/// An Event to publish.
pub(super) struct Notice {
    pub(super) event: Event,
    /// Problems that are reported from then on.
    pub(super) adds: Vec<String>,
    /// Problems that are resolved from then on.
    pub(super) resolves: Vec<String>,
}

impl Notice {
    /// For findings of one code.
    pub(super) fn of_findings(findings: &[&Finding]) -> Option<Self> {
        let reason = camel_case(findings.first()?.code.word);
        let adds: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let event = event(EventType::Warning, &reason, "Check", &adds.join("\n"));
        Some(Self { event, adds, resolves: Vec::new() })
    }

    /// For actions of one reason.
    pub(super) fn of_actions(reason: &str, messages: &[&str]) -> Self {
        let event = event(EventType::Normal, reason, "Reconcile", &messages.join("\n"));
        Self { event, adds: Vec::new(), resolves: Vec::new() }
    }

    pub(super) fn of_failure(failure: ReconcileFailure<'_>) -> Self {
        let identity = identity(failure);
        let note = format!("{identity}: {}", failure.message);
        let event = event(EventType::Warning, "ReconcileFailed", "Reconcile", &note);
        Self { event, adds: vec![identity], resolves: Vec::new() }
    }

    /// For resolved problems.
    pub(super) fn of_resolved(resolves: Vec<String>) -> Self {
        let event = event(EventType::Normal, "Resolved", "Check", &resolves.join("\n"));
        Self { event, adds: Vec::new(), resolves }
    }
}

/// Failures with the same identity are the same.
pub(super) fn identity(failure: ReconcileFailure<'_>) -> String {
    format!("reconcile failed ({})", failure.phase)
}

fn event(kind: EventType, reason: &str, action: &str, note: &str) -> Event {
    Event {
        type_: kind,
        reason: reason.to_owned(),
        note: Some(cut(&lines(note), LONGEST_NOTE)),
        action: action.to_owned(),
        secondary: None,
    }
}

/// `name-taken` → `NameTaken`.
fn camel_case(word: &str) -> String {
    word.split('-')
        .flat_map(|part| {
            let mut letters = part.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::finding::codes;

    #[test]
    fn codes_become_reasons() {
        assert_eq!(camel_case("name-taken"), "NameTaken");
        assert_eq!(camel_case("paused"), "Paused");
        let reasons: BTreeSet<String> = codes::ALL.iter().map(|code| camel_case(code.word)).collect();
        assert_eq!(reasons.len(), codes::ALL.len());
        assert!(!reasons.contains("Resolved") && !reasons.contains("ReconcileFailed"));
    }

    #[test]
    fn a_note_fits_and_ends_with_a_character() {
        let finding = Finding::new(&codes::WRONG_TYPE, "é".repeat(600), "é".repeat(600), "x");
        let notice = Notice::of_findings(&[&finding, &finding]).unwrap();
        let note = notice.event.note.unwrap();
        assert!(note.len() <= LONGEST_NOTE && note.len() > LONGEST_NOTE - 6 && note.ends_with('…'));
    }
}
