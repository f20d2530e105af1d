//! News over several reconciles and over restarts.

use super::*;
use crate::cluster::finding::codes;
use crate::operator::deed::Deed;
use crate::operator::report::Failure;

fn finding(code: &'static crate::cluster::finding::Code, field: &str) -> Finding {
    Finding::new(code, field, "is wrong", "mend it")
}

fn about(findings: &[Finding]) -> Told<'_> {
    Told { findings, ..Told::default() }
}

fn failed<'a>(phase: &'static str, message: &'a str) -> Told<'a> {
    Told { failure: Some(Failure { phase, message }), ..Told::default() }
}

/// One report, all of which is published: the reasons and notes.
fn heard(memory: &mut Memory, told: &Told<'_>) -> Vec<String> {
    let settled = memory.ended(told.failure.is_some());
    let notices = memory.notices(told, settled, Instant::now());
    let said = notices.iter().map(|notice| {
        format!("{}: {}", notice.event.reason, notice.event.note.as_deref().unwrap_or_default())
    });
    let said = said.collect();
    for notice in notices {
        memory.has_told(notice);
    }
    said
}

fn first_look(told: &Told<'_>) -> Memory {
    Memory::recalled("u", Before::default(), &Verdict::of(told), told)
}

#[test]
fn a_finding_is_told_once_and_so_is_its_end() {
    let one = [finding(&codes::RETENTION_UNSET, "a")];
    let two = [finding(&codes::RETENTION_UNSET, "a"), finding(&codes::RETENTION_UNSET, "b")];
    let mut memory = first_look(&about(&one));
    let a = "warning retention-unset: a is wrong; mend it";
    let b = "warning retention-unset: b is wrong; mend it";
    assert_eq!(heard(&mut memory, &about(&one)), [format!("RetentionUnset: {a}")]);
    assert!(heard(&mut memory, &about(&one)).is_empty());
    assert_eq!(heard(&mut memory, &about(&two)), [format!("RetentionUnset: {b}")]);
    assert_eq!(heard(&mut memory, &about(&one)), [format!("Resolved: {b}")]);
    assert_eq!(heard(&mut memory, &about(&[])), [format!("Resolved: {a}")]);
    assert!(heard(&mut memory, &about(&[])).is_empty());
}

#[test]
fn the_worst_is_told_first_and_by_code() {
    let findings = [
        finding(&codes::RETENTION_UNSET, "a"),
        finding(&codes::SECRET_MISSING, "s"),
        finding(&codes::RETENTION_UNSET, "b"),
        finding(&codes::DEFAULT_USED, "d"),
    ];
    let heard = heard(&mut first_look(&about(&findings)), &about(&findings));
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].starts_with("SecretMissing: ") && heard[1].starts_with("RetentionUnset: "), "{heard:?}");
    assert_eq!(heard[1].lines().count(), 2);
}

#[test]
fn what_could_not_be_published_is_tried_again() {
    let findings = [finding(&codes::SECRET_MISSING, "s")];
    let mut memory = first_look(&about(&findings));
    memory.ended(false);
    assert_eq!(memory.notices(&about(&findings), true, Instant::now()).len(), 1);
    assert_eq!(heard(&mut memory, &about(&findings)).len(), 1);
    assert!(heard(&mut memory, &about(&findings)).is_empty());
}

#[test]
fn deeds_are_told_by_reason_each_time() {
    let deeds = [Deed::new("BackupStarted", "x"), Deed::new("Created", "y"), Deed::new("BackupStarted", "z")];
    let told = Told { deeds: &deeds, ..Told::default() };
    let mut memory = first_look(&told);
    assert_eq!(heard(&mut memory, &told), ["BackupStarted: x\nz", "Created: y"]);
    assert_eq!(heard(&mut memory, &told).len(), 2);
}

#[test]
fn a_failure_is_told_when_it_stays_and_ends_nothing_else() {
    let findings = [finding(&codes::RETENTION_UNSET, "a")];
    let mut memory = first_look(&about(&findings));
    heard(&mut memory, &about(&findings));
    assert!(heard(&mut memory, &failed("observe", "no answer")).is_empty());
    assert!(heard(&mut memory, &failed("observe", "refused")).is_empty());
    let told = heard(&mut memory, &failed("observe", "no answer"));
    assert_eq!(told, ["ReconcileFailed: reconcile failed (observe): no answer"]);
    assert!(heard(&mut memory, &failed("observe", "refused")).is_empty(), "the same phase is no news");
    assert_eq!(heard(&mut memory, &failed("apply", "refused")).len(), 1);
    let told = heard(&mut memory, &about(&findings));
    assert_eq!(told, ["Resolved: reconcile failed (apply)\nreconcile failed (observe)"]);
}

