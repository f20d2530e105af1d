//! The results in the status of a restore test. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chain::{self, ResultSignature, Scribe};
use crate::cluster::restore_test::schema::status::{MOST_RESULTS, MOST_TESTS};
use crate::cluster::restore_test::turn::{LastTests, Turn};
use crate::cluster::validated::{RepoNumber, STANZA};
use crate::operator::scope::Key;
use crate::pgbackrest::label::BackupLabel;
use crate::pgbackrest::wal::Lsn;
use crate::state;
use crate::state::chain::{Digest, Fault, Found, Head, Link, Storage};
use crate::state::proofs::{
    Check, CheckKind, MAX_CHECKS, MAX_TEXT, Outcome, Phase, PhaseRun, Position, Reason, ReasonClass,
    RestoreTest, Source, Target, TargetKind, TestedBackup, Verdict, Versions,
};
use crate::text;

/// Bytes of all results. etcd takes 1.5 MiB for the whole object.
const MOST_BYTES: usize = 768 << 10;
/// With so many entries, all results that are kept fit, whatever they are.
const FEW: usize = 16;

/// The results of each repo.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Results(BTreeMap<Turn, OfRepo>);

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OfRepo {
    /// Newest first.
    pub(super) tests: Vec<TestResult>,
    /// The last one that was added.
    head: Option<Head>,
}

/// One test, in the status. The names are those of its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestResult {
    pub(super) start: DateTime<Utc>,
    pub(super) stop: DateTime<Utc>,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<ReasonClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_stop: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "is_false")]
    partial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_time: Option<DateTime<Utc>>,
    #[serde(rename = "reachedLSN", skip_serializing_if = "Option::is_none")]
    reached_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_commit: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wal_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_seconds: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_seconds: Option<i32>,
    /// Of the newest test.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    phases: BTreeMap<Phase, i32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checks: Vec<CheckCount>,
    /// Absent in results of versions without chains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chain: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<ResultSignature>,
}

/// Checks of one kind with the same verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CheckCount {
    check: CheckKind,
    verdict: Verdict,
    count: u32,
}

impl Results {
    /// From `status.results`. What cannot be read is left out.
    pub(super) fn read(results: &Value) -> Self {
        let one = |result: &Value| {
            let cluster = result.get("cluster")?.as_str()?.to_owned();
            let repo = RepoNumber::of_name(result.get("repo")?.as_str()?)?;
            let tests = result.get("tests")?.as_array()?.iter();
            let mut tests: Vec<TestResult> =
                tests.filter_map(|test| TestResult::deserialize(test).ok()).collect();
            tests.sort_by_key(|test| Reverse(test.start));
            let head = result.get("head").and_then(|head| Head::deserialize(head).ok());
            (!tests.is_empty() || head.is_some()).then_some((Turn { cluster, repo }, OfRepo { tests, head }))
        };
        Self(results.as_array().into_iter().flatten().filter_map(one).collect())
    }

    /// `status.results`.
    pub(super) fn document(&self) -> Value {
        let results = self.0.iter().map(|(turn, OfRepo { tests, head })| {
            let passed = tests.iter().find(|test| test.outcome == Outcome::Passed);
            let mut result = json!({"cluster": turn.cluster, "repo": turn.repo.to_string(), "tests": tests});
            if let Some(result) = result.as_object_mut() {
                result.extend(passed.map(|passed| ("lastPassed".to_owned(), json!(passed.start))));
                result.extend(head.map(|head| ("head".to_owned(), json!(head))));
            }
            result
        });
        results.collect()
    }

    /// Adds a result at the end of the chain, unless it is known, was removed before, or is of no possible time.
    pub(super) fn add(&mut self, turn: &Turn, mut test: TestResult, scribe: &Scribe) {
        if !is_plain(test.start) || !is_plain(test.stop) {
            return;
        }
        let OfRepo { tests, head } = self.0.entry(turn.clone()).or_default();
        let were_removed = tests.len() >= MOST_TESTS as usize || tests.iter().all(|known| number(known) != 1);
        let is_old = tests.last().is_some_and(|oldest| test.start < oldest.start);
        if (were_removed && is_old) || tests.iter().any(|known| known.start == test.start) {
            return;
        }
        let link = state::chain::next(&found(&scribe.test, turn, tests), *head);
        test.chain = Some(link);
        let covered = test.covered(&scribe.test, turn);
        test.signature = scribe.sign(&covered);
        let digest = Digest::of(covered.as_bytes());
        *head = Some(Head { sequence: link.sequence, digest });
        let (Key { namespace, name: restore_test }, Turn { cluster, .. }) = (&scribe.test, turn);
        tracing::info!(namespace, restore_test, cluster, sequence = link.sequence, %digest, "Recorded a result");
        let place = tests.partition_point(|known| known.start > test.start);
        tests.insert(place, test);
    }

