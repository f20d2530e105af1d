//! How many calls run at once. What hung may take no more than a part of them, so that it holds up nobody else.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Of all slots, the part that may be taken by what gave no answer last time.
const DOUBTFUL_PART: usize = 4;

/// Places for calls.
#[derive(Debug)]
pub(super) struct Slots {
    all: Semaphore,
    doubtful: Semaphore,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    _one: Option<SemaphorePermit<'a>>,
    _doubtful: Option<SemaphorePermit<'a>>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Self { all: Semaphore::new(count), doubtful: Semaphore::new((count / DOUBTFUL_PART).max(1)) }
    }

    /// Waits for a place. None where the call is doubtful and too many of that kind run.
    pub(super) async fn take(&self, is_doubtful: bool) -> Option<Slot<'_>> {
        let doubtful = if is_doubtful { Some(self.doubtful.try_acquire().ok()?) } else { None };
        // Never closed.
        Some(Slot { _one: self.all.acquire().await.ok(), _doubtful: doubtful })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hung_leaves_places_for_the_others() {
        let slots = Slots::new(8);
        let hung = [slots.take(true).await, slots.take(true).await];
        assert!(hung.iter().all(Option::is_some));
        assert!(slots.take(true).await.is_none(), "a quarter is taken");
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(slots.take(false).await.unwrap());
        }
        drop(hung);
        assert!(slots.take(true).await.is_some());
        assert!(Slots::new(0).take(true).await.is_some(), "there is always one");
    }
}
