//! Debounces changes with a maximum wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue};

/// How long a change is delayed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Debounce {
    /// Time without further changes of the same key.
    pub(super) quiet: Duration,
    /// Maximum delay, so that constantly changing keys are handled too.
    pub(super) at_most: Duration,
}

struct Changes<S, K> {
    stream: S,
    debounce: Debounce,
    queue: DelayQueue<K>,
    waiting: HashMap<K, Waiting>,
}

/// A key in the queue.
struct Waiting {
    place: delay_queue::Key,
    no_later_than: Instant,
}

/// Yields each key once for changes that follow each other closely. Ends with `changes`, dropping delayed keys.
///
/// The debounce of kube's scheduler has no maximum wait.
pub(super) fn debounced<K>(
    changes: impl Stream<Item = K> + Unpin,
    debounce: Debounce,
) -> impl Stream<Item = K>
where
    K: Clone + Eq + Hash,
{
    let state = Changes { stream: changes, debounce, queue: DelayQueue::new(), waiting: HashMap::new() };
    stream::unfold(state, |mut state| async move {
        loop {
            tokio::select! {
                change = state.stream.next() => state.note(change?),
                Some(rested) = state.queue.next() => {
                    let key = rested.into_inner();
                    state.waiting.remove(&key);
                    return Some((key, state));
                }
            }
        }
    })
}

impl<S, K: Clone + Eq + Hash> Changes<S, K> {
    fn note(&mut self, key: K) {
        let Debounce { quiet, at_most } = self.debounce;
        let now = Instant::now();
        if let Some(waiting) = self.waiting.get(&key) {
            self.queue.reset_at(&waiting.place, (now + quiet).min(waiting.no_later_than));
            return;
        }
        let place = self.queue.insert(key.clone(), quiet.min(at_most));
        self.waiting.insert(key, Waiting { place, no_later_than: now + at_most });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(20);
    /// Longer than any machine needs.
    const LONG: Duration = Duration::from_mins(5);

    #[tokio::test]
    async fn what_never_rests_has_its_turn() {
        let debounce = Debounce { quiet: HOUR, at_most: SOON };
        let restless = Box::pin(stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some(("ledger", ()))
        }));
        let mut debounced = Box::pin(debounced(restless, debounce));
        for _ in 0..2 {
            assert_eq!(timeout(LONG, debounced.next()).await, Ok(Some("ledger")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_of_one_key_are_one() {
        let debounce = Debounce { quiet: Duration::from_secs(1), at_most: HOUR };
        let changes = stream::iter(["ledger", "shop", "ledger", "ledger"]).chain(stream::pending());
        let debounced = Box::pin(debounced(changes, debounce));
        let mut both: Vec<_> = timeout(LONG, debounced.take(2).collect()).await.unwrap();
        both.sort_unstable();
        assert_eq!(both, ["ledger", "shop"]);
    }

    #[tokio::test]
    async fn it_ends_with_the_changes() {
        let debounce = Debounce { quiet: HOUR, at_most: HOUR };
        let debounced = debounced(stream::iter(["ledger"]), debounce);
        assert_eq!(timeout(LONG, debounced.count()).await, Ok(0));
    }

    #[tokio::test]
    async fn each_change_starts_the_wait_anew() {
        let mut changes = Changes {
            stream: (),
            debounce: Debounce { quiet: Duration::from_mins(1), at_most: HOUR },
            queue: DelayQueue::new(),
            waiting: HashMap::new(),
        };
        let deadline = |changes: &mut Changes<(), &str>| {
            changes.note("ledger");
            changes.queue.deadline(&changes.waiting["ledger"].place)
        };
        let first = deadline(&mut changes);
        tokio::time::sleep(SOON).await;
        assert!(deadline(&mut changes) > first);
        assert_eq!(changes.queue.len(), 1);
    }
}