    /// Keeps those of existing clusters, and as many as fit.
    pub(super) fn limit(&mut self, exists: impl Fn(&str) -> bool) {
        self.0.retain(|turn, _| exists(&turn.cluster));
        while self.0.len() > MOST_RESULTS as usize {
            let oldest = self.0.iter().min_by_key(|(_, of)| of.tests.first().map(|test| test.start));
            let Some(oldest) = oldest.map(|(turn, _)| turn.clone()) else { return };
            self.0.remove(&oldest);
        }
        for most in (1..=MOST_TESTS as usize).rev() {
            for OfRepo { tests, .. } in self.0.values_mut() {
                remove_oldest(tests, most);
                tests.iter_mut().skip(1).for_each(TestResult::shorten);
            }
            if self.fits() {
                return;
            }
        }
        let all = |results: &mut Self, change: fn(&mut TestResult)| {
            results.0.values_mut().flat_map(|of| &mut of.tests).for_each(change);
        };
        all(self, |test| {
            test.shorten();
            test.message = None;
        });
        // So many are not chained.
        if !self.fits() {
            all(self, |test| (test.chain, test.signature) = (None, None));
            self.0.values_mut().for_each(|of| of.head = None);
        }
    }

    fn fits(&self) -> bool {
        self.document().to_string().len() <= MOST_BYTES
    }

    /// Whether there is a result of what ran from then until then, or newer ones have replaced it.
    pub(super) fn cover(&self, turn: &Turn, from: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        let Some(OfRepo { tests, .. }) = self.0.get(turn) else { return false };
        let is_it = |test: &TestResult| test.start <= until && test.stop >= from.trunc_subsecs(0);
        let is_replaced = tests.len() > 1 && tests.last().is_some_and(|oldest| oldest.start > until);
        is_replaced || tests.iter().any(is_it)
    }

    /// Of each repo, the newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Turn, &[TestResult])> {
        self.0.iter().map(|(turn, of)| (turn, of.tests.as_slice()))
    }

    /// Those of a cluster.
    pub(super) fn of_cluster<'a>(&'a self, cluster: &str) -> impl Iterator<Item = (&'a Turn, &'a OfRepo)> {
        self.0.iter().filter(move |(turn, _)| turn.cluster == cluster)
    }

    /// Whether their size may be the reason that fewer are kept.
    pub(super) fn may_be_limited(&self) -> bool {
        may_be_limited(self.0.len())
    }

    /// The first repo with a chain that is not whole, and what is wrong with it.
    pub(super) fn first_fault(&self, test: &Key) -> Option<String> {
        self.0.iter().find_map(|(turn, of)| {
            let fault = of.faults(test, turn, self.may_be_limited()).into_iter().next()?;
            Some(format!("{} {}: {fault}", turn.cluster, turn.repo))
        })
    }

    /// When each repo was last tested.
    pub(super) fn last_tests(&self) -> LastTests {
        let last = self.0.iter().filter_map(|(turn, of)| Some((turn.clone(), of.tests.first()?.start)));
        last.collect()
    }
}

impl OfRepo {
    /// What is wrong with the chain. Indexes count from the oldest.
    pub(super) fn faults(&self, test: &Key, turn: &Turn, may_be_limited: bool) -> Vec<Fault> {
        let found = found(test, turn, &self.tests);
        state::chain::faults(&found, Ok(self.head), storage(self.tests.len(), may_be_limited))
    }
}

/// How the results of an entry are stored.
pub(super) fn storage(tests: usize, may_be_limited: bool) -> Storage {
    Storage { is_full: may_be_limited || tests >= MOST_TESTS as usize, is_atomic: true }
}

/// Whether the results of so many entries may be limited by their size.
pub(super) fn may_be_limited(entries: usize) -> bool {
    entries > FEW
}

/// The results as a chain, the oldest first.
fn found(test: &Key, turn: &Turn, results: &[TestResult]) -> Vec<Found> {
    let found = results.iter().rev().map(|result| Found {
        digest: Some(Digest::of(result.covered(test, turn).as_bytes())),
        link: result.chain,
        is_record: true,
        is_moved: false,
    });
    found.collect()
}

/// The number of a result; 0 if it has none.
fn number(test: &TestResult) -> u64 {
    test.chain.map_or(0, |link| link.sequence)
}

/// Those that were added first are the oldest, so the chain of the others is whole.
fn remove_oldest(tests: &mut Vec<TestResult>, most: usize) {
    while tests.len() > most {
        let oldest = tests.iter().enumerate().min_by_key(|(_, test)| (number(test), test.start));
        let Some((index, _)) = oldest else { return };
        tests.remove(index);
    }
}

/// Whether the API server accepts it: a time of four-digit years.
fn is_plain(time: DateTime<Utc>) -> bool {
    const END_OF_9999: i64 = 253_402_300_799;
    time.timestamp() >= 0 && time.timestamp() <= END_OF_9999
}

