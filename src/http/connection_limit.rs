//! Connection slots: the maximum number of connections, and which one is closed to admit another.
//!
//! Idle connections are cheap to reopen, so the one that has been idle longest is closed. A client that opens thousands
//! of idle connections thus evicts its own, and scrapes still get through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How often to look again for an idle connection when all slots are taken.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// All slots.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<ConnectionActivity>>>,
    next: AtomicU64,
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    number: u64,
    connection_limit: ConnectionLimit,
    pub(super) activity: Arc<ConnectionActivity>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connection_limit.0.open.lock().remove(&self.number);
    }
}

/// The activity of a connection.
#[derive(Debug)]
pub(super) struct ConnectionActivity {
    /// Cancelled when the connection must close immediately.
    pub(super) cut: CancellationToken,
    state: Mutex<ConnectionState>,
}

#[derive(Debug)]
struct ConnectionState {
    requests: u32,
    /// Since when it has been idle, if it is.
    idle_since: Instant,
}

/// A request in flight: from its header to the last byte of its response.
#[derive(Debug)]
pub(super) struct RequestInFlight {
    activity: Arc<ConnectionActivity>,
    deadline: AbortHandle,
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.deadline.abort();
        let mut state = self.activity.state.lock();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
    }
}

impl ConnectionLimit {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Inner {
            free: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))),
            open: Mutex::default(),
            next: AtomicU64::new(0),
        }))
    }

    /// Finds a slot for a new connection within `patience`, possibly by closing an idle one.
    pub(super) async fn admit(&self, patience: Duration) -> Option<ConnectionPermit> {
        let deadline = Instant::now() + patience;
        let mut wait = Duration::ZERO;
        loop {
            if let Ok(permit) = timeout(wait, Arc::clone(&self.0.free).acquire_owned()).await {
                return permit.ok().map(|permit| self.take(permit));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.cut_longest_idle();
            wait = LOOK_AGAIN.min(left);
        }
    }

    fn take(&self, permit: OwnedSemaphorePermit) -> ConnectionPermit {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(ConnectionActivity {
            cut: CancellationToken::new(),
            state: Mutex::new(ConnectionState { requests: 0, idle_since: Instant::now() }),
        });
        self.0.open.lock().insert(number, Arc::clone(&activity));
        ConnectionPermit { number, connection_limit: self.clone(), activity, _permit: permit }
    }

    /// Closes the connection that has been idle longest, if any is idle.
    pub(super) fn cut_longest_idle(&self) {
        let open = self.0.open.lock();
        let resting = open.values().filter(|activity| !activity.cut.is_cancelled());
        let longest = resting
            .filter_map(|activity| {
                let state = activity.state.lock();
                (state.requests == 0).then_some((state.idle_since, activity))
            })
            .min_by_key(|(idle_since, _)| *idle_since);
        if let Some((_, activity)) = longest {
            activity.cut.cancel();
        }
    }

    /// Closes all connections immediately.
    pub(super) fn cut_all(&self) {
        for activity in self.0.open.lock().values() {
            activity.cut.cancel();
        }
    }
}

impl ConnectionActivity {
    /// A request has begun. If it is not finished within `most`, the connection is closed.
    pub(super) fn request(self: &Arc<Self>, most: Duration) -> RequestInFlight {
        self.state.lock().requests += 1;
        let cut = self.cut.clone();
        let deadline = tokio::spawn(async move {
            tokio::time::sleep(most).await;
            cut.cancel();
        });
        RequestInFlight { activity: Arc::clone(self), deadline: deadline.abort_handle() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(120);
    /// For what does come, on however slow a machine.
    const LONG: Duration = Duration::from_mins(5);

    #[tokio::test]
    async fn the_longest_idle_makes_room() {
        let connection_limit = ConnectionLimit::new(2);
        let first = connection_limit.admit(LONG).await.expect("place");
        tokio::time::sleep(Duration::from_millis(2)).await;
        let second = connection_limit.admit(LONG).await.expect("place");
        drop(first.activity.request(LONG));
        // Now the second one has been idle longer.
        let leaving = second.activity.cut.clone();
        tokio::spawn(async move {
            leaving.cancelled().await;
            drop(second);
        });
        let third = connection_limit.admit(LONG).await.expect("room was made");
        assert!(!first.activity.cut.is_cancelled());
        assert!(!third.activity.cut.is_cancelled());
    }

    #[tokio::test]
    async fn working_ones_stay_and_the_new_one_is_turned_away() {
        let connection_limit = ConnectionLimit::new(1);
        let only = connection_limit.admit(LONG).await.expect("place");
        let request = only.activity.request(LONG);
        assert_eq!(only.activity.state.lock().requests, 1);
        assert!(connection_limit.admit(SOON).await.is_none());
        assert!(!only.activity.cut.is_cancelled());
        drop(request);
        assert_eq!(only.activity.state.lock().requests, 0);
        drop(only);
        assert!(connection_limit.admit(LONG).await.is_some());
        assert!(connection_limit.0.open.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_closes_its_connection() {
        let connection_limit = ConnectionLimit::new(1);
        let only = connection_limit.admit(LONG).await.expect("place");
        drop(only.activity.request(SOON));
        tokio::time::sleep(LONG).await;
        assert!(!only.activity.cut.is_cancelled(), "it was finished in time");
        let request = only.activity.request(LONG);
        tokio::time::timeout(LONG * 2, only.activity.cut.cancelled()).await.expect("closed");
        drop(request);
    }
}
