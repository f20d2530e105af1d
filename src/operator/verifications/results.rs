//! The results of the verifications of a cluster, as they are stored in a ConfigMap. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use crate::cluster::finding::{Finding, codes};
use crate::cluster::names;
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::validated::{RepoNumber, STANZA};
use crate::operator::runs::why::Why;
use crate::operator::runs::{JobEnd, RunJob};
use crate::state::archive::CLOCK_TOLERANCE;
use crate::state::proofs::{MAX_TEXT, Outcome, ReasonClass, Record as _, Source, Versions};
use crate::state::records::{Records, RecordsHealth};
use crate::state::verification::{Cause, FORMAT, Verification};
use crate::state::verification_history::VerificationHistory;
use crate::text;

/// Results of each repo that are kept, and the last one that passed. One has at most 4 KiB.
const KEPT: usize = 10;

/// The results of each repo, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Results(BTreeMap<RepoNumber, Vec<Verification>>);

/// What a ConfigMap with results contains.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) results: Results,
    /// What cannot be read.
    pub(super) rejected: RecordsHealth,
}

impl Read {
    /// What cannot be read is left out, and what is dated in the future.
    pub(super) fn of(data: &BTreeMap<String, String>, now: DateTime<Utc>) -> Self {
        let mut read = Self::default();
        for (key, document) in data {
            let Some(repo) = key.strip_suffix(".json").and_then(RepoNumber::of_name) else { continue };
            let records = match serde_json::from_str::<Vec<Value>>(document) {
                Ok(records) => records,
                Err(error) => {
                    read.reject(key, &error);
                    continue;
                }
            };
            for record in records {
                match Verification::parse(record.to_string().as_bytes()) {
                    Ok(record) => read.results.add(repo, record, now),
                    Err(error) => read.reject(key, &error),
                }
            }
        }
        read
    }

    /// As the records of a host.
    pub(super) fn records(self, now: DateTime<Utc>) -> Records<VerificationHistory> {
        let mut records = self.results.records(now);
        records.reject_all(self.rejected);
        records
    }

    fn reject(&mut self, key: &str, error: &dyn Display) {
        self.rejected.reject(text::one_line(&format!("{key}: {error}"), MAX_TEXT));
    }
}

impl Results {
    /// The content of the ConfigMap: a list for each repo, with a record on each line.
    pub(super) fn document(&self) -> BTreeMap<String, String> {
        let list = |records: &Vec<Verification>| {
            let lines: Vec<String> = records.iter().filter_map(|record| record.message().ok()).collect();
            format!("[\n{}\n]\n", lines.join(",\n"))
        };
        self.0.iter().map(|(repo, records)| (format!("{repo}.json"), list(records))).collect()
    }

    /// Adds a result, unless it is known, of another repo, or of the future: it would be the last one until then.
    pub(super) fn add(&mut self, repo: RepoNumber, record: Verification, now: DateTime<Utc>) {
        if record.repo != u32::from(repo.get()) || record.stanza != STANZA || is_of_the_future(&record, now) {
            return;
        }
        let records = self.0.entry(repo).or_default();
        if records.iter().any(|known| known.start == record.start) {
            return;
        }
        let place = records.partition_point(|known| known.start < record.start);
        records.insert(place, record);
    }

    /// Keeps those of existing repos, and not too many.
    pub(super) fn limit(&mut self, exists: impl Fn(RepoNumber) -> bool) {
        self.0.retain(|repo, _| exists(*repo));
        for records in self.0.values_mut() {
            let old = records.len().saturating_sub(KEPT);
            let proves = |record: &&Verification| record.outcome == Outcome::Passed && record.is_whole();
            let passed = records.iter().rfind(proves).map(|record| record.start);
            let mut place = 0;
            records.retain(|record| {
                place += 1;
                place > old || Some(record.start) == passed
            });
        }
    }

