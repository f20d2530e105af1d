//! The state of collection: counters with the lifetime of the process, and the health stored in a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::state::snapshot::{Collection, FailureReason, ScopeHealth};

use super::catalogue::{Labels, Metric, exporter as catalogue};
use super::facts::Facts;
use super::family::{Families, Label, Value};
use super::notifications::NotificationMetrics;

/// Upper bounds of the duration histogram: from a local repository to a big archive in a remote bucket.
const DURATION_BUCKETS: [f64; 13] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Commands that run periodically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collector {
    /// `pgbackrest info`.
    Info,
    /// `pgbackrest version`.
    Version,
    /// `pgbackrest repo-ls` and `repo-get` for WAL archives.
    Wal,
}

/// Configurations that are read at startup and on reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigurationKind {
    /// pgBackRest's own files.
    PgBackRest,
    /// `--web.config.file`.
    Web,
    /// `--notify.config.file`.
    Notifications,
}

/// The result of loading one configuration.
#[derive(Debug, Clone, Copy)]
struct Reading {
    ok: bool,
    last_success: Option<DateTime<Utc>>,
}

/// The result of one run of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunReport {
    /// Wall time.
    pub duration: Duration,
    /// Bytes on standard output, for calls that cover everything.
    pub output_bytes: Option<u64>,
    /// Whether the output had to be sanitized.
    pub sanitized: bool,
    /// The reason, if it failed.
    pub failure: Option<FailureReason>,
}

/// Counters and histograms of the process. Shared between the poller, which writes, and scrapes, which read.
#[derive(Debug)]
pub struct CollectionMetrics {
    /// The commands that run at all.
    collectors: &'static [Collector],
    /// The possible reasons for failures.
    reasons: &'static [FailureReason],
    info: Counted,
    version: Counted,
    wal: Counted,
    notifications: NotificationMetrics,
    /// Held only for a copy, never while a command runs.
    present: Mutex<CollectionState>,
}

/// The counters of one collector.
#[derive(Debug)]
struct Counted {
    runs: Counter,
    sanitized: Counter,
    durations: Histogram,
    /// In the order of [`REASONS`].
    failures: [Counter; REASONS.len()],
}

/// Current values, as opposed to counters.
#[derive(Debug, Clone, Default)]
struct CollectionState {
    collectors: BTreeMap<Collector, CollectorState>,
    configurations: BTreeMap<ConfigurationKind, Reading>,
}

#[derive(Debug, Clone, Copy, Default)]
struct CollectorState {
    interval: Option<Duration>,
    timeout: Option<Duration>,
    running: u32,
    running_since: Option<DateTime<Utc>>,
    output_bytes: Option<u64>,
}

impl CollectionMetrics {
    /// Everything starts at 0, including every failure reason, so that the first failure is visible as an increase.
    #[must_use]
    pub fn new() -> Self {
        Self::of(&Collector::WITHOUT_WAL, &ON_THIS_HOST)
    }

    /// For commands in pods.
    #[must_use]
    pub fn in_pods() -> Self {
        Self::of(&Collector::WITHOUT_WAL, &IN_PODS)
    }

    /// For a process that runs no commands: only the configuration is exposed.
    #[must_use]
    pub fn without_collectors() -> Self {
        Self::of(&[], &[])
    }

    /// Adds the scans of WAL archives.
    #[must_use]
    pub fn with_wal(mut self, is_listed: bool) -> Self {
        if is_listed {
            self.collectors = &Collector::ALL;
        }
        self
    }

    fn of(collectors: &'static [Collector], reasons: &'static [FailureReason]) -> Self {
        let (info, version, wal) = (Counted::new(), Counted::new(), Counted::new());
        let notifications = NotificationMetrics::default();
        Self { collectors, reasons, info, version, wal, notifications, present: Mutex::default() }
    }

    /// Calls of heartbeats and webhooks.
    #[must_use]
    pub const fn notifications(&self) -> &NotificationMetrics {
        &self.notifications
    }

    /// Sets the interval of a collector and the timeout of a run.
    pub fn set_cadence(&self, collector: Collector, interval: Duration, timeout: Duration) {
        let mut present = self.present.lock();
        let state = present.collectors.entry(collector).or_default();
        (state.interval, state.timeout) = (Some(interval), Some(timeout));
    }

