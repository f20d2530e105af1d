//! Passes the results to the collection of facts, which shows them like the records of a host.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use kube::Client;
use parking_lot::Mutex;

use super::results::{OfRepo, Results};
use super::{field, restore_test};
use crate::cluster::restore_test::turn::Turn;
use crate::collect::fleet::FleetCollector;
use crate::kubernetes::client::CallFailure;
use crate::kubernetes::shard::Shard;
use crate::operator::resources::{self, ListError};
use crate::operator::scope::{Key, Scope};
use crate::state::proofs::RestoreTest;
use crate::state::records::Records;
use crate::state::test_history::TestHistory;

/// The results of each restore test, as they were passed last.
#[derive(Debug, Default)]
pub(super) struct Passed(Mutex<BTreeMap<Key, Results>>);

impl Passed {
    /// Passes what has changed about clusters of the shard. A cluster may be tested by several restore tests.
    pub(super) fn pass(&self, fleet: &FleetCollector, shard: Shard, test: &Key, results: &Results) {
        let changed = self.changed(test, results, Utc::now()).into_iter();
        for (cluster, records) in changed.filter(|(cluster, _)| shard.covers(&test.namespace, cluster)) {
            fleet.set_restore_tests(&Key::new(&test.namespace, &cluster), records);
        }
    }

    /// The records of the clusters that have changed.
    pub(super) fn changed(
        &self,
        test: &Key,
        results: &Results,
        now: DateTime<Utc>,
    ) -> BTreeMap<String, Records<TestHistory>> {
        let mut passed = self.0.lock();
        let before = passed.insert(test.clone(), results.clone()).unwrap_or_default();
        if results.iter().next().is_none() {
            passed.remove(test);
        }
        let names = |results: &Results| -> BTreeSet<String> {
            results.iter().map(|(turn, _)| turn.cluster.clone()).collect()
        };
        let changed = names(&before).union(&names(results)).cloned().collect::<BTreeSet<String>>();
        let is_new = |cluster: &String| !before.of_cluster(cluster).eq(results.of_cluster(cluster));
        let in_namespace: Vec<(&Key, &Results)> =
            passed.iter().filter(|(known, _)| known.namespace == test.namespace).collect();
        let records = |cluster: &String| {
            let (mut tests, mut problems): (Vec<RestoreTest>, Vec<String>) = Default::default();
            for (key, results) in &in_namespace {
                for (turn, of_repo) in results.of_cluster(cluster) {
                    let (usable, faults) = usable(key, turn, of_repo, results.may_be_limited());
                    tests.extend(usable);
                    problems.extend(faults);
                }
            }
            tests.sort_by_key(|test| test.start);
            let mut records: Records<TestHistory> = Records::default();
            for test in tests {
                records.add(test, now);
            }
            for problem in problems {
                records.reject(problem);
            }
            records
        };
        changed.into_iter().filter(is_new).map(|cluster| (cluster.clone(), records(&cluster))).collect()
    }
}

/// The results in the status of all `RestoreTest` resources, by cluster. None where the kind is not defined, or may not be listed.
pub async fn list(
    client: &Client,
    scopes: &[Scope],
) -> Result<BTreeMap<Key, Records<TestHistory>>, ListError> {
    let tests = match resources::list_of(client, scopes, &restore_test()).await {
        Ok(tests) => tests,
        Err(ListError::Call(error))
            if matches!(error.failure, CallFailure::NotFound | CallFailure::Forbidden) =>
        {
            tracing::debug!(%error, "No results of restore tests");
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error),
    };
    let (passed, now) = (Passed::default(), Utc::now());
    let mut all = BTreeMap::new();
    for test in &tests {
        let Some(key) = Key::of(test) else { continue };
        let results = Results::read(field(test, "/status/results"));
        let changed = passed.changed(&key, &results, now).into_iter();
        // What was tested by several is there with all that is known so far.
        all.extend(changed.map(|(cluster, records)| (Key::new(&key.namespace, &cluster), records)));
    }
    Ok(all)
}

