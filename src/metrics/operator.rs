//! The state of the operator and of each cluster. Written by reconciles, read by scrapes.

mod restore_tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::kubernetes::shard::Shard;
use crate::state::jobs::Concern;

use super::catalogue::{Labels, Metric, operator as catalogue};
use super::family::{Families, Family, Label, Value};
use super::job::JobMetrics;

use restore_tests::RestoreTests;

pub use restore_tests::RestoreTestState;

/// Upper bounds: from a reconcile without changes to one that waits for commands in pods.
const DURATION_BUCKETS: [f64; 11] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 300.0];

/// Counters of the process, and the newest facts of each cluster.
#[derive(Debug)]
pub struct OperatorMetrics {
    succeeded: Histogram,
    failed: Histogram,
    /// Jobs and schedules.
    pub jobs: JobMetrics,
    shard: Shard,
    /// Held only for a change or a copy.
    present: Mutex<OperatorState>,
    /// Incremented whenever something about a cluster may have changed.
    changes: AtomicU64,
    /// Incremented when leadership is lost: from then on another replica reports the clusters.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct OperatorState {
    totals: Totals,
    clusters: Clusters,
    restore_tests: RestoreTests,
}

type Clusters = BTreeMap<(String, String), ClusterTotals>;

/// The operator's own metrics.
#[derive(Debug, Clone, Default)]
struct Totals {
    errors: BTreeMap<&'static str, Counter>,
    drift: BTreeMap<(String, &'static str), Counter>,
    watch_restarts: BTreeMap<&'static str, Counter>,
    publish_errors: BTreeMap<(&'static str, &'static str), Counter>,
    reconciles: u64,
    leads: bool,
    queue_depth: u64,
}

#[derive(Debug, Clone, Default)]
struct ClusterTotals {
    failing: bool,
    last_success: Option<DateTime<Utc>>,
    in_place: BTreeMap<&'static str, bool>,
    judgement: Arc<Judgement>,
}

/// The result of the last reconcile of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Whether there are no errors.
    pub ok: bool,
    /// The state as in the status of the resource.
    pub status: &'static str,
    /// The reasons, worst first.
    pub lines: Vec<String>,
    /// The number of findings by severity and code.
    pub findings: BTreeMap<(&'static str, &'static str), u64>,
    /// Whether policies are met, if known.
    pub policies: Vec<(&'static str, bool)>,
    /// When certificates expire.
    pub expiries: Vec<(String, DateTime<Utc>)>,
}

/// A cluster, for the status page.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Namespace and name.
    pub key: (String, String),
    /// The result of the last reconcile.
    pub judgement: Arc<Judgement>,
    /// The end time of the last successful reconcile.
    pub last_success: Option<DateTime<Utc>>,
    /// Problems with its jobs and schedules, worst first.
    pub jobs: Arc<[Concern]>,
}

