//! News over several reconciles and over restarts.

use super::*;
use crate::cluster::finding::codes;
use crate::operator::action::Action;
use crate::operator::report::ReconcileFailure;

fn finding(code: &'static crate::cluster::finding::Code, field: &str) -> Finding {
    Finding::new(code, field, "is wrong", "mend it")
}

fn about(findings: &[Finding]) -> Report<'_> {
    Report { findings, ..Report::default() }
}

fn failed<'a>(phase: &'static str, message: &'a str) -> Report<'a> {
    Report { failure: Some(ReconcileFailure { phase, message }), ..Report::default() }
}

/// One report, all of which is published: the reasons and notes.
fn heard(history: &mut EventHistory, report: &Report<'_>) -> Vec<String> {
    let confirmed = history.ended(report.failure.is_some());
    let notices = history.notices(report, confirmed, Instant::now());
    let said = notices.iter().map(|notice| {
        format!("{}: {}", notice.event.reason, notice.event.note.as_deref().unwrap_or_default())
    });
    let said = said.collect();
    for notice in notices {
        history.has_published(notice);
    }
    said
}

fn first_look(report: &Report<'_>) -> EventHistory {
    EventHistory::restored("u", PreviousStatus::default(), &BackupStatus::of(report), report)
}

#[test]
fn a_finding_is_told_once_and_so_is_its_end() {
    let one = [finding(&codes::RETENTION_UNSET, "a")];
    let two = [finding(&codes::RETENTION_UNSET, "a"), finding(&codes::RETENTION_UNSET, "b")];
    let mut history = first_look(&about(&one));
    let a = "warning retention-unset: a is wrong; mend it";
    let b = "warning retention-unset: b is wrong; mend it";
    assert_eq!(heard(&mut history, &about(&one)), [format!("RetentionUnset: {a}")]);
    assert!(heard(&mut history, &about(&one)).is_empty());
    assert_eq!(heard(&mut history, &about(&two)), [format!("RetentionUnset: {b}")]);
    assert_eq!(heard(&mut history, &about(&one)), [format!("Resolved: {b}")]);
    assert_eq!(heard(&mut history, &about(&[])), [format!("Resolved: {a}")]);
    assert!(heard(&mut history, &about(&[])).is_empty());
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
    let mut history = first_look(&about(&findings));
    history.ended(false);
    assert_eq!(history.notices(&about(&findings), true, Instant::now()).len(), 1);
    assert_eq!(heard(&mut history, &about(&findings)).len(), 1);
    assert!(heard(&mut history, &about(&findings)).is_empty());
}

#[test]
fn deeds_are_told_by_reason_each_time() {
    let actions =
        [Action::new("BackupStarted", "x"), Action::new("Created", "y"), Action::new("BackupStarted", "z")];
    let report = Report { actions: &actions, ..Report::default() };
    let mut history = first_look(&report);
    assert_eq!(heard(&mut history, &report), ["BackupStarted: x\nz", "Created: y"]);
    assert_eq!(heard(&mut history, &report).len(), 2);
}

#[test]
fn a_failure_is_told_when_it_stays_and_ends_nothing_else() {
    let findings = [finding(&codes::RETENTION_UNSET, "a")];
    let mut history = first_look(&about(&findings));
    heard(&mut history, &about(&findings));
    assert!(heard(&mut history, &failed("observe", "no answer")).is_empty());
    assert!(heard(&mut history, &failed("observe", "refused")).is_empty());
    let report = heard(&mut history, &failed("observe", "no answer"));
    assert_eq!(report, ["ReconcileFailed: reconcile failed (observe): no answer"]);
    assert!(heard(&mut history, &failed("observe", "refused")).is_empty(), "the same phase is no news");
    assert_eq!(heard(&mut history, &failed("apply", "refused")).len(), 1);
    let report = heard(&mut history, &about(&findings));
    assert_eq!(report, ["Resolved: reconcile failed (apply)\nreconcile failed (observe)"]);
}