impl TestResult {
    /// Everything is bounded as in the schema: a record may come from any pod.
    pub(super) fn of(test: &RestoreTest) -> Self {
        let seconds = |duration: Duration| {
            let rounded = duration.saturating_add(Duration::from_millis(500)).as_secs();
            i32::try_from(rounded).unwrap_or(i32::MAX)
        };
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let second = |time: DateTime<Utc>| time.trunc_subsecs(0);
        let plain = |time: DateTime<Utc>| Some(second(time)).filter(|time| is_plain(*time));
        let mut checks: Vec<CheckCount> = Vec::new();
        for check in &test.checks {
            let same = |known: &&mut CheckCount| (known.check, known.verdict) == (check.kind, check.verdict);
            match checks.iter_mut().find(same) {
                Some(known) => known.count += 1,
                None => checks.push(CheckCount { check: check.kind, verdict: check.verdict, count: 1 }),
            }
        }
        let tested = test.backup.as_ref().filter(|backup| BackupLabel::parse(&backup.label).is_some());
        Self {
            start: second(test.start),
            stop: second(test.stop),
            outcome: test.outcome,
            class: test.reason.as_ref().map(|reason| reason.class),
            phase: test.reason.as_ref().map(|reason| reason.phase),
            message: test.reason.as_ref().map(|reason| text::one_line(&reason.message, MAX_TEXT)),
            backup: tested.map(|backup| backup.label.clone()),
            backup_stop: tested.and_then(|backup| plain(backup.stop)),
            partial: !test.is_whole(),
            target: Some(test.target.kind).filter(|kind| *kind != TargetKind::Unknown),
            target_time: test.target.time.and_then(plain),
            reached_lsn: test.reached.map(|reached| reached.lsn),
            last_commit: test.reached.and_then(|reached| reached.last_commit).and_then(plain),
            bytes: test.restored_bytes.or_else(|| tested?.size).map(bytes),
            wal_bytes: test.wal_bytes.map(bytes),
            restore_seconds: test.phase(Phase::Restore).map(seconds),
            replay_seconds: test.phase(Phase::Replay).map(seconds),
            phases: test.phases.iter().map(|run| (run.phase, seconds(run.duration))).collect(),
            checks,
            chain: None,
            signature: None,
        }
    }

    fn covered(&self, test: &Key, turn: &Turn) -> String {
        chain::covered(test, turn, &json!(self))
    }

    /// What only the newest test shows.
    fn shorten(&mut self) {
        self.phases.clear();
        self.checks.clear();
    }

    /// The record that it was made from, as far as the status has it.
    pub(super) fn record(&self, namespace: &str, turn: &Turn) -> RestoreTest {
        let bytes = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let duration = |seconds: i32| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let run =
            |phase, seconds: i32| PhaseRun { phase, duration: duration(seconds), deadline: Duration::ZERO };
        let backup = self.backup.as_ref().zip(self.backup_stop).and_then(|(label, stop)| {
            let backup_type = BackupLabel::parse(label)?.backup_type();
            let (label, start) = (label.clone(), stop);
            let (lsn_start, lsn_stop, size, repo_size) = (None, None, None, None);
            Some(TestedBackup { label, backup_type, start, stop, lsn_start, lsn_stop, size, repo_size })
        });
        let mut phases: Vec<PhaseRun> =
            self.phases.iter().map(|(phase, seconds)| run(*phase, *seconds)).collect();
        if phases.is_empty() {
            let measured = [(Phase::Restore, self.restore_seconds), (Phase::Replay, self.replay_seconds)];
            phases.extend(measured.into_iter().filter_map(|(phase, seconds)| Some(run(phase, seconds?))));
        }
        let checks = self.checks.iter().flat_map(|checks| {
            let check = Check { kind: checks.check, name: None, verdict: checks.verdict, message: None };
            std::iter::repeat_n(check, checks.count as usize)
        });
        let source = Source::Cluster { namespace: namespace.to_owned(), pg_cluster: turn.cluster.clone() };
        let kind = self.target.unwrap_or(TargetKind::Unknown);
        let target = Target { kind, time: self.target_time, random: false };
        let (stanza, repo) = (STANZA.to_owned(), turn.repo.get().into());
        RestoreTest {
            stop: self.stop,
            backup,
            // Their names do not matter.
            databases: if self.partial { vec![String::new()] } else { Vec::new() },
            reached: self.reached_lsn.map(|lsn| Position {
                lsn,
                timeline: None,
                last_commit: self.last_commit,
            }),
            phases,
            checks: checks.take(MAX_CHECKS).collect(),
            restored_bytes: bytes(self.bytes),
            wal_bytes: bytes(self.wal_bytes),
            outcome: self.outcome,
            chain: self.chain,
            reason: self.class.map(|class| Reason {
                class,
                phase: self.phase.unwrap_or(Phase::Unknown),
                message: self.message.clone().unwrap_or_default(),
            }),
            ..RestoreTest::begun(source, stanza, repo, Versions::default(), target, self.start)
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;
