//! The budget for the output of commands, and for parsing it.
//!
//! Every command reserves a small share before it starts. Larger output, or output whose parsed form is large, needs the
//! only permit for large answers. Permits are given in order of arrival. The holder of the permit waits for nothing else,
//! so there is no deadlock.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Bounds;

/// Bytes of output, and of its parsed form, that every command may use.
pub(super) const SHARE: u64 = 1 << 20;

/// The budget.
#[derive(Debug)]
pub struct InputBudget {
    pub(super) bounds: Bounds,
    shares: Arc<Semaphore>,
    whole: Arc<Semaphore>,
}

/// Why there is no memory for the output of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// More than one answer may ever use.
    #[error("what it printed would take more than {} MiB of memory", .0 >> 20)]
    TooLarge(u64),
    /// Others used it for too long.
    #[error("other answers used the memory for answers")]
    NoMemory,
}

/// What one command may use, until it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    _share: OwnedSemaphorePermit,
    pub(super) whole: Option<OwnedSemaphorePermit>,
}

impl InputBudget {
    /// All of it is free.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            shares: Arc::new(Semaphore::new(bounds.commands())),
            whole: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for a share.
    pub(super) async fn share(&self) -> Option<Reservation> {
        // Never closed.
        let share = Arc::clone(&self.shares).acquire_owned().await.ok()?;
        Some(Reservation { _share: share, whole: None })
    }

    /// Waits until nobody else needs more than a share.
    pub(super) async fn whole(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.whole).acquire_owned().await.ok()
    }
}
