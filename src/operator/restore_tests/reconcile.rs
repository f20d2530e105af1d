//! One reconcile of a restore test: results → turn → objects → status.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use kube::core::DynamicObject;
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::store::Store;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::chain::Scribe;
use super::choose::{Candidates, Chooser, Chosen};
use super::clusters::InNamespace;
use super::facts::{self, Intervals};
use super::records::Passed;
use super::results::{Results, TestResult};
use super::status::{self, Report, State, turn_of};
use super::{RestoreTests, are_listed, no_result, report, status_of};
use crate::cluster::desired;
use crate::cluster::desired::restore_test::TestInputs;
use crate::cluster::finding::{Finding, codes};
use crate::cluster::names;
use crate::cluster::restore_test::resource::KIND;
use crate::cluster::restore_test::turn::{NoTurn, Turn};
use crate::cluster::restore_test::validated::{ClusterSelection, TestNow, ValidatedRestoreTest};
use crate::cluster::settings::Settings;
use crate::cluster::validate;
use crate::kubernetes::client::{CallError, CallFailure};
use crate::operator::apply::{Applied, Owner, Writer};
use crate::operator::inventory::Inventory;
use crate::operator::runs::Runs;
use crate::operator::runs::no_result::find;
use crate::operator::scope::Key;
use crate::state::proofs::RestoreTest;

/// A resource without changes is reconciled again after this time.
const USUAL: Duration = Duration::from_hours(1);
/// The watches have not listed everything yet.
const UNTIL_LISTED: Duration = Duration::from_secs(1);
/// Something that is not watched may have changed, such as the pods of a cluster.
const UNTIL_MENDED: Duration = Duration::from_mins(2);
/// How long clusters that cannot be looked at keep a restore test waiting.
const LOOKED_AT_WITHIN: Duration = Duration::from_mins(2);
/// A Job that was just created is reported by the watch within this time.
const UNTIL_SEEN: Duration = Duration::from_secs(10);

pub(super) struct Reconciler {
    operator: Arc<RestoreTests>,
    inventory: Arc<Inventory>,
    tests: Vec<Store<DynamicObject>>,
    runs: Arc<Runs<RestoreTest>>,
    writer: Writer,
    chooser: Chooser,
    passed: Passed,
    intervals: Intervals,
    since: Instant,
    /// When a Job was created outside of the schedule, by restore test.
    started: Mutex<HashMap<Key, Instant>>,
}

/// What came of the objects.
struct Kept {
    ready: State,
    next: Option<Turn>,
    test_now: Option<String>,
    events: Vec<Event>,
    again: Duration,
}

impl Reconciler {
    pub(super) fn new(
        operator: Arc<RestoreTests>,
        inventory: Arc<Inventory>,
        tests: Vec<Store<DynamicObject>>,
        runs: Arc<Runs<RestoreTest>>,
    ) -> Self {
        let writer =
            Writer::new(operator.client.clone(), Arc::clone(&inventory), Arc::clone(&operator.settings));
        let chooser = Chooser::new(Arc::clone(&operator), tests.clone(), Arc::clone(&runs));
        let (passed, intervals) = (Passed::default(), Intervals::default());
        let (since, started) = (Instant::now(), Mutex::default());
        Self { operator, inventory, tests, runs, writer, chooser, passed, intervals, since, started }
    }

