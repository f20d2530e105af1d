//! Ranges of thresholds as in the development guidelines of the Monitoring Plugins.
//!
//! `10` is the range from 0 to 10, `10:` from 10 on, `~:10` up to 10, `10:20` from 10 to 20. A value outside of it is a problem. After
//! `@`, a value inside of it is one. Numbers may have a unit: `26h`, `1d12h`, `10GiB`, `20%`.

use std::fmt;

use thiserror::Error;

use super::unit::Unit;

/// Maximum characters of a range in an error.
const LONGEST: usize = 60;

/// The values that are no problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    /// The values between both ends are the problem.
    is_inverted: bool,
}

/// A text is no range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeError {
    /// An end is no number with a unit that fits.
    #[error("{0:?} is not a number; {hint}", hint = hint(*.1))]
    Number(String, Unit),
    /// The first end is greater than the second one.
    #[error("{0:?} starts after its end; write the smaller number first")]
    Backwards(String),
}

const fn hint(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "use a number such as 10, 10:, ~:10, 10:20 or @10:20",
        Unit::Seconds => "use seconds or units (s, m, h, d, w), such as 26h, 26h:, 1d12h:7d or @1h:2h",
        Unit::Bytes => "use bytes or units of 1024 (K, M, G, T), such as 10G or 10G:",
        Unit::Percent => "use percent, such as 80, 80% or 20%:",
    }
}

impl Range {
    /// Parses a range whose numbers are in this unit.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, RangeError> {
        let text = text.trim();
        let (is_inverted, ends) = match text.strip_prefix('@') {
            Some(ends) => (true, ends),
            None => (false, text),
        };
        let number = |text: &str| {
            number(text.trim(), unit)
                .ok_or_else(|| RangeError::Number(text.chars().take(LONGEST).collect(), unit))
        };
        let (start, end) = match ends.split_once(':') {
            None => (0.0, number(ends)?),
            Some((start, end)) => {
                let start = if start.trim() == "~" { f64::NEG_INFINITY } else { number(start)? };
                (start, if end.trim().is_empty() { f64::INFINITY } else { number(end)? })
            }
        };
        if start > end {
            return Err(RangeError::Backwards(text.chars().take(LONGEST).collect()));
        }
        Ok(Self { start, end, is_inverted })
    }

    /// From 0 to this value.
    #[must_use]
    pub const fn at_most(end: f64) -> Self {
        Self { start: 0.0, end, is_inverted: false }
    }

    /// Whether the value is a problem.
    #[must_use]
    pub fn is_violated_by(self, value: f64) -> bool {
        (self.start <= value && value <= self.end) == self.is_inverted
    }

    /// The expectation in words, such as `at most 1 d 2 h`.
    #[must_use]
    pub fn words(self, unit: Unit) -> String {
        let words = |value| unit.words(value);
        let (start, end) = (self.start, self.end);
        let expected = match (start.is_finite(), end.is_finite()) {
            _ if start == 0.0 && end == 0.0 => "none".to_owned(),
            (true, true) if start != 0.0 => format!("{} to {}", words(start), words(end)),
            (_, true) => format!("at most {}", words(end)),
            (true, false) => format!("at least {}", words(start)),
            (false, false) => "any".to_owned(),
        };
        if self.is_inverted { format!("not {expected}") } else { expected }
    }
}

/// As in performance data: without units.
impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_inverted {
            formatter.write_str("@")?;
        }
        if self.start == f64::NEG_INFINITY {
            formatter.write_str("~:")?;
        } else if self.start != 0.0 || self.end == f64::INFINITY {
            write!(formatter, "{}:", self.start)?;
        }
        if self.end.is_finite() { write!(formatter, "{}", self.end) } else { Ok(()) }
    }
}

fn number(text: &str, unit: Unit) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1.0, text),
        None => (1.0, text),
    };
    let parsed = match unit {
        Unit::Count => plain(text),
        Unit::Percent => plain(text.strip_suffix('%').unwrap_or(text).trim_end()),
        Unit::Seconds => duration(text),
        Unit::Bytes => bytes(text),
    };
    parsed.map(|value| sign * value).filter(|value| value.is_finite())
}

