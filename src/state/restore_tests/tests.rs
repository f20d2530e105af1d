//! Conclusions from made-up records.

use chrono::TimeDelta;

use super::super::examples::{backup, day, repo, restore_test, stanza};
use super::super::proofs::{Outcome, Phase, ReasonClass, RestoreTest};
use super::super::records::RecordsHealth;
use super::super::test_history::MEASURED;
use super::*;

const FULL: &str = "20260101-000000F";
const NEXT: &str = "20260108-000000F";
const INCR: &str = "20260108-000000F_20260109-000000I";

fn judged(tests: impl IntoIterator<Item = RestoreTest>) -> Option<RestoreTests> {
    let mut records = Records::default();
    tests.into_iter().for_each(|test| records.add(test, day(100)));
    let backups = vec![backup(FULL, day(0), 2), backup(NEXT, day(7), 5), backup(INCR, day(8), 7)];
    let stanzas = vec![stanza(vec![repo(1, backups), repo(2, vec![])])];
    let mut snapshot = Snapshot { stanzas, ..Snapshot::default() };
    judge_into(&mut snapshot, &records);
    assert_eq!(snapshot.stanzas[0].repos[1].restore_tests, None);
    snapshot.stanzas[0].repos[0].restore_tests.as_deref().cloned()
}

fn of(label: &str, at: i64, outcome: Outcome) -> RestoreTest {
    let mut test = restore_test(day(at), outcome);
    test.backup.as_mut().unwrap().label = label.to_owned();
    test
}

#[test]
fn results_are_counted_since_the_last_one_that_passed() {
    use Outcome::{Failed, Inconclusive, Passed, TimedOut};

    let counts = |outcomes: &[Outcome]| {
        let tests = outcomes.iter().zip(10..).map(|(outcome, at)| of(FULL, at, *outcome));
        let history = judged(tests).unwrap().history;
        let not_passed = history.not_passed.keys().copied().collect::<Vec<_>>();
        (history.consecutive_failures, history.consecutive_inconclusive, not_passed)
    };
    assert_eq!(counts(&[Passed]), (0, 0, vec![]));
    assert_eq!(counts(&[Failed, Failed]), (2, 0, vec![Failed]));
    // It is not known whether the failure was mended.
    assert_eq!(counts(&[Failed, Inconclusive, TimedOut]), (1, 2, vec![Failed, Inconclusive, TimedOut]));
    assert_eq!(counts(&[Inconclusive, Inconclusive, Failed]), (1, 0, vec![Failed, Inconclusive]));
    assert_eq!(counts(&[Failed, Inconclusive, Passed]), (0, 0, vec![]));
    let history = judged([of(FULL, 10, Passed), of(FULL, 11, Failed)]).unwrap().history;
    assert_eq!(history.last_success, Some(day(10) + TimeDelta::seconds(10)));
    assert_eq!((history.oldest_start, history.last.start), (day(10), day(11)));
    let why = &history.not_passed[&Failed];
    assert_eq!((why.class, why.phase, why.start), (ReasonClass::MissingWal, Phase::Replay, day(11)));
}

#[test]
fn existing_backups_that_passed_are_covered() {
    let covered = |tests: Vec<RestoreTest>| judged(tests).unwrap().coverage.unwrap();
    let found = covered(vec![of(INCR, 10, Outcome::Passed), of(FULL, 11, Outcome::Failed)]);
    assert_eq!((found.newest_backup, found.oldest_backup), (Some(day(8)), Some(day(8))));
    // The full backup that the incremental one depends on was not restored itself.
    assert_eq!(found.ratio(), Some(0.0));
    let found = covered(vec![
        of("20251201-000000F", 9, Outcome::Passed),
        of(INCR, 10, Outcome::Passed),
        of(FULL, 11, Outcome::Passed),
    ]);
    assert_eq!((found.newest_backup, found.oldest_backup), (Some(day(8)), Some(day(0))));
    assert_eq!(found.ratio(), Some(0.5));
    let some = RestoreTest { databases: vec!["shop".to_owned()], ..of(FULL, 11, Outcome::Passed) };
    let found = covered(vec![some]);
    assert_eq!((found.newest_backup, found.tested_full_backups), (None, 0));
    let gone = covered(vec![of("20251201-000000F", 9, Outcome::Passed)]);
    assert_eq!((gone.newest_backup, gone.oldest_backup, gone.tested_full_backups), (None, None, 0));
}

#[test]
fn nothing_is_said_without_records() {
    assert_eq!(judged([]), None);
    let other = RestoreTest { stanza: "other".to_owned(), ..of(FULL, 1, Outcome::Passed) };
    assert_eq!(judged([other]), None);
    let mut snapshot = Snapshot::default();
    judge_into(&mut snapshot, &Records::default());
    assert_eq!(snapshot.collection.restore_tests, None);
    let mut unreadable = Records::default();
    unreadable.reject("first".to_owned());
    unreadable.reject("second".to_owned());
    judge_into(&mut snapshot, &unreadable);
    let expected = RecordsHealth { unusable: 2, problem: Some("first".to_owned()) };
    assert_eq!(snapshot.collection.restore_tests, Some(expected));
    // Nothing is known of its backups.
    let unknown =
        Repo { status_code: None, state: crate::state::snapshot::RepoState::Timeout, ..repo(1, vec![]) };
    assert_eq!(coverage(&unknown, &BTreeSet::new()), None);
}

#[test]
fn the_newest_tests_that_passed_are_measured() {
    let tests = (0..30).map(|at| {
        let outcome = if at % 2 == 0 { Outcome::Passed } else { Outcome::Failed };
        of(FULL, at, outcome)
    });
    let tests = judged(tests).unwrap();
    assert_eq!(tests.history.measurements.len(), MEASURED);
    assert_eq!(tests.recovery_time.unwrap().measured_at, day(28) + TimeDelta::seconds(10));
    assert_eq!(judged([of(FULL, 1, Outcome::Failed)]).unwrap().recovery_time, None);
}
