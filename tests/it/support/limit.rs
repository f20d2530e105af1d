//! Limits for concurrent use of resources: the harness runs more tests than there are cores, because most of them spend most of their
//! time waiting.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Control planes that a test has for itself. Each takes a core for ten seconds to start, and 400 MiB.
pub(crate) static CONTROL_PLANES: Limit = Limit::new("control planes", 3);

/// Nodes that are being started. Each takes a core for twenty seconds until it is ready.
pub(crate) static STARTING_NODES: Limit = Limit::new("nodes that start", 1);

/// Shorter waits are not worth telling.
const SHORTEST_TOLD: Duration = Duration::from_millis(100);

/// So many at once.
pub(crate) struct Limit {
    name: &'static str,
    free: Mutex<usize>,
    changed: Condvar,
}

/// Given back when it is dropped.
pub(crate) struct Permit(&'static Limit);

impl Limit {
    const fn new(name: &'static str, most: usize) -> Self {
        Self { name, free: Mutex::new(most), changed: Condvar::new() }
    }

    /// Waits for a permit. A test takes at most one of each limit, before it starts anything.
    pub(crate) fn take(&'static self) -> Permit {
        waiting(self.name, || {
            let mut free = self.free.lock();
            self.changed.wait_while(&mut free, |free| *free == 0);
            *free -= 1;
        });
        Permit(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.changed.notify_one();
    }
}

/// Does something that waits for what tests share, and notes for `scripts/slowest-tests` how long it took: a line
/// `TEST SECONDS WHAT` in the file that `KEEPER_TEST_WAITS` names. The harness names a test's thread after the test.
pub(crate) fn waiting<T>(what: &str, wait: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = wait();
    let (waited, thread) = (began.elapsed(), thread::current());
    if waited >= SHORTEST_TOLD
        && let Some(file) = std::env::var_os("KEEPER_TEST_WAITS")
    {
        let test = thread.name().unwrap_or("unknown");
        let mut file = OpenOptions::new().append(true).create(true).open(file).unwrap();
        // One write, so that lines of other tests do not come in between.
        file.write_all(format!("{test} {:.1} {what}\n", waited.as_secs_f64()).as_bytes()).unwrap();
    }
    done
}
