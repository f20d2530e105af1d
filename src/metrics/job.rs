//! Backup jobs: counters since the start of the process, and the current state. Written by the operator, read by
//! scrapes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::pgbackrest::label::BackupType;
use crate::state::jobs::history::RunHistoryView;
use crate::state::jobs::index::{ClusterRuns, JobIndex, RunResults};
use crate::state::jobs::timer::ScheduleView;
use crate::state::jobs::{ClusterKey, Concern, JobFact, RunHistory, Slot, Tally, Trigger};

use super::catalogue::{Labels, Metric, jobs as catalogue};
use super::family::{Families, Family, Label, Value};

/// Upper bounds: from ten seconds to a day.
const DURATION_BUCKETS: [f64; 12] =
    [10.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 43_200.0, 86_400.0];

/// The state of jobs and schedules.
#[derive(Debug, Default)]
pub struct JobMetrics {
    /// Incremented whenever something may have changed.
    changes: AtomicU64,
    /// Held only for a change or a copy.
    present: Mutex<JobState>,
}

#[derive(Debug, Clone, Default)]
struct JobState {
    index: JobIndex,
    /// Lives as long as the process, for each existing cluster.
    counts: BTreeMap<ClusterKey, Arc<Counts>>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    runs: BTreeMap<(Slot, &'static str, Trigger), Counter>,
    attempts: BTreeMap<(Slot, RunOutcome), Counter>,
    durations: BTreeMap<(BackupType, RunOutcome), Histogram>,
}

/// The result of a run or a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RunOutcome {
    JobFailure,
    Success,
}

impl RunOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::JobFailure => "failure",
            Self::Success => "success",
        }
    }
}

/// One repo and backup type, at the time of a scrape.
struct Row<'a> {
    key: &'a ClusterKey,
    slot: Slot,
    history: &'a RunHistory,
    view: RunHistoryView,
}

impl<'a> Row<'a> {
    /// In the order of the catalogue.
    fn labels(&self) -> [Label<'a>; 4] {
        slot_labels(self.key, self.slot)
    }
}

fn slot_labels(key: &ClusterKey, slot: Slot) -> [Label<'_>; 4] {
    [slot.backup_type.as_str().into(), (&*key.namespace).into(), (&*key.name).into(), slot.repo_key.into()]
}

impl JobMetrics {
    /// Reads or changes the state of the clusters.
    pub fn with_index<T>(&self, work: impl FnOnce(&mut JobIndex) -> T) -> T {
        work(&mut self.change().index)
    }

    /// Records the state of a Job. Events before this process started leading are not counted.
    pub fn job(&self, fact: &JobFact, counts: bool, now: DateTime<Utc>) {
        let mut present = self.change();
        let tally = present.index.job(fact, now);
        if !counts || tally == Tally::default() {
            return;
        }
        let counted = Arc::make_mut(present.counts.entry(fact.cluster.clone()).or_default());
        for (outcome, pods) in
            [(RunOutcome::JobFailure, tally.failed_pods), (RunOutcome::Success, tally.succeeded_pods)]
        {
            if pods > 0 {
                counted.attempts.entry((fact.slot, outcome)).or_default().inc_by(pods);
            }
        }
        let Some(end) = fact.end.as_ref().filter(|_| tally.ended) else { return };
        let (outcome, reason) = match end.failure {
            None => (RunOutcome::Success, ""),
            Some(failure) => (RunOutcome::JobFailure, failure.reason),
        };
        counted.runs.entry((fact.slot, reason, fact.trigger)).or_default().inc();
        if let Some(duration) = fact.duration() {
            let histogram = counted.durations.entry((fact.slot.backup_type, outcome));
            let histogram = histogram.or_insert_with(|| Histogram::new(DURATION_BUCKETS));
            histogram.observe(duration.as_seconds_f64());
        }
    }

    /// Everything has been listed: drops the counters of clusters that no longer exist.
    pub fn listed(&self) {
        let mut present = self.change();
        let JobState { index, counts } = &mut *present;
        counts.retain(|key, _| index.clusters().contains_key(key));
    }

    /// A term of leadership has ended: other replicas report the current state from now on.
    pub fn forget_all(&self) {
        self.change().index = JobIndex::default();
    }

