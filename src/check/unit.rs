//! Units of values and thresholds.

use chrono::TimeDelta;
use serde::Serialize;

use crate::state::human;

/// The unit of a value and of its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Count,
    Seconds,
    Bytes,
    Percent,
}

impl Unit {
    /// In performance data.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Percent => "%",
        }
    }

    /// A value for people.
    #[must_use]
    pub fn words(self, value: f64) -> String {
        let sign = if value < 0.0 { "-" } else { "" };
        let size = value.abs();
        match self {
            Self::Count => format!("{}", rounded(value)),
            Self::Percent => format!("{} %", rounded(value)),
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            Self::Seconds => {
                format!("{sign}{}", human::duration(TimeDelta::seconds((size as i64).min(SECONDS))))
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, and is positive"
            )]
            Self::Bytes => format!("{sign}{}", human::bytes(size as u64)),
        }
    }
}

/// More than a `TimeDelta` of any age.
const SECONDS: i64 = 1 << 40;

/// Two decimals are enough to read.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
