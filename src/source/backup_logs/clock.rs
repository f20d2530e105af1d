//! What the times in a log mean. pgBackRest writes local time without its zone, which need not be that of this process.
//!
//! The file tells when its last line was written. If that is the time of this line in the zone of this process, the zone is right,
//! with its daylight saving. If both differ by whole quarters of an hour, as all zones do, the difference is the zone. Otherwise the
//! file was touched later, and the zone of this process is taken, unless that would date a line after its file.

use chrono::{DateTime, FixedOffset, Local, NaiveDateTime, TimeDelta, TimeZone, Utc};

/// The time of a file may differ by this much from that of its last line.
const TOLERANCE: TimeDelta = TimeDelta::seconds(5);
/// The offsets of all zones are multiples of this, in seconds …
const QUARTER: i64 = 15 * 60;
/// … and no larger than this.
const MAX_OFFSET: i64 = 14 * 3600;

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    written_at: DateTime<Utc>,
    /// Absent if it is the zone of this process.
    offset: Option<FixedOffset>,
}

impl Clock {
    /// By the time of the last line and of the file.
    pub(super) fn of(last: Option<NaiveDateTime>, written_at: DateTime<Utc>) -> Self {
        Self::in_zone(&Local, last, written_at)
    }

    fn in_zone<Z: TimeZone>(zone: &Z, last: Option<NaiveDateTime>, written_at: DateTime<Utc>) -> Self {
        let is_near = |at: DateTime<Utc>| (at - written_at).abs() <= TOLERANCE;
        let offset = last.filter(|last| !possible(zone, *last).into_iter().any(is_near)).and_then(|last| {
            let ahead = (last - written_at.naive_utc()).num_seconds();
            let whole = (ahead + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
            let offset = FixedOffset::east_opt(i32::try_from(whole).ok()?)?;
            let at = offset.from_local_datetime(&last).single()?.to_utc();
            (whole.abs() <= MAX_OFFSET && is_near(at)).then_some(offset)
        });
        Self { written_at, offset }
    }

    /// The time; none if the line would have been written after its file.
    pub(super) fn time(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.offset {
            Some(offset) => self.latest(&offset, local),
            None => self.latest(&Local, local),
        }
    }

    /// An hour that daylight saving repeats can be either.
    fn latest<Z: TimeZone>(&self, zone: &Z, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        possible(zone, local).into_iter().filter(|at| *at <= self.written_at + TOLERANCE).max()
    }
}

fn possible<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> Vec<DateTime<Utc>> {
    let found = zone.from_local_datetime(&local);
    [found.clone().earliest(), found.latest()].into_iter().flatten().map(|at| at.to_utc()).collect()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;

    use super::*;

    fn local(text: &str) -> NaiveDateTime {
        format!("2026-{text}").parse().unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        format!("2026-{text}Z").parse().unwrap()
    }

    /// In UTC, what `line` means in a file whose last line is `last`.
    fn told(last: &str, written_at: &str, line: &str) -> Option<DateTime<Utc>> {
        let clock = Clock::in_zone(&Berlin, Some(local(last)), utc(written_at));
        match clock.offset {
            Some(offset) => clock.latest(&offset, local(line)),
            None => clock.latest(&Berlin, local(line)),
        }
    }

    #[test]
    fn the_file_tells_the_zone_of_its_last_line() {
        // The zone of this process, with a line from before the end of summer time.
        assert_eq!(told("10-26T10:00:00", "10-26T09:00:01", "10-24T10:00:00"), Some(utc("10-24T08:00:00")));
        // UTC, and half an hour more than five hours.
        assert_eq!(told("10-26T10:00:00", "10-26T10:00:01", "10-24T10:00:00"), Some(utc("10-24T10:00:00")));
        assert_eq!(told("10-26T10:00:00", "10-26T04:30:00", "10-26T09:00:00"), Some(utc("10-26T03:30:00")));
        assert_eq!(
            told("10-26T02:00:00", "10-26T14:45:00", "10-26T01:00:00"),
            Some(utc("10-26T13:45:00")),
            "west"
        );
        // Touched later: the zone of this process.
        assert_eq!(told("10-26T10:00:00", "10-27T11:07:00", "10-26T10:00:00"), Some(utc("10-26T09:00:00")));
        // The clock was set back, or the file is from elsewhere.
        assert_eq!(told("10-26T10:00:00", "10-25T23:07:00", "10-26T10:00:00"), None);
    }

    #[test]
    fn an_hour_that_is_repeated_is_the_one_before_the_file() {
        assert_eq!(told("10-25T02:30:00", "10-25T00:30:00", "10-25T02:29:00"), Some(utc("10-25T00:29:00")));
        assert_eq!(told("10-25T02:30:00", "10-25T01:30:00", "10-25T02:29:00"), Some(utc("10-25T01:29:00")));
    }
}
