//! The duration after `@every`, parsed like Go's `time.ParseDuration`.

use chrono::TimeDelta;

use super::error::ScheduleError;

/// Units and their nanoseconds. Both spellings of the micro sign are in use.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const LONGEST: u128 = i64::MAX as u128;

/// The interval in whole seconds, at least one. Go allows a sign, and robfig/cron rounds anything below one second
/// (including negative durations) up to one second.
pub(super) fn parse(text: &str) -> Result<TimeDelta, ScheduleError> {
    let invalid = || ScheduleError::Duration { duration: text.to_owned() };
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanoseconds = if unsigned == "0" { 0 } else { sum(unsigned).ok_or_else(invalid)? };
    let seconds =
        if negative { 0 } else { i64::try_from(nanoseconds / 1_000_000_000).map_err(|_| invalid())? };
    Ok(TimeDelta::seconds(seconds.max(1)))
}

/// Adds up numbers with units, such as `1h30.5m`. `None` if it is invalid, or longer than Go's 292 years.
fn sum(text: &str) -> Option<u128> {
    let mut total = 0_u128;
    let mut rest = text;
    loop {
        let (whole, after_whole) = digits(rest);
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(behind_point) => digits(behind_point),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end_of_unit =
            after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, behind) = after_number.split_at(end_of_unit);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let scale = u128::from(*scale);
        total += if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() } * scale;
        total += fraction_of(fraction, scale);
        if total > LONGEST {
            return None;
        }
        if behind.is_empty() {
            return Some(total);
        }
        rest = behind;
    }
}

/// The value of the digits after the point; digits beyond the precision of the unit are ignored.
fn fraction_of(digits: &str, scale: u128) -> u128 {
    let shown = digits.get(..18).unwrap_or(digits);
    let number: u128 = shown.parse().unwrap_or(0);
    let power = shown.bytes().fold(1_u128, |power, _| power * 10);
    number * scale / power
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}