#[test]
fn one_failure_among_good_ends_is_never_told() {
    let mut memory = first_look(&about(&[]));
    for _ in 0..9 {
        assert!(heard(&mut memory, &failed("apply", "conflict")).is_empty());
        assert!(heard(&mut memory, &failed("apply", "conflict")).is_empty());
        assert!(heard(&mut memory, &about(&[])).is_empty());
    }
}

#[test]
fn a_restart_takes_the_status_for_what_was_told() {
    let one = [finding(&codes::RETENTION_UNSET, "a")];
    let more = [finding(&codes::RETENTION_UNSET, "a"), finding(&codes::SECRET_MISSING, "s")];
    let written = Verdict::of(&about(&one));
    let before = Before { status: Some("Warning"), message: Some(&written.message) };
    let recalled = |told: &Told<'_>| Memory::recalled("u", before, &Verdict::of(told), told);
    assert!(heard(&mut recalled(&about(&one)), &about(&one)).is_empty());
    let told = heard(&mut recalled(&about(&more)), &about(&more));
    assert_eq!(told, ["SecretMissing: error secret-missing: s is wrong; mend it"]);
    let told = heard(&mut recalled(&about(&[])), &about(&[]));
    assert_eq!(told, ["Resolved: warning retention-unset: a is wrong; mend it"]);
    let well = Before { status: Some("Ok"), message: Some("") };
    let mut memory = Memory::recalled("u", well, &Verdict::of(&about(&[])), &about(&[]));
    assert!(heard(&mut memory, &about(&[])).is_empty());
}

#[test]
fn a_restart_knows_a_message_that_had_to_be_cut() {
    let many: Vec<Finding> =
        (0..40).map(|number| finding(&codes::RETENTION_UNSET, &format!("spec.a[{number}]"))).collect();
    let written = Verdict::of(&about(&many));
    assert!(written.message.ends_with('…'));
    let before = Before { status: Some("Warning"), message: Some(&written.message) };
    let mut memory = Memory::recalled("u", before, &written, &about(&many));
    assert!(heard(&mut memory, &about(&many)).is_empty());
}

#[test]
fn a_restart_knows_a_failure_by_its_phase() {
    let before =
        Before { status: Some("Failing"), message: Some("reconcile failed (observe): no answer within 15s") };
    let told = failed("observe", "connection refused");
    let mut memory = Memory::recalled("u", before, &Verdict::of(&told), &told);
    assert!(heard(&mut memory, &told).is_empty());
    assert!(before.says(&Verdict::of(&told)), "the status is left as it is");
    assert_eq!(heard(&mut memory, &about(&[])), ["Resolved: reconcile failed (observe)"]);
}

#[test]
fn events_are_bounded_at_once_and_over_time() {
    let deeds: Vec<Deed> = (0..40)
        .map(|number| {
            Deed::new(["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"][number % 12], "x")
        })
        .collect();
    let told = Told { deeds: &deeds, ..Told::default() };
    let mut memory = first_look(&told);
    let start = Instant::now();
    let mut at = |minutes| memory.notices(&told, true, start + Duration::from_mins(minutes)).len();
    assert_eq!([at(0), at(0), at(0), at(0)], [10, 10, 5, 0]);
    assert_eq!([at(4), at(5), at(5), at(16)], [0, 1, 0, 2]);
    assert_eq!(at(60 * 24), 10);
}

#[test]
fn what_was_written_is_not_written_again_before_it_is_seen() {
    let told = about(&[]);
    let verdict = Verdict::of(&told);
    let mut memory = first_look(&told);
    assert!(!memory.wrote(Some("7"), &verdict));
    memory.has_written(Some("7"), &verdict);
    assert!(memory.wrote(Some("7"), &verdict));
    assert!(!memory.wrote(Some("9"), &verdict), "somebody took it off");
}
