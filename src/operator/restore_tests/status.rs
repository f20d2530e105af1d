//! The status of a restore test, and the Events about its changes. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use kube::runtime::events::{Event, EventType};
use serde_json::{Map, Value, json};

use super::results::{Results, TestResult};
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::validated::RepoNumber;
use crate::state::proofs::Outcome;
use crate::text;

/// Names in a message.
const MOST_NAMES: usize = 10;
/// Characters of a message.
const LONGEST_MESSAGE: usize = 1000;
/// Events about one change of the status.
const MOST_EVENTS: usize = 10;

const READY: &str = "Ready";
const TESTED: &str = "Tested";
const PASSED: &str = "Passed";

/// A condition: whether it holds, why in one word, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) holds: Option<bool>,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl State {
    pub(super) fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: Some(holds), reason, message: message.into() }
    }

    fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: None, reason, message: message.into() }
    }

    const fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// What a reconcile has found out.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) generation: Option<i64>,
    pub(super) ready: State,
    /// The selected clusters that can be tested, with their repos. `None`: the resource has errors, so nothing is selected.
    pub(super) testable: Option<BTreeMap<String, Vec<RepoNumber>>>,
    /// How many clusters are selected.
    pub(super) selected: usize,
    pub(super) next: Option<Turn>,
    pub(super) test_now: Option<String>,
    /// What is wrong with the chain of results.
    pub(super) fault: Option<String>,
}

impl Report {
    /// The status; null for what it does not have.
    pub(super) fn document(&self, results: &Results, before: &Value, now: DateTime<Utc>) -> Value {
        let next =
            self.next.as_ref().map(|turn| json!({"cluster": turn.cluster, "repo": turn.repo.to_string()}));
        let last_test = results.last_tests().into_values().max();
        let conditions =
            [(READY, self.ready.clone()), (TESTED, self.tested(results)), (PASSED, self.passed(results))];
        let conditions = conditions.map(|(kind, state)| {
            let generation = self.generation;
            let same = |known: &&Value| known["type"] == kind && known["status"] == state.status();
            let known = before["conditions"].as_array().and_then(|known| known.iter().find(same));
            let since = known.map(|known| known["lastTransitionTime"].clone());
            json!({
                "type": kind, "status": state.status(), "observedGeneration": generation,
                "lastTransitionTime": since.unwrap_or_else(|| json!(now.to_rfc3339_opts(SecondsFormat::Secs, true))),
                "reason": state.reason, "message": text::cut(&text::lines(&state.message), LONGEST_MESSAGE),
            })
        });
        json!({
            "observedGeneration": self.generation,
            "conditions": conditions,
            "clusters": self.testable.as_ref().map(|_| self.selected),
            "lastTest": last_test,
            "next": next,
            "testNow": self.test_now,
            "results": results.document(),
        })
    }

    fn tested(&self, results: &Results) -> State {
        let Some(testable) = &self.testable else { return invalid() };
        if testable.is_empty() {
            return State::unknown("NoCluster", "no cluster can be tested");
        }
        let missing = untested(testable, results);
        match missing.len() {
            0 => State::new(true, "AllTested", ""),
            count => {
                let all = testable.len();
                State::new(
                    false,
                    "NotTested",
                    format!("{count} of {all} not tested yet: {}", names(&missing)),
                )
            }
        }
    }

    /// The last test of each repo counts: one that passes does not make up for another.
    fn passed(&self, results: &Results) -> State {
        let Some(testable) = &self.testable else { return invalid() };
        if let Some(fault) = &self.fault {
            let message = format!(
                "results were changed, removed or added by hand: {fault}; see pgbackrest-keeper verify-records"
            );
            return State::unknown("ResultsChanged", message);
        }
        let counts =
            |turn: &Turn| testable.get(&turn.cluster).is_some_and(|repos| repos.contains(&turn.repo));
        let last = results.iter().filter_map(|(turn, tests)| Some((turn, tests.first()?)));
        let bad: Vec<(&Turn, &TestResult)> =
            last.filter(|(turn, test)| counts(turn) && test.outcome != Outcome::Passed).collect();
        if let Some(&(turn, worst)) = bad.iter().max_by_key(|(_, test)| test.outcome == Outcome::Failed) {
            let reason = if worst.outcome == Outcome::Failed { "TestFailed" } else { "NoResult" };
            let more = match bad.len() {
                1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            return State::new(false, reason, format!("{}{more}", said(turn, worst)));
        }
        if testable.is_empty() {
            return State::unknown("NoCluster", "no cluster can be tested");
        }
        match untested(testable, results).len() {
            0 => State::new(true, "AllPassed", ""),
            count => State::unknown("NotTested", format!("{count} of {} not tested yet", testable.len())),
        }
    }
}

fn invalid() -> State {
    State::unknown("Invalid", "the resource has errors")
}

/// Clusters of which no repo was tested.
fn untested<'a>(testable: &'a BTreeMap<String, Vec<RepoNumber>>, results: &Results) -> Vec<&'a str> {
    let last = results.last_tests();
    let is_tested = |cluster: &str| last.keys().any(|turn| turn.cluster == cluster);
    testable.keys().map(String::as_str).filter(|cluster| !is_tested(cluster)).collect()
}