/// Digits with at most one point, and nothing that only Rust takes for a number.
fn plain(text: &str) -> Option<f64> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { text.parse().ok() } else { None }
}

/// `3600`, `26h`, `1d 12h`.
fn duration(text: &str) -> Option<f64> {
    if let Some(seconds) = plain(text) {
        return Some(seconds);
    }
    let (mut sum, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, after) = after.split_at(letters);
        let seconds = match name {
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return None,
        };
        sum += plain(value)? * seconds;
        rest = after.trim_start();
    }
    (!text.is_empty()).then_some(sum)
}

/// `1024`, `10G`, `10GB` and `10GiB`, which are the same here as in pgBackRest.
fn bytes(text: &str) -> Option<f64> {
    let letters = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (value, name) = text.split_at(letters);
    let exponent = match name.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        "P" | "PB" | "PIB" => 5,
        _ => return None,
    };
    Some(plain(value.trim_end())? * 1024_f64.powi(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::parse(text, Unit::Count).unwrap()
    }

    /// The table of the guidelines.
    #[test]
    fn values_outside_of_a_range_are_problems() {
        for (text, fine, bad) in [
            ("10", &[0.0, 10.0, 5.5][..], &[-1.0, 10.1][..]),
            ("10:", &[10.0, 1e12], &[9.99, -5.0]),
            ("~:10", &[-1e9, 0.0, 10.0], &[10.01]),
            ("10:20", &[10.0, 20.0], &[9.0, 21.0]),
            ("@10:20", &[9.9, 20.1], &[10.0, 15.0, 20.0]),
            ("0", &[0.0], &[1.0, -1.0]),
            ("~:", &[-1e9, 1e9], &[]),
            ("-10:-5", &[-7.0], &[-11.0, 0.0]),
        ] {
            for value in fine {
                assert!(!range(text).is_violated_by(*value), "{text} {value}");
            }
            for value in bad {
                assert!(range(text).is_violated_by(*value), "{text} {value}");
            }
            assert_eq!(range(text).to_string(), text);
        }
        // Not a number is in no range.
        assert!(range("10").is_violated_by(f64::NAN));
    }

    #[test]
    fn units_become_seconds_bytes_and_percent() {
        for (text, unit, expected) in [
            ("26h", Unit::Seconds, "93600"),
            ("1d12h:", Unit::Seconds, "129600:"),
            ("1d 12h : 2w", Unit::Seconds, "129600:1209600"),
            ("1.5h", Unit::Seconds, "5400"),
            ("~:90s", Unit::Seconds, "~:90"),
            ("@5min:10m", Unit::Seconds, "@300:600"),
            ("10G", Unit::Bytes, "10737418240"),
            ("1KiB:1mb", Unit::Bytes, "1024:1048576"),
            ("80%", Unit::Percent, "80"),
            ("0.5%:99.5", Unit::Percent, "0.5:99.5"),
        ] {
            assert_eq!(Range::parse(text, unit).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for unit in [Unit::Count, Unit::Seconds, Unit::Bytes, Unit::Percent] {
            for text in [
                "", ":", "@", ":10", "10:20:30", "ten", "1e3", "inf", "nan", "~", "10:~", "1..2", "+1",
                "--1", "1x", "h", "1d2", "%",
            ] {
                assert!(Range::parse(text, unit).is_err(), "{text:?} {unit:?}");
            }
        }
        let error = Range::parse("20:10", Unit::Count).unwrap_err();
        assert!(error.to_string().contains("starts after its end"), "{error}");
        let error = Range::parse("26hours", Unit::Seconds).unwrap_err();
        assert!(error.to_string().contains("26h"), "{error}");
    }

    #[test]
    fn an_expectation_can_be_read() {
        for (text, unit, words) in [
            ("26h", Unit::Seconds, "at most 1 d 2 h"),
            ("1:", Unit::Count, "at least 1"),
            ("0", Unit::Count, "none"),
            ("50%:200%", Unit::Percent, "50 % to 200 %"),
            ("@1h:2h", Unit::Seconds, "not 1 h to 2 h"),
            ("~:", Unit::Count, "any"),
        ] {
            assert_eq!(Range::parse(text, unit).unwrap().words(unit), words);
        }
    }
}
