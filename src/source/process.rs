//! Runs one child process and never lets it outlive its deadline, nor leaves anything of it behind.
//!
//! The child leads a process group of its own. At the timeout, at an output cap and on cancellation the group gets
//! SIGTERM, so that pgBackRest can end in order, and SIGKILL after a short grace. When the future is dropped it gets
//! SIGKILL at once. So do processes that left the group, when the end is forced; otherwise `leavers` ends them after the
//! call. No shell, no stdin, a clean environment. May not know what pgBackRest is.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::io::AsyncRead;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::memory::{self, Captured, ReadError, Refusal, Sink};

use super::environment::Environment;
use super::leavers;
use super::marks::{self, Mark};

/// How long output may still arrive after the child's end, from a grandchild that left the group and kept the pipe.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a killed process may take to disappear; longer only when it hangs in the kernel, as on a dead NFS mount.
const REAP: Duration = Duration::from_secs(5);
/// How long the rest of the group may take to disappear; it has been killed and nothing waits for its answer.
const REST_OF_GROUP: Duration = Duration::from_millis(250);

/// What a child may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From start to end.
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Bytes on stdout.
    pub stdout: usize,
    /// Bytes on stderr.
    pub stderr: usize,
    /// Whether the child goes on if it prints more on stderr, which is dropped.
    pub drops_stderr: bool,
}

impl Limits {
    /// The usual limits with this timeout: 2 s of grace, 256 MiB of stdout, 64 KiB of stderr.
    #[must_use]
    pub const fn with_timeout(timeout: Duration) -> Self {
        Self {
            timeout,
            grace: Duration::from_secs(2),
            stdout: 256 << 20,
            stderr: 64 << 10,
            drops_stderr: false,
        }
    }
}

/// What came of a child that was started.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub ending: Ending,
    /// What it printed, up to the cap.
    pub stdout: Captured,
    /// What it complained about, up to the cap.
    pub stderr: Captured,
    /// From its start until it was gone.
    pub duration: Duration,
    /// The child itself, where even SIGKILL did not end it in time.
    pub survivor: Option<Survivor>,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Killed at the timeout.
    TimedOut,
    /// Killed because it printed more than so many bytes.
    TooLarge(Stream, usize),
    /// Killed because what it printed would take more than so many bytes of memory.
    TooHeavy(u64),
    /// Killed because it took too long to print an answer so large that others had to wait.
    TooSlow,
    /// Killed because a listing that was read while it was printed did not go on.
    Silent(Duration),
    /// Killed at the timeout, or never started, because other answers used the memory.
    NoMemory,
    /// Killed, or never started, because the caller gave up.
    Cancelled,
}

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A killed child that is not gone yet.
#[derive(Debug)]
pub struct Survivor {
    group: Box<Group>,
}

impl Survivor {
    /// Whether it has disappeared by now.
    pub fn is_gone(&mut self) -> bool {
        // An error means that there is nothing left to wait for.
        let gone = !matches!(self.group.child.try_wait(), Ok(None));
        if gone {
            self.group.disarm();
        }
        gone
    }
}

/// Runs `argv` to its end, which comes at `limits.timeout` plus grace and reaping at the latest.
///
/// Fails only when the program cannot be started.
pub async fn run(
    argv: &[OsString],
    environment: &Environment,
    limits: &Limits,
    cancellation: &CancellationToken,
) -> io::Result<Output> {
    run_into(argv, environment, limits, cancellation, None).await
}

