//! Why an expression is no schedule for Kubernetes, with the value and the remedy.

use std::fmt;

use thiserror::Error;

/// What the API server would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// Nothing is written.
    #[error("the schedule is empty; write five fields such as `30 2 * * *`, or `@daily`")]
    Empty,
    /// `TZ=` or `CRON_TZ=` in front of the fields (in fact: the letters `TZ` anywhere).
    #[error(
        "schedule `{text}`: Kubernetes takes no `TZ=` or `CRON_TZ=` here; leave it out and set the time zone in its own field"
    )]
    ZoneInside {
        /// The whole expression.
        text: String,
    },
    /// Too few or too many fields.
    #[error(
        "schedule `{text}` has {found} field{plural}; write five: minute, hour, day of month, month, day of week{hint}",
        plural = if *found == 1 { "" } else { "s" },
        hint = if *found == 6 { " (Kubernetes knows no seconds and no year)" } else { "" }
    )]
    FieldCount {
        /// The whole expression.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// A word with `@` that stands for no schedule.
    #[error(
        "schedule `{word}` is not known; use @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or `@every 12h`, in small letters and without blanks around"
    )]
    Word {
        /// The whole expression.
        word: String,
    },
    /// What follows `@every` is no duration.
    #[error(
        "`@every {duration}` is no duration; write hours, minutes and seconds such as `@every 1h30m`, without blanks"
    )]
    Duration {
        /// What follows `@every` and one blank.
        duration: String,
    },
    /// One of the five fields.
    #[error("{field} `{value}`: {problem}")]
    Field {
        /// Which one.
        field: Field,
        /// The part of the field that is wrong, between commas.
        value: String,
        /// What is wrong with it.
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

    /// What may be written, for messages.
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

/// What is wrong with a part of a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// Neither a number nor a name of this field.
    #[error("`{token}` is neither a number nor a name here; allowed is {}", .field.allowed())]
    NotANumber {
        /// What stands there.
        token: String,
        /// The field.
        field: Field,
    },
    /// `L`, `W` or `#`, which other schedulers know.
    #[error(
        "Kubernetes knows no L (last), W (nearest working day) and # (nth weekday); name the days, such as 1-7 or 28"
    )]
    ForeignSyntax,
    /// 7 for Sunday, which other crons take.
    #[error("7 is no day of the week for Kubernetes; Sunday is 0 or sun")]
    SundayAsSeven,
    /// A number below or above the field's values.
    #[error("{number} is out of range; allowed is {}", .field.allowed())]
    OutOfRange {
        /// The number.
        number: u32,
        /// The field.
        field: Field,
    },
    /// The range ends before it starts.
    #[error("{start} comes after {end}; write two ranges with a comma between them, such as {start}-{} and {}-{end}", .field.bounds().1, .field.bounds().0)]
    Backwards {
        /// Where it starts.
        start: u32,
        /// Where it ends.
        end: u32,
        /// The field.
        field: Field,
    },
    /// `/0`, or no usable number after the slash.
    #[error("the step `{step}` is no positive number; write */5 for every fifth")]
    Step {
        /// What stands behind the slash.
        step: String,
    },
    /// More than one `-` or `/`.
    #[error("there is more than one `{sign}`; write lists with commas, such as 1-5,10-15/2")]
    TwiceTheSign {
        /// `-` or `/`.
        sign: char,
    },
}
