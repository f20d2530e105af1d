//! Backup types and backup labels (`20261122-092719F_20261122-092732I`).

use std::fmt;

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};

/// The format of the time in a label: to the second, in the time zone of the host that ran the backup.
const TIME_FORMAT: &str = "%Y%m%d-%H%M%S";
/// The length of such a time.
const TIME_LENGTH: usize = 15;

/// A parsed backup label.
///
/// A full backup is named by its start time and `F`, any other one by the label of its full backup, `_`, its own
/// start time, and `D` or `I`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupLabel {
    /// Start time of the full backup that this backup is or depends on.
    pub full: NaiveDateTime,
    /// Start time and type of a differential or incremental backup.
    pub dependent: Option<(NaiveDateTime, DependentType)>,
}

/// The types of backups that depend on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependentType {
    /// `D`.
    Diff,
    /// `I`.
    Incr,
}

impl BackupLabel {
    /// Parses a label; `None` for anything else, such as an invalid time.
    #[must_use]
    pub fn parse(label: &str) -> Option<Self> {
        let (full, rest) = split_time(label)?;
        let rest = rest.strip_prefix('F')?;
        if rest.is_empty() {
            return Some(Self { full, dependent: None });
        }
        let (own, letter) = split_time(rest.strip_prefix('_')?)?;
        let dependent_type = match letter {
            "D" => DependentType::Diff,
            "I" => DependentType::Incr,
            _ => return None,
        };
        Some(Self { full, dependent: Some((own, dependent_type)) })
    }

    #[must_use]
    pub fn backup_type(self) -> BackupType {
        match self.dependent {
            None => BackupType::Full,
            Some((_, DependentType::Diff)) => BackupType::Diff,
            Some((_, DependentType::Incr)) => BackupType::Incr,
        }
    }
}

impl fmt::Display for BackupLabel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}F", self.full.format(TIME_FORMAT))?;
        match self.dependent {
            None => Ok(()),
            Some((own, DependentType::Diff)) => write!(formatter, "_{}D", own.format(TIME_FORMAT)),
            Some((own, DependentType::Incr)) => write!(formatter, "_{}I", own.format(TIME_FORMAT)),
        }
    }
}

fn split_time(text: &str) -> Option<(NaiveDateTime, &str)> {
    let (time, rest) = text.split_at_checked(TIME_LENGTH)?;
    // chrono also accepts signs and spaces.
    let is_shaped = time.bytes().zip(0..).all(|(byte, place)| match place {
        8 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let time = is_shaped.then(|| NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok())??;
    Some((time, rest))
}

/// The three backup types of pgBackRest, weakest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupType {
    /// A full backup depends on nothing.
    Full,
    /// A differential backup depends on the last full backup.
    Diff,
    /// An incremental backup depends on the last backup of any type.
    Incr,
}

impl BackupType {
    /// All types in display order.
    pub const ALL: [Self; 3] = [Self::Full, Self::Diff, Self::Incr];

    /// The name that pgBackRest uses on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Diff => "diff",
            Self::Incr => "incr",
        }
    }

    /// The type with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// The type according to the last letter of a label.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        match label.as_bytes().last() {
            Some(b'F') => Some(Self::Full),
            Some(b'D') => Some(Self::Diff),
            Some(b'I') => Some(Self::Incr),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Timelike};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_taken_apart() {
        let table = [
            ("20261122-092719F", BackupType::Full),
            ("20261122-092719F_20261122-092729D", BackupType::Diff),
            ("20261122-092719F_20261122-092732I", BackupType::Incr),
        ];
        for (text, backup_type) in table {
            let label = BackupLabel::parse(text).unwrap();
            assert_eq!((label.backup_type(), label.full.hour()), (backup_type, 9));
            assert_eq!(label.to_string(), text);
            assert_eq!(BackupType::of_label(text), Some(backup_type));
        }
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let bad = [
            "",
            "F",
            "latest",
            "20261122-092719",
            "20261122-092719D",
            "20261122-092719F_",
            "20261122-092719F_20261122-092729F",
            "20261122-092719F_20261122-092729DI",
            "20261122-092719F_20261122-092729D_20261122-092730I",
            "20261322-092719F",
            "20261122-252719F",
            "20261122_092719F",
            "+0261122-092719F",
            "20261122- 92719F",
            "20261122-09271äF",
        ];
        for text in bad {
            assert_eq!(BackupLabel::parse(text), None, "{text}");
        }
    }

    fn any_time() -> impl Strategy<Value = NaiveDateTime> {
        // Years 0 to 9999, which fit into four digits.
        (-62_167_219_200_i64..253_402_300_800)
            .prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap().naive_utc())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn labels_survive_print_and_parse(full in any_time(), own in any_time(), kind in 0_u8..3) {
            let dependent = match kind {
                0 => None,
                1 => Some((own, DependentType::Diff)),
                _ => Some((own, DependentType::Incr)),
            };
            let label = BackupLabel { full, dependent };
            prop_assert_eq!(BackupLabel::parse(&label.to_string()), Some(label));
            prop_assert_eq!(BackupType::of_label(&label.to_string()), Some(label.backup_type()));
        }

        #[test]
        fn what_is_read_prints_the_same(text in "[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?|\\PC{0,40}") {
            if let Some(label) = BackupLabel::parse(&text) {
                prop_assert_eq!(label.to_string(), text);
            }
        }
    }
}
