//! Ends processes by their current directory. So those are found that a killed run of this program has left behind.

use std::ffi::OsStr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::marks;

/// How often processes are looked for: one that is found may have started another in the meantime.
const PASSES: usize = 5;
/// How often it is looked whether processes are gone, and how long is waited in between.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// The same for an immediate shutdown of PostgreSQL.
const SHUTDOWN_LOOKS: usize = 50;
const BETWEEN_SHUTDOWN_LOOKS: Duration = Duration::from_millis(100);

/// Ends the processes with a current directory in `directory` that this program or an earlier one started. PostgreSQL gets the time to
/// remove its shared memory. Blocks for up to six seconds.
pub fn end(directory: &Path) {
    let is_in = |process: &Process| process.cwd().is_ok_and(|current| current.starts_with(directory));
    // PostgreSQL overwrites its environment with its title.
    let is_server =
        |process: &Process| is_in(process) && process.stat().is_ok_and(|stat| stat.comm == "postgres");
    for _ in 0..SHUTDOWN_LOOKS {
        if signal(Signal::QUIT, is_server) == 0 {
            break;
        }
        thread::sleep(BETWEEN_SHUTDOWN_LOOKS);
    }
    let is_ours = |process: &Process| is_in(process) && (is_server(process) || is_marked(process));
    for _ in 0..PASSES {
        if signal(Signal::KILL, is_ours) == 0 {
            return;
        }
        // A process that hangs in the kernel is left alone.
        for _ in 0..LOOKS {
            if !all_living().any(|process| is_ours(&process)) {
                break;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }
}

fn is_marked(process: &Process) -> bool {
    process.environ().is_ok_and(|all| all.contains_key(OsStr::new(marks::VARIABLE)))
}

fn all_living() -> impl Iterator<Item = Process> {
    let own = i32::try_from(std::process::id()).ok();
    let others = all_processes().into_iter().flatten().filter_map(Result::ok);
    let others = others.filter(move |process| Some(process.pid) != own);
    others.filter(|process| process.stat().is_ok_and(|stat| stat.state != 'Z'))
}

/// How many got it.
fn signal(signal: Signal, is_ours: impl Fn(&Process) -> bool) -> usize {
    let signalled = all_living().filter(|process| {
        let Some(id) = Pid::from_raw(process.pid) else { return false };
        // Opened before it is looked at, so that no other process gets the signal if this one ends and its number is used again.
        let Ok(held) = pidfd_open(id, PidfdFlags::empty()) else { return false };
        is_ours(process) && pidfd_send_signal(held, signal).is_ok()
    });
    signalled.count()
}
