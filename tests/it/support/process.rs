//! Children of the tests: each in its own process group, ended by its own id whatever happens.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::machine::Account;

/// How long a call that should end by itself may take.
const LONGEST_CALL: &str = "600";

/// The longest pause between two questions of a wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How much of a log is printed where a test fails.
const LONGEST_LOG: usize = 16 * 1024;

/// A command that runs as the account, if there is one, and gets `SIGTERM` when this test's thread ends, even
/// where the test is killed and cleans up nothing.
pub(crate) fn command(account: Option<&Account>, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(account) = account {
        command.arg(format!("--reuid={}", account.user));
        command.arg(format!("--regid={}", account.group));
        command.arg("--init-groups");
        command.env("HOME", "/nonexistent").env_remove("XDG_RUNTIME_DIR");
    }
    command.arg("--").arg(program);
    command.current_dir("/");
    command
}

/// The same for a call that ends by itself, with a limit on its time.
pub(crate) fn call(account: Option<&Account>, program: impl AsRef<OsStr>) -> Command {
    let mut command = command(account, "timeout");
    command.args(["--kill-after=5", LONGEST_CALL]).arg(program);
    command
}

/// Runs to the end and keeps what was printed.
///
/// # Panics
/// Where the program cannot be started.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()))
}

/// Runs to the end, which must be a good one, and gives standard output.
pub(crate) fn successful(command: &mut Command) -> String {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Puts a program where it can be started. Another process writes it: a file that is open for writing cannot be started, and one
/// of ours may stay open in a child of another thread until that has become another program.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    successful(call(None, "cp").arg("-p").args([from, to]));
}

/// Asks again until there is an answer.
///
/// # Panics
/// After a quarter of an hour, with what is waited for. A test that passes never waits that long, even where the machine is busy.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_up_to(Duration::from_mins(15), what, ask)
}

/// The same with another limit.
///
/// # Panics
/// After that time, with what is waited for.
pub(crate) fn wait_up_to<T>(longest: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_telling(longest, Duration::from_millis(50), what, ask, String::new)
}

/// The same with another shortest pause in between, and the state to print when time is up.
///
/// A question that takes long, such as one by kubectl, is asked less often, so that waiting does not keep the machine busy.
///
/// # Panics
/// After that time, with what is waited for and the state.
pub(crate) fn wait_telling<T>(
    longest: Duration,
    pause: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
    state: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + longest;
    while Instant::now() < deadline {
        let asked = Instant::now();
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(pause.max(asked.elapsed() * 3).min(LONGEST_PAUSE));
    }
    ask().unwrap_or_else(|| panic!("waited {} s for {what}\n{}", longest.as_secs(), state()))
}

/// Ids of the processes that this one has started and not yet waited for.
pub(crate) fn children(parent: u32) -> Vec<i32> {
    let processes = procfs::process::all_processes().unwrap().filter_map(|process| process.ok()?.stat().ok());
    processes.filter(|stat| u32::try_from(stat.ppid) == Ok(parent)).map(|stat| stat.pid).collect()
}

/// Whether a process still does something; one that has ended and is not waited for does not.
pub(crate) fn is_alive(process: i32) -> bool {
    let stat = procfs::process::Process::new(process).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

/// Whether a process of the group still holds files or ports. Where the first thread of one is a zombie, others of its
/// threads may still be about to end.
fn has_members(group: Pid) -> bool {
    let processes = procfs::process::all_processes().unwrap().filter_map(|process| process.ok()?.stat().ok());
    let mut members = processes.filter(|stat| stat.pgrp == group.as_raw());
    members.any(|stat| stat.state != 'Z' || stat.num_threads > 1)
}

/// A running child that leads its own process group.
///
/// It has ended when no process of the group is left: what is started in other namespaces is a child of the command that
/// enters them, and holds its port for a moment after that one is gone.
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
    /// What ends it in an orderly way.
    end: Signal,
}

impl Running {
    /// Starts the command with both outputs going into the file `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path, end: Signal) -> Self {
        let file = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned(), log: log.to_owned(), end }
    }

    /// Process id, which is its group's too.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds what `find` looks for.
    ///
    /// # Panics
    /// If the process ends before, with its log.
    pub(crate) fn wait_in_log<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        wait_for(what, || {
            let log = self.log();
            let found = find(&log);
            if found.is_none()
                && let Some(status) = self.child.try_wait().unwrap()
            {
                panic!("{} ended ({status}) before {what}:\n{log}", self.name);
            }
            found
        })
    }

    /// Sends a signal to it and to everything that it has started in its group.
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(self.group(), signal).unwrap();
    }

    /// `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        // As long as the leader is not waited for, nobody else gets the id of its group.
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.group()), peek) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) if has_members(self.group()) => return None,
            // It has been waited for before, and its status is kept.
            Ok(_) | Err(_) => {}
        }
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, || self.ended())
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// `false` where it still runs after that time.
    fn ended_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if self.ended().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let end = log.len().saturating_sub(LONGEST_LOG);
            eprintln!("the end of the log of {}:\n{}", self.name, &log[log.ceil_char_boundary(end)..]);
        }
        // A group id can be used again once its leader is waited for, so a group whose leader has ended is
        // signalled no more: what such a leader left behind is found by scripts/without-leftovers.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // A stopped process hears nothing but this one.
        let _ = killpg(self.group(), Signal::SIGCONT);
        let _ = killpg(self.group(), self.end);
        if !self.ended_within(Duration::from_secs(10)) {
            let _ = killpg(self.group(), Signal::SIGKILL);
            let _ = self.ended_within(Duration::from_mins(1));
        }
    }
}