    /// Whether there is a result of what ran from then until then, or newer ones have replaced it.
    pub(super) fn cover(&self, turn: &Turn, from: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        let Some(records) = self.0.get(&turn.repo) else { return false };
        let is_it = |record: &Verification| record.start <= until && record.stop >= from.trunc_subsecs(0);
        let oldest = records.len().checked_sub(KEPT).and_then(|old| records.get(old));
        oldest.is_some_and(|oldest| oldest.start > until) || records.iter().any(is_it)
    }

    /// When the last verification of each repo began.
    pub(super) fn last(&self) -> BTreeMap<RepoNumber, DateTime<Utc>> {
        self.0.iter().filter_map(|(repo, records)| Some((*repo, records.last()?.start))).collect()
    }

    /// As the records of a host.
    pub(super) fn records(&self, now: DateTime<Utc>) -> Records<VerificationHistory> {
        let mut all = Records::default();
        for record in self.0.values().flatten() {
            all.add(record.clone(), now);
        }
        all
    }

    /// For each repo: that a verification failed and none has passed since, and that the last one had no result. The same as long as the
    /// reason is, so that it is reported once.
    pub(super) fn findings(&self, cluster: &str, records: &Records<VerificationHistory>) -> Vec<Finding> {
        let found = self.0.keys().flat_map(|repo| {
            let history = records.of_repo(STANZA, repo.get().into());
            let last = history.map_or(Outcome::Passed, |history| history.last.outcome);
            let outcomes = [Outcome::Failed, Outcome::Inconclusive, Outcome::TimedOut];
            outcomes.into_iter().filter_map(move |outcome| {
                let reason = history?.not_passed.get(&outcome)?;
                let (what, said) = match outcome {
                    // The same if others follow that have no result.
                    Outcome::Failed => ("A verification of", format!("failed: {}", reason.message)),
                    _ if outcome == last => {
                        ("The last verification of", format!("had no result: {}", reason.class.as_str()))
                    }
                    _ => return None,
                };
                let results = names::verification_results(cluster);
                Some(Finding::new(
                    &codes::VERIFICATION_NOT_PASSED,
                    format!("{what} {repo}"),
                    said,
                    format!("see ConfigMap {results}"),
                ))
            })
        });
        found.collect()
    }
}

/// Whether the clock of the host of a pod was ahead.
pub(super) fn is_of_the_future(record: &Verification, now: DateTime<Utc>) -> bool {
    record.start.max(record.stop) > now + CLOCK_TOLERANCE
}

/// Why a result of the future is none.
pub(super) fn wrong_clock(job: &RunJob) -> Why {
    (
        ReasonClass::Unclassified,
        format!("Job {}: its result is dated in the future; check the clock of its node", job.name),
    )
}