    /// When to reconcile again at the latest; `None` if it failed.
    pub(super) async fn reconcile(&self, key: &Key) -> Option<Duration> {
        // With an incomplete watch, what exists would seem to be missing.
        if !(are_listed(&self.tests) && self.inventory.is_ready() && self.runs.are_listed()) {
            return Some(UNTIL_LISTED);
        }
        // If backup jobs may not be listed, none is known to run.
        self.operator.jobs.is_complete().await;
        let Some(object) = super::find(&self.tests, key) else {
            self.pass(key, &Results::default());
            self.runs.forget(key);
            self.intervals.forget(key);
            self.operator.metrics.forget_restore_test(&key.namespace, &key.name);
            self.writer.forget(&key.namespace, &key.name);
            self.started.lock().remove(key);
            let is_in_namespace =
                |test: &DynamicObject| test.metadata.namespace.as_ref() == Some(&key.namespace);
            if !self.tests.iter().any(|store| store.find(is_in_namespace).is_some()) {
                self.operator.clusters.leave(&key.namespace);
            }
            return Some(USUAL);
        };
        if !self.operator.shard.covers_restore_tests(&key.namespace) {
            // Its own shard tests; this one shows the results of its clusters.
            let status = &status_of(&object);
            self.pass(key, &Results::read(&status["results"]));
            return Some(USUAL);
        }
        self.operator.clusters.want(&key.namespace);
        if object.metadata.deletion_timestamp.is_some() {
            return Some(USUAL);
        }
        match self.phases(key, &object).await {
            Ok(again) => Some(again),
            Err(error) => {
                let Key { namespace, name: restore_test } = key;
                tracing::warn!(namespace, restore_test, %error, "Reconcile of restore test failed; retrying");
                None
            }
        }
    }

    async fn phases(&self, key: &Key, object: &DynamicObject) -> Result<Duration, CallError> {
        let before = &status_of(object);
        let (test, findings) =
            validate::restore_test(serde_json::to_value(object).unwrap_or_default(), &self.operator.settings);
        let nothing = ClusterSelection::Names(BTreeSet::new());
        let selection = test.as_ref().map_or(&nothing, |test| &test.clusters);
        let found = self.operator.clusters.in_namespace(&key.namespace, selection);
        if !found.is_complete && self.since.elapsed() < LOOKED_AT_WITHIN {
            return Ok(UNTIL_LISTED);
        }
        let stored = Results::read(&before["results"]);
        let results = self.results(key, stored.clone(), &found).await?;
        self.pass(key, &results);
        let mut report = Report {
            generation: object.metadata.generation,
            ready: not_valid(&findings),
            testable: None,
            selected: found.selected.len(),
            next: turn_of(&before["next"]),
            test_now: before["testNow"].as_str().map(str::to_owned),
            fault: results.first_fault(key),
        };
        let mut again = USUAL;
        if let Some(test) = &test {
            let candidates = self.chooser.candidates(test, &found, (key, object));
            let kept = self.keep(key, object, (test, &findings), candidates, &results, &mut report).await?;
            again = kept.again;
            (report.ready, report.next, report.test_now) = (kept.ready, kept.next, kept.test_now);
            report::publish(&self.operator, key, object, kept.events).await;
        }
        let interval = self.intervals.of(key, test.as_ref(), Utc::now());
        let state = facts::of((key, &object.metadata), (&report, &results, &self.runs), &found, interval);
        self.operator.metrics.restore_test(&key.namespace, &key.name, state);
        let now = report.document(&results, before, Utc::now());
        if !status::is_same(before, &now) {
            match report::write(&self.operator, key, object, &now).await {
                Ok(()) => report::publish(&self.operator, key, object, status::events(before, &now)).await,
                // The watch reports what was changed meanwhile.
                Err(error) if error.failure == CallFailure::Conflict => again = UNTIL_SEEN,
                Err(error) => return Err(error),
            }
        }
        self.runs.written(key, |turn, from, until| stored.cover(turn, from, until));
        Ok(again)
    }

    fn pass(&self, key: &Key, results: &Results) {
        if let Some(fleet) = &self.operator.fleet {
            self.passed.pass(fleet, self.operator.shard, key, results);
        }
    }

