//! Durations as Go's `time.ParseDuration` reads them, such as `1h30m` or `-1.5s`.

use chrono::TimeDelta;

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

/// Parses a duration. `None` if it is invalid, or longer than Go's 292 years.
#[must_use]
pub fn parse(text: &str) -> Option<TimeDelta> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanoseconds = if unsigned == "0" { 0 } else { i64::try_from(sum(unsigned)?).ok()? };
    Some(TimeDelta::nanoseconds(if negative { -nanoseconds } else { nanoseconds }))
}

/// Adds up numbers with units, such as `1h30.5m`, in nanoseconds.
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
        if total > i64::MAX as u128 {
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
