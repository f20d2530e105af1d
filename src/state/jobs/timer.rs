//! When a CronJob runs, and when it should have run.
//!
//! A run is missed if its time and the grace period have passed without a successful Job of the same repo and type
//! since. A stronger backup does not count: if both are scheduled, both are wanted. Suspended schedules miss nothing.

use std::iter::successors;
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};

use crate::schedule::{Schedule, fire_at_same_minute, zone};

use super::fact::{CronFact, Suspension};

/// The minimum grace period. It is extended to the duration of the last success if that was longer, but never beyond
/// an interval.
const GRACE: TimeDelta = TimeDelta::minutes(15);
/// How far ahead the longest interval and conflicts are searched: a bit more than a year.
const HORIZON: TimeDelta = TimeDelta::days(400);
/// The maximum count of missed runs.
const MOST_MISSED: usize = 100;

/// The timer of a CronJob.
#[derive(Debug, Clone)]
pub struct Timer {
    /// The CronJob.
    pub fact: CronFact,
    /// Absent if Kubernetes would not run it either.
    schedule: Option<Schedule>,
    interval: Option<TimeDelta>,
    /// Whether another schedule of the cluster fires in the same minute.
    pub(super) conflict: bool,
    /// When the end of a suspension was observed.
    resumed: Option<DateTime<Utc>>,
    /// The previous and next run when this was computed.
    around: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    /// The first run that was not followed by a success.
    first_due: Option<DateTime<Utc>>,
}

/// The state of a CronJob at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleView {
    /// The longest time between two runs.
    pub interval: Option<TimeDelta>,
    /// The next run; absent while suspended.
    pub next: Option<DateTime<Utc>>,
    /// The previous run.
    pub previous: Option<DateTime<Utc>>,
    /// Runs that should have succeeded by now but did not; absent if the schedule is invalid.
    pub missed: Option<u64>,
    /// The first missed run.
    pub missed_since: Option<DateTime<Utc>>,
    /// How long the first missed run is overdue, without its grace period.
    pub overdue: Option<TimeDelta>,
    /// Whether it starts nothing.
    pub suspended: bool,
    /// Whether another schedule of the cluster fires in the same minute.
    pub conflict: bool,
}

impl Timer {
    pub(super) fn new(fact: CronFact, now: DateTime<Utc>) -> Self {
        let zone = fact.time_zone.as_deref().map_or(Ok(chrono_tz::UTC), zone::parse);
        let schedule = zone.ok().and_then(|zone| Schedule::parse(&fact.expression, zone).ok());
        let schedule = schedule.filter(|schedule| !schedule.never_runs());
        let interval = schedule.as_ref().and_then(|schedule| schedule.longest_interval(now, HORIZON));
        Self {
            fact,
            schedule,
            interval,
            conflict: false,
            resumed: None,
            around: (None, None),
            first_due: None,
        }
    }

    /// Updates the CronJob.
    pub(super) fn renew(&mut self, fact: CronFact, now: DateTime<Utc>) {
        let goes_on = self.suspended() && fact.suspension == Suspension::None;
        let resumed = if goes_on { Some(now) } else { self.resumed };
        if fact.expression == self.fact.expression && fact.time_zone == self.fact.time_zone {
            self.fact = fact;
        } else {
            *self = Self::new(fact, now);
        }
        self.resumed = resumed;
    }

    /// Recomputes from `now`, after a success or another change.
    pub(super) fn recompute(&mut self, last_success: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let Some(schedule) = &self.schedule else { return };
        self.around = around(schedule, now);
        let since = [last_success, Some(self.fact.created), self.resumed].into_iter().flatten().max();
        self.first_due = since.and_then(|since| schedule.next(since));
    }

    /// The first minute in which both fire.
    pub(super) fn meets(&self, other: &Self, now: DateTime<Utc>) -> bool {
        let (Some(one), Some(two)) = (&self.schedule, &other.schedule) else { return false };
        let over: Range<_> = now..now + HORIZON;
        !self.suspended() && !other.suspended() && fire_at_same_minute(one, two, over).is_some()
    }

    /// The longest time between two runs.
    #[must_use]
    pub const fn interval(&self) -> Option<TimeDelta> {
        self.interval
    }

    fn suspended(&self) -> bool {
        self.fact.suspension != Suspension::None
    }

    /// The state at `now`. `usual`: duration of the last success; `active`: start times of active runs.
    #[must_use]
    pub fn view(
        &self,
        usual: Option<TimeDelta>,
        active: &[DateTime<Utc>],
        now: DateTime<Utc>,
    ) -> ScheduleView {
        let (mut missed, mut missed_since, mut overdue) = (None, None, None);
        if let Some(schedule) = &self.schedule {
            let grace = self.grace(usual);
            let mut late = self.late(schedule, active, now - grace);
            missed_since = late.next();
            missed = Some(u64::from(missed_since.is_some()) + late.count() as u64);
            overdue = Some(missed_since.map_or(TimeDelta::zero(), |first| now - first - grace));
        }
        let (previous, next) = self.runs_around(now);
        ScheduleView {
            interval: self.interval,
            next: next.filter(|_| !self.suspended()),
            previous,
            missed,
            missed_since,
            overdue,
            suspended: self.suspended(),
            conflict: self.conflict,
        }
    }

    /// The runs that were not followed by a success and were due before `limit`. An active run is not missed.
    fn late<'a>(
        &'a self,
        schedule: &'a Schedule,
        active: &'a [DateTime<Utc>],
        limit: DateTime<Utc>,
    ) -> impl Iterator<Item = DateTime<Utc>> + 'a {
        let first = self.first_due.filter(|_| !self.suspended());
        let goes_on = |due: DateTime<Utc>| {
            let next = schedule.next(due);
            active.iter().any(|since| *since >= due && next.is_none_or(|next| *since < next))
        };
        successors(first, |due| schedule.next(*due))
            .take_while(move |due| *due <= limit)
            .filter(move |due| active.is_empty() || !goes_on(*due))
            .take(MOST_MISSED)
    }

    fn grace(&self, usual: Option<TimeDelta>) -> TimeDelta {
        let grace = usual.map_or(GRACE, |usual| usual.max(GRACE));
        self.interval.map_or(grace, |interval| grace.min(interval))
    }

    fn runs_around(&self, now: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let (previous, next) = self.around;
        if next.is_some_and(|next| next > now) && previous.is_none_or(|previous| previous <= now) {
            return (previous, next);
        }
        self.schedule.as_ref().map_or((None, None), |schedule| around(schedule, now))
    }
}

/// The previous and next run; one at exactly `now` is the previous.
fn around(schedule: &Schedule, now: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let previous = now.checked_add_signed(TimeDelta::seconds(1)).and_then(|after| schedule.previous(after));
    // The next run of `@every` is unknown without the last one.
    (previous, previous.and_then(|_| schedule.next(now)))
}