/// The result of a Job that has ended without one.
pub(super) fn without_result(
    namespace: &str,
    (job, end): &(RunJob, JobEnd),
    (class, message): Why,
) -> Verification {
    Verification {
        format: FORMAT,
        source: Source::Cluster { namespace: namespace.to_owned(), pg_cluster: job.turn.cluster.clone() },
        stanza: STANZA.to_owned(),
        repo: job.turn.repo.get().into(),
        versions: Versions::default(),
        start: job.created,
        stop: end.at.max(job.created),
        timeout: std::time::Duration::ZERO,
        set: None,
        totals: None,
        backups: Vec::new(),
        archives: Vec::new(),
        files: Vec::new(),
        more_faults: 0,
        outcome: class.outcome(),
        reason: Some(Cause { class, message }),
        chain: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::examples::{day, verification};

    fn repo1() -> RepoNumber {
        RepoNumber::of_name("repo1").unwrap()
    }

    fn turn() -> Turn {
        Turn { cluster: "ledger".to_owned(), repo: repo1() }
    }

    fn record(at: i64, outcome: Outcome) -> Verification {
        Verification { stanza: STANZA.to_owned(), ..verification(day(at), outcome) }
    }

    fn results(outcomes: &[(i64, Outcome)]) -> Results {
        let mut results = Results::default();
        for (at, outcome) in outcomes {
            results.add(repo1(), record(*at, *outcome), day(100));
        }
        results
    }

    #[test]
    fn what_is_stored_reads_back() {
        let mut stored = results(&[(2, Outcome::Passed), (1, Outcome::Failed)]);
        stored.add(repo1(), Verification { repo: 2, ..record(3, Outcome::Passed) }, day(100));
        stored.add(repo1(), record(2, Outcome::Failed), day(100));
        let mut data = stored.document();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["repo1.json"]);
        assert_eq!(stored.last(), BTreeMap::from([(repo1(), day(2))]));
        data.insert("repo2.json".to_owned(), "nonsense".to_owned());
        data.insert("README".to_owned(), String::new());
        let read = Read::of(&data, day(100));
        assert_eq!(read.results, stored);
        assert_eq!(read.rejected.unusable, 1);
        assert!(read.rejected.problem.unwrap().starts_with("repo2.json: "));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut data = results(&[(1, Outcome::Passed)]).document();
        let long = "x".repeat(100_000);
        data.insert("repo2.json".to_owned(), format!(r#"[{{"format": "{long}"}}, 3]"#));
        let read = Read::of(&data, day(2));
        assert_eq!(read.results.last().len(), 1);
        assert!(read.rejected.problem.as_ref().unwrap().len() < 10_000);
        let records = read.records(day(2));
        assert_eq!(records.health().unwrap().unusable, 2);
        assert!(records.of_repo(STANZA, 1).is_some());
    }

    #[test]
    fn what_is_dated_in_the_future_is_no_result() {
        let mut stored = results(&[(1, Outcome::Passed), (40, Outcome::Failed)]);
        let data = stored.document();
        stored = Read::of(&data, day(30)).results;
        stored.add(repo1(), record(50, Outcome::Failed), day(30));
        assert_eq!(stored.last(), BTreeMap::from([(repo1(), day(1))]));
        assert_eq!(Read::of(&data, day(41)).results.last(), BTreeMap::from([(repo1(), day(40))]));
    }

    #[test]
    fn the_newest_are_kept_and_the_last_that_passed() {
        let failed: Vec<_> = (3..20).map(|at| (at, Outcome::Failed)).collect();
        let passed = [(1, Outcome::Passed), (2, Outcome::Passed)];
        let mut all = results(&[&passed[..], &failed].concat());
        assert!(all.cover(&turn(), day(1), day(1)));
        all.limit(|_| true);
        let starts: Vec<_> = all.0[&repo1()].iter().map(|record| record.start).collect();
        assert_eq!(starts.first(), Some(&day(2)));
        assert_eq!(starts[1..], (10..20).map(day).collect::<Vec<_>>());
        assert!(all.cover(&turn(), day(5), day(6)), "newer ones have replaced it");
        assert!(!all.cover(&turn(), day(25), day(26)));
        all.limit(|_| false);
        assert_eq!(all, Results::default());
    }

    #[test]
    fn what_did_not_pass_is_found_until_it_passes() {
        let said = |results: &Results| {
            let findings = results.findings("ledger", &results.records(day(30))).into_iter();
            findings.map(|finding| finding.message).collect::<Vec<_>>()
        };
        let mut all = results(&[(1, Outcome::Failed)]);
        let first = said(&all);
        assert!(first.len() == 1 && first[0].starts_with("failed: "), "{first:?}");
        let job = RunJob { uid: "u".into(), name: "j".to_owned(), turn: turn(), created: day(2), end: None };
        let why = (ReasonClass::Configuration, "Job j: its image cannot be pulled".to_owned());
        let end = JobEnd { at: day(3), is_time_up: true, is_complete: false };
        all.add(repo1(), without_result("shop", &(job, end), why), day(100));
        let [failed, none] = <[String; 2]>::try_from(said(&all)).unwrap();
        assert_eq!([failed], *first, "it is no longer the last one, and still told in the same words");
        assert_eq!(none, "had no result: configuration");
        assert!(all.cover(&turn(), day(2), day(3)));
        all.add(repo1(), record(4, Outcome::Passed), day(100));
        assert!(said(&all).is_empty());
    }
}
