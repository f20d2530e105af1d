//! The messages that wait for a webhook, and when a call is repeated.

use std::collections::VecDeque;
use std::time::Duration;

/// The first pause after a failed call …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … which doubles until it is this long.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Messages in the order in which they are delivered. If there are too many, the oldest ones are dropped.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: VecDeque<(u64, T)>,
    number: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), number: 0 }
    }
}

impl<T> Queue<T> {
    /// Adds a message, and returns how many were dropped for it.
    pub(super) fn push(&mut self, message: T, limit: usize) -> u64 {
        self.number += 1;
        self.waiting.push_back((self.number, message));
        self.shorten(limit)
    }

    /// Drops the oldest messages over the limit, and returns how many.
    pub(super) fn shorten(&mut self, limit: usize) -> u64 {
        let over = self.waiting.len().saturating_sub(limit);
        self.waiting.drain(..over);
        over as u64
    }

    /// The next message, and its number.
    pub(super) fn first(&self) -> Option<&(u64, T)> {
        self.waiting.front()
    }

    /// The message of that number was delivered, even if it was dropped meanwhile.
    pub(super) fn delivered(&mut self, number: u64) {
        self.waiting.retain(|(of, _)| *of != number);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// How often a call has failed in a row.
#[derive(Debug, Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    pub(super) fn succeeded(&mut self) {
        self.0 = 0;
    }

    /// The pause until the next attempt. `random` is between 0 and 1; it keeps many from calling at the same time.
    pub(super) fn failed(&mut self, random: f64) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.0)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_messages_are_dropped() {
        let mut queue = Queue::default();
        let dropped: Vec<u64> = (0..5).map(|message| queue.push(message, 3)).collect();
        assert_eq!((dropped, queue.len()), (vec![0, 0, 0, 1, 1], 3));
        assert_eq!(queue.first(), Some(&(3, 2)));
        // It was on its way when it was dropped.
        queue.delivered(2);
        assert_eq!(queue.len(), 3);
        queue.delivered(3);
        assert_eq!(queue.first(), Some(&(4, 3)));
        assert_eq!((queue.shorten(1), queue.first()), (1, Some(&(5, 4))));
    }

    #[test]
    fn pauses_grow_and_differ() {
        let mut attempts = Attempts::default();
        let pauses: Vec<f64> = (0..12).map(|_| attempts.failed(1.0).as_secs_f64()).collect();
        assert_eq!(pauses[..4], [1.0, 2.0, 4.0, 8.0]);
        assert!(pauses[9..].iter().all(|pause| (pause - 300.0).abs() < 1e-9), "{pauses:?}");
        assert!((attempts.failed(0.0).as_secs_f64() - 150.0).abs() < 1e-9);
        attempts.succeeded();
        assert!((attempts.failed(0.5).as_secs_f64() - 0.75).abs() < 1e-9);
        (0..100).for_each(|_| assert!(attempts.failed(1.0) <= LONGEST_PAUSE));
    }
}
