//! Processes that left the process group of a call, as `setsid` and daemons do, and would outlive it. They are found by a variable
//! that all processes of a call inherit.
//!
//! Not found are those that cleaned their environment, and those of another user (`sudo`), which could not be ended either.

use std::ffi::OsStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use procfs::process::all_processes;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};

/// The variable. pgBackRest does not know it.
pub(super) const VARIABLE: &str = "KEEPER_CALL";

/// How often processes are looked for: one that is found may have started another in the meantime.
const PASSES: usize = 5;
/// How often it is looked whether those that were killed are gone, and how long is waited in between.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Differs between processes of this program, however often the numbers of processes come round.
static RUN: LazyLock<String> = LazyLock::new(|| format!("{:016x}", rand::random::<u64>()));

/// The value of the variable for one call.
#[derive(Debug, Clone)]
pub(super) struct Mark(String);

impl Mark {
    /// A new one.
    pub(super) fn new() -> Self {
        Self(format!("{}-{}", *RUN, CALLS.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Ends the processes of the call, except for the one that was started itself. Blocks for a moment.
    pub(super) fn kill(&self, started: i32) {
        kill_where(Some(started), |value| value == self.0.as_str());
    }
}

/// Ends the processes of all calls that this program made. Blocks for a moment.
pub fn kill_all() {
    if CALLS.load(Ordering::Relaxed) == 0 {
        return;
    }
    kill_where(None, |value| value.to_str().is_some_and(|value| value.starts_with(RUN.as_str())));
}

fn kill_where(except: Option<i32>, is_ours: impl Fn(&OsStr) -> bool) {
    let mut killed = Vec::new();
    for _ in 0..PASSES {
        let more = kill_once(except, &is_ours);
        if more.is_empty() {
            break;
        }
        killed.extend(more);
    }
    // As process 1 of a container we inherit them and must bury them; those of other parents are an error. One that hangs in the
    // kernel is left alone.
    for _ in 0..LOOKS {
        killed.retain(|id| matches!(waitpid(Some(*id), WaitOptions::NOHANG), Ok(None)));
        if killed.is_empty() {
            break;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// Those that were killed.
fn kill_once(except: Option<i32>, is_ours: impl Fn(&OsStr) -> bool) -> Vec<Pid> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    let mut killed = Vec::new();
    for process in processes.filter_map(Result::ok).filter(|process| Some(process.pid) != except) {
        let Some(id) = Pid::from_raw(process.pid) else { continue };
        // Opened before it is looked at, so that no other process gets the signal if this one ends and its number is used again.
        let Ok(held) = pidfd_open(id, PidfdFlags::empty()) else { continue };
        let ours = process
            .environ()
            .is_ok_and(|all| all.get(OsStr::new(VARIABLE)).is_some_and(|value| is_ours(value)));
        if ours && pidfd_send_signal(held, Signal::KILL).is_ok() {
            killed.push(id);
        }
    }
    killed
}