    /// The problems of a cluster, worst first.
    #[must_use]
    pub fn concerns(&self, namespace: &str, name: &str, now: DateTime<Utc>) -> Arc<[Concern]> {
        let key = ClusterKey::new(namespace, name);
        let cluster = self.present.lock().index.clusters().get(&key).map(Arc::clone);
        cluster.map(|cluster| cluster.concerns(now).into()).unwrap_or_default()
    }

    /// How the runs of a cluster have ended.
    #[must_use]
    pub fn results(&self, cluster: &ClusterKey) -> RunResults {
        let cluster = self.present.lock().index.clusters().get(cluster).map(Arc::clone);
        cluster.map(|cluster| cluster.results()).unwrap_or_default()
    }

    /// Increases whenever something may have changed.
    pub(super) fn revision(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A change is visible to every reader after the lock is released.
    fn change(&self) -> MutexGuard<'_, JobState> {
        let present = self.present.lock();
        self.changes.fetch_add(1, Ordering::AcqRel);
        present
    }

    pub(super) fn write_counters(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let counts = self.present.lock().counts.clone();
        write_counters(families, &counts)
    }

    /// Everything except the counters.
    pub(super) fn write(&self, families: &mut Families<'_, '_>, now: DateTime<Utc>) -> fmt::Result {
        let JobState { index, counts } = self.present.lock().clone();
        write_durations(families, &counts)?;
        let rows: Vec<Row<'_>> =
            index.clusters().iter().flat_map(|(key, cluster)| rows(key, cluster, now)).collect();
        write_rows(families, &rows)?;
        write_schedules(families, &rows)
    }
}

fn rows<'a>(
    key: &'a ClusterKey,
    cluster: &'a ClusterRuns,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Row<'a>> {
    cluster.histories().map(move |(slot, history)| Row { key, slot, history, view: history.view(now) })
}

type AllCounts = BTreeMap<ClusterKey, Arc<Counts>>;

fn write_counters(families: &mut Families<'_, '_>, counts: &AllCounts) -> fmt::Result {
    families.family(&catalogue::RUNS_TOTAL, |family| {
        for (key, counts) in counts {
            for ((slot, reason, trigger), count) in &counts.runs {
                let outcome = if reason.is_empty() { RunOutcome::Success } else { RunOutcome::JobFailure };
                let [backup_type, namespace, cluster, repo] = slot_labels(key, *slot);
                let (outcome, reason, trigger) = (outcome.as_str(), *reason, trigger.as_str());
                let labels =
                    [backup_type, namespace, outcome.into(), cluster, reason.into(), repo, trigger.into()];
                family.add_counter(&labels, count)?;
            }
        }
        Ok(())
    })?;
    families.family(&catalogue::ATTEMPTS_TOTAL, |family| {
        for (key, counts) in counts {
            for ((slot, outcome), count) in &counts.attempts {
                let [backup_type, namespace, cluster, repo] = slot_labels(key, *slot);
                family
                    .add_counter(&[backup_type, namespace, outcome.as_str().into(), cluster, repo], count)?;
            }
        }
        Ok(())
    })
}

fn write_durations(families: &mut Families<'_, '_>, counts: &AllCounts) -> fmt::Result {
    families.family(&catalogue::DURATION_SECONDS, |family| {
        for (key, counts) in counts {
            for ((backup_type, outcome), histogram) in &counts.durations {
                let (namespace, cluster) = ((&*key.namespace).into(), (&*key.name).into());
                let labels = [backup_type.as_str().into(), namespace, outcome.as_str().into(), cluster];
                family.add_histogram(&labels, histogram, DURATION_BUCKETS.len())?;
            }
        }
        Ok(())
    })
}