    /// Records the start of a command. Several of one collector may run concurrently.
    pub fn run_started(&self, collector: Collector, at: DateTime<Utc>) {
        let mut present = self.present.lock();
        let state = present.collectors.entry(collector).or_default();
        state.running = state.running.saturating_add(1);
        state.running_since.get_or_insert(at);
    }

    /// Records the end of a started command.
    pub fn run_finished(&self, collector: Collector, report: &RunReport) {
        let counted = self.counted(collector);
        counted.runs.inc();
        counted.durations.observe(report.duration.as_secs_f64());
        if report.sanitized {
            counted.sanitized.inc();
        }
        if let Some(reason) = report.failure {
            counted.failed(reason);
        }
        let mut present = self.present.lock();
        let state = present.collectors.entry(collector).or_default();
        state.output_bytes = report.output_bytes.or(state.output_bytes);
        state.running = state.running.saturating_sub(1);
        if state.running == 0 {
            state.running_since = None;
        }
    }

    /// Records that a due command could not run.
    pub fn not_run(&self, collector: Collector, reason: FailureReason) {
        self.counted(collector).failed(reason);
    }

    /// Records the last load of a configuration, and when the current one was loaded, if any.
    pub fn config_read(
        &self,
        configuration: ConfigurationKind,
        ok: bool,
        last_success: impl Into<Option<DateTime<Utc>>>,
    ) {
        let reading = Reading { ok, last_success: last_success.into() };
        self.present.lock().configurations.insert(configuration, reading);
    }

    const fn counted(&self, collector: Collector) -> &Counted {
        match collector {
            Collector::Info => &self.info,
            Collector::Version => &self.version,
            Collector::Wal => &self.wal,
        }
    }

    /// Intervals and timeouts, by which a reader can tell that data is outdated.
    pub(super) fn write_cadence(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let present = self.present.lock().clone();
        cadence(families, &present)
    }

    pub(super) fn write(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let present = self.present.lock().clone();
        let all: Vec<_> = self
            .collectors
            .iter()
            .map(|collector| ([Label::Text(collector.as_str())], self.counted(*collector)))
            .collect();
        families.family(&catalogue::COLLECTOR_DURATION_SECONDS, |family| {
            let buckets = DURATION_BUCKETS.len();
            all.iter().try_for_each(|(labels, one)| family.add_histogram(labels, &one.durations, buckets))
        })?;
        families.family(&catalogue::COLLECTOR_RUNS_TOTAL, |family| {
            all.iter().try_for_each(|(labels, counted)| family.add_counter(labels, &counted.runs))
        })?;
        families.family(&catalogue::COLLECTOR_FAILURES_TOTAL, |family| {
            all.iter().try_for_each(|([collector], counted)| {
                let all = REASONS.into_iter().zip(&counted.failures);
                let mut possible = all.filter(|(reason, _)| self.reasons.contains(reason));
                possible.try_for_each(|(reason, failures)| {
                    family.add_counter(&[*collector, reason_name(reason).into()], failures)
                })
            })
        })?;
        families.family(&catalogue::COLLECTOR_SANITIZED_OUTPUTS_TOTAL, |family| {
            all.iter().try_for_each(|(labels, counted)| family.add_counter(labels, &counted.sanitized))
        })?;
        per_collector(
            families,
            &present,
            &catalogue::COLLECTOR_IN_PROGRESS_SINCE_TIMESTAMP_SECONDS,
            |state| state.running_since.map(|since| since.timestamp()),
        )?;
        per_collector(families, &present, &catalogue::COLLECTOR_OUTPUT_BYTES, |state| state.output_bytes)?;
        cadence(families, &present)?;
        families.family(&catalogue::EXPORTER_CONFIG_RELOAD_SUCCESS, |family| {
            let readings = &present.configurations;
            family.add_known(&[], (!readings.is_empty()).then(|| readings.values().all(|reading| reading.ok)))
        })?;
        families.family(&catalogue::EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS, |family| {
            // The earliest time counts; if one was never loaded, there is no value.
            let last_success = present.configurations.values().map(|reading| reading.last_success).min();
            let last_success = last_success.flatten();
            family.add_known(&[], last_success.map(|at| at.timestamp()))
        })?;
        self.notifications.write(families)
    }
}

