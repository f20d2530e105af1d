//! Cron expressions: each on its own as in Kubernetes, and all of a cluster together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use ring::digest::{SHA256, digest};

use super::versions::Versions;
use super::{Checks, empty};
use crate::cluster::finding::codes;
use crate::cluster::resource::{self, BACKUP};
use crate::cluster::validated::ValidatedRepo;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::Version;
use crate::schedule::{Schedule, fire_at_same_minute, zone};

/// Below this, a job often starts before the last one has finished.
const SHORTEST_INTERVAL: TimeDelta = TimeDelta::minutes(5);
/// How many pairs of schedules are listed.
const MOST_PAIRS: usize = 8;
/// How many runs of a schedule are looked at: those of several hours, of every schedule that is often due.
const RUNS: usize = 100;

/// The schedules of a repo.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// Those that Kubernetes would accept.
    pub(super) good: BTreeMap<BackupType, String>,
    /// Types whose schedule has an error.
    pub(super) held: BTreeSet<BackupType>,
}

/// An empty schedule counts as not set.
pub(super) fn look(repo: &resource::RepoSpec, path: &str, checks: &mut Checks<'_>) -> Schedules {
    let mut schedules = Schedules::default();
    for (word, expression) in &repo.schedule {
        let field = format!("{path}.schedule.{word}");
        let Some(backup_type) = BackupType::of_name(word) else {
            checks.note(
                &codes::SCHEDULE_TYPE_UNKNOWN,
                field,
                "is not a backup type of pgBackRest",
                "use full, diff or incr",
            );
            continue;
        };
        if is_unset(expression) {
            empty(&field, "CPO would run it every day at 0:30", checks);
            continue;
        }
        if is_accepted(expression, &field, checks) {
            schedules.good.insert(backup_type, expression.clone());
        } else {
            schedules.held.insert(backup_type);
        }
    }
    let is_given = |word: &str| repo.schedule.get(word).is_some_and(|expression| !is_unset(expression));
    if !repo.schedule.keys().any(|word| is_given(word)) {
        checks.note(
            &codes::NO_SCHEDULE,
            format!("{path}.schedule"),
            "is not set: the repo gets WAL and a first full backup, but no further backups",
            "add a schedule such as full: 30 2 * * *",
        );
    } else if !is_given("full") {
        checks.note(
            &codes::NO_FULL_SCHEDULE,
            format!("{path}.schedule.full"),
            "is not set: there are no full backups after the first, and nothing expires",
            "add a schedule for full backups, such as 30 2 * * 0",
        );
    }
    schedules
}

fn is_unset(expression: &str) -> bool {
    expression.trim().is_empty()
}

/// Whether Kubernetes accepts an expression. Notes what is wrong with it.
pub(super) fn is_accepted(expression: &str, field: &str, checks: &mut Checks<'_>) -> bool {
    match Schedule::parse(expression, chrono_tz::UTC) {
        Ok(schedule) if schedule.never_runs() => checks.note_value(
            &codes::SCHEDULE_NEVER,
            field,
            expression,
            "specifies a day that does not exist, so no job ever starts",
            "fix the day of the month or the month",
        ),
        Ok(schedule) => look_at_interval(&schedule, field, expression, checks),
        Err(error) => {
            checks.note_value(
                &codes::SCHEDULE_INVALID,
                field,
                expression,
                format!("is rejected by Kubernetes: {error}"),
                "use minute, hour, day of month, month and day of week, such as 30 2 * * *",
            );
            return false;
        }
    }
    true
}

/// What jitter is derived from: the same for the same resource.
pub(super) fn seed(namespace: &str, name: &str) -> u64 {
    let hash = digest(&SHA256, format!("{namespace}/{name}").as_bytes());
    hash.as_ref().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Leaves all schedules as they are, because it is not known when they are meant to run.
pub(super) fn hold_all(repos: &mut [ValidatedRepo]) {
    for repo in repos {
        repo.held.extend(std::mem::take(&mut repo.schedules).into_keys());
    }
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
            "allow at least five minutes between two jobs, for example with */30 * * * *",
        );
    }
}

/// Schedules of one cluster that start jobs in the same minute, if the jobs need the same lock: they are for the same repo, or
/// a version before 2.53 may be used, which locks the stanza (`Version::locks_each_repo`).
pub(super) fn collisions(
    repos: &[ValidatedRepo],
    time_zone: Option<&str>,
    versions: &Versions,
    checks: &mut Checks<'_>,
) {
    let zone = time_zone.and_then(|name| zone::parse(name).ok()).unwrap_or(chrono_tz::UTC);
    let all: Vec<(&ValidatedRepo, BackupType, Schedule)> = repos
        .iter()
        .flat_map(|repo| {
            repo.schedules.iter().filter_map(move |(backup_type, expression)| {
                Some((repo, *backup_type, Schedule::parse(expression, zone).ok()?))
            })
        })
        .collect();
    let locks_each_repo = |repo: &ValidatedRepo| versions.of_repo(repo).is_some_and(Version::locks_each_repo);
    let mut pairs = Vec::new();
    let mut depends_on_version = false;
    for (index, (one, one_type, schedule)) in all.iter().enumerate() {
        for (other, other_type, other_schedule) in all.iter().skip(index + 1) {
            let is_same_repo = one.number == other.number;
            if !is_same_repo && locks_each_repo(one) && locks_each_repo(other) {
                continue;
            }
            let Some(at) = fire_at_same_minute(schedule, other_schedule, a_leap_year()) else { continue };
            depends_on_version |= !is_same_repo;
            let at = at.with_timezone(&zone).format("%a %H:%M");
            let [one_type, other_type] = [one_type, other_type].map(|backup_type| backup_type.as_str());
            pairs.push(format!("{} {one_type} and {} {other_type} ({at})", one.number, other.number));
        }
    }
    if pairs.is_empty() {
        return;
    }
    let more = match pairs.len().saturating_sub(MOST_PAIRS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    pairs.truncate(MOST_PAIRS);
    let list = pairs.join(", ");
    let limit = if depends_on_version { "; from pgBackRest 2.53 on, only within a repo" } else { "" };
    checks.note(
        &codes::SCHEDULES_COLLIDE,
        format!("{BACKUP}.repos"),
        format!("has schedules that meet, so that one waits for the lock of the other: {list}{more}{limit}"),
        "move one of each pair, such as by 15 minutes",
    );
}

/// An arbitrary but fixed year: findings must not depend on the date.
fn a_leap_year() -> Range<DateTime<Utc>> {
    let start = DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default();
    start..start + TimeDelta::days(366)
}
