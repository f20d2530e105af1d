//! Tests of each repository in short, from their records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::label::BackupLabel;
use crate::text;

use super::proofs::{MAX_CHECKS, MAX_DATABASES, MAX_TEXT, Outcome, Phase, ReasonClass, RestoreTest, Source};
use super::records::History;
use super::speeds::{Measurement, RecoveryTime};

/// Tests from which speeds are taken: the newest that passed.
pub(super) const MEASURED: usize = 10;

/// The tests of one repository, oldest first, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestHistory {
    /// The newest test.
    pub last: RestoreTest,
    /// End of the newest test that passed.
    pub last_success: Option<DateTime<Utc>>,
    /// Start of the oldest test on record.
    pub oldest_start: DateTime<Utc>,
    /// Tests that failed since the last one that passed.
    pub consecutive_failures: u64,
    /// The newest tests in a row that had no result: inconclusive, or timed out.
    pub consecutive_inconclusive: u64,
    /// The newest test of each outcome since the last one that passed.
    pub not_passed: BTreeMap<Outcome, NotPassed>,
    /// Labels of the backups that were restored as a whole in tests that passed.
    #[serde(skip)]
    pub passed: BTreeSet<String>,
    /// Of the newest tests that passed.
    #[serde(skip)]
    pub measurements: Vec<Measurement>,
}

/// Why a test did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotPassed {
    pub start: DateTime<Utc>,
    /// The label of the restored backup.
    pub backup: Option<String>,
    pub class: ReasonClass,
    pub phase: Phase,
    /// On one line, without secrets.
    pub message: String,
}

/// What is known about restore tests of a repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreTests {
    #[serde(flatten)]
    pub history: Arc<TestHistory>,
    /// Absent if the backups are unknown.
    pub coverage: Option<Coverage>,
    /// Absent until it was measured.
    pub recovery_time: Option<RecoveryTime>,
}

/// Which of the existing backups were restored in tests that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Stop of the newest one.
    pub newest_backup: Option<DateTime<Utc>>,
    /// Stop of the oldest one.
    pub oldest_backup: Option<DateTime<Utc>>,
    pub full_backups: u64,
    pub tested_full_backups: u64,
}

impl History for TestHistory {
    type Record = RestoreTest;

    fn of(first: RestoreTest) -> Self {
        let mut history = Self {
            last: first.clone(),
            last_success: None,
            oldest_start: first.start,
            consecutive_failures: 0,
            consecutive_inconclusive: 0,
            not_passed: BTreeMap::new(),
            passed: BTreeSet::new(),
            measurements: Vec::new(),
        };
        history.add(first);
        history
    }

    fn add(&mut self, test: RestoreTest) {
        let test = bounded(test);
        match test.outcome {
            Outcome::Passed => {
                self.last_success = Some(test.stop);
                (self.consecutive_failures, self.consecutive_inconclusive) = (0, 0);
                self.not_passed.clear();
                let tested = test.backup.as_ref().filter(|_| test.is_whole());
                self.passed.extend(tested.map(|backup| backup.label.clone()));
                self.measurements.extend(Measurement::of(&test));
                let outdated = self.measurements.len().saturating_sub(MEASURED);
                self.measurements.drain(..outdated);
            }
            Outcome::Failed => {
                self.consecutive_failures += 1;
                self.consecutive_inconclusive = 0;
            }
            Outcome::Inconclusive | Outcome::TimedOut => self.consecutive_inconclusive += 1,
        }
        if test.outcome != Outcome::Passed {
            self.not_passed.insert(test.outcome, NotPassed::of(&test));
        }
        self.last = test;
    }
}

impl NotPassed {
    fn of(test: &RestoreTest) -> Self {
        let reason = test.reason.as_ref();
        Self {
            start: test.start,
            backup: test.backup.as_ref().map(|backup| backup.label.clone()),
            class: reason.map_or(ReasonClass::Unclassified, |reason| reason.class),
            phase: reason.map_or(Phase::Unknown, |reason| reason.phase),
            message: reason.map_or_else(String::new, |reason| reason.message.clone()),
        }
    }
}

impl Coverage {
    /// The share of the full backups that were restored; none without a full backup.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.full_backups > 0).then(|| self.tested_full_backups as f64 / self.full_backups as f64)
    }
}

/// A test whose texts are on one line and not too long. Any file can be a record.
fn bounded(mut test: RestoreTest) -> RestoreTest {
    let short = |text: &mut String| *text = text::one_line(text, MAX_TEXT);
    short(&mut test.versions.keeper);
    test.versions.pgbackrest.iter_mut().for_each(short);
    test.versions.postgres.iter_mut().for_each(short);
    test.checks.truncate(MAX_CHECKS);
    test.phases.truncate(MAX_CHECKS);
    test.databases.truncate(MAX_DATABASES);
    test.databases.iter_mut().for_each(short);
    for check in &mut test.checks {
        check.name.iter_mut().for_each(short);
        check.message.iter_mut().for_each(short);
    }
    test.reason.iter_mut().for_each(|reason| short(&mut reason.message));
    if let Source::Cluster { namespace, pg_cluster } = &mut test.source {
        short(namespace);
        short(pg_cluster);
    }
    // Labels become label values.
    test.backup = test.backup.filter(|backup| BackupLabel::parse(&backup.label).is_some());
    test
}

#[cfg(test)]
mod tests;
