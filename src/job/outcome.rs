//! What the end of a job means: the exit code of its pod's container, and the reason in a word. Pure.

use crate::pgbackrest::exit_code;

/// Ends that are ours to tell. Their codes lie below those of pgBackRest's errors, which begin at 25, and beside those
/// that Rust, clap and `timeout` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {
    /// No pod to back up from was found until the time was up.
    NoTarget,
    /// The command could not be started in the pod: the API server refuses, or the container has no pgBackRest.
    NotStarted,
    /// The backup still ran, or still waited, when the job's time was nearly over.
    TimeUp,
    /// pgBackRest ended well, and `info` shows no backup that this job has made.
    Unproven,
    /// The connection was lost, and what became of the backup could not be found out.
    Lost,
}

impl Own {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NoTarget, Self::NotStarted, Self::TimeUp, Self::Unproven, Self::Lost];

    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NoTarget => 10,
            Self::NotStarted => 11,
            Self::TimeUp => 12,
            Self::Unproven => 13,
            Self::Lost => 14,
        }
    }

    /// The reason, as it stands in metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoTarget => "no_target",
            Self::NotStarted => "not_started",
            Self::TimeUp => "deadline",
            Self::Unproven => "unproven",
            Self::Lost => "connection_lost",
        }
    }
}

/// Why a job's container ended with this code, in a word that fits a label: ours or pgBackRest's.
#[must_use]
pub fn reason(code: i32) -> &'static str {
    let own = Own::ALL.into_iter().find(|own| i32::from(own.code()) == code);
    own.map_or_else(|| exit_code::reason(code).as_str(), Own::reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_codes_are_nobody_elses() {
        for own in Own::ALL {
            assert_eq!(exit_code::name(own.code().into()), None);
            assert_eq!(reason(own.code().into()), own.reason());
        }
        assert_eq!((reason(50), reason(82)), ("lock_conflict", "archive_timeout"));
    }
}