    /// Those of the status, and what has ended since.
    async fn results(
        &self,
        key: &Key,
        mut results: Results,
        found: &InNamespace,
    ) -> Result<Results, CallError> {
        let scribe = Scribe { test: key.clone(), key: self.operator.signing_key.clone() };
        let mut reported = self.runs.results(key);
        reported.sort_by_key(|(_, result)| result.start);
        for (turn, result) in reported {
            results.add(&turn, TestResult::of(&result), &scribe);
        }
        let mut ended = self.runs.ended(key);
        ended.sort_by_key(|(job, _)| job.created);
        for ended in ended {
            let (job, end) = &ended;
            if !results.cover(&job.turn, job.created, end.at) {
                let waited = self.runs.waited(key, &job.uid);
                let found =
                    find::<RestoreTest>(&self.operator.client, &key.namespace, &ended, waited).await?;
                let result = found.unwrap_or_else(|why| no_result::of(&key.namespace, &ended, why));
                results.add(&job.turn, TestResult::of(&result), &scribe);
            }
        }
        results.limit(|cluster| {
            !found.is_complete || found.names.binary_search_by(|name| name.as_str().cmp(cluster)).is_ok()
        });
        Ok(results)
    }

    /// Chooses the turn, and applies its objects.
    async fn keep(
        &self,
        key: &Key,
        object: &DynamicObject,
        (test, findings): (&ValidatedRestoreTest, &[Finding]),
        mut candidates: Candidates<'_>,
        results: &Results,
        report: &mut Report,
    ) -> Result<Kept, CallError> {
        let testable = candidates.testable.iter();
        report.testable =
            Some(testable.map(|candidate| (candidate.name.clone(), candidate.repos.clone())).collect());
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let owner = Owner { kind: KIND, namespace: &key.namespace, name: &key.name, uid };
        let mut kept = Kept {
            ready: ready(test, findings, &candidates.left_out),
            next: report.next.clone(),
            test_now: report.test_now.clone(),
            events: Vec::new(),
            again: USUAL,
        };
        let mut asked = test.test_now.as_ref().filter(|asked| Some(&asked.token) != kept.test_now.as_ref());
        // Its Job is there, although the status could not be written then.
        if let Some(served) = asked.take_if(|asked| self.has_started(key, asked)) {
            kept.test_now = Some(served.token.clone());
        }
        // The template stays as it is: so do the policies, which are those of the pod that runs.
        if let Some(turn) = self.runs.running(key) {
            kept.next = Some(turn);
            return Ok(kept);
        }
        if let Some(rest) = self.was_just_started(key) {
            kept.again = rest;
            return Ok(kept);
        }
        let mut chosen = self.chooser.choose(test, asked, &mut candidates, results).await?;
        if matches!(chosen, Err(NoTurn::Nobody))
            && let Some(refused) = asked.take()
        {
            kept.refuse(refused);
            chosen = self.chooser.choose(test, None, &mut candidates, results).await?;
        }
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(no_turn) => {
                let applied = self.writer.suspend_test(owner, no_turn.as_str()).await?;
                kept.next = None;
                kept.again = UNTIL_MENDED;
                kept.ready = no_turn_now(no_turn, &candidates.left_out, &kept.ready);
                kept.take(&applied);
                return Ok(kept);
            }
        };
        kept.ready = ready(test, findings, &candidates.left_out);
        let inputs = self.chooser.inputs(&chosen);
        let settings: &Settings = &self.operator.settings;
        let objects = desired::restore_test::build(test, chosen.cluster, &chosen.turn, settings, &inputs);
        let applied = self.writer.apply_test(owner, &objects.unwrap_or_default()).await?;
        kept.take(&applied);
        if let Some(asked) = asked.filter(|_| kept.ready.holds == Some(true)) {
            self.start(key, test, &chosen, &inputs, asked, &mut kept).await?;
        }
        kept.next = Some(chosen.turn);
        Ok(kept)
    }

    /// Creates the Job that a user has requested.
    async fn start(
        &self,
        key: &Key,
        test: &ValidatedRestoreTest,
        chosen: &Chosen<'_>,
        inputs: &TestInputs,
        asked: &TestNow,
        kept: &mut Kept,
    ) -> Result<(), CallError> {
        let (settings, token) = (&self.operator.settings, &asked.token);
        let job =
            desired::restore_test::one_time_job(test, chosen.cluster, &chosen.turn, settings, inputs, token);
        let Some(job) = job else { return Ok(()) };
        if self.writer.create_job(&job).await? {
            self.started.lock().insert(key.clone(), Instant::now());
            let name = job.metadata.name.as_deref().unwrap_or_default();
            let Turn { cluster, repo } = &chosen.turn;
            let message = format!("started a test of {cluster} from {repo} as Job {name}");
            kept.events.push(status::event(EventType::Normal, "RestoreTestStarted", &message));
        }
        kept.test_now = Some(token.clone());
        kept.again = UNTIL_SEEN;
        Ok(())
    }

    fn has_started(&self, key: &Key, asked: &TestNow) -> bool {
        self.runs.has_job(key, &names::restore_test_job(&key.name, &asked.token))
    }

    /// How long to wait until the watch must have reported a Job that was created.
    fn was_just_started(&self, key: &Key) -> Option<Duration> {
        let mut started = self.started.lock();
        let rest = UNTIL_SEEN.checked_sub(started.get(key)?.elapsed());
        if rest.is_none() {
            started.remove(key);
        }
        rest
    }
}

