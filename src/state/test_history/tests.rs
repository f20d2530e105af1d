//! Histories of made-up records, some of them hostile.

use super::super::examples::{day, restore_test};
use super::super::proofs::{Check, CheckKind, Verdict};
use super::*;

#[test]
fn texts_of_records_are_bounded() {
    let mut test = restore_test(day(10), Outcome::Failed);
    test.backup.as_mut().unwrap().label = "no label".to_owned();
    let check = test.checks[0].clone();
    test.checks = (0..2 * MAX_CHECKS)
        .map(|_| {
            let message = Some(format!("\u{1b}[31m{}\n", "x".repeat(999)));
            Check { kind: CheckKind::Hook, verdict: Verdict::Failed, message, ..check.clone() }
        })
        .collect();
    test.reason.as_mut().unwrap().message = "a\nb".repeat(500);
    let history = TestHistory::of(test);
    assert_eq!((history.last.checks.len(), &history.last.backup), (MAX_CHECKS, &None));
    let messages = history.last.checks.iter().filter_map(|check| check.message.as_deref());
    for text in messages.chain(history.not_passed.values().map(|why| &*why.message)) {
        assert!(text.len() <= MAX_TEXT && !text.contains(char::is_control), "{text}");
    }
}
