//! The result of a job: the exit code of its container, and the reason. Pure.

use crate::pgbackrest::exit_code;
use crate::text;

use crate::cluster::desired::EXPIRE_FAILED;

use super::limits::Stop;

/// Failures that this program reports itself. Their exit codes are below those of pgBackRest's errors, which start at
/// 25, and differ from those of Rust, clap and `timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitReason {
    /// No pod to back up from was found in time.
    NoTarget,
    /// The command could not be started in the pod: the API server refused, or the container has no pgBackRest.
    NotStarted,
    /// The backup was still running or waiting shortly before the deadline of the job.
    TimeUp,
    /// pgBackRest succeeded, but `info` shows no backup of this job.
    Unproven,
    /// The connection was lost, and the result of the backup could not be determined.
    Lost,
    /// The backup is made, but pgBackRest failed after it: it could not expire old backups and WAL. Another attempt would
    /// make another backup.
    ExpireFailed,
}

impl ExitReason {
    pub const ALL: [Self; 6] =
        [Self::NoTarget, Self::NotStarted, Self::TimeUp, Self::Unproven, Self::Lost, Self::ExpireFailed];

    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NoTarget => 10,
            Self::NotStarted => 11,
            Self::TimeUp => 12,
            Self::Unproven => 13,
            Self::Lost => 14,
            Self::ExpireFailed => EXPIRE_FAILED,
        }
    }

    /// The value of the `reason` label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoTarget => "no_target",
            Self::NotStarted => "not_started",
            Self::TimeUp => "deadline",
            Self::Unproven => "unproven",
            Self::Lost => "connection_lost",
            Self::ExpireFailed => "expire_failed",
        }
    }
}

/// The exit code of a process that SIGTERM ended, as reported by a shell.
const TERMINATED: u8 = 143;
/// Maximum characters of a message. Kubernetes keeps 4096 bytes.
const LONGEST: usize = 1000;

/// The exit code of the pod, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutcome {
    /// 0, one of ours, or pgBackRest's.
    pub code: u8,
    /// One bounded line without secrets.
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

    /// pgBackRest's exit code with its last message.
    pub(super) fn exited(code: i32, said: Option<&str>) -> Self {
        let name = exit_code::name(code).map(|name| format!(" ({name})")).unwrap_or_default();
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let message = format!("pgBackRest ended with exit code {code}{name}{said}");
        // A code that no process can return is a failure too.
        Self::new(u8::try_from(code).ok().filter(|code| *code > 0).unwrap_or(1), &message)
    }

    fn new(code: u8, message: &str) -> Self {
        Self { code, message: text::one_line(message, LONGEST) }
    }

    /// The termination message.
    #[must_use]
    pub fn line(&self) -> String {
        match self.code {
            0 => self.message.clone(),
            code => format!("{} ({code}): {}", reason(code.into()), self.message),
        }
    }
}

/// The reason for an exit code of a job's container, ours or pgBackRest's, as a label value.
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
        assert!(line(99, &"\u{1d11e}".repeat(5000)).len() <= 4096);
        assert_eq!((JobOutcome::exited(-1, None).code, JobOutcome::exited(256, None).code), (1, 1));
        assert_eq!(JobOutcome::stopped(Stop::Terminated, "gone").line(), "terminated (143): gone");
        assert_eq!(JobOutcome::stopped(Stop::TimeUp, "late").line(), "deadline (12): late");
        assert_eq!(JobOutcome::made("done").line(), "done");
    }
}