impl Kept {
    /// What is requested cannot be tested, and is not tried again.
    fn refuse(&mut self, asked: &TestNow) {
        let note = format!(
            "the test that was requested ({}) is not possible: no cluster that is selected and can be tested has this name and repo",
            asked.token
        );
        self.events.push(status::event(EventType::Warning, "RestoreTestRefused", &note));
        self.test_now = Some(asked.token.clone());
    }

    fn take(&mut self, applied: &Applied) {
        let events = applied.actions.iter();
        self.events
            .extend(events.map(|action| status::event(EventType::Normal, action.reason, &action.message)));
        if let Some(again) = applied.again_after {
            self.again = self.again.min(again);
        }
        if let Some(finding) = applied.findings.first() {
            let reason = if *finding.code == codes::NAME_TAKEN { "NameTaken" } else { "ObjectsNotWritten" };
            self.ready = State::new(false, reason, finding.to_string());
            self.again = self.again.min(UNTIL_MENDED);
        }
    }
}

/// The resource has errors.
fn not_valid(findings: &[Finding]) -> State {
    let errors: Vec<String> =
        findings.iter().filter(|finding| finding.is_error()).map(ToString::to_string).collect();
    State::new(false, "Invalid", errors.join("\n"))
}

fn ready(test: &ValidatedRestoreTest, findings: &[Finding], left_out: &[String]) -> State {
    let mut lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.extend(left_out_line(left_out));
    let reason = if test.is_suspended { "Suspended" } else { "AsDescribed" };
    State::new(true, reason, lines.join("\n"))
}

fn left_out_line(left_out: &[String]) -> Option<String> {
    let names: Vec<&str> = left_out.iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| format!("left out: {}", status::names(&names)))
}

/// What runs now ends without anybody's help; that there is no cluster does not.
fn no_turn_now(no_turn: NoTurn, left_out: &[String], ready: &State) -> State {
    let (reason, why) = match no_turn {
        NoTurn::Nobody => {
            let lines = ["no cluster that is selected can be tested".to_owned()].into_iter();
            let lines: Vec<String> = lines.chain(left_out_line(left_out)).collect();
            return State::new(false, "NoCluster", lines.join("\n"));
        }
        NoTurn::BackupRuns => ("BackupRuns", "backups run, and no test starts until they have ended"),
        NoTurn::TestRuns => ("TestRuns", "another restore test tests the same clusters"),
    };
    let message = [why, &ready.message].join("\n").trim_end().to_owned();
    State { holds: ready.holds, reason, message }
}