#[test]
fn one_failure_among_good_ends_is_never_told() {
    let mut history = first_look(&about(&[]));
    for _ in 0..9 {
        assert!(heard(&mut history, &failed("apply", "conflict")).is_empty());
        assert!(heard(&mut history, &failed("apply", "conflict")).is_empty());
        assert!(heard(&mut history, &about(&[])).is_empty());
    }
}

#[test]
fn a_restart_takes_the_status_for_what_was_told() {
    let one = [finding(&codes::RETENTION_UNSET, "a")];
    let more = [finding(&codes::RETENTION_UNSET, "a"), finding(&codes::SECRET_MISSING, "s")];
    let written = BackupStatus::of(&about(&one));
    let before = PreviousStatus {
        status: Some("Warning"),
        message: Some(&written.message),
        ..PreviousStatus::default()
    };
    let restored =
        |report: &Report<'_>| EventHistory::restored("u", before, &BackupStatus::of(report), report);
    assert!(heard(&mut restored(&about(&one)), &about(&one)).is_empty());
    let report = heard(&mut restored(&about(&more)), &about(&more));
    assert_eq!(report, ["SecretMissing: error secret-missing: s is wrong; mend it"]);
    let report = heard(&mut restored(&about(&[])), &about(&[]));
    assert_eq!(report, ["Resolved: warning retention-unset: a is wrong; mend it"]);
    let well = PreviousStatus { status: Some("Ok"), message: Some(""), ..PreviousStatus::default() };
    let mut history = EventHistory::restored("u", well, &BackupStatus::of(&about(&[])), &about(&[]));
    assert!(heard(&mut history, &about(&[])).is_empty());
}

#[test]
fn a_restart_knows_a_message_that_had_to_be_cut() {
    let many: Vec<Finding> =
        (0..40).map(|number| finding(&codes::RETENTION_UNSET, &format!("spec.a[{number}]"))).collect();
    let written = BackupStatus::of(&about(&many));
    assert!(written.message.ends_with('…'));
    let before = PreviousStatus {
        status: Some("Warning"),
        message: Some(&written.message),
        ..PreviousStatus::default()
    };
    let mut history = EventHistory::restored("u", before, &written, &about(&many));
    assert!(heard(&mut history, &about(&many)).is_empty());
}

#[test]
fn a_restart_knows_a_failure_by_its_phase() {
    let before = PreviousStatus {
        status: Some("Failing"),
        message: Some("reconcile failed (observe): no answer within 15s"),
        ..PreviousStatus::default()
    };
    let report = failed("observe", "connection refused");
    let mut history = EventHistory::restored("u", before, &BackupStatus::of(&report), &report);
    assert!(heard(&mut history, &report).is_empty());
    assert!(before.says(&BackupStatus::of(&report)), "the status is left as it is");
    assert_eq!(heard(&mut history, &about(&[])), ["Resolved: reconcile failed (observe)"]);
}

#[test]
fn events_are_bounded_at_once_and_over_time() {
    let actions: Vec<Action> = (0..40)
        .map(|number| {
            Action::new(["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"][number % 12], "x")
        })
        .collect();
    let report = Report { actions: &actions, ..Report::default() };
    let mut history = first_look(&report);
    let start = Instant::now();
    let mut at = |minutes| history.notices(&report, true, start + Duration::from_mins(minutes)).len();
    assert_eq!([at(0), at(0), at(0), at(0)], [10, 10, 5, 0]);
    assert_eq!([at(4), at(5), at(5), at(16)], [0, 1, 0, 2]);
    assert_eq!(at(60 * 24), 10);
}

#[test]
fn what_was_written_is_not_written_again_before_it_is_seen() {
    let report = about(&[]);
    let status = BackupStatus::of(&report);
    let mut history = first_look(&report);
    assert!(!history.wrote(Some("7"), &status));
    history.has_written(Some("7"), &status);
    assert!(history.wrote(Some("7"), &status));
    assert!(!history.wrote(Some("9"), &status), "somebody took it off");
}
