//! What the status keeps of results, and what is read from it again.

use super::*;
use crate::state::examples::{day, restore_test};

fn turn(cluster: &str) -> Turn {
    Turn { cluster: cluster.to_owned(), repo: RepoNumber::of_name("repo1").unwrap() }
}

fn scribe() -> Scribe {
    Scribe { test: Key::new("shop", "nightly"), key: None }
}

fn result(at: i64, outcome: Outcome) -> TestResult {
    TestResult::of(&restore_test(day(at), outcome))
}

#[test]
fn what_is_written_reads_back() {
    let mut results = Results::default();
    for (at, outcome) in
        [(3, Outcome::Passed), (1, Outcome::Failed), (2, Outcome::TimedOut), (3, Outcome::Passed)]
    {
        results.add(&turn("ledger"), result(at, outcome), &scribe());
    }
    results.limit(|_| true);
    let document = results.document();
    assert_eq!(Results::read(&document), results);
    let starts: Vec<_> = results.iter().flat_map(|(_, tests)| tests).map(|test| test.start).collect();
    assert_eq!(starts, [day(3), day(2), day(1)]);
    assert_eq!(document[0]["lastPassed"], "2026-01-04T00:00:00Z");
    assert_eq!(document[0]["tests"][0]["phases"], serde_json::json!({"restore": 1, "replay": 3}));
    assert!(document[0]["tests"][1]["phases"].is_null(), "only of the newest");
    assert_eq!(results.last_tests(), LastTests::from([(turn("ledger"), day(3))]));
    assert_eq!(
        Results::read(&json!([{"cluster": "a"}, {"cluster": "a", "repo": "repo9", "tests": []}, 7])),
        Results::default()
    );
}

#[test]
fn a_record_is_made_again() {
    for outcome in Outcome::ALL {
        let before = restore_test(day(1), outcome);
        let after = TestResult::of(&before).record("shop", &turn("ledger"));
        assert_eq!(
            after.source,
            Source::Cluster { namespace: "shop".to_owned(), pg_cluster: "ledger".to_owned() }
        );
        assert_eq!((after.start, after.stop, after.outcome), (before.start, before.stop, before.outcome));
        assert_eq!(
            (&after.reason, &after.checks, after.target),
            (&before.reason, &before.checks, before.target)
        );
        assert_eq!((after.restored_bytes, after.wal_bytes), (before.restored_bytes, before.wal_bytes));
        assert_eq!(after.phase(Phase::Restore), Some(Duration::from_secs(1)));
        assert_eq!(after.backup.unwrap().label, before.backup.unwrap().label);
        assert_eq!(after.reached.unwrap().lsn, before.reached.unwrap().lsn);
        assert!(after.databases.is_empty());
    }
}

#[test]
fn results_are_bounded() {
    let mut results = Results::default();
    let scribe = scribe();
    for number in 0..1500 {
        let name = format!("a-cluster-with-a-long-name-{number}");
        for at in 1..=12 {
            results.add(&turn(&name), result(at, Outcome::Failed), &scribe);
        }
    }
    results.limit(|cluster| !cluster.ends_with('7'));
    let document = results.document();
    assert!(document.to_string().len() <= MOST_BYTES, "{}", document.to_string().len());
    assert_eq!(document.as_array().unwrap().len(), 1350);
    assert!(results.iter().all(|(_, tests)| tests[0].start == day(12)));

    let mut large = Results::default();
    let mut record = restore_test(day(1), Outcome::Failed);
    record.reason.as_mut().unwrap().message = "\u{10348}".repeat(MAX_TEXT);
    for number in 0..FEW {
        for at in 1..=10 {
            (record.start, record.stop) = (day(at), day(at));
            large.add(&turn(&number.to_string()), TestResult::of(&record), &scribe);
        }
    }
    large.limit(|_| true);
    assert!(large.iter().all(|(_, tests)| tests.len() == MOST_TESTS as usize) && !large.may_be_limited());

    let mut few = Results::default();
    (1..=12).for_each(|at| few.add(&turn("ledger"), result(at, Outcome::Passed), &scribe));
    few.limit(|_| true);
    assert_eq!(few.iter().map(|(_, tests)| tests.len()).sum::<usize>(), MOST_TESTS as usize);
    few.add(&turn("ledger"), result(1, Outcome::Passed), &scribe);
    few.limit(|_| true);
    assert_eq!(few.iter().next().unwrap().1.last().unwrap().start, day(3), "what is too old stays away");
}

#[test]
fn what_ran_has_a_result_or_is_replaced() {
    let mut results = Results::default();
    let hours = chrono::Duration::hours;
    let covers = |results: &Results, from, until| results.cover(&turn("ledger"), from, until);
    assert!(!covers(&results, day(1), day(2)));
    results.add(&turn("ledger"), result(1, Outcome::Passed), &scribe());
    assert!(covers(&results, day(1) - hours(1), day(1) + hours(1)));
    assert!(!covers(&results, day(2), day(3)), "later");
    assert!(!covers(&results, day(0), day(0) + hours(1)), "earlier, and there may be more");
    results.add(&turn("ledger"), result(2, Outcome::Passed), &scribe());
    assert!(covers(&results, day(0), day(0) + hours(1)));
    assert!(!results.cover(&turn("orders"), day(0), day(3)));
}

