//! How the operator works, and what it knows of each cluster. Written by reconciles, read by scrapes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::state::jobs::Concern;

use super::catalogue::{Metric, operator as catalogue};
use super::family::{Families, Family, Label, Value};
use super::job::JobMetrics;

/// Upper bounds: from a reconcile that finds nothing to do, to one that waits for commands in pods.
const DURATION_BUCKETS: [f64; 11] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 300.0];
/// Lines of a histogram beside its finite buckets: +Inf, sum and count.
const HISTOGRAM_EXTRA: u64 = 3;

/// Counters of the process, and the newest facts of each cluster.
#[derive(Debug)]
pub struct OperatorMetrics {
    succeeded: Histogram,
    failed: Histogram,
    /// What runs and what should.
    pub jobs: JobMetrics,
    /// Held for the length of a copy only.
    present: Mutex<Present>,
}

#[derive(Debug, Clone, Default)]
struct Present {
    errors: BTreeMap<&'static str, Counter>,
    drift: BTreeMap<(String, &'static str), Counter>,
    watch_restarts: BTreeMap<&'static str, Counter>,
    tell_errors: BTreeMap<(&'static str, &'static str), Counter>,
    reconciles: u64,
    leads: bool,
    queue_depth: u64,
    clusters: BTreeMap<(String, String), Cluster>,
}

#[derive(Debug, Clone, Default)]
struct Cluster {
    failing: bool,
    last_success: Option<DateTime<Utc>>,
    in_place: BTreeMap<&'static str, bool>,
    judgement: Arc<Judgement>,
}

/// What the last reconcile of a cluster found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Whether nothing is an error.
    pub ok: bool,
    /// The state in a word, as it stands in the resource's status.
    pub status: &'static str,
    /// What led to it, the worst first.
    pub lines: Vec<String>,
    /// How many findings there are, by severity and code.
    pub findings: BTreeMap<(&'static str, &'static str), u64>,
    /// Whether policies are followed, where that is known.
    pub policies: Vec<(&'static str, bool)>,
    /// When certificates end.
    pub expiries: Vec<(String, DateTime<Utc>)>,
}

/// A cluster, for the status page.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Namespace and name.
    pub key: (String, String),
    /// What was found.
    pub judgement: Arc<Judgement>,
    /// When the last reconcile ended that did not fail.
    pub last_success: Option<DateTime<Utc>>,
    /// What is wrong with its jobs and schedules, the worst first.
    pub jobs: Arc<[Concern]>,
}

impl OperatorMetrics {
    /// Everything at 0. `reasons`: every word with which a reconcile can fail.
    #[must_use]
    pub fn new(reasons: &[&'static str]) -> Self {
        let errors = reasons.iter().map(|reason| (*reason, Counter::default())).collect();
        Self {
            succeeded: Histogram::new(DURATION_BUCKETS),
            failed: Histogram::new(DURATION_BUCKETS),
            jobs: JobMetrics::default(),
            present: Mutex::new(Present { errors, ..Present::default() }),
        }
    }

    /// A reconcile has ended at `at`.
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
        let mut present = self.present();
        present.reconciles = present.reconciles.saturating_add(1);
        if let Err(reason) = outcome {
            present.errors.entry(reason).or_default().inc();
        }
        let known = present.cluster(namespace, cluster);
        known.failing = outcome.is_err();
        if outcome.is_ok() {
            known.last_success = Some(at);
        }
    }

