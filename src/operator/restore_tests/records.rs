//! Passes the results to the collection of facts, which shows them like the records of a host.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use kube::Client;
use parking_lot::Mutex;

use super::results::{Results, TestResult};
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
        let is_new = |cluster: &String| !of_cluster(&before, cluster).eq(of_cluster(results, cluster));
        let in_namespace: Vec<&Results> = passed
            .iter()
            .filter(|(known, _)| known.namespace == test.namespace)
            .map(|(_, results)| results)
            .collect();
        let records = |cluster: &String| {
            let mut tests: Vec<RestoreTest> = Vec::new();
            for (turn, of_repo) in in_namespace.iter().flat_map(|results| of_cluster(results, cluster)) {
                tests.extend(of_repo.iter().map(|result| result.record(&test.namespace, turn)));
            }
            tests.sort_by_key(|test| test.start);
            let mut records: Records<TestHistory> = Records::default();
            for test in tests {
                records.add(test, now);
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

fn of_cluster<'a>(
    results: &'a Results,
    cluster: &'a str,
) -> impl Iterator<Item = (&'a Turn, &'a [TestResult])> {
    results.iter().filter(move |(turn, _)| turn.cluster == cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validated::{RepoNumber, STANZA};
    use crate::state::examples::{day, restore_test};
    use crate::state::proofs::Outcome;

    fn results(tests: &[(&str, i64, Outcome)]) -> Results {
        let mut results = Results::default();
        for (cluster, at, outcome) in tests {
            let turn = Turn { cluster: (*cluster).to_owned(), repo: RepoNumber::of_name("repo1").unwrap() };
            results.add(&turn, TestResult::of(&restore_test(day(*at), *outcome)));
        }
        results
    }

    #[test]
    fn only_what_has_changed_is_passed_on() {
        let passed = Passed::default();
        let [nightly, weekly] = ["nightly", "weekly"].map(|name| Key::new("shop", name));
        let change = |test: &Key, tests: &[(&str, i64, Outcome)]| -> Vec<(String, u64)> {
            let changed = passed.changed(test, &results(tests), day(9)).into_iter();
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
}
