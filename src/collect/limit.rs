//! How many calls run at once.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Of all permits, the part that calls may take that hung last time, so that they hold up no others.
const SUSPECT_PART: usize = 4;

/// Limits concurrent calls.
#[derive(Debug)]
pub(super) struct CallLimit {
    all: Semaphore,
    suspects: Semaphore,
}

/// Allows one call until it is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    _call: Option<SemaphorePermit<'a>>,
    _suspect: Option<SemaphorePermit<'a>>,
}

impl CallLimit {
    pub(super) fn new(count: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Self { all: Semaphore::new(count), suspects: Semaphore::new((count / SUSPECT_PART).max(1)) }
    }

    /// Waits for a permit. None if the call hung last time and too many of that kind run.
    pub(super) async fn acquire(&self, is_suspect: bool) -> Option<Permit<'_>> {
        let suspect = if is_suspect { Some(self.suspects.try_acquire().ok()?) } else { None };
        // Never closed.
        Some(Permit { _call: self.all.acquire().await.ok(), _suspect: suspect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hung_leaves_permits_for_the_others() {
        let limit = CallLimit::new(8);
        let hung = [limit.acquire(true).await, limit.acquire(true).await];
        assert!(hung.iter().all(Option::is_some));
        assert!(limit.acquire(true).await.is_none(), "a quarter is taken");
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(limit.acquire(false).await.unwrap());
        }
        drop(hung);
        assert!(limit.acquire(true).await.is_some());
        assert!(CallLimit::new(0).acquire(true).await.is_some(), "there is always one");
    }
}
