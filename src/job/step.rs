//! What a job does after pgBackRest has ended. Pure.

use crate::pgbackrest::exit_code::{self, Reason};

use super::outcome::{ExitReason, JobOutcome};

/// Exit codes of `timeout` if it cannot start the program.
const NOT_STARTED: [i32; 2] = [126, 127];

/// How `pgbackrest backup` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BackupEnd {
    /// With this exit code.
    Exited(i32),
    NotStarted(String),
    /// Stopped in the pod at the timeout.
    TimedOut,
    /// Unknown, because the connection was lost.
    Lost(String),
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Prove,
    /// Another command is running: wait, then retry.
    WaitForLock,
    /// Retry if another pod must be backed up from now; otherwise fail.
    CheckTarget,
    /// Retry a few times.
    TryAgain,
    /// Find out the result.
    Follow,
    Fail,
}

pub(super) fn after(end: &BackupEnd) -> Next {
    match end {
        BackupEnd::Exited(0) => Next::Prove,
        BackupEnd::Exited(code) if NOT_STARTED.contains(code) => Next::Fail,
        BackupEnd::Exited(code) => match exit_code::reason(*code) {
            Reason::LockConflict => Next::WaitForLock,
            // The same in every pod.
            Reason::Config => Next::Fail,
            _ => Next::CheckTarget,
        },
        BackupEnd::NotStarted(_) => Next::TryAgain,
        BackupEnd::TimedOut => Next::Fail,
        BackupEnd::Lost(_) => Next::Follow,
    }
}

/// Whether pgBackRest can have made a backup before it failed with this exit code.
pub(super) fn may_have_made(code: i32) -> bool {
    let reason = exit_code::reason(code);
    code != 0 && !NOT_STARTED.contains(&code) && !matches!(reason, Reason::LockConflict | Reason::Config)
}

/// The failure to report if no later attempt succeeds; `said` is pgBackRest's last error.
pub(super) fn failed(end: &BackupEnd, said: Option<&str>) -> JobOutcome {
    match end {
        BackupEnd::Exited(code) if NOT_STARTED.contains(code) => {
            let message = format!("the container cannot run pgbackrest (exit code {code})");
            JobOutcome::failed(ExitReason::NotStarted, &message)
        }
        BackupEnd::Exited(code) => JobOutcome::exited(*code, said),
        BackupEnd::NotStarted(said) => JobOutcome::failed(ExitReason::NotStarted, said),
        BackupEnd::TimedOut => {
            JobOutcome::failed(ExitReason::TimeUp, "the backup was still running at the deadline of the job")
        }
        BackupEnd::Lost(said) => JobOutcome::failed(ExitReason::Lost, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_leads_somewhere() {
        let text = String::new;
        let table = [
            (BackupEnd::Exited(0), Next::Prove, 1),
            (BackupEnd::Exited(50), Next::WaitForLock, 50),
            // What Kubernetes fails the Job for at once.
            (BackupEnd::Exited(27), Next::Fail, 27),
            (BackupEnd::Exited(31), Next::Fail, 31),
            (BackupEnd::Exited(32), Next::Fail, 32),
            (BackupEnd::Exited(37), Next::Fail, 37),
            (BackupEnd::Exited(82), Next::CheckTarget, 82),
            (BackupEnd::Exited(137), Next::CheckTarget, 137),
            (BackupEnd::Exited(-1), Next::CheckTarget, 1),
            (BackupEnd::Exited(127), Next::Fail, 11),
            (BackupEnd::NotStarted(text()), Next::TryAgain, 11),
            (BackupEnd::TimedOut, Next::Fail, 12),
            (BackupEnd::Lost(text()), Next::Follow, 14),
        ];
        for (end, next, code) in table {
            assert_eq!((after(&end), failed(&end, None).code), (next, code), "{end:?}");
        }
        for (code, may) in [(0, false), (31, false), (50, false), (127, false), (26, true), (104, true)] {
            assert_eq!(may_have_made(code), may, "{code}");
        }
    }
}
