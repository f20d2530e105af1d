//! What is served as metrics about a restore test.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

use super::clusters::{InNamespace, created};
use super::results::Results;
use super::status::Report;
use crate::cluster::restore_test::validated::ValidatedRestoreTest;
use crate::metrics::operator::RestoreTestState;
use crate::operator::runs::Runs;
use crate::operator::scope::Key;
use crate::schedule::{Schedule, zone};
use crate::state::proofs::RestoreTest;

/// How far ahead the longest interval is searched: a bit more than a year.
const HORIZON: TimeDelta = TimeDelta::days(400);

/// The longest interval of each schedule, which is expensive to find.
#[derive(Debug, Default)]
pub(super) struct Intervals(Mutex<HashMap<Key, (Times, Option<TimeDelta>)>>);

/// A cron expression and its time zone.
type Times = (String, Option<String>);

impl Intervals {
    /// Of a resource that has just been validated. One with errors keeps what it had.
    pub(super) fn of(
        &self,
        key: &Key,
        test: Option<&ValidatedRestoreTest>,
        now: DateTime<Utc>,
    ) -> Option<TimeDelta> {
        let mut known = self.0.lock();
        let before = known.get(key);
        let Some(test) = test else { return before?.1 };
        let times = (test.schedule.clone(), test.time_zone.clone());
        if let Some((_, interval)) = before.filter(|(known, _)| *known == times) {
            return *interval;
        }
        let interval = longest(&times, now);
        known.insert(key.clone(), (times, interval));
        interval
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

fn longest((expression, time_zone): &Times, now: DateTime<Utc>) -> Option<TimeDelta> {
    let zone = time_zone.as_deref().map_or(Ok(chrono_tz::UTC), zone::parse).ok()?;
    let schedule = Schedule::parse(expression, zone).ok().filter(|schedule| !schedule.never_runs())?;
    schedule.longest_interval(now, HORIZON)
}

/// The state of a resource after a reconcile.
pub(super) fn of(
    (key, metadata): (&Key, &ObjectMeta),
    (report, results, runs): (&Report, &Results, &Runs<RestoreTest>),
    found: &InNamespace,
    interval: Option<TimeDelta>,
) -> RestoreTestState {
    let created = created(metadata);
    let last_result = results.last_tests().into_values().max();
    let selected = found.selected.iter();
    let can_be_tested = |name: &str| report.testable.as_ref().is_some_and(|all| all.contains_key(name));
    let clusters = selected.filter(|selected| can_be_tested(&selected.name)).filter_map(|selected| {
        // A cluster is selected as soon as both exist.
        Some((selected.name.clone(), created.max(selected.created)?))
    });
    let left_out = report.testable.as_ref().map(|all| found.selected.len().saturating_sub(all.len()));
    RestoreTestState {
        is_ready: report.ready.holds == Some(true),
        created,
        last_start: last_result.max(runs.last_start(key)),
        interval,
        clusters: clusters.collect(),
        left_out: left_out.map(|count| count as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_interval_is_that_of_the_schedule() {
        let now = DateTime::from_timestamp(1_795_340_000, 0).unwrap();
        let of = |expression: &str, zone: Option<&str>| {
            longest(&(expression.to_owned(), zone.map(str::to_owned)), now)
                .map(|interval| interval.num_hours())
        };
        assert_eq!(of("0 3 * * *", None), Some(24));
        assert_eq!(of("0 3 * * *", Some("Europe/Vienna")), Some(25), "an hour is repeated in autumn");
        assert_eq!(of("0 3 * * 0", None), Some(7 * 24));
        assert_eq!(of("0 3 30 2 *", None), None, "it never runs");
    }
}
