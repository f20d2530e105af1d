//! From wall-clock times to points in time.
//!
//! Between two changes of a zone's offset, wall-clock time is linear. So a period is split at the changes, and within
//! each piece the matching wall-clock minutes are shifted by its offset. Minutes that a change skips are in no piece,
//! minutes that it repeats are in two, so neither needs a special case.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use super::calendar::Dates;

const DAY: i64 = 86_400;
const MINUTE: i64 = 60;

/// All runs within `period`, in order, from either end. Lazy: computed on demand.
pub(super) fn between<D: Dates>(
    dates: &D,
    zone: Tz,
    period: Range<DateTime<Utc>>,
) -> impl DoubleEndedIterator<Item = DateTime<Utc>> {
    let (start, end) = (whole_seconds(period.start), whole_seconds(period.end));
    let days = start.div_euclid(DAY)..(end - 1).div_euclid(DAY) + 1;
    // No zone is a whole day away from UTC.
    let may_run =
        |day: &i64| (day - 1..=day + 1).any(|day| date_of(day).is_some_and(|date| dates.includes(date)));
    days.filter(may_run)
        .map(move |day| (day * DAY).max(start)..((day + 1) * DAY).min(end))
        .filter(|period| !period.is_empty())
        .flat_map(move |period| pieces(zone, period))
        .flat_map(move |piece| runs_of_piece(dates, &piece))
        .filter_map(|seconds| DateTime::from_timestamp(seconds, 0))
}

/// The wall-clock time in `zone`, `seconds` after the epoch.
pub(super) fn wall_clock(zone: Tz, seconds: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(seconds + offset(zone, seconds), 0).map(|moment| moment.naive_utc())
}

/// The start of `year` in UTC, with a margin of one day for every zone.
pub(super) fn start_of_year(year: i32) -> Option<DateTime<Utc>> {
    NaiveDate::from_ymd_opt(year, 1, 1)?.and_hms_opt(0, 0, 0).map(|start| start.and_utc())
}

/// The first whole second since the epoch that is not before `moment`.
fn whole_seconds(moment: DateTime<Utc>) -> i64 {
    moment.timestamp() + i64::from(moment.timestamp_subsec_nanos() > 0)
}

/// A period in seconds since the epoch with a constant offset of the zone.
struct Piece {
    period: Range<i64>,
    offset: i64,
}

/// Splits at most one day at a change of the offset. No zone has ever changed twice in one day.
fn pieces(zone: Tz, period: Range<i64>) -> impl DoubleEndedIterator<Item = Piece> {
    let (before, after) = (offset(zone, period.start), offset(zone, period.end - 1));
    let change = if before == after { period.end } else { first_second_after_change(zone, &period, before) };
    let first = Piece { period: period.start..change, offset: before };
    let second = Piece { period: change..period.end, offset: after };
    [first, second].into_iter().filter(|piece| !piece.period.is_empty())
}

fn first_second_after_change(zone: Tz, period: &Range<i64>, before: i64) -> i64 {
    let (mut unchanged, mut changed) = (period.start, period.end - 1);
    while changed - unchanged > 1 {
        let middle = unchanged.midpoint(changed);
        if offset(zone, middle) == before {
            unchanged = middle;
        } else {
            changed = middle;
        }
    }
    changed
}

fn runs_of_piece<'dates, D: Dates>(
    dates: &'dates D,
    piece: &Piece,
) -> impl DoubleEndedIterator<Item = i64> + use<'dates, D> {
    let offset = piece.offset;
    let wall = piece.period.start + offset..piece.period.end + offset;
    let days = wall.start.div_euclid(DAY)..(wall.end - 1).div_euclid(DAY) + 1;
    days.filter(|day| date_of(*day).is_some_and(|date| dates.includes(date)))
        .flat_map(|day| dates.minutes().iter().map(move |minute| day * DAY + i64::from(*minute) * MINUTE))
        .filter(move |seconds| wall.contains(seconds))
        .map(move |seconds| seconds - offset)
}

fn date_of(days_since_epoch: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(days_since_epoch.checked_mul(DAY)?, 0).map(|moment| moment.date_naive())
}

/// Seconds that the wall clock in `zone` is ahead of UTC.
fn offset(zone: Tz, seconds: i64) -> i64 {
    DateTime::from_timestamp(seconds, 0).map_or(0, |moment| {
        i64::from(zone.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc())
    })
}
