//! Resources that one test starts and all others share, until the last of them is done.
//!
//! Nothing drops a static: its processes are killed by the kernel with the thread that started them, and a
//! process that outlives the tests for a moment removes their directory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// Runs `start` on a thread that lasts as long as the tests do, since what it starts lasts as long as it does.
///
/// # Panics
/// Where `start` does.
pub(crate) fn on_a_lasting_thread<T: Send + 'static>(start: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        sender.send(start()).unwrap();
        loop {
            thread::park();
        }
    });
    receiver.recv().expect("what was to be shared did not start; see above")
}

/// Removes a directory once these tests are over and the processes are gone, which it waits a minute for.
pub(crate) fn remove_afterwards(directory: &Path, processes: &[u32]) -> Child {
    // Its standard input ends with the tests, however they end.
    const WAIT: &str = "cat >/dev/null
        directory=$1; shift
        for process; do
            tries=0
            while kill -0 \"$process\" 2>/dev/null && [ $tries -lt 600 ]; do sleep 0.1; tries=$((tries + 1)); done
        done
        rm -rf \"$directory\"";
    Command::new("sh")
        .args(["-c", WAIT, "remove-afterwards"])
        .arg(directory)
        .args(processes.iter().map(u32::to_string))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