impl OperatorMetrics {
    /// Everything starts at 0. `reasons`: all possible failure reasons of reconciles.
    #[must_use]
    pub fn new(reasons: &[&'static str]) -> Self {
        let errors = reasons.iter().map(|reason| (*reason, Counter::default())).collect();
        Self {
            succeeded: Histogram::new(DURATION_BUCKETS),
            failed: Histogram::new(DURATION_BUCKETS),
            jobs: JobMetrics::default(),
            shard: Shard::default(),
            present: Mutex::new(OperatorState {
                totals: Totals { errors, ..Totals::default() },
                ..OperatorState::default()
            }),
            changes: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    /// The same for a shard of the fleet.
    #[must_use]
    pub const fn of_shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self
    }

    /// Records the end of a reconcile at `at`.
    pub fn reconciled(
        &self,
        namespace: &str,
        cluster: &str,
        outcome: Result<(), &'static str>,
        duration: Duration,
        at: DateTime<Utc>,
    ) {
        let histogram = if outcome.is_ok() { &self.succeeded } else { &self.failed };
        histogram.observe(duration.as_secs_f64());
        let mut present = self.change();
        present.totals.reconciles = present.totals.reconciles.saturating_add(1);
        if let Err(reason) = outcome {
            present.totals.errors.entry(reason).or_default().inc();
        }
        let known = present.cluster(namespace, cluster);
        known.failing = outcome.is_err();
        if outcome.is_ok() {
            known.last_success = Some(at);
        }
    }

    /// Records what was written for a cluster, by kind.
    pub fn applied(
        &self,
        namespace: &str,
        cluster: &str,
        in_place: &[(&'static str, bool)],
        drift: &[&'static str],
    ) {
        let mut present = self.change();
        present.cluster(namespace, cluster).in_place = in_place.iter().copied().collect();
        for kind in drift {
            present.totals.drift.entry((namespace.to_owned(), kind)).or_default().inc();
        }
    }

    /// Records the findings about a cluster.
    pub fn judged(&self, namespace: &str, cluster: &str, judgement: Judgement) {
        self.change().cluster(namespace, cluster).judgement = Arc::new(judgement);
    }

    /// Records failed reconciles of a cluster. Previous findings are kept.
    pub fn fails(&self, namespace: &str, cluster: &str, status: &'static str, lines: Vec<String>) {
        let mut present = self.change();
        let judgement = Arc::make_mut(&mut present.cluster(namespace, cluster).judgement);
        (judgement.ok, judgement.status, judgement.lines) = (false, status, lines);
    }

    /// Records that an Event or status could not be written.
    pub fn publish_failed(&self, what: &'static str, reason: &'static str) {
        self.present.lock().totals.publish_errors.entry((what, reason)).or_default().inc();
    }

    /// The state of every cluster, by namespace and name.
    #[must_use]
    pub fn overview(&self, now: DateTime<Utc>) -> Vec<Overview> {
        let present = self.present.lock();
        let clusters = present.clusters.iter().map(|(key, known)| Overview {
            key: key.clone(),
            judgement: Arc::clone(&known.judgement),
            last_success: known.last_success,
            jobs: self.jobs.concerns(&key.0, &key.1, now),
        });
        clusters.collect()
    }

    /// The cluster was deleted, or has another controller.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        self.change().clusters.remove(&(namespace.to_owned(), cluster.to_owned()));
    }

    /// Records whether this process holds the lease. Losing it clears the state of the clusters.
    pub fn leads(&self, leads: bool) {
        let mut present = self.present.lock();
        let led = std::mem::replace(&mut present.totals.leads, leads);
        if led && !leads {
            present.clusters.clear();
            present.restore_tests.clear();
            self.jobs.forget_all();
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Sets the number of clusters waiting for a reconcile.
    pub fn queue_depth(&self, depth: usize) {
        self.present.lock().totals.queue_depth = u64::try_from(depth).unwrap_or(u64::MAX);
    }

    /// Counts a failed watch of objects of this kind.
    pub fn watch_restarted(&self, kind: &'static str) {
        self.present.lock().totals.watch_restarts.entry(kind).or_default().inc();
    }

    /// Increases whenever leadership is lost. Metrics of clusters that were encoded before are no longer valid.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Increases whenever something about a cluster may have changed.
    pub(super) fn revision(&self) -> u64 {
        self.changes.load(Ordering::Acquire) + self.jobs.revision()
    }

    /// A change is visible to every reader after the lock is released.
    fn change(&self) -> MutexGuard<'_, OperatorState> {
        let present = self.present.lock();
        self.changes.fetch_add(1, Ordering::AcqRel);
        present
    }

    /// The metrics of each cluster, without counters.
    pub(super) fn write_clusters(&self, families: &mut Families<'_, '_>, now: DateTime<Utc>) -> fmt::Result {
        let present = self.present.lock();
        let (clusters, restore_tests) = (present.clusters.clone(), present.restore_tests.clone());
        drop(present);
        write_clusters(&clusters, families)?;
        restore_tests::write(&restore_tests, families)?;
        self.jobs.write(families, now)
    }

    /// Counters of each cluster.
    pub(super) fn write_cluster_counters(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        self.jobs.write_counters(families)
    }

    /// The operator's own metrics.
    pub(super) fn write(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let present = self.present.lock().totals.clone();
        // Counts of reconciles stay far below 2^53.
        families.counter(&catalogue::RECONCILE_TOTAL, present.reconciles as f64)?;
        families.family(&catalogue::RECONCILE_ERRORS_TOTAL, |family| {
            present
                .errors
                .iter()
                .try_for_each(|(reason, count)| family.add_counter(&[(*reason).into()], count))
        })?;
        families.family(&catalogue::RECONCILE_DURATION_SECONDS, |family| {
            let buckets = DURATION_BUCKETS.len();
            family.add_histogram(&["error".into()], &self.failed, buckets)?;
            family.add_histogram(&["success".into()], &self.succeeded, buckets)
        })?;
        families.family(&catalogue::DRIFT_CORRECTED_TOTAL, |family| {
            let mut drift = present.drift.iter();
            drift.try_for_each(|((namespace, kind), count)| {
                family.add_counter(&[namespace.as_str().into(), (*kind).into()], count)
            })
        })?;
        families.family(&catalogue::WATCH_RESTARTS_TOTAL, |family| {
            let mut restarts = present.watch_restarts.iter();
            restarts.try_for_each(|(kind, count)| family.add_counter(&[(*kind).into()], count))
        })?;
        families.family(&catalogue::REPORT_ERRORS_TOTAL, |family| {
            let mut errors = present.publish_errors.iter();
            errors.try_for_each(|((what, reason), count)| {
                family.add_counter(&[(*reason).into(), (*what).into()], count)
            })
        })?;
        families.family(&catalogue::LEADER, |family| family.add(&[], present.leads))?;
        families.family(&catalogue::SHARD_INFO, |family| {
            family.add(&[u64::from(self.shard.index()).into(), u64::from(self.shard.total()).into()], true)
        })?;
        families.family(&catalogue::TOTAL_SHARDS, |family| family.add(&[], u64::from(self.shard.total())))?;
        families.family(&catalogue::QUEUE_DEPTH, |family| family.add(&[], present.queue_depth))
    }
}

impl OperatorState {
    fn cluster(&mut self, namespace: &str, cluster: &str) -> &mut ClusterTotals {
        self.clusters.entry((namespace.to_owned(), cluster.to_owned())).or_default()
    }
}

fn write_clusters(clusters: &Clusters, families: &mut Families<'_, '_>) -> fmt::Result {
    each(
        clusters,
        families,
        &catalogue::LAST_RECONCILE_SUCCESS_TIMESTAMP_SECONDS,
        |family, [ns, name], known| {
            family.add_known(&[ns, name], known.last_success.map(|at| at.timestamp()))
        },
    )?;
    each(clusters, families, &catalogue::CLUSTER_OK, |family, [ns, name], known| {
        family.add(&[ns, name], known.judgement.ok && !known.failing)
    })?;
    each(clusters, families, &catalogue::FINDINGS, |family, [ns, name], known| {
        let mut findings = known.judgement.findings.iter();
        findings.try_for_each(|((severity, code), count)| {
            family.add(&[(*code).into(), ns, name, (*severity).into()], *count)
        })
    })?;
    each(clusters, families, &catalogue::RESOURCE_OK, |family, [ns, name], known| {
        known.in_place.iter().try_for_each(|(kind, ok)| family.add(&[ns, name, (*kind).into()], *ok))
    })?;
    each(clusters, families, &catalogue::POLICY_OK, |family, [ns, name], known| {
        let mut policies = known.judgement.policies.iter();
        policies.try_for_each(|(policy, ok)| family.add(&[ns, name, (*policy).into()], *ok))
    })?;
    each(clusters, families, &catalogue::CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS, |family, [ns, name], known| {
        let mut expiries = known.judgement.expiries.iter();
        expiries.try_for_each(|(certificate, end)| {
            family.add(&[certificate.as_str().into(), ns, name], Value::from(end.timestamp()))
        })
    })
}

fn each<const N: usize>(
    clusters: &Clusters,
    families: &mut Families<'_, '_>,
    metric: &Metric<Labels<N>>,
    mut write: impl FnMut(&mut Family<'_, '_, N>, [Label<'_>; 2], &ClusterTotals) -> fmt::Result,
) -> fmt::Result {
    families.family(metric, |family| {
        clusters.iter().try_for_each(|((namespace, name), known)| {
            write(family, [namespace.as_str().into(), name.as_str().into()], known)
        })
    })
}

#[cfg(test)]
mod tests;
