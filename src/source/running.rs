//! A program that runs while its log is followed, which is a file.
//!
//! The current directory of its processes is in a directory of the caller, so those that a killed run left behind are found there
//! ([`super::processes_in::end`]).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use super::environment::Environment;
use super::marks::{self, Mark};
use super::sandbox;

/// Bytes of the log that are read at once.
const CHUNK: usize = 256 << 10;
/// Bytes of a line that are kept.
const LONGEST_LINE: usize = 4 << 10;
/// Bytes of the log at which the program is given up.
const LARGEST_LOG: u64 = 1 << 30;

/// Where a program can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Only in its directory; it is not started if the kernel cannot enforce that.
    InDirectory,
    /// Wherever the user can.
    Anywhere,
}

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    mark: Mark,
    child: Child,
    id: Pid,
    log: Arc<File>,
    read: u64,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Running {
    /// Starts `argv` with `directory` as its current directory, and appends its output to `log`.
    pub fn start(
        argv: &[OsString],
        environment: &Environment,
        (directory, writes): (&Path, Writes),
        log: &Path,
    ) -> io::Result<Self> {
        let [program, arguments @ ..] = argv else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program given"));
        };
        let log = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(log)?;
        let read = log.metadata()?.len();
        let mark = Mark::new();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.variables())
            .env(marks::VARIABLE, mark.value())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .process_group(0);
        let runtime = Handle::current();
        let mut start = || {
            let _runtime = runtime.enter();
            command.spawn()
        };
        let child = match writes {
            Writes::InDirectory => sandbox::writing_only_in(directory, start)?,
            Writes::Anywhere => start()?,
        };
        let id = child.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        mark.set_leader(id);
        Ok(Self { mark, child, id: Pid::from_raw(id), log: Arc::new(log), read, partial: Vec::new() })
    }

    /// Lines that were written since the last time.
    pub async fn lines(&mut self) -> io::Result<Vec<String>> {
        let (log, offset) = (Arc::clone(&self.log), self.read);
        let read = move || {
            let mut chunk = vec![0; CHUNK];
            let length = log.read_at(&mut chunk, offset)?;
            chunk.truncate(length);
            Ok::<_, io::Error>(chunk)
        };
        let chunk = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        self.read += chunk.len() as u64;
        if self.read > LARGEST_LOG {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the log became too large"));
        }
        let mut lines = Vec::new();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            self.partial
                .extend_from_slice(part.trim_ascii_end().get(..room).unwrap_or(part.trim_ascii_end()));
            self.partial.truncate(LONGEST_LINE);
            if part.ends_with(b"\n") {
                lines.push(String::from_utf8_lossy(&self.partial).into_owned());
                self.partial.clear();
            }
        }
        Ok(lines)
    }

    /// How it ended; None while it runs.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let ended = self.child.try_wait();
        self.note(matches!(ended, Ok(Some(_))));
        ended
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let ended = self.child.wait().await;
        self.note(ended.is_ok());
        ended
    }

    /// Its number may be that of another process from now on.
    fn note(&self, was_reaped: bool) {
        if was_reaped {
            self.mark.forget_leader();
        }
    }

    /// Sends a signal to the program alone.
    pub fn signal(&mut self, signal: Signal) {
        if matches!(self.ended(), Ok(None)) {
            // It ends in this moment otherwise.
            let _ = kill(self.id, signal);
        }
    }

    /// Sends a signal to its process group.
    pub fn signal_group(&mut self, signal: Signal) {
        if matches!(self.ended(), Ok(None)) {
            let _ = killpg(self.id, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal_group(Signal::SIGKILL);
    }
}
