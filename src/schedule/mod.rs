//! Cron as in Kubernetes: like the CronJob controller, this module follows robfig/cron v3 (`ParseStandard`). Pure: the
//! current time is passed in.
//!
//! Wall-clock time decides: a time that the spring change skips does not run, and one that the autumn change repeats
//! runs twice. robfig/cron agrees in every zone whose changes are whole hours away from midnight. Where a change falls
//! on midnight (Cairo, Beirut, Havana) or moves the clock by other than an hour (Lord Howe), its search can miss or
//! misplace a run on the day of the change; we follow the expression.

mod calendar;
pub mod duration;
mod error;
mod fields;
pub mod jitter;
mod runs;
pub mod zone;

#[cfg(test)]
mod tests;

use std::ops::Range;

use chrono::{DateTime, Datelike, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;

use calendar::{Both, Calendar};
pub use error::{Field, FieldProblem, ScheduleError};

/// robfig/cron searches for the next run only until the end of the fifth year after the current one.
const SEARCH_YEARS: i32 = 5;

/// The schedule of a job in one time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    recurrence: Recurrence,
    zone: Tz,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Recurrence {
    /// Five fields, or an equivalent word.
    Calendar(Calendar),
    /// `@every`: this long after the last run, independent of the wall clock.
    Every(TimeDelta),
}

impl Schedule {
    /// Parses the `schedule` of a CronJob: five fields, or words such as `@daily` and `@every 12h`.
    /// `zone` is the CronJob's `timeZone` (see [`zone::parse`]).
    ///
    /// Rejects exactly what the API server rejects; see [`Schedule::never_runs`] for expressions that it accepts
    /// although they never match.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, ScheduleError> {
        // The API server searches for the two letters anywhere before it parses the expression.
        if text.contains("TZ") {
            return Err(ScheduleError::ZoneInside { text: text.to_owned() });
        }
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let recurrence = match text.strip_prefix("@every ") {
            Some(text) => Recurrence::Every(interval(text)?),
            None if text.starts_with('@') => Recurrence::Calendar(fields::parse_word(text)?),
            None => Recurrence::Calendar(fields::parse(text)?),
        };
        Ok(Self { recurrence, zone })
    }

    /// The first run after `after`, which itself does not count. `None` if there is none until the end of the
    /// fifth calendar year after that of `after`; Kubernetes does not start a job either.
    ///
    /// For `@every`, `after` has to be the last run (or the creation of the CronJob when there was none).
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.recurrence {
            Recurrence::Every(interval) => after.trunc_subsecs(0).checked_add_signed(*interval),
            Recurrence::Calendar(calendar) => {
                let last_year = self.year(after)?.checked_add(SEARCH_YEARS)?;
                let start = after.trunc_subsecs(0).checked_add_signed(TimeDelta::seconds(1))?;
                let end = runs::start_of_year(last_year.checked_add(1)?)?;
                runs::between(calendar, self.zone, start..end)
                    .next()
                    .filter(|run| self.year(*run).is_some_and(|year| year <= last_year))
            }
        }
    }

    /// The last run before `before`, which itself does not count, no further back than the start of the fifth
    /// calendar year before. `None` for `@every`, which depends on its last run.
    #[must_use]
    pub fn previous(&self, before: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Recurrence::Calendar(calendar) = &self.recurrence else { return None };
        let first_year = self.year(before)?.checked_sub(SEARCH_YEARS)?;
        let start = runs::start_of_year(first_year)?;
        runs::between(calendar, self.zone, start..before)
            .next_back()
            .filter(|run| self.year(*run).is_some_and(|year| year >= first_year))
    }

    /// The longest time between two consecutive runs: of the pair around `from`, and of every pair whose first run is
    /// within `over` after it. This is the maximum age of a backup if nothing fails.
    ///
    /// `None` if no two runs can be found.
    #[must_use]
    pub fn longest_interval(&self, from: DateTime<Utc>, over: TimeDelta) -> Option<TimeDelta> {
        let calendar = match &self.recurrence {
            Recurrence::Every(interval) => return Some(*interval),
            Recurrence::Calendar(calendar) => calendar,
        };
        let until = from.checked_add_signed(over)?;
        let first = self.previous(from).or_else(|| self.next(from))?;
        let mut last = first;
        let mut longest = None;
        let after_first = first.checked_add_signed(TimeDelta::seconds(1))?;
        for run in runs::between(calendar, self.zone, after_first..until) {
            longest = longest.max(Some(run - last));
            last = run;
        }
        // The pair that extends beyond the period.
        longest.max(self.next(last).map(|run| run - last))
    }

    /// The shortest time between two consecutive of the first `count` runs after `from`, within as many years as
    /// [`Schedule::next`] looks ahead of the first. `None` if there are no two.
    #[must_use]
    pub fn shortest_interval(&self, from: DateTime<Utc>, count: usize) -> Option<TimeDelta> {
        let calendar = match &self.recurrence {
            Recurrence::Every(interval) => return (count > 1).then_some(*interval),
            Recurrence::Calendar(calendar) => calendar,
        };
        let first = self.next(from)?;
        let end = runs::start_of_year(self.year(first)?.checked_add(SEARCH_YEARS + 1)?)?;
        let following = first.checked_add_signed(TimeDelta::seconds(1))?;
        let runs = runs::between(calendar, self.zone, following..end).take(count.saturating_sub(1));
        let intervals = runs.scan(first, |last, run| Some(run - std::mem::replace(last, run)));
        intervals.min()
    }

    /// Whether no date matches the expression (`0 0 30 2 *`). The API server accepts it, but no job ever starts.
    #[must_use]
    pub fn never_runs(&self) -> bool {
        matches!(&self.recurrence, Recurrence::Calendar(calendar) if calendar.is_impossible())
    }

    fn year(&self, moment: DateTime<Utc>) -> Option<i32> {
        runs::wall_clock(self.zone, moment.timestamp()).map(|wall| wall.year())
    }
}

/// The interval of `@every` in whole seconds. robfig/cron rounds anything below one second up, even if it is negative.
fn interval(text: &str) -> Result<TimeDelta, ScheduleError> {
    let interval =
        duration::parse(text).ok_or_else(|| ScheduleError::Duration { duration: text.to_owned() })?;
    Ok(TimeDelta::seconds(interval.num_seconds().max(1)))
}

/// The first minute within `over` in which both schedules start a job. `None` if there is none, and for `@every`,
/// whose minutes depend on when its CronJob was created.
#[must_use]
pub fn fire_at_same_minute(
    one: &Schedule,
    other: &Schedule,
    over: Range<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let (Recurrence::Calendar(one_calendar), Recurrence::Calendar(other_calendar)) =
        (&one.recurrence, &other.recurrence)
    else {
        return None;
    };
    if one.zone == other.zone {
        let both = Both::of(one_calendar, other_calendar);
        return runs::between(&both, one.zone, over).next();
    }
    let mut left = runs::between(one_calendar, one.zone, over.clone()).peekable();
    let mut right = runs::between(other_calendar, other.zone, over).peekable();
    loop {
        let (first, second) = (left.peek()?, right.peek()?);
        match (first.timestamp().div_euclid(60)).cmp(&second.timestamp().div_euclid(60)) {
            std::cmp::Ordering::Equal => return left.next(),
            std::cmp::Ordering::Less => left.next(),
            std::cmp::Ordering::Greater => right.next(),
        };
    }
}
