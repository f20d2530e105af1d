//! The snapshot that all readers see, replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::metrics::exposition::{EncodeError, StaticPart};
use crate::metrics::{Fleet, Options};
use crate::state::snapshot::Snapshot;

/// A snapshot and what of the exposition depends on it alone.
#[derive(Debug)]
pub struct Published {
    /// The facts of this host; none where this is about a fleet.
    pub snapshot: Arc<Snapshot>,
    /// The facts of a fleet; none where this is about this host.
    pub fleet: Arc<Fleet>,
    /// Encoded and compressed once.
    pub body: StaticPart,
}

/// Holds what was published last. Reading takes no lock.
#[derive(Debug)]
pub struct Store {
    current: ArcSwap<Published>,
    options: Arc<Options>,
    ready: AtomicBool,
    born: Instant,
    /// Milliseconds after `born` by which collection must give the next sign of life.
    heard_of_by: AtomicU64,
}

impl Store {
    /// An empty store, which is not ready.
    ///
    /// # Errors
    /// If the encoder fails, which no input is known to cause.
    pub fn new(options: Arc<Options>) -> Result<Self, EncodeError> {
        let snapshot = Arc::new(Snapshot::default());
        let body = StaticPart::encode(&snapshot, &options)?;
        Ok(Self {
            current: ArcSwap::from_pointee(Published { snapshot, fleet: Arc::default(), body }),
            options,
            ready: AtomicBool::new(false),
            born: Instant::now(),
            heard_of_by: AtomicU64::new(u64::MAX),
        })
    }

    /// What was published last.
    #[must_use]
    pub fn load(&self) -> Arc<Published> {
        self.current.load_full()
    }

    /// What is published of this host. Takes time in proportion to its size: not for an async thread.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn encode_host(&self, snapshot: Arc<Snapshot>) -> Result<Arc<Published>, EncodeError> {
        let before = self.load();
        let body = before.body.encode_next(&before.snapshot, &snapshot, &self.options)?;
        Ok(Arc::new(Published { snapshot, fleet: Arc::default(), body }))
    }

    /// What is published of a fleet. Takes time in proportion to its size: not for an async thread.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn encode_fleet(&self, fleet: Fleet) -> Result<Arc<Published>, EncodeError> {
        let fleet = Arc::new(fleet);
        let body = StaticPart::encode_fleet(&fleet, &self.options)?;
        Ok(Arc::new(Published { snapshot: Arc::default(), fleet, body }))
    }

    /// Puts this in place of what was published last.
    pub fn put(&self, published: Arc<Published>) {
        self.current.store(published);
    }

    /// A first run has ended, well or not: what is served then is all that there is. An instance whose pgBackRest fails
    /// is ready too, because only its metrics tell of the failure.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// A run has ended.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Collection is alive, and will give the next sign of life within that time.
    pub fn beat(&self, within: Duration) {
        let by = self.born.elapsed().saturating_add(within).as_millis();
        self.heard_of_by.store(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Collection has given its signs of life in time, or none is due yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.born.elapsed().as_millis() <= u128::from(self.heard_of_by.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_seen_whole() {
        let store = Store::new(Arc::new(Options::default())).unwrap();
        let before = store.load();
        assert!(!store.ready() && before.snapshot.stanzas.is_empty());
        let version = crate::pgbackrest::version::parse("pgBackRest 2.45");
        let snapshot = Snapshot { version, ..Snapshot::default() };
        store.put(store.encode_host(Arc::new(snapshot.clone())).unwrap());
        assert_eq!((*store.load().snapshot).clone(), snapshot);
        assert!(before.snapshot.version.is_none(), "what a scrape holds does not change under its hands");
    }

    #[test]
    fn silence_beyond_the_promise_is_noticed() {
        let store = Store::new(Arc::new(Options::default())).unwrap();
        assert!(store.is_alive(), "nothing was promised");
        store.beat(Duration::from_mins(1));
        assert!(store.is_alive());
        store.beat(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(5));
        assert!(!store.is_alive());
        store.beat(Duration::from_mins(1));
        assert!(store.is_alive());
    }
}
