//! Runs each phase within its deadline, and notes how long it took.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::state::proofs::reason::{Reason, ReasonClass};
use crate::state::proofs::{Outcome, Phase, PhaseRun};

use super::stop::Stop;

/// The phases so far.
#[derive(Debug)]
pub(super) struct Phases {
    pub(super) runs: Vec<PhaseRun>,
    /// Why the test did not pass: the first fault of the backup, or else the first reason.
    pub(super) reason: Option<Reason>,
    cancellation: CancellationToken,
}

impl Phases {
    pub(super) fn new(cancellation: CancellationToken) -> Self {
        Self { runs: Vec::new(), reason: None, cancellation }
    }

    /// Runs a phase that the user can interrupt. None if it ended early; the reason is noted.
    pub(super) async fn run<T>(
        &mut self,
        phase: Phase,
        deadline: Duration,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Option<T> {
        let started = Instant::now();
        let cancellation = self.cancellation.clone();
        let result = tokio::select! {
            biased;
            () = cancellation.cancelled() => Err(Stop::interrupted()),
            result = timeout(deadline, work) => result.unwrap_or_else(|_| Err(Stop::too_long(phase.as_str(), deadline))),
        };
        self.end(phase, started, deadline, result)
    }

    /// Runs a phase that must be done even if the user interrupts the test.
    pub(super) async fn finish<T>(
        &mut self,
        phase: Phase,
        deadline: Duration,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Option<T> {
        let started = Instant::now();
        let result = timeout(deadline, work).await;
        self.end(
            phase,
            started,
            deadline,
            result.unwrap_or_else(|_| Err(Stop::too_long(phase.as_str(), deadline))),
        )
    }

    /// Notes why the test did not pass. A fault of the backup is never hidden by something else that went wrong before.
    pub(super) fn note(&mut self, phase: Phase, Stop { class, message }: Stop) {
        let is_failure = |class: ReasonClass| class.outcome() == Outcome::Failed;
        let is_kept = self.reason.as_ref().is_some_and(|known| is_failure(known.class) || !is_failure(class));
        if !is_kept {
            self.reason = Some(Reason { class, phase, message });
        }
    }

    fn end<T>(
        &mut self,
        phase: Phase,
        started: Instant,
        deadline: Duration,
        result: Result<T, Stop>,
    ) -> Option<T> {
        self.runs.push(PhaseRun { phase, duration: started.elapsed(), deadline });
        result.map_err(|stop| self.note(phase, stop)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_backup_is_never_hidden() {
        let mut phases = Phases::new(CancellationToken::new());
        let mut note = |class| {
            phases.note(Phase::Check, Stop::new(class, ""));
            phases.reason.as_ref().map(|reason| reason.class)
        };
        assert_eq!(note(ReasonClass::MissingLibrary), Some(ReasonClass::MissingLibrary));
        assert_eq!(note(ReasonClass::Deadline), Some(ReasonClass::MissingLibrary));
        assert_eq!(note(ReasonClass::DamagedPages), Some(ReasonClass::DamagedPages));
        assert_eq!(note(ReasonClass::Assertion), Some(ReasonClass::DamagedPages));
    }
}
