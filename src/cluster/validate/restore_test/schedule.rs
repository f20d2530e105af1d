//! When tests start.

use std::time::Duration;

use super::{Checks, LONGEST, duration};
use crate::cluster::finding::codes;
use crate::cluster::restore_test::resource::Spec;
use crate::cluster::validate::schedules;
use crate::schedule::{jitter, zone};

/// Kubernetes looks at schedules every ten seconds; a shorter deadline can miss every run.
const SHORTEST_START: Duration = Duration::from_secs(10);
/// A test waits this long for a backup of its cluster, by default.
const START: Duration = Duration::from_hours(2);
const LONGEST_JITTER: Duration = Duration::from_hours(24);

pub(super) struct When {
    /// None with a finding.
    pub(super) expression: Option<String>,
    pub(super) time_zone: Option<String>,
    pub(super) starting_deadline: Duration,
}

pub(super) fn look(spec: &Spec, namespace: &str, name: &str, checks: &mut Checks<'_>) -> When {
    let starting_deadline = duration(
        spec.starting_deadline.as_deref(),
        "spec.startingDeadline",
        SHORTEST_START..=LONGEST,
        checks,
    );
    When {
        expression: expression(spec, namespace, name, checks),
        time_zone: time_zone(spec, checks),
        starting_deadline: starting_deadline.unwrap_or(START),
    }
}

fn expression(spec: &Spec, namespace: &str, name: &str, checks: &mut Checks<'_>) -> Option<String> {
    let field = "spec.schedule";
    let given = spec.schedule.as_deref().unwrap_or_default();
    if given.trim().is_empty() {
        checks.note(&codes::FIELD_EMPTY, field, "is not set", "set a cron expression, such as 30 3 * * *");
        return None;
    }
    if !schedules::is_accepted(given, field, checks) {
        return None;
    }
    let longest = jitter_minutes(spec, checks);
    let moved = jitter::moved(given, longest, schedules::seed(namespace, name)).ok()?;
    if moved.most < longest {
        checks.note_value(
            &codes::JITTER_LIMITED,
            "spec.jitter",
            spec.jitter.as_deref().unwrap_or_default(),
            format!(
                "moves this schedule by at most {} min: a start stays on its day, and all starts move alike",
                moved.most
            ),
            "start at an earlier hour, or at one minute of the hour",
        );
    }
    Some(moved.expression)
}

fn jitter_minutes(spec: &Spec, checks: &mut Checks<'_>) -> u32 {
    let longest = duration(spec.jitter.as_deref(), "spec.jitter", Duration::ZERO..=LONGEST_JITTER, checks);
    longest.map_or(0, |longest| u32::try_from(longest.as_secs() / 60).unwrap_or_default())
}

fn time_zone(spec: &Spec, checks: &mut Checks<'_>) -> Option<String> {
    let given = spec.time_zone.as_deref()?;
    if let Err(error) = zone::parse(given) {
        checks.note_value(
            &codes::FIELD_MALFORMED,
            "spec.timeZone",
            given,
            format!("is rejected by Kubernetes: {error}"),
            "use an IANA name such as Europe/Vienna",
        );
    }
    Some(given.to_owned())
}