impl Default for CollectionMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The health stored in the snapshot: it changes together with the facts, so that both are consistent.
pub(super) fn write_health(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    per_scope(families, facts, &catalogue::COLLECTOR_UP, |health| Some(Value::from(health.up)))?;
    per_scope(families, facts, &catalogue::COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, |health| {
        health.last_success.map(|at| at.timestamp().into())
    })?;
    per_scope(families, facts, &catalogue::COLLECTOR_LAST_RUN_TIMESTAMP_SECONDS, |health| {
        Some(health.last_run.timestamp().into())
    })?;
    families.family(&catalogue::CONFIGURATION_READ_SUCCESS, |family| {
        facts.each(family, |family, snapshot| {
            let health = snapshot.collection.configuration.as_ref();
            family.add_known(&[], health.map(|health| health.problem.is_none()))
        })
    })
}

fn per_scope(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: fn(&ScopeHealth) -> Option<Value>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each(family, |family, snapshot| {
            let Collection { scopes, wal, .. } = &snapshot.collection;
            let all = [(Collector::Info, scopes), (Collector::Wal, wal)];
            all.into_iter().try_for_each(|(collector, scopes)| {
                scopes.iter().try_for_each(|(scope, health)| {
                    family.add_known(&[collector.as_str().into(), (&**scope).into()], value(health))
                })
            })
        })
    })
}

fn cadence(families: &mut Families<'_, '_>, present: &CollectionState) -> fmt::Result {
    per_collector(families, present, &catalogue::COLLECTOR_INTERVAL_SECONDS, |state| {
        state.interval.map(|interval| interval.as_secs_f64())
    })?;
    per_collector(families, present, &catalogue::COLLECTOR_TIMEOUT_SECONDS, |state| {
        state.timeout.map(|timeout| timeout.as_secs_f64())
    })
}

fn per_collector<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    present: &CollectionState,
    metric: &Metric<Labels<1>>,
    value: fn(&CollectorState) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        let mut all = present.collectors.iter();
        all.try_for_each(|(collector, state)| family.add_known(&[collector.as_str().into()], value(state)))
    })
}

impl Collector {
    const ALL: [Self; 3] = [Self::Info, Self::Version, Self::Wal];
    const WITHOUT_WAL: [Self; 2] = [Self::Info, Self::Version];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Version => "version",
            Self::Wal => "wal",
        }
    }
}

impl Counted {
    fn new() -> Self {
        Self {
            runs: Counter::default(),
            sanitized: Counter::default(),
            durations: Histogram::new(DURATION_BUCKETS),
            failures: Default::default(),
        }
    }

    fn failed(&self, reason: FailureReason) {
        if let Some((_, counter)) =
            REASONS.into_iter().zip(&self.failures).find(|(known, _)| *known == reason)
        {
            counter.inc();
        }
    }
}

/// Every reason.
const REASONS: [FailureReason; 10] = [
    FailureReason::Timeout,
    FailureReason::Exit,
    FailureReason::Parse,
    FailureReason::Spawn,
    FailureReason::RootRefused,
    FailureReason::Killed,
    FailureReason::OutputTooLarge,
    FailureReason::NoMemory,
    FailureReason::NoPod,
    FailureReason::Lost,
];
const ON_THIS_HOST: [FailureReason; 8] = [
    FailureReason::Timeout,
    FailureReason::Exit,
    FailureReason::Parse,
    FailureReason::Spawn,
    FailureReason::RootRefused,
    FailureReason::Killed,
    FailureReason::OutputTooLarge,
    FailureReason::NoMemory,
];
const IN_PODS: [FailureReason; 9] = [
    FailureReason::Timeout,
    FailureReason::Exit,
    FailureReason::Parse,
    FailureReason::Spawn,
    FailureReason::RootRefused,
    FailureReason::OutputTooLarge,
    FailureReason::NoMemory,
    FailureReason::NoPod,
    FailureReason::Lost,
];

const fn reason_name(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Timeout => "timeout",
        FailureReason::Exit => "exit",
        FailureReason::Parse => "parse",
        FailureReason::Spawn => "spawn",
        FailureReason::RootRefused => "root_refused",
        FailureReason::Killed => "killed",
        FailureReason::OutputTooLarge => "output_too_large",
        FailureReason::NoMemory => "no_memory",
        FailureReason::NoPod => "no_pod",
        FailureReason::Lost => "lost",
    }
}

#[cfg(test)]
mod tests;
