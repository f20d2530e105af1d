//! How a reading of files proceeds, so that a file system that hangs is told from files that are many or large.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The state of the reading that runs.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Accesses to the file system so far.
    steps: AtomicU64,
    /// What was read is parsed, which does not depend on a file system.
    is_parsing: AtomicBool,
}

impl Progress {
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    pub(super) fn goes_on_since(&self, steps: u64) -> bool {
        self.is_parsing.load(Ordering::Relaxed) || self.steps() != steps
    }

    pub(super) fn parse<T>(&self, parse: impl FnOnce() -> T) -> T {
        self.is_parsing.store(true, Ordering::Relaxed);
        let parsed = parse();
        self.step();
        self.is_parsing.store(false, Ordering::Relaxed);
        parsed
    }
}
