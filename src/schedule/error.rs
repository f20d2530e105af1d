//! Why Kubernetes rejects an expression, with the value and the remedy.

use std::fmt;

use thiserror::Error;

/// The error of a schedule that the API server would reject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// The expression is empty.
    #[error("the schedule is empty; use five fields such as `30 2 * * *`, or `@daily`")]
    Empty,
    /// `TZ=` or `CRON_TZ=` in front of the fields (in fact: the letters `TZ` anywhere).
    #[error(
        "schedule `{text}`: Kubernetes does not accept `TZ=` or `CRON_TZ=` here; remove it and set the time zone in its own field"
    )]
    ZoneInside {
        /// The whole expression.
        text: String,
    },
    /// Too few or too many fields.
    #[error(
        "schedule `{text}` has {found} field{plural}; use five: minute, hour, day of month, month, day of week{hint}",
        plural = if *found == 1 { "" } else { "s" },
        hint = if *found == 6 { " (Kubernetes supports neither seconds nor years)" } else { "" }
    )]
    FieldCount {
        /// The whole expression.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// An unknown word with `@`.
    #[error(
        "unknown schedule `{word}`; use @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or `@every 12h`, in lower case and without surrounding spaces"
    )]
    Word {
        /// The whole expression.
        word: String,
    },
    /// The text after `@every` is not a duration.
    #[error(
        "`@every {duration}` is not a duration; use hours, minutes and seconds such as `@every 1h30m`, without spaces"
    )]
    Duration {
        /// The text after `@every` and one space.
        duration: String,
    },
    /// One of the five fields.
    #[error("{field} `{value}`: {problem}")]
    Field {
        field: Field,
        /// The invalid part of the field, between commas.
        value: String,
        problem: FieldProblem,
    },
}

/// One of the five fields, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or jan to dec.
    Month,
    /// 0 (Sunday) to 6, or sun to sat.
    DayOfWeek,
}

impl Field {
    /// All fields, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    /// The least and the greatest value.
    #[must_use]
    pub const fn bounds(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
        }
    }

    /// The field in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    /// The allowed values, for messages.
    const fn allowed(self) -> &'static str {
        match self {
            Self::Minute => "0 to 59",
            Self::Hour => "0 to 23",
            Self::DayOfMonth => "1 to 31",
            Self::Month => "1 to 12 or jan to dec",
            Self::DayOfWeek => "0 (Sunday) to 6 (Saturday) or sun to sat",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A problem with a part of a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// Neither a number nor a name of this field.
    #[error("`{token}` is not a valid number or name; expected {}", .field.allowed())]
    NotANumber { token: String, field: Field },
    /// `L`, `W` or `#`, which other schedulers support.
    #[error(
        "Kubernetes does not support L (last), W (nearest working day) and # (nth weekday); list the days, such as 1-7 or 28"
    )]
    ForeignSyntax,
    /// 7 for Sunday, which other cron implementations accept.
    #[error("7 is not a day of the week in Kubernetes; Sunday is 0 or sun")]
    SundayAsSeven,
    /// A number outside the range of the field.
    #[error("{number} is out of range; expected {}", .field.allowed())]
    OutOfRange { number: u32, field: Field },
    /// The range ends before it starts.
    #[error("{start} comes after {end}; use two comma-separated ranges, such as {start}-{} and {}-{end}", .field.bounds().1, .field.bounds().0)]
    Backwards {
        /// Where it starts.
        start: u32,
        /// Where it ends.
        end: u32,
        field: Field,
    },
    /// `/0`, or no usable number after the slash.
    #[error("the step `{step}` is not a positive number; use */5 for every fifth")]
    Step {
        /// The text after the slash.
        step: String,
    },
    /// More than one `-` or `/`.
    #[error("more than one `{sign}`; separate list items with commas, such as 1-5,10-15/2")]
    TwiceTheSign {
        /// `-` or `/`.
        sign: char,
    },
}
