//! Marks tell which call on this host a process belongs to: all processes of a call inherit a variable with its number.
//! Remembers which calls are in progress.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::sync::LazyLock;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::sync::Notify;

/// The variable. pgBackRest does not know it.
pub(super) const VARIABLE: &str = "KEEPER_CALL";

/// Differs between processes of this program, however often the numbers of processes come round.
static RUN: LazyLock<String> = LazyLock::new(|| format!("{:016x}", rand::random::<u64>()));

static CALLS: Mutex<Calls> = Mutex::new(Calls::new());

static ENDS: Notify = Notify::const_new();

/// A call in progress. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Mark {
    number: u64,
}

impl Mark {
    /// Of a new call. Exists before the first process of the call does.
    pub(super) fn new() -> Self {
        Self { number: CALLS.lock().begin() }
    }

    /// The value of the variable.
    pub(super) fn value(&self) -> String {
        format!("{}-{}", *RUN, self.number)
    }

    /// The process that was started for the call.
    pub(super) fn set_leader(&self, leader: i32) {
        CALLS.lock().change(self.number, |call| call.leader = Some(leader));
    }

    /// The process that was started for the call was reaped.
    pub(super) fn forget_leader(&self) {
        CALLS.lock().change(self.number, |call| call.leader = None);
    }

    /// From now on, the call needs none of its processes.
    pub(super) fn end(&self) {
        CALLS.lock().change(self.number, |call| call.is_over = true);
        ENDS.notify_one();
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until a call has ended since the last time.
pub(super) async fn end_of_a_call() {
    ENDS.notified().await;
}

/// Whether there was any call.
pub(super) fn were_used() -> bool {
    next() > 0
}

/// The number of the next call.
pub(super) fn next() -> u64 {
    CALLS.lock().next
}

/// The call that a process with this value belongs to, if this program made it.
pub(super) fn number(value: &OsStr) -> Option<u64> {
    value.to_str()?.strip_prefix(RUN.as_str())?.strip_prefix('-')?.parse().ok()
}

/// The processes that were started for calls and have not been reaped. Others wait for their ends.
pub(super) fn leaders() -> BTreeSet<i32> {
    let mut calls = CALLS.lock();
    // The runtime reaps those whose calls were dropped.
    calls.forget(|leader| {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let leader = Pid::from_raw(leader);
        leader.is_none_or(|leader| matches!(waitid(WaitId::Pid(leader), options), Err(Errno::CHILD)))
    });
    calls.known.values().filter_map(|call| call.leader).collect()
}

/// Whether no call in progress needs a process.
pub(super) fn is_over(belongs: Belongs) -> bool {
    CALLS.lock().is_over(belongs)
}

/// The call that a process belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belongs {
    /// This one.
    To(u64),
    /// One that began before this one.
    Before(u64),
}

/// Calls in progress, and those over whose first process was not reaped.
#[derive(Debug)]
struct Calls {
    next: u64,
    known: BTreeMap<u64, Call>,
}

#[derive(Debug, Default)]
struct Call {
    leader: Option<i32>,
    is_over: bool,
}

impl Calls {
    const fn new() -> Self {
        Self { next: 0, known: BTreeMap::new() }
    }

    fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.known.insert(number, Call::default());
        number
    }

    fn change(&mut self, number: u64, change: impl FnOnce(&mut Call)) {
        let Some(call) = self.known.get_mut(&number) else { return };
        change(call);
        if call.is_over && call.leader.is_none() {
            self.known.remove(&number);
        }
    }

    /// Forgets calls that are over and whose leader is gone.
    fn forget(&mut self, is_gone: impl Fn(i32) -> bool) {
        self.known.retain(|_, call| !(call.is_over && call.leader.is_none_or(&is_gone)));
    }

    fn is_over(&self, belongs: Belongs) -> bool {
        let is_over = |call: &Call| call.is_over;
        match belongs {
            Belongs::To(number) => self.known.get(&number).is_none_or(is_over),
            Belongs::Before(number) => self.known.range(..number).all(|(_, call)| is_over(call)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_over_with_its_call() {
        let mut calls = Calls::new();
        let (first, second) = (calls.begin(), calls.begin());
        let unknown = Belongs::Before(calls.next);
        calls.change(first, |call| call.is_over = true);
        assert!(calls.is_over(Belongs::To(first)) && !calls.is_over(Belongs::To(second)));
        assert!(!calls.is_over(unknown), "it may be of the second");
        let third = calls.begin();
        calls.change(second, |call| call.is_over = true);
        assert!(calls.is_over(unknown), "it was there before the third");
        assert!(!calls.is_over(Belongs::To(third)));
    }

    #[test]
    fn a_leader_is_known_until_it_is_reaped() {
        let mut calls = Calls::new();
        let (waited_for, dropped) = (calls.begin(), calls.begin());
        for (number, leader) in [(waited_for, 100), (dropped, 200)] {
            calls.change(number, |call| call.leader = Some(leader));
            calls.change(number, |call| call.is_over = true);
        }
        calls.forget(|_| false);
        assert_eq!(calls.known.len(), 2);
        calls.change(waited_for, |call| call.leader = None);
        calls.forget(|leader| leader == 200);
        assert!(calls.known.is_empty());
    }

    #[test]
    fn only_marks_of_this_run_are_ours() {
        let mark = Mark::new();
        assert_eq!(number(OsStr::new(&mark.value())), Some(mark.number));
        for foreign in ["", "0123456789abcdef-1", &*RUN, &format!("{}-x", *RUN), &format!("{}1-1", *RUN)] {
            assert_eq!(number(OsStr::new(foreign)), None, "{foreign}");
        }
    }
}
