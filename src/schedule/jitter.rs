//! Moves the start of a schedule, so that many schedules with the same expression do not start at once. The result is an expression
//! again, so that Kubernetes follows it, and people see when jobs start.

use super::calendar::FieldSet;
use super::fields;
use super::{Field, ScheduleError};

/// A moved schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// As written if it does not start later.
    pub expression: String,
    /// By how many minutes it starts later.
    pub minutes: u32,
    /// The most minutes by which it could start later, within the jitter: a start must not move to another day, and the starts of
    /// an expression move together.
    pub most: u32,
}

/// Moves the starts of an expression by up to this many minutes. `seed` chooses; the same one always chooses the same.
///
/// `@every` counts from the creation of the CronJob, and is not moved.
pub fn moved(text: &str, jitter: u32, seed: u64) -> Result<Moved, ScheduleError> {
    let unmoved = Moved { expression: text.to_owned(), minutes: 0, most: 0 };
    if text.starts_with("@every ") {
        return Ok(unmoved);
    }
    let words = if text.starts_with('@') { fields::word(text)? } else { text };
    let written: Vec<&str> = words.split_whitespace().collect();
    let [minute, hour, days @ ..] = written.as_slice() else { return Ok(unmoved) };
    let minutes = values(fields::parse_field(Field::Minute, minute)?, 60);
    let hours = values(fields::parse_field(Field::Hour, hour)?, 24);
    let is_hourly = hours.len() == 24 && days.iter().all(|day| matches!(*day, "*" | "?"));
    let latest_hour = hours.iter().max().copied().unwrap_or_default();
    // By how many hours all starts move, if they move by so many minutes.
    let carry = |by: u32| {
        let mut carries = minutes.iter().map(|minute| (minute + by) / 60);
        let first = carries.next()?;
        let is_same_day = is_hourly || latest_hour + first < 24;
        (is_same_day && carries.all(|carry| carry == first)).then_some(first)
    };
    let possible: Vec<(u32, u32)> = (0..=jitter).filter_map(|by| Some((by, carry(by)?))).collect();
    let count = u64::try_from(possible.len()).unwrap_or(u64::MAX).max(1);
    let chosen = usize::try_from(seed % count).ok().and_then(|place| possible.get(place));
    let most = possible.last().map_or(0, |(by, _)| *by);
    let Some((by, carry)) = chosen.copied().filter(|(by, _)| *by > 0) else {
        return Ok(Moved { most, ..unmoved });
    };
    let minute = list(minutes.iter().map(|minute| (minute + by) % 60));
    let hour = if is_hourly || carry == 0 {
        (*hour).to_owned()
    } else {
        list(hours.iter().map(|hour| hour + carry))
    };
    let expression = [&[minute.as_str(), hour.as_str()][..], days].concat().join(" ");
    Ok(Moved { expression, minutes: by, most })
}

fn values(set: FieldSet, end: u32) -> Vec<u32> {
    (0..end).filter(|value| set.contains(*value)).collect()
}

fn list(values: impl Iterator<Item = u32>) -> String {
    let mut values: Vec<u32> = values.collect();
    values.sort_unstable();
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::super::Schedule;
    use super::*;

    #[test]
    fn starts_move_together_and_stay_on_their_day() {
        for (text, jitter, seed, expression, most) in [
            ("30 3 * * *", 30, 10, "40 3 * * *", 30),
            ("30 3 * * *", 45, 45, "15 4 * * *", 45),
            ("30 3 * * 1-5", 0, 7, "30 3 * * 1-5", 0),
            ("30 3,15 * * *", 45, 31, "1 4,16 * * *", 45),
            ("30 23 * * *", 120, 29, "59 23 * * *", 29),
            ("0 22-23 1 * *", 90, 59, "59 22-23 1 * *", 59),
            ("*/15 * * * *", 30, 14, "14,29,44,59 * * * *", 14),
            ("0,30 4 * * 0", 45, 20, "20,50 4 * * 0", 29),
            ("45 * * * *", 30, 20, "5 * * * *", 30),
            ("* * * * *", 30, 9, "* * * * *", 0),
            ("@daily", 10, 5, "5 0 * * *", 10),
            ("@daily", 10, 11, "@daily", 10),
            ("@every 6h", 10, 5, "@every 6h", 0),
        ] {
            let moved = moved(text, jitter, seed).unwrap();
            assert_eq!((moved.expression.as_str(), moved.most), (expression, most), "{text}");
        }
        assert!(moved("61 * * * *", 10, 1).is_err());
        assert!(moved("@dayly", 10, 1).is_err());
    }

    proptest! {
        #[test]
        fn every_start_moves_by_the_same_time(
            minute in "([0-9]|[1-5][0-9]|\\*/(7|15|20)|5,35)", hour in "([0-9]|1[0-9]|2[0-3]|\\*|\\*/6)",
            jitter in 0_u32..1500, seed: u64,
        ) {
            let text = format!("{minute} {hour} * * *");
            let moved = moved(&text, jitter, seed).unwrap();
            prop_assert!(moved.minutes <= moved.most && moved.most <= jitter);
            let runs = |text: &str, from: DateTime<Utc>| {
                let schedule = Schedule::parse(text, chrono_tz::UTC).unwrap();
                std::iter::successors(schedule.next(from), move |run| schedule.next(*run)).take(200)
            };
            // Before midnight, so that both begin with the first start of a day; hours of every day wrap around.
            let from = DateTime::from_timestamp(1_767_225_599, 0).unwrap();
            let by = TimeDelta::minutes(moved.minutes.into());
            let later: Vec<_> = runs(&text, from).map(|run| run + by).collect();
            for run in runs(&moved.expression, from + by) {
                prop_assert!(later.last().is_none_or(|last| run > *last) || later.contains(&run), "{run}");
            }
        }
    }
}