    /// What was written for a cluster, by kind.
    pub fn applied(
        &self,
        namespace: &str,
        cluster: &str,
        in_place: &[(&'static str, bool)],
        drift: &[&'static str],
    ) {
        let mut present = self.present();
        present.cluster(namespace, cluster).in_place = in_place.iter().copied().collect();
        for kind in drift {
            present.drift.entry((namespace.to_owned(), kind)).or_default().inc();
        }
    }

    /// What was found about a cluster.
    pub fn judged(&self, namespace: &str, cluster: &str, judgement: Judgement) {
        self.present().cluster(namespace, cluster).judgement = Arc::new(judgement);
    }

    /// Reconciles of a cluster have failed. What was found before still holds, as far as anybody knows.
    pub fn fails(&self, namespace: &str, cluster: &str, status: &'static str, lines: Vec<String>) {
        let mut present = self.present();
        let judgement = Arc::make_mut(&mut present.cluster(namespace, cluster).judgement);
        (judgement.ok, judgement.status, judgement.lines) = (false, status, lines);
    }

    /// An Event or a status could not be written.
    pub fn tell_failed(&self, what: &'static str, reason: &'static str) {
        self.present().tell_errors.entry((what, reason)).or_default().inc();
    }

    /// What is known of every cluster, by namespace and name.
    #[must_use]
    pub fn overview(&self, now: DateTime<Utc>) -> Vec<Overview> {
        let present = self.present();
        let clusters = present.clusters.iter().map(|(key, known)| Overview {
            key: key.clone(),
            judgement: Arc::clone(&known.judgement),
            last_success: known.last_success,
            jobs: self.jobs.concerns(&key.0, &key.1, now),
        });
        clusters.collect()
    }

    /// The cluster is gone, or is no longer ours.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        self.present().clusters.remove(&(namespace.to_owned(), cluster.to_owned()));
    }

    /// Whether this process holds the lease. Whoever loses it knows nothing of the clusters any more.
    pub fn leads(&self, leads: bool) {
        let mut present = self.present();
        present.leads = leads;
        if !leads {
            present.clusters.clear();
            self.jobs.forget_all();
        }
    }

    /// How many clusters wait for a reconcile.
    pub fn queue_depth(&self, depth: usize) {
        self.present().queue_depth = u64::try_from(depth).unwrap_or(u64::MAX);
    }

    /// A watch of objects of this kind failed.
    pub fn watch_restarted(&self, kind: &'static str) {
        self.present().watch_restarts.entry(kind).or_default().inc();
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        // A panic between two assignments leaves nothing that could mislead later writers.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, families: &mut Families<'_, '_>, now: DateTime<Utc>) -> fmt::Result {
        let present = self.present().clone();
        // Counts of reconciles stay far below 2^53.
        families.counter(&catalogue::RECONCILE_TOTAL, present.reconciles as f64)?;
        families.family(&catalogue::RECONCILE_ERRORS_TOTAL, |family| {
            present
                .errors
                .iter()
                .try_for_each(|(reason, count)| family.add_own(&[(*reason).into()], count, 1))
        })?;
        families.family(&catalogue::RECONCILE_DURATION_SECONDS, |family| {
            let lines = DURATION_BUCKETS.len() as u64 + HISTOGRAM_EXTRA;
            family.add_own(&["error".into()], &self.failed, lines)?;
            family.add_own(&["success".into()], &self.succeeded, lines)
        })?;
        families.family(&catalogue::DRIFT_CORRECTED_TOTAL, |family| {
            let mut drift = present.drift.iter();
            drift.try_for_each(|((namespace, kind), count)| {
                family.add_own(&[namespace.as_str().into(), (*kind).into()], count, 1)
            })
        })?;
        families.family(&catalogue::WATCH_RESTARTS_TOTAL, |family| {
            let mut restarts = present.watch_restarts.iter();
            restarts.try_for_each(|(kind, count)| family.add_own(&[(*kind).into()], count, 1))
        })?;
        families.family(&catalogue::TELL_ERRORS_TOTAL, |family| {
            let mut errors = present.tell_errors.iter();
            errors.try_for_each(|((what, reason), count)| {
                family.add_own(&[(*reason).into(), (*what).into()], count, 1)
            })
        })?;
        families.family(&catalogue::LEADER, |family| family.add(&[], present.leads))?;
        families.family(&catalogue::QUEUE_DEPTH, |family| family.add(&[], present.queue_depth))?;
        present.write_clusters(families)?;
        self.jobs.write(families, now)
    }
}

impl Present {
    fn cluster(&mut self, namespace: &str, cluster: &str) -> &mut Cluster {
        self.clusters.entry((namespace.to_owned(), cluster.to_owned())).or_default()
    }

    fn write_clusters(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        self.each(
            families,
            &catalogue::LAST_RECONCILE_SUCCESS_TIMESTAMP_SECONDS,
            |family, [ns, name], known| {
                family.add_known(&[ns, name], known.last_success.map(|at| at.timestamp()))
            },
        )?;
        self.each(families, &catalogue::CLUSTER_OK, |family, [ns, name], known| {
            family.add(&[ns, name], known.judgement.ok && !known.failing)
        })?;
        self.each(families, &catalogue::FINDINGS, |family, [ns, name], known| {
            let mut findings = known.judgement.findings.iter();
            findings.try_for_each(|((severity, code), count)| {
                family.add(&[(*code).into(), ns, name, (*severity).into()], *count)
            })
        })?;
        self.each(families, &catalogue::RESOURCE_OK, |family, [ns, name], known| {
            known.in_place.iter().try_for_each(|(kind, ok)| family.add(&[ns, name, (*kind).into()], *ok))
        })?;
        self.each(families, &catalogue::POLICY_OK, |family, [ns, name], known| {
            let mut policies = known.judgement.policies.iter();
            policies.try_for_each(|(policy, ok)| family.add(&[ns, name, (*policy).into()], *ok))
        })?;
        self.each(families, &catalogue::CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS, |family, [ns, name], known| {
            let mut expiries = known.judgement.expiries.iter();
            expiries.try_for_each(|(certificate, end)| {
                family.add(&[certificate.as_str().into(), ns, name], Value::from(end.timestamp()))
            })
        })
    }

    fn each(
        &self,
        families: &mut Families<'_, '_>,
        metric: &Metric,
        mut write: impl FnMut(&mut Family<'_, '_>, [Label<'_>; 2], &Cluster) -> fmt::Result,
    ) -> fmt::Result {
        families.family(metric, |family| {
            self.clusters.iter().try_for_each(|((namespace, name), known)| {
                write(family, [namespace.as_str().into(), name.as_str().into()], known)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::CollectionMetrics;
    use crate::metrics::exposition::{Dynamic, Format, StaticPart, dynamic_part};
    use crate::metrics::options::Options;

    fn text(operator: &Arc<OperatorMetrics>) -> String {
        let (snapshot, options) = (&Arc::default(), &Arc::new(Options::default()));
        let static_part = &StaticPart::encode(snapshot, options).unwrap();
        let parts = Dynamic {
            snapshot,
            static_part,
            collection: &Arc::new(CollectionMetrics::new()),
            operator: Some(operator),
            process: None,
            options,
            now: DateTime::from_timestamp(9, 0).unwrap(),
        };
        dynamic_part(&parts, Format::Classic).unwrap()
    }

    #[test]
    fn a_fleet_is_told_with_its_labels() {
        let metrics = Arc::new(OperatorMetrics::new(&["timeout", "conflict"]));
        let at = DateTime::from_timestamp(5, 0).unwrap();
        metrics.leads(true);
        metrics.queue_depth(3);
        metrics.reconciled("shop", "ledger", Ok(()), Duration::from_millis(40), at);
        metrics.reconciled("shop", "orders", Err("timeout"), Duration::from_secs(20), at);
        metrics.applied("shop", "ledger", &[("CronJob", true), ("StatefulSet", false)], &["CronJob"]);
        metrics.judged(
            "shop",
            "ledger",
            Judgement {
                ok: true,
                status: "Warning",
                lines: vec![],
                findings: BTreeMap::from([(("warning", "retention-unset"), 2)]),
                policies: vec![("encryption", false)],
                expiries: vec![("authority".to_owned(), at)],
            },
        );
        metrics.watch_restarted("CronJob");
        let text = text(&metrics);
        for line in [
            "pgbackrest_operator_reconcile_total 2.0\n",
            "pgbackrest_operator_reconcile_errors_total{reason=\"conflict\"} 0\n",
            "pgbackrest_operator_reconcile_errors_total{reason=\"timeout\"} 1\n",
            "pgbackrest_operator_reconcile_duration_seconds_count{outcome=\"error\"} 1\n",
            "pgbackrest_operator_leader 1\n",
            "pgbackrest_operator_queue_depth 3\n",
            "pgbackrest_operator_cluster_ok{namespace=\"shop\",pg_cluster=\"ledger\"} 1\n",
            "pgbackrest_operator_cluster_ok{namespace=\"shop\",pg_cluster=\"orders\"} 0\n",
            "pgbackrest_operator_last_reconcile_success_timestamp_seconds{namespace=\"shop\",pg_cluster=\"ledger\"} 5\n",
            "pgbackrest_operator_findings{code=\"retention-unset\",namespace=\"shop\",pg_cluster=\"ledger\",severity=\"warning\"} 2\n",
            "pgbackrest_operator_resource_ok{namespace=\"shop\",pg_cluster=\"ledger\",resource=\"StatefulSet\"} 0\n",
            "pgbackrest_operator_drift_corrected_total{namespace=\"shop\",resource=\"CronJob\"} 1\n",
            "pgbackrest_operator_watch_restarts_total{resource=\"CronJob\"} 1\n",
            "pgbackrest_policy_ok{namespace=\"shop\",pg_cluster=\"ledger\",policy=\"encryption\"} 0\n",
            "pgbackrest_certificate_expiry_timestamp_seconds{certificate=\"authority\",namespace=\"shop\",pg_cluster=\"ledger\"} 5\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("success_timestamp_seconds{namespace=\"shop\",pg_cluster=\"orders\"}"));
    }

    #[test]
    fn what_is_gone_leaves_no_series() {
        let metrics = Arc::new(OperatorMetrics::new(&[]));
        let at = DateTime::from_timestamp(5, 0).unwrap();
        metrics.leads(true);
        metrics.reconciled("shop", "ledger", Ok(()), Duration::ZERO, at);
        metrics.reconciled("shop", "orders", Ok(()), Duration::ZERO, at);
        metrics.forget("shop", "ledger");
        let left = text(&metrics);
        assert!(!left.contains("ledger") && left.contains("orders"), "{left}");
        metrics.leads(false);
        let standby = text(&metrics);
        assert!(
            !standby.contains("orders") && standby.contains("pgbackrest_operator_leader 0\n"),
            "{standby}"
        );
    }
}