/// The first names.
pub(super) fn names(names: &[&str]) -> String {
    let first = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// `status.next`.
pub(super) fn turn_of(next: &Value) -> Option<Turn> {
    let cluster = next.get("cluster")?.as_str()?.to_owned();
    Some(Turn { cluster, repo: RepoNumber::of_name(next.get("repo")?.as_str()?)? })
}

/// A result in a sentence.
fn said(turn: &Turn, test: &TestResult) -> String {
    let Turn { cluster, repo } = turn;
    let class = test.class.map(|class| format!(" ({})", class.as_str())).unwrap_or_default();
    let message = test.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    match test.outcome {
        Outcome::Passed => format!("{cluster} {repo} passed"),
        Outcome::Failed => format!("{cluster} {repo} failed{class}{message}"),
        Outcome::Inconclusive => format!("{cluster} {repo} had no result{class}{message}"),
        Outcome::TimedOut => format!("{cluster} {repo} timed out{message}"),
    }
}

/// Whether the status is already like this.
pub(super) fn is_same(before: &Value, now: &Value) -> bool {
    let nothing = Map::new();
    let before = before.as_object().unwrap_or(&nothing);
    let now = now.as_object().unwrap_or(&nothing);
    now.iter().all(|(key, value)| before.get(key).unwrap_or(&Value::Null) == value)
}

/// Events about what is different from before.
pub(super) fn events(before: &Value, now: &Value) -> Vec<Event> {
    let mut events = Vec::new();
    let ready = |status: &Value| {
        let conditions = status["conditions"].as_array()?.iter();
        let ready = conditions.clone().find(|condition| condition["type"] == READY)?;
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    };
    if let Some((status, reason, message)) = ready(now) {
        let was = ready(before).map(|(status, reason, _)| (status, reason));
        let was_good = was.as_ref().is_none_or(|(status, _)| status == "True");
        if status == "True" && !was_good {
            events.push(event(EventType::Normal, "RestoreTestReady", "Tests are set up as described"));
        } else if status == "False" && was != Some((status, reason)) {
            events.push(event(EventType::Warning, "RestoreTestNotReady", &message));
        }
    }
    let last = |status: &Value| -> BTreeMap<Turn, TestResult> {
        let results = Results::read(&status["results"]);
        let last = results.iter().filter_map(|(turn, tests)| Some((turn.clone(), tests.first()?.clone())));
        last.collect()
    };
    let known = last(before);
    for (turn, test) in last(now) {
        if known.get(&turn).is_some_and(|known| known.outcome == test.outcome && known.class == test.class) {
            continue;
        }
        let (kind, reason) = match test.outcome {
            Outcome::Passed => (EventType::Normal, "RestoreTestPassed"),
            Outcome::Failed => (EventType::Warning, "RestoreTestFailed"),
            Outcome::Inconclusive => (EventType::Warning, "RestoreTestInconclusive"),
            Outcome::TimedOut => (EventType::Warning, "RestoreTestTimedOut"),
        };
        events.push(event(kind, reason, &said(&turn, &test)));
    }
    events.truncate(MOST_EVENTS);
    events
}

/// One that Kubernetes accepts.
pub(super) fn event(kind: EventType, reason: &str, note: &str) -> Event {
    Event {
        type_: kind,
        reason: reason.to_owned(),
        note: Some(text::cut(&text::lines(note), LONGEST_MESSAGE)),
        action: "Test".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Scribe;
    use super::*;
    use crate::operator::scope::Key;
    use crate::state::examples::{day, restore_test};

    fn repo() -> RepoNumber {
        RepoNumber::of_name("repo1").unwrap()
    }

    fn results(tests: &[(&str, i64, Outcome)]) -> Results {
        let mut results = Results::default();
        let scribe = Scribe { test: Key::new("shop", "nightly"), key: None };
        for (cluster, at, outcome) in tests {
            let turn = Turn { cluster: (*cluster).to_owned(), repo: repo() };
            results.add(&turn, TestResult::of(&restore_test(day(*at), *outcome)), &scribe);
        }
        results
    }

    fn report(clusters: &[&str]) -> Report {
        Report {
            generation: Some(2),
            ready: State::new(true, "AsDescribed", ""),
            testable: Some(clusters.iter().map(|name| ((*name).to_owned(), vec![repo()])).collect()),
            selected: clusters.len(),
            next: None,
            test_now: None,
            fault: None,
        }
    }

    fn conditions(status: &Value) -> [String; 3] {
        let of = |index: usize| {
            let condition = &status["conditions"][index];
            format!("{} {}", condition["status"].as_str().unwrap(), condition["reason"].as_str().unwrap())
        };
        [of(0), of(1), of(2)]
    }

    #[test]
    fn conditions_say_what_is_proven() {
        let of = |clusters: &[&str], tests: &[(&str, i64, Outcome)]| {
            conditions(&report(clusters).document(&results(tests), &Value::Null, day(9)))
        };
        let passed = [("ledger", 1, Outcome::Passed), ("orders", 2, Outcome::Passed)];
        assert_eq!(
            of(&["ledger", "orders"], &passed),
            ["True AsDescribed", "True AllTested", "True AllPassed"]
        );
        assert_eq!(
            of(&["ledger", "stock"], &passed),
            ["True AsDescribed", "False NotTested", "Unknown NotTested"]
        );
        let failed = [passed[0], ("orders", 2, Outcome::Failed), ("orders", 1, Outcome::Passed)];
        assert_eq!(of(&["ledger", "orders"], &failed)[2], "False TestFailed");
        assert_eq!(of(&["ledger"], &failed)[2], "True AllPassed", "orders is not selected");
        let timed_out = [passed[0], ("orders", 2, Outcome::TimedOut)];
        assert_eq!(of(&["ledger", "orders"], &timed_out)[2], "False NoResult");
        assert_eq!(of(&[], &passed), ["True AsDescribed", "Unknown NoCluster", "Unknown NoCluster"]);
        let changed =
            Report { fault: Some("ledger repo1: record 2 is missing".to_owned()), ..report(&["ledger"]) };
        let status = changed.document(&results(&passed), &Value::Null, day(9));
        assert_eq!(conditions(&status)[2], "Unknown ResultsChanged");
        let broken = Report { testable: None, ..report(&[]) };
        let status = broken.document(&results(&passed), &Value::Null, day(9));
        assert_eq!(conditions(&status)[1..], ["Unknown Invalid", "Unknown Invalid"]);
        assert!(status["clusters"].is_null() && status["results"].as_array().unwrap().len() == 2);
    }

    #[test]
    fn a_status_is_written_and_told_once() {
        let report = report(&["ledger"]);
        let first = report.document(&results(&[]), &Value::Null, day(1));
        assert!(!is_same(&Value::Null, &first) && events(&Value::Null, &first).is_empty());
        let again = report.document(&results(&[]), &first, day(2));
        assert!(is_same(&first, &again), "{again}");
        let told = |before: &Value, now: &Value| -> Vec<String> {
            events(before, now).into_iter().map(|event| event.reason).collect()
        };
        let failed = report.document(&results(&[("ledger", 3, Outcome::Failed)]), &first, day(3));
        assert_eq!(told(&first, &failed), ["RestoreTestFailed"]);
        assert_eq!(failed["conditions"][2]["lastTransitionTime"], "2026-01-04T00:00:00Z");
        let tests = [("ledger", 3, Outcome::Failed), ("ledger", 4, Outcome::Failed)];
        let same = report.document(&results(&tests), &failed, day(4));
        assert!(told(&failed, &same).is_empty() && !is_same(&failed, &same), "it fails as before");
        let passed = report.document(&results(&[("ledger", 5, Outcome::Passed)]), &same, day(5));
        assert_eq!(told(&same, &passed), ["RestoreTestPassed"]);
        let trouble = Report { ready: State::new(false, "NoCluster", "nothing"), ..report };
        let lost = trouble.document(&results(&[]), &passed, day(6));
        assert_eq!(told(&passed, &lost), ["RestoreTestNotReady"]);
        assert_eq!(told(&lost, &passed), ["RestoreTestReady", "RestoreTestPassed"]);
    }

    #[test]
    fn messages_are_bounded() {
        let clusters: Vec<String> =
            (0..500).map(|number| format!("cluster-with-a-name-{number:03}")).collect();
        let clusters: Vec<&str> = clusters.iter().map(String::as_str).collect();
        let status = report(&clusters).document(&results(&[]), &Value::Null, day(1));
        let message = status["conditions"][1]["message"].as_str().unwrap();
        assert!(message.ends_with("cluster-with-a-name-009 and 490 more"), "{message}");
        let outcomes: Vec<(&str, i64, Outcome)> =
            clusters.iter().map(|name| (*name, 1, Outcome::Failed)).collect();
        let failed = report(&clusters).document(&results(&outcomes), &Value::Null, day(1));
        assert_eq!(events(&status, &failed).len(), MOST_EVENTS);
    }
}
