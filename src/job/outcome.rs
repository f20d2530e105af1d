//! What the end of a job means: the exit code of its pod's container, and the reason in a word. Pure.

use crate::pgbackrest::{exit_code, redact};

use super::limits::Stop;

/// Ends that are ours to tell. Their codes lie below those of pgBackRest's errors, which begin at 25, and beside those
/// that Rust, clap and `timeout` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitReason {
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

impl ExitReason {
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

/// As a shell reports an end by SIGTERM.
const TERMINATED: u8 = 143;
/// Characters of a verdict. Kubernetes keeps 4096 bytes.
const LONGEST: usize = 1000;

/// How the pod ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutcome {
    /// The exit code: 0, ours or pgBackRest's own.
    pub code: u8,
    /// One bounded line for people, without secrets.
    pub message: String,
}

impl JobOutcome {
    pub(super) fn made(message: &str) -> Self {
        Self::new(0, message)
    }

    pub(super) fn failed(reason: ExitReason, message: &str) -> Self {
        Self::new(reason.code(), message)
    }

    pub(super) fn stopped(stop: Stop, message: &str) -> Self {
        match stop {
            Stop::Terminated => Self::new(TERMINATED, message),
            Stop::TimeUp => Self::failed(ExitReason::TimeUp, message),
        }
    }

    /// pgBackRest's code, with what it said last.
    pub(super) fn exited(code: i32, said: Option<&str>) -> Self {
        let name = exit_code::name(code).map(|name| format!(" ({name})")).unwrap_or_default();
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let message = format!("pgBackRest ended with exit code {code}{name}{said}");
        // What is no code of a process is still no success.
        Self::new(u8::try_from(code).ok().filter(|code| *code > 0).unwrap_or(1), &message)
    }

    fn new(code: u8, message: &str) -> Self {
        Self { code, message: redact::one_line(message, LONGEST) }
    }

    /// What stands in the termination message.
    #[must_use]
    pub fn line(&self) -> String {
        match self.code {
            0 => self.message.clone(),
            code => format!("{} ({code}): {}", reason(code.into()), self.message),
        }
    }
}

/// Why a job's container ended with this code, in a word that fits a label: ours or pgBackRest's.
#[must_use]
pub fn reason(code: i32) -> &'static str {
    let reason = ExitReason::ALL.into_iter().find(|reason| i32::from(reason.code()) == code);
    reason.map_or_else(|| exit_code::reason(code).as_str(), ExitReason::reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_codes_are_nobody_elses() {
        for own in ExitReason::ALL {
            assert_eq!(exit_code::name(own.code().into()), None);
            assert_eq!(reason(own.code().into()), own.reason());
        }
        assert_eq!((reason(50), reason(82)), ("lock_conflict", "archive_timeout"));
    }

    #[test]
    fn a_verdict_is_one_bounded_line() {
        let line = |code, said: &str| JobOutcome::exited(code, Some(said)).line();
        assert_eq!(
            line(82, "WAL segment\nwas not archived"),
            "archive_timeout (82): pgBackRest ended with exit code 82 (ArchiveTimeoutError): WAL segment was not archived"
        );
        assert!(!line(37, "bad repo1-cipher-pass=hunter2").contains("hunter2"));
        assert!(line(99, &"\u{1d11e}".repeat(5000)).len() <= 4096);
        assert_eq!((JobOutcome::exited(-1, None).code, JobOutcome::exited(256, None).code), (1, 1));
        assert_eq!(JobOutcome::stopped(Stop::Terminated, "gone").line(), "terminated (143): gone");
        assert_eq!(JobOutcome::stopped(Stop::TimeUp, "late").line(), "deadline (12): late");
        assert_eq!(JobOutcome::made("done").line(), "done");
    }
}
