//! When a job must end although it is not done.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What ends a job from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: Kubernetes wants the pod gone.
    Terminated,
    /// The job's time is nearly over.
    TimeUp,
}

/// How long a job may go on.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Cancelled by a signal.
    pub terminated: CancellationToken,
    /// When it ends by itself, so that the reason survives.
    pub until: Instant,
}

impl Limits {
    /// Waits for either.
    pub async fn reached(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.terminated.cancelled() => Stop::Terminated,
            () = sleep_until(self.until) => Stop::TimeUp,
        }
    }

    /// Awaits something, or the end.
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
