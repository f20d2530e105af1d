//! What a job does next, after pgBackRest has ended in one way or another. Pure.

use crate::pgbackrest::exit_code::{self, Reason};

use super::outcome::Own;

/// Exit codes with which `timeout` says that it could not start the program.
const NOT_STARTED: [i32; 2] = [126, 127];

/// How `pgbackrest backup` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With this exit code.
    Exited(i32),
    /// It was never started.
    NotStarted(String),
    /// It was ended in the pod because its time was over.
    TimedOut,
    /// Nobody knows.
    Lost(String),
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look for the backup.
    Prove,
    /// Another one runs: wait, and try again.
    WaitForLock,
    /// Look whether the pod is still the one to back up from: where it is not, try again.
    LookForTarget,
    /// Try again, a few times.
    TryAgain,
    /// Find out what became of it.
    Follow,
    /// Give up, with this exit code.
    Fail(i32),
}

/// Decides.
pub(super) fn after(end: &End) -> Next {
    match end {
        End::Exited(0) => Next::Prove,
        End::Exited(code) if NOT_STARTED.contains(code) => Next::Fail(Own::NotStarted.code().into()),
        End::Exited(code) => match exit_code::reason(*code) {
            Reason::LockConflict => Next::WaitForLock,
            // The same in every pod.
            Reason::Config => Next::Fail(*code),
            _ => Next::LookForTarget,
        },
        End::NotStarted(_) => Next::TryAgain,
        End::TimedOut => Next::Fail(Own::TimeUp.code().into()),
        End::Lost(_) => Next::Follow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_leads_somewhere() {
        let text = String::new;
        let table = [
            (End::Exited(0), Next::Prove),
            (End::Exited(50), Next::WaitForLock),
            // What Kubernetes fails the Job for at once.
            (End::Exited(27), Next::Fail(27)),
            (End::Exited(31), Next::Fail(31)),
            (End::Exited(32), Next::Fail(32)),
            (End::Exited(37), Next::Fail(37)),
            (End::Exited(82), Next::LookForTarget),
            (End::Exited(137), Next::LookForTarget),
            (End::Exited(-1), Next::LookForTarget),
            (End::Exited(127), Next::Fail(11)),
            (End::NotStarted(text()), Next::TryAgain),
            (End::TimedOut, Next::Fail(12)),
            (End::Lost(text()), Next::Follow),
        ];
        for (end, next) in table {
            assert_eq!(after(&end), next, "{end:?}");
        }
    }
}