/// The results that their chain does not contradict, and what is wrong with it.
fn usable(
    test: &Key,
    turn: &Turn,
    of_repo: &OfRepo,
    may_be_limited: bool,
) -> (Vec<RestoreTest>, Vec<String>) {
    let faults = of_repo.faults(test, turn, may_be_limited);
    let oldest_first = of_repo.tests.iter().rev().enumerate();
    let usable = oldest_first.filter(|(index, _)| !faults.iter().any(|fault| fault.contradicts(*index)));
    let usable = usable.map(|(_, result)| result.record(&test.namespace, turn)).collect();
    let told = faults.iter().map(|fault| {
        format!("RestoreTest {}, {}: {fault}; see pgbackrest-keeper verify-records", test.name, turn.repo)
    });
    (usable, told.collect())
}

#[cfg(test)]
mod tests {
    use super::super::chain::Scribe;
    use super::super::results::TestResult;
    use super::*;
    use crate::cluster::validated::{RepoNumber, STANZA};
    use crate::state::examples::{day, restore_test};
    use crate::state::proofs::Outcome;

    fn results(test: &Key, tests: &[(&str, i64, Outcome)]) -> Results {
        let mut results = Results::default();
        let scribe = Scribe { test: test.clone(), key: None };
        for (cluster, at, outcome) in tests {
            let turn = Turn { cluster: (*cluster).to_owned(), repo: RepoNumber::of_name("repo1").unwrap() };
            results.add(&turn, TestResult::of(&restore_test(day(*at), *outcome)), &scribe);
        }
        results
    }

    #[test]
    fn only_what_has_changed_is_passed_on() {
        let passed = Passed::default();
        let [nightly, weekly] = ["nightly", "weekly"].map(|name| Key::new("shop", name));
        let change = |test: &Key, tests: &[(&str, i64, Outcome)]| -> Vec<(String, u64)> {
            let changed = passed.changed(test, &results(test, tests), day(9)).into_iter();
            let failures = |records: &Records<TestHistory>| {
                records.of_repo(STANZA, 1).map(|history| history.consecutive_failures)
            };
            changed.map(|(cluster, records)| (cluster, failures(&records).unwrap_or(99))).collect()
        };
        let first = [("ledger", 1, Outcome::Failed), ("orders", 2, Outcome::Passed)];
        assert_eq!(change(&nightly, &first), [("ledger".to_owned(), 1), ("orders".to_owned(), 0)]);
        assert_eq!(change(&nightly, &first), []);
        assert_eq!(change(&weekly, &[("ledger", 3, Outcome::Failed)]), [("ledger".to_owned(), 2)]);
        assert_eq!(change(&nightly, &first[..1]), [("orders".to_owned(), 99)], "it is gone");
        assert_eq!(change(&nightly, &[]), [("ledger".to_owned(), 1)]);
        assert_eq!(change(&weekly, &[]), [("ledger".to_owned(), 99)]);
        assert!(passed.0.lock().is_empty());
    }

    #[test]
    fn what_was_changed_by_hand_is_told_and_not_used() {
        let (passed, test) = (Passed::default(), Key::new("shop", "nightly"));
        let tests = [("ledger", 1, Outcome::Failed), ("ledger", 2, Outcome::Failed)];
        let mut document = results(&test, &tests).document();
        let shown = |document: &serde_json::Value| {
            let records = passed.changed(&test, &Results::read(document), day(9)).remove("ledger").unwrap();
            let history = records.of_repo(STANZA, 1).unwrap();
            let problem = records.health().unwrap().problem.clone().unwrap_or_default();
            (history.last.chain.map(|link| link.sequence), history.consecutive_failures, problem)
        };
        assert_eq!(shown(&document), (Some(2), 2, String::new()));
        document[0]["tests"][0]["outcome"] = "passed".into();
        let (sequence, failures, problem) = shown(&document);
        assert_eq!((sequence, failures), (Some(1), 1));
        assert!(problem.starts_with("RestoreTest nightly, repo1: record 2 was changed"), "{problem}");
    }
}
