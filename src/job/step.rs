//! What a job does next, after pgBackRest has ended in one way or another. Pure.

use crate::pgbackrest::exit_code::{self, Reason};

use super::outcome::{Own, Verdict};

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
    /// Give up.
    Fail,
}

/// Decides.
pub(super) fn after(end: &End) -> Next {
    match end {
        End::Exited(0) => Next::Prove,
        End::Exited(code) if NOT_STARTED.contains(code) => Next::Fail,
        End::Exited(code) => match exit_code::reason(*code) {
            Reason::LockConflict => Next::WaitForLock,
            // The same in every pod.
            Reason::Config => Next::Fail,
            _ => Next::LookForTarget,
        },
        End::NotStarted(_) => Next::TryAgain,
        End::TimedOut => Next::Fail,
        End::Lost(_) => Next::Follow,
    }
}

/// What this end means where nothing better follows it; `said` is pgBackRest's last error.
pub(super) fn failed(end: &End, said: Option<&str>) -> Verdict {
    match end {
        End::Exited(code) if NOT_STARTED.contains(code) => {
            let message = format!("the container cannot run pgbackrest (exit code {code})");
            Verdict::own(Own::NotStarted, &message)
        }
        End::Exited(code) => Verdict::exited(*code, said),
        End::NotStarted(said) => Verdict::own(Own::NotStarted, said),
        End::TimedOut => Verdict::own(Own::TimeUp, "the backup ran until the job's time was over"),
        End::Lost(said) => Verdict::own(Own::Lost, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_leads_somewhere() {
        let text = String::new;
        let table = [
            (End::Exited(0), Next::Prove, 1),
            (End::Exited(50), Next::WaitForLock, 50),
            // What Kubernetes fails the Job for at once.
            (End::Exited(27), Next::Fail, 27),
            (End::Exited(31), Next::Fail, 31),
            (End::Exited(32), Next::Fail, 32),
            (End::Exited(37), Next::Fail, 37),
            (End::Exited(82), Next::LookForTarget, 82),
            (End::Exited(137), Next::LookForTarget, 137),
            (End::Exited(-1), Next::LookForTarget, 1),
            (End::Exited(127), Next::Fail, 11),
            (End::NotStarted(text()), Next::TryAgain, 11),
            (End::TimedOut, Next::Fail, 12),
            (End::Lost(text()), Next::Follow, 14),
        ];
        for (end, next, code) in table {
            assert_eq!((after(&end), failed(&end, None).code), (next, code), "{end:?}");
        }
    }
}
