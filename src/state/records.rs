//! The records of a host, of any kind: in short for each repository of a stanza, and whether all can be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::text;

use super::archive::CLOCK_TOLERANCE;
use super::proofs::{MAX_TEXT, Record};

/// Consecutive runs without a result that need attention.
pub const INCONCLUSIVE_LIMIT: u64 = 3;

/// What the records of one repository show, in short.
pub trait History: Clone {
    type Record: Record;

    fn of(first: Self::Record) -> Self;

    /// Adds a record that is newer than those before.
    fn add(&mut self, next: Self::Record);
}

/// The records of one kind of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Records<H> {
    repos: BTreeMap<String, BTreeMap<u32, Arc<H>>>,
    health: RecordsHealth,
}

/// Whether all records can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordsHealth {
    /// Files and directories that cannot be read, records that are dated in the future, and faults of chains.
    pub unusable: u64,
    /// What is wrong with the first of them, and the remedy.
    pub problem: Option<String>,
}

impl RecordsHealth {
    /// Notes a record that cannot be used.
    pub fn reject(&mut self, problem: String) {
        self.unusable += 1;
        self.problem.get_or_insert(problem);
    }
}

impl<H> Default for Records<H> {
    fn default() -> Self {
        Self { repos: BTreeMap::new(), health: RecordsHealth::default() }
    }
}

impl<H: History> Records<H> {
    /// Adds a record. Those of a repository must come oldest first.
    pub fn add(&mut self, record: H::Record, now: DateTime<Utc>) {
        let latest = record.start().max(record.stop());
        let (stanza, repo) = (record.stanza().to_owned(), record.repo());
        if latest > now + CLOCK_TOLERANCE {
            self.reject(format!(
                "the record of a {} of {} in repo{repo} is dated in the future ({latest}): check the clock, and move the records of this repository away",
                H::Record::NAME,
                text::one_line(&stanza, MAX_TEXT)
            ));
            return;
        }
        let repos = self.repos.entry(stanza).or_default();
        match repos.get_mut(&repo) {
            Some(history) => Arc::make_mut(history).add(record),
            None => {
                repos.insert(repo, Arc::new(H::of(record)));
            }
        }
    }

    /// Notes a record that cannot be used.
    pub fn reject(&mut self, problem: String) {
        self.health.reject(problem);
    }

    /// Notes records that cannot be used.
    pub fn reject_all(&mut self, rejected: RecordsHealth) {
        self.health.unusable += rejected.unusable;
        if let Some(problem) = rejected.problem {
            self.health.problem.get_or_insert(problem);
        }
    }

    /// Whether all can be used.
    #[must_use]
    pub fn are_usable(&self) -> bool {
        self.health.unusable == 0
    }

    /// What the records of a repository show, if there are any.
    #[must_use]
    pub fn of_repo(&self, stanza: &str, repo: u32) -> Option<&Arc<H>> {
        self.repos.get(stanza)?.get(&repo)
    }

    /// None if there was never a record.
    #[must_use]
    pub fn health(&self) -> Option<&RecordsHealth> {
        (!self.repos.is_empty() || self.health.unusable > 0).then_some(&self.health)
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{day, restore_test};
    use super::super::proofs::Outcome;
    use super::super::test_history::TestHistory;
    use super::*;

    #[test]
    fn a_record_of_the_future_is_none() {
        let mut records: Records<TestHistory> = Records::default();
        assert_eq!(records.health(), None);
        records.add(restore_test(day(10), Outcome::Passed), day(11));
        records.add(restore_test(day(12), Outcome::Passed), day(11));
        assert_eq!(records.of_repo("demo", 1).unwrap().last.start, day(10));
        let problem = records.health().unwrap().problem.clone().unwrap();
        assert!(problem.contains("demo in repo1 is dated in the future (2026-01-13"), "{problem}");
        assert!(!records.are_usable());
    }
}
