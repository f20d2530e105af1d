//! The `RestoreTest` resources: which clusters they test, and whether tests start.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::OperatorMetrics;
use crate::metrics::catalogue::{Labels, Metric, operator as catalogue};
use crate::metrics::family::{Families, Family, Label};

/// What is known of each resource, by namespace and name.
pub(super) type RestoreTests = BTreeMap<(String, String), Arc<RestoreTestState>>;

/// One resource, after its last reconcile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreTestState {
    /// Whether tests are set up as described.
    pub is_ready: bool,
    pub created: Option<DateTime<Utc>>,
    /// Start of the newest test.
    pub last_start: Option<DateTime<Utc>>,
    /// The longest time between two runs of the schedule.
    pub interval: Option<TimeDelta>,
    /// Since when each cluster that can be tested has been selected, at the earliest.
    pub clusters: BTreeMap<String, DateTime<Utc>>,
    /// Selected clusters that cannot be tested. None if the resource has errors.
    pub left_out: Option<u64>,
}

impl OperatorMetrics {
    /// Records the state of a `RestoreTest` resource.
    pub fn restore_test(&self, namespace: &str, name: &str, state: RestoreTestState) {
        let key = (namespace.to_owned(), name.to_owned());
        self.change().restore_tests.insert(key, Arc::new(state));
    }

    /// The resource was deleted.
    pub fn forget_restore_test(&self, namespace: &str, name: &str) {
        self.change().restore_tests.remove(&(namespace.to_owned(), name.to_owned()));
    }
}

pub(super) fn write(tests: &RestoreTests, families: &mut Families<'_, '_>) -> fmt::Result {
    families.family(&catalogue::RESTORE_TEST_CLUSTER_SELECTED_TIMESTAMP_SECONDS, |family| {
        tests.iter().try_for_each(|((namespace, name), state)| {
            state.clusters.iter().try_for_each(|(cluster, since)| {
                let labels = [namespace.as_str().into(), cluster.as_str().into(), name.as_str().into()];
                family.add(&labels, since.timestamp())
            })
        })
    })?;
    each(tests, families, &catalogue::RESTORE_TEST_CLUSTERS_LEFT_OUT, |family, labels, state| {
        family.add_known(labels, state.left_out)
    })?;
    each(tests, families, &catalogue::RESTORE_TEST_READY, |family, labels, state| {
        family.add(labels, state.is_ready)
    })?;
    each(tests, families, &catalogue::RESTORE_TEST_CREATED_TIMESTAMP_SECONDS, |family, labels, state| {
        family.add_known(labels, state.created.map(|at| at.timestamp()))
    })?;
    each(tests, families, &catalogue::RESTORE_TEST_LAST_START_TIMESTAMP_SECONDS, |family, labels, state| {
        family.add_known(labels, state.last_start.map(|at| at.timestamp()))
    })?;
    each(tests, families, &catalogue::RESTORE_TEST_SCHEDULE_INTERVAL_SECONDS, |family, labels, state| {
        family.add_known(labels, state.interval.map(TimeDelta::as_seconds_f64))
    })
}

fn each(
    tests: &RestoreTests,
    families: &mut Families<'_, '_>,
    metric: &Metric<Labels<2>>,
    mut write: impl FnMut(&mut Family<'_, '_, 2>, &[Label<'_>; 2], &RestoreTestState) -> fmt::Result,
) -> fmt::Result {
    families.family(metric, |family| {
        tests.iter().try_for_each(|((namespace, name), state)| {
            write(family, &[namespace.as_str().into(), name.as_str().into()], state)
        })
    })
}
