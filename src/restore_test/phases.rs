//! Runs each phase within its deadline, and notes how long it took.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
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
    /// When the whole test must be over, and how long it may take.
    until: Option<(Instant, Duration)>,
}

impl Phases {
    /// `total` is how long all phases together may take that can be interrupted; `spent` of it has passed already.
    pub(super) fn new(cancellation: CancellationToken, total: Option<Duration>, spent: Duration) -> Self {
        let until = |total: Duration| Instant::now().checked_add(total.saturating_sub(spent));
        let until = total.and_then(|total| Some((until(total)?, total)));
        Self { runs: Vec::new(), reason: None, cancellation, until }
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
        let until = self.until;
        let over = async {
            match until {
                Some((until, total)) => {
                    sleep_until(until).await;
                    total
                }
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            () = cancellation.cancelled() => Err(Stop::interrupted()),
            total = over => Err(Stop::too_long("the whole test", total)),
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
        let mut phases = Phases::new(CancellationToken::new(), None, Duration::ZERO);
        let mut note = |class| {
            phases.note(Phase::Check, Stop::new(class, ""));
            phases.reason.as_ref().map(|reason| reason.class)
        };
        assert_eq!(note(ReasonClass::MissingLibrary), Some(ReasonClass::MissingLibrary));
        assert_eq!(note(ReasonClass::Deadline), Some(ReasonClass::MissingLibrary));
        assert_eq!(note(ReasonClass::DamagedPages), Some(ReasonClass::DamagedPages));
        assert_eq!(note(ReasonClass::Assertion), Some(ReasonClass::DamagedPages));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_the_test_ends_a_phase_and_lets_its_end_run() {
        let (hour, total) = (Duration::from_hours(1), Duration::from_mins(90));
        let spent = Duration::from_mins(10);
        let mut phases = Phases::new(CancellationToken::new(), Some(total), spent);
        let after = |duration| async move {
            tokio::time::sleep(duration).await;
            Ok(())
        };
        assert_eq!(phases.run(Phase::Restore, 24 * hour, after(hour)).await, Some(()));
        assert_eq!(phases.run(Phase::Replay, 24 * hour, after(hour)).await, None);
        assert_eq!(phases.runs[1].duration.as_secs(), 20 * 60);
        assert_eq!(phases.finish(Phase::Clean, hour, after(Duration::from_secs(5))).await, Some(()));
        let reason = phases.reason.unwrap();
        assert_eq!((reason.class, reason.phase), (ReasonClass::Deadline, Phase::Replay));
        assert_eq!(reason.message, "the whole test did not end within 1h 30m");
    }
}