#[test]
fn no_record_makes_a_status_that_is_refused() {
    let mut record = restore_test(day(1), Outcome::Failed);
    record.backup.as_mut().unwrap().label = "x".repeat(500);
    record.reason.as_mut().unwrap().message = "é\n".repeat(4000);
    record.restored_bytes = Some(u64::MAX);
    record.target.time = Some(DateTime::<Utc>::MAX_UTC);
    let result = TestResult::of(&record);
    assert_eq!((&result.backup, result.target_time, result.bytes), (&None, None, Some(i64::MAX)));
    assert!(result.message.unwrap().chars().count() <= 512);
    record.stop = DateTime::<Utc>::MAX_UTC;
    let mut results = Results::default();
    results.add(&turn("ledger"), TestResult::of(&record), &scribe());
    assert_eq!(results.iter().count(), 0);
}

/// What `Results` reads is not what somebody wrote by hand.
fn faults_of(document: &Value) -> Vec<Fault> {
    let results = Results::read(document);
    let faults = results
        .of_cluster("ledger")
        .flat_map(|(turn, of)| of.faults(&scribe().test, turn, results.may_be_limited()));
    faults.collect()
}

#[test]
fn results_are_a_chain_that_stays_whole_when_the_oldest_go() {
    let mut results = Results::default();
    for at in 1..=15 {
        results.add(&turn("ledger"), result(at, Outcome::Passed), &scribe());
        results.limit(|_| true);
        // As after a restart of the operator.
        results = Results::read(&results.document());
        assert_eq!(faults_of(&results.document()), []);
    }
    let document = results.document();
    let numbers: Vec<_> =
        document[0]["tests"].as_array().unwrap().iter().map(|test| &test["chain"]["sequence"]).collect();
    assert_eq!(numbers, [15, 14, 13, 12, 11, 10, 9, 8, 7, 6]);
    assert_eq!(document[0]["head"]["sequence"], 15);
    // Two tests ran at once, and the older one ended last.
    let mut crossed = Results::default();
    for at in [1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
        crossed.add(&turn("ledger"), result(at, Outcome::Passed), &scribe());
        crossed.limit(|_| true);
        assert_eq!(faults_of(&crossed.document()), []);
    }
}

#[test]
fn a_result_that_was_removed_changed_or_added_by_hand_is_noticed() {
    let mut results = Results::default();
    (1..=4).for_each(|at| results.add(&turn("ledger"), result(at, Outcome::Failed), &scribe()));
    let before = results.document();
    let after = |change: fn(&mut Vec<Value>)| {
        let mut document = before.clone();
        change(document[0]["tests"].as_array_mut().unwrap());
        document
    };
    let missing = |number| vec![Fault::Missing { first: number, last: number }];
    assert_eq!(faults_of(&after(|tests| _ = tests.remove(0))), missing(4));
    assert_eq!(faults_of(&after(|tests| _ = tests.remove(1))), missing(3));
    let oldest = after(|tests| tests.truncate(2));
    assert_eq!(faults_of(&oldest), [Fault::MissingBefore { sequence: 3 }]);
    // Among so many, their size may be the reason.
    let mut many = oldest;
    for number in 0..FEW {
        let other = json!({"cluster": format!("other-{number}"), "repo": "repo1", "tests": before[0]["tests"], "head": before[0]["head"]});
        many.as_array_mut().unwrap().push(other);
    }
    assert_eq!(faults_of(&many), []);
    let mut older_head = before.clone();
    older_head[0]["head"] = json!({"sequence": 3, "digest": before[0]["tests"][0]["chain"]["previous"]});
    assert_eq!(faults_of(&older_head), [Fault::HeadOutdated]);
    let changed = after(|tests| tests[0]["outcome"] = json!("passed"));
    assert_eq!(faults_of(&changed), [Fault::Changed { index: 3, sequence: 4 }]);
    let changed = after(|tests| tests[2]["outcome"] = json!("passed"));
    assert_eq!(faults_of(&changed), [Fault::Changed { index: 1, sequence: 2 }]);
    let all = after(Vec::clear);
    assert_eq!(faults_of(&all), [Fault::Missing { first: 1, last: 4 }]);
    // Another result is added, and what is missing stays so.
    let mut results = Results::read(&all);
    results.add(&turn("ledger"), result(9, Outcome::Passed), &scribe());
    assert_eq!(results.document()[0]["head"]["sequence"], 5);
    let added = after(|tests| {
        let mut copy = tests[0].clone();
        copy["start"] = json!("2026-01-09T00:00:00Z");
        copy.as_object_mut().unwrap().remove("chain");
        tests.insert(0, copy);
    });
    assert_eq!(faults_of(&added), [Fault::Unlinked { index: 4 }]);
}