/// The same, with a sink for long output.
pub async fn run_into(
    argv: &[OsString],
    environment: &Environment,
    limits: &Limits,
    cancellation: &CancellationToken,
    sink: Option<Sink>,
) -> io::Result<Output> {
    let started = Instant::now();
    if cancellation.is_cancelled() {
        return Ok(Output::nothing(Ending::Cancelled));
    }
    let reserved = tokio::select! {
        reserved = Captured::reserve(memory::input(), limits.stdout, limits.timeout) => reserved,
        () = cancellation.cancelled() => return Ok(Output::nothing(Ending::Cancelled)),
    };
    let stdout = match reserved {
        Ok(captured) => Mutex::new(captured.into_sink(sink)),
        Err(Refusal::NoMemory | Refusal::TooLarge(_)) => return Ok(Output::nothing(Ending::NoMemory)),
    };
    let stderr = Mutex::new(Captured::little(limits.stderr));
    // Registered before the child exists, so that no end is missed.
    let mut ends_of_children = signal(SignalKind::child())?;
    let mut group = Group::spawn(argv, environment)?;
    let (mut stdout_pipe, mut stderr_pipe) = (group.child.stdout.take(), group.child.stderr.take());
    let mut forced = {
        let reads = async {
            tokio::try_join!(
                read(&mut stdout_pipe, &stdout, Stream::Stdout),
                read_stderr(&mut stderr_pipe, &stderr, limits.drops_stderr),
            )
        };
        tokio::pin!(reads);
        let mut reading = true;
        let forced = loop {
            tokio::select! {
                biased;
                () = cancellation.cancelled() => break Some(Ending::Cancelled),
                read = &mut reads, if reading => match read {
                    Ok(_) => reading = false,
                    Err(ending) => break Some(ending),
                },
                () = group.ended(&mut ends_of_children) => break None,
                () = sleep_until(started + limits.timeout) => {
                    break Some(if stdout.lock().waits() { Ending::NoMemory } else { Ending::TimedOut });
                }
            }
        };
        if forced.is_none() {
            group.send(Signal::SIGKILL);
        }
        match forced {
            None if reading => loop {
                match timeout(DRAIN, &mut reads).await {
                    Ok(Err(ending)) => break Some(ending),
                    // The rest is in the pipe.
                    Err(_) if stdout.lock().waits() && started.elapsed() < limits.timeout => {}
                    Err(_) if stdout.lock().waits() => break Some(Ending::NoMemory),
                    _ => break None,
                }
            },
            forced => forced,
        }
    };
    if forced.is_some() {
        group.send(Signal::SIGTERM);
        // Last words go nowhere, but a pipe that nobody reads would end the child before it has cleaned up.
        let last_words = async {
            tokio::join!(discard(&mut stdout_pipe), discard(&mut stderr_pipe));
            // Both are closed; the end itself is still to come.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = group.ended(&mut ends_of_children) => (),
            () = sleep(limits.grace) => (),
            () = last_words => (),
        }
        group.send(Signal::SIGKILL);
        // A process that hangs in the kernel may hold up who looks at it.
        let (mark, started) = (group.mark.value(), group.id.as_raw());
        let _ = timeout(REAP, tokio::task::spawn_blocking(move || leavers::kill(&mark, started))).await;
    }
    let status = group.reap().await;
    group.mark.end();
    let survivor = match &status {
        Ok(status) => {
            forced = forced.or_else(|| Some(Ending::of_status(*status)));
            None
        }
        Err(_) => Some(Survivor { group: Box::new(group) }),
    };
    Ok(Output {
        // Without a status the child was killed: a child that ended by itself can be reaped at once.
        ending: forced.unwrap_or(Ending::Signalled(Signal::SIGKILL as i32)),
        stdout: stdout.into_inner(),
        stderr: stderr.into_inner(),
        duration: started.elapsed(),
        survivor,
    })
}

impl Output {
    fn nothing(ending: Ending) -> Self {
        let nothing = Captured::default;
        Self { ending, stdout: nothing(), stderr: nothing(), duration: Duration::ZERO, survivor: None }
    }
}

impl Ending {
    fn of_status(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        status.code().map_or_else(|| Self::Signalled(status.signal().unwrap_or_default()), Self::Exited)
    }
}

/// A child and the process group that it leads.
#[derive(Debug)]
struct Group {
    child: Child,
    id: Pid,
    mark: Mark,
    /// The leader has not been reaped, so its number cannot have gone to somebody else.
    armed: bool,
}

impl Group {
    fn spawn(argv: &[OsString], environment: &Environment) -> io::Result<Self> {
        let [program, arguments @ ..] = argv else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program given"));
        };
        let mark = Mark::new();
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.variables())
            .env(marks::VARIABLE, mark.value())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        mark.set_leader(id);
        Ok(Self { child, id: Pid::from_raw(id), mark, armed: true })
    }

    fn disarm(&mut self) {
        self.armed = false;
        self.mark.forget_leader();
    }

    fn send(&self, signal: Signal) {
        if self.armed {
            // Fails only when nobody is left in the group.
            let _ = killpg(self.id, signal);
        }
    }

    /// Waits for the leader's end without reaping it: until then its number, which names the group, stays its own.
    async fn ended(&self, ends_of_children: &mut tokio::signal::unix::Signal) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while matches!(waitid(Id::Pid(self.id), flags), Ok(WaitStatus::StillAlive)) {
            if ends_of_children.recv().await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Reaps the leader and waits a moment for the rest of the group.
    async fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = timeout(REAP, self.child.wait()).await.map_err(io::Error::from).flatten()?;
        self.disarm();
        let rest = async {
            loop {
                // Who adopts the rest of the group must bury it.
                let buried = waitpid(Pid::from_raw(-self.id.as_raw()), Some(WaitPidFlag::WNOHANG));
                if matches!(buried, Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))) {
                    continue;
                }
                if killpg(self.id, None) == Err(Errno::ESRCH) {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Dead processes that their new parent does not bury are none of our business.
        let _ = timeout(REST_OF_GROUP, rest).await;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The runtime reaps a child that is dropped before its end.
        self.send(Signal::SIGKILL);
    }
}

async fn read(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    into: &Mutex<Captured>,
    stream: Stream,
) -> Result<(), Ending> {
    let Some(pipe) = pipe else { return Ok(()) };
    memory::read(pipe, into, memory::input()).await.map_err(|error| match error {
        ReadError::TooLarge(most) => Ending::TooLarge(stream, most),
        ReadError::TooHeavy(most) => Ending::TooHeavy(most),
        ReadError::TooSlow => Ending::TooSlow,
        ReadError::Silent(silence) => Ending::Silent(silence),
    })
}

async fn read_stderr(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    into: &Mutex<Captured>,
    drops_rest: bool,
) -> Result<(), Ending> {
    match read(pipe, into, Stream::Stderr).await {
        Err(Ending::TooLarge(..)) if drops_rest => {
            discard(pipe).await;
            Ok(())
        }
        result => result,
    }
}

async fn discard(pipe: &mut Option<impl AsyncRead + Unpin>) {
    if let Some(pipe) = pipe {
        // An error means the same as the end.
        let _ = tokio::io::copy(pipe, &mut tokio::io::sink()).await;
    }
}
