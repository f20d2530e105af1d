//! The values that five cron fields allow, for matching dates.

use chrono::{Datelike, NaiveDate};

/// When a schedule runs: on some dates, at the same minutes of each.
pub(super) trait Dates {
    /// Minutes since local midnight, ascending.
    fn minutes(&self) -> &[u16];

    fn includes(&self, date: NaiveDate) -> bool;
}

/// The minutes and the dates on which a schedule runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Minutes since local midnight, ascending.
    minutes: Vec<u16>,
    days_of_month: FieldSet,
    months: FieldSet,
    days_of_week: FieldSet,
}

/// The values that one field allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Bit n represents value n.
    pub(super) bits: u64,
    /// Whether the field is `*` or `?` without a step, so that it does not restrict its part of the date.
    pub(super) star: bool,
}

impl FieldSet {
    /// Whether `value` is allowed.
    pub(super) const fn contains(self, value: u32) -> bool {
        value < u64::BITS && self.bits >> value & 1 == 1
    }

    /// Both sets together.
    pub(super) const fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, star: self.star || other.star }
    }
}

impl Calendar {
    /// Combines the five fields, in the order in which they are written.
    pub(super) fn new([minutes, hours, days_of_month, months, days_of_week]: [FieldSet; 5]) -> Self {
        let minutes = (0..24_u16)
            .filter(|hour| hours.contains(u32::from(*hour)))
            .flat_map(|hour| (0..60).map(move |minute| (hour, minute)))
            .filter(|(_, minute)| minutes.contains(u32::from(*minute)))
            .map(|(hour, minute)| hour * 60 + minute)
            .collect();
        Self { minutes, days_of_month, months, days_of_week }
    }

    /// Whether no date can ever match.
    pub(super) fn is_impossible(&self) -> bool {
        // 28 years from 2000 hold every pair of date and weekday, leap days included.
        let days = (2000..2028)
            .filter_map(|year| NaiveDate::from_ymd_opt(year, 1, 1))
            .flat_map(|first| first.iter_days().take_while(move |date| date.year() == first.year()));
        self.minutes.is_empty() || !days.into_iter().any(|date| self.includes(date))
    }
}

impl Dates for Calendar {
    fn minutes(&self) -> &[u16] {
        &self.minutes
    }

    /// Whether there is a run on `date`.
    ///
    /// If both day fields are restricted, one of them is enough; if one is a star, the other decides. A star with a
    /// step (`*/2`) is a restriction like any other.
    fn includes(&self, date: NaiveDate) -> bool {
        if !self.months.contains(date.month()) {
            return false;
        }
        let day_of_month = self.days_of_month.contains(date.day());
        let day_of_week = self.days_of_week.contains(date.weekday().num_days_from_sunday());
        if self.days_of_month.star || self.days_of_week.star {
            return day_of_month && day_of_week;
        }
        day_of_month || day_of_week
    }
}

/// When two calendars of the same zone both run.
pub(super) struct Both<'a> {
    calendars: [&'a Calendar; 2],
    minutes: Vec<u16>,
}

impl<'a> Both<'a> {
    pub(super) fn of(one: &'a Calendar, other: &'a Calendar) -> Self {
        let is_common = |minute: &u16| other.minutes.binary_search(minute).is_ok();
        let minutes = one.minutes.iter().copied().filter(is_common).collect();
        Self { calendars: [one, other], minutes }
    }
}

impl Dates for Both<'_> {
    fn minutes(&self) -> &[u16] {
        &self.minutes
    }

    fn includes(&self, date: NaiveDate) -> bool {
        !self.minutes.is_empty() && self.calendars.iter().all(|calendar| calendar.includes(date))
    }
}
