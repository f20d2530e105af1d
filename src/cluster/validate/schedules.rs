//! Cron expressions: each on its own as in Kubernetes, and all of a cluster together.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};

use super::Checks;
use crate::cluster::finding::codes;
use crate::cluster::resource::{self, BACKUP};
use crate::cluster::validated::ValidatedRepo;
use crate::pgbackrest::label::BackupType;
use crate::schedule::{Schedule, fire_at_same_minute, zone};

/// Below this, a job often starts before the last one has finished.
const SHORTEST_INTERVAL: TimeDelta = TimeDelta::minutes(5);
/// How many runs of a schedule are looked at: those of several hours, of every schedule that is often due.
const RUNS: usize = 100;

/// The schedules of a repo that Kubernetes would accept.
pub(super) fn look(
    repo: &resource::RepoSpec,
    path: &str,
    checks: &mut Checks<'_>,
) -> BTreeMap<BackupType, String> {
    let mut schedules = BTreeMap::new();
    for (word, expression) in &repo.schedule {
        let field = format!("{path}.schedule.{word}");
        let Some(backup_type) = BackupType::ALL.into_iter().find(|known| known.as_str() == word) else {
            checks.note(
                &codes::SCHEDULE_TYPE_UNKNOWN,
                field,
                "is not a backup type of pgBackRest",
                "use full, diff or incr",
            );
            continue;
        };
        match Schedule::parse(expression, chrono_tz::UTC) {
            Ok(schedule) if schedule.never_runs() => checks.note_value(
                &codes::SCHEDULE_NEVER,
                field,
                expression,
                "specifies a day that does not exist, so no job ever starts",
                "fix the day of the month or the month",
            ),
            Ok(schedule) => look_at_interval(&schedule, &field, expression, checks),
            Err(error) => {
                checks.note_value(
                    &codes::SCHEDULE_INVALID,
                    field,
                    expression,
                    format!("is rejected by Kubernetes: {error}"),
                    "use minute, hour, day of month, month and day of week, such as 30 2 * * *",
                );
                continue;
            }
        }
        schedules.insert(backup_type, expression.clone());
    }
    if repo.schedule.is_empty() {
        checks.note(
            &codes::NO_SCHEDULE,
            format!("{path}.schedule"),
            "is not set: the repo gets WAL and a first full backup, but no further backups",
            "add a schedule such as full: 30 2 * * *",
        );
    } else if !repo.schedule.contains_key("full") {
        checks.note(
            &codes::NO_FULL_SCHEDULE,
            format!("{path}.schedule.full"),
            "is not set: there are no full backups after the first, and nothing expires",
            "add a schedule for full backups, such as 30 2 * * 0",
        );
    }
    schedules
}

/// Jobs that follow each other so closely leave the cluster no rest from backups.
fn look_at_interval(schedule: &Schedule, field: &str, expression: &str, checks: &mut Checks<'_>) {
    let Some(shortest) = schedule.shortest_interval(a_leap_year().start, RUNS) else { return };
    if shortest < SHORTEST_INTERVAL {
        checks.note_value(
            &codes::SCHEDULE_FREQUENT,
            field,
            expression,
            format!(
                "starts jobs {} s apart, often before the previous one has finished",
                shortest.num_seconds()
            ),
            "allow at least five minutes between two backups, for example with */30 * * * *",
        );
    }
}

/// Schedules of one cluster that start jobs in the same minute: before pgBackRest 2.53 (commit edd61636a), locks are per stanza, so one
/// of the jobs finds the stanza locked.
pub(super) fn collisions(repos: &[ValidatedRepo], time_zone: Option<&str>, checks: &mut Checks<'_>) {
    let zone = time_zone.and_then(|name| zone::parse(name).ok()).unwrap_or(chrono_tz::UTC);
    let all: Vec<(String, &str, Schedule)> = repos
        .iter()
        .flat_map(|repo| {
            repo.schedules.iter().filter_map(move |(backup_type, expression)| {
                let schedule = Schedule::parse(expression, zone).ok()?;
                Some((format!("{} {}", repo.number, backup_type.as_str()), expression.as_str(), schedule))
            })
        })
        .collect();
    for (index, (one, expression, schedule)) in all.iter().enumerate() {
        for (other, other_expression, other_schedule) in all.iter().skip(index + 1) {
            let Some(at) = fire_at_same_minute(schedule, other_schedule, a_leap_year()) else { continue };
            checks.note(
                &codes::SCHEDULES_COLLIDE,
                format!("{BACKUP}.repos"),
                format!(
                    "runs {one} ({expression}) and {other} ({other_expression}) in the same minute, such as {}; \
                     before pgBackRest 2.53, one of them waits for the lock of the other",
                    at.with_timezone(&zone).format("%H:%M on a %A")
                ),
                "move one of them, such as by 15 minutes",
            );
        }
    }
}

/// An arbitrary but fixed year: findings must not depend on the date.
fn a_leap_year() -> Range<DateTime<Utc>> {
    let start = DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default();
    start..start + TimeDelta::days(366)
}