fn write_rows(families: &mut Families<'_, '_>, rows: &[Row<'_>]) -> fmt::Result {
    let at = |moment: Option<DateTime<Utc>>| moment.map(|moment| moment.timestamp());
    known(families, &catalogue::LAST_SUCCESS_TIMESTAMP_SECONDS, rows, |row| at(row.view.last_success))?;
    known(families, &catalogue::LAST_FAILURE_TIMESTAMP_SECONDS, rows, |row| at(row.view.last_failure))?;
    known(families, &catalogue::LAST_DURATION_SECONDS, rows, |row| {
        row.view.last_duration.map(|duration| duration.num_seconds())
    })?;
    known(families, &catalogue::CONSECUTIVE_FAILURES, rows, |row| row.view.consecutive_failures)?;
    families.family(&catalogue::LAST_FAILURE_INFO, |family| {
        rows.iter().try_for_each(|row| failure_info(family, row))
    })?;
    known(families, &catalogue::ACTIVE, rows, |row| Some(row.view.active))?;
    known(families, &catalogue::ACTIVE_SINCE_TIMESTAMP_SECONDS, rows, |row| at(row.view.active_since))?;
    known(families, &catalogue::DEADLINE_SECONDS, rows, |row| {
        Some(row.history.timer()?.fact.deadline?.num_seconds())
    })
}

fn failure_info(family: &mut Family<'_, '_, 6>, row: &Row<'_>) -> fmt::Result {
    let Some(failure) = row.view.failing else { return Ok(()) };
    let code = failure.exit_code.map(|code| code.to_string()).unwrap_or_default();
    let [backup_type, namespace, cluster, repo] = row.labels();
    family.add(&[backup_type, code.as_str().into(), namespace, cluster, failure.reason.into(), repo], 1_u64)
}

/// One series for each row that has the value.
fn known<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    metric: &Metric<Labels<4>>,
    rows: &[Row<'_>],
    value: impl Fn(&Row<'_>) -> Option<V>,
) -> fmt::Result {
    families
        .family(metric, |family| rows.iter().try_for_each(|row| family.add_known(&row.labels(), value(row))))
}

/// CronJobs: when they run, and when they should have run.
fn write_schedules(families: &mut Families<'_, '_>, rows: &[Row<'_>]) -> fmt::Result {
    families.family(&catalogue::SCHEDULE_INFO, |family| {
        rows.iter().try_for_each(|row| {
            let Some(timer) = row.history.timer() else { return Ok(()) };
            let [backup_type, namespace, cluster, repo] = row.labels();
            let zone = timer.fact.time_zone.as_deref().unwrap_or_default();
            let (name, expression) = ((&*timer.fact.name).into(), (&*timer.fact.expression).into());
            family.add(&[backup_type, name, namespace, cluster, repo, expression, zone.into()], 1_u64)
        })
    })?;
    known(families, &catalogue::SCHEDULE_CREATED_TIMESTAMP_SECONDS, rows, |row| {
        Some(row.history.timer()?.fact.created.timestamp())
    })?;
    let interval = |view: &ScheduleView| view.interval.map(|interval| interval.num_seconds());
    of_schedule(families, &catalogue::SCHEDULE_INTERVAL_SECONDS, rows, interval)?;
    let next = |view: &ScheduleView| view.next.map(|at| at.timestamp());
    of_schedule(families, &catalogue::SCHEDULE_NEXT_TIMESTAMP_SECONDS, rows, next)?;
    let previous = |view: &ScheduleView| view.previous.map(|at| at.timestamp());
    of_schedule(families, &catalogue::SCHEDULE_PREVIOUS_TIMESTAMP_SECONDS, rows, previous)?;
    of_schedule(families, &catalogue::SCHEDULE_MISSED_RUNS, rows, |view| view.missed)?;
    let overdue = |view: &ScheduleView| view.overdue.map(|overdue| overdue.num_seconds());
    of_schedule(families, &catalogue::SCHEDULE_OVERDUE_SECONDS, rows, overdue)?;
    of_schedule(families, &catalogue::SCHEDULE_SUSPENDED, rows, |view| Some(view.suspended))?;
    of_schedule(families, &catalogue::SCHEDULE_CONFLICT, rows, |view| Some(view.conflict))
}

fn of_schedule<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    metric: &Metric<Labels<4>>,
    rows: &[Row<'_>],
    value: impl Fn(&ScheduleView) -> Option<V>,
) -> fmt::Result {
    known(families, metric, rows, |row| row.view.schedule.as_ref().and_then(&value))
}
