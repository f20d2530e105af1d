//! When a job must end before it is done.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What ends a job from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: Kubernetes wants the pod gone.
    Terminated,
    /// The deadline of the job is near.
    TimeUp,
}

/// How long a job may run.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// Cancelled by a signal.
    pub terminated: CancellationToken,
    /// When it stops by itself, so that the reason is kept.
    pub until: Instant,
}

impl JobLimits {
    /// Waits for either.
    pub async fn reached(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.terminated.cancelled() => Stop::Terminated,
            () = sleep_until(self.until) => Stop::TimeUp,
        }
    }

    /// Awaits a future, or stops.
    pub(super) async fn first<T>(&self, something: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            stop = self.reached() => Err(stop),
            done = something => Ok(done),
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
