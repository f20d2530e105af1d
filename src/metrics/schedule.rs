//! CronJobs: when they run, and when they should have run.

use std::fmt;

use crate::state::jobs::timer::ScheduleView;

use super::catalogue::{Metric, jobs as catalogue};
use super::family::{Families, Value};
use super::job::{Row, known};

pub(super) fn write(families: &mut Families<'_, '_>, rows: &[Row<'_>]) -> fmt::Result {
    families.family(&catalogue::SCHEDULE_INFO, |family| {
        rows.iter().try_for_each(|row| {
            let Some(timer) = row.line.timer() else { return Ok(()) };
            let [backup_type, namespace, cluster, repo] = row.labels();
            let zone = timer.fact.time_zone.as_deref().unwrap_or_default();
            let (name, expression) = ((&*timer.fact.name).into(), (&*timer.fact.expression).into());
            family.add(&[backup_type, name, namespace, cluster, repo, expression, zone.into()], 1_u64)
        })
    })?;
    known(families, &catalogue::SCHEDULE_CREATED_TIMESTAMP_SECONDS, rows, |row| {
        Some(row.line.timer()?.fact.created.timestamp())
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
    metric: &Metric,
    rows: &[Row<'_>],
    value: impl Fn(&ScheduleView) -> Option<V>,
) -> fmt::Result {
    known(families, metric, rows, |row| row.view.schedule.as_ref().and_then(&value))
}
