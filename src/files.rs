//! Files from outside, which may be anything: a FIFO without a writer, an endless device, or a file on a file system
//! that does not answer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Work on files takes this long only where a file system does not answer, or where far too much is to be read.
const DEADLINE: Duration = Duration::from_secs(10);

/// Opens a regular file, and nothing else.
pub fn open(path: &Path) -> io::Result<File> {
    // Otherwise to open a FIFO waits for who writes it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// The contents of a regular file; none if it is larger than `limit` bytes.
pub fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Runs work on files one at a time and with a deadline, so that a file system that does not answer costs one thread, and not
/// one for each attempt.
#[derive(Debug)]
pub struct FileTask {
    stuck: Option<JoinHandle<()>>,
    deadline: Duration,
}

impl Default for FileTask {
    fn default() -> Self {
        Self { stuck: None, deadline: DEADLINE }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FileTaskError {
    /// This work did not end in time, or earlier work is still running.
    #[error("the file system does not respond; remount it")]
    NoResponse,
    /// The work panicked.
    #[error("reading failed unexpectedly; see the log")]
    Panicked,
}

impl FileTask {
    /// Runs the work, which may block, unless earlier work has not ended yet.
    pub async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FileTaskError> {
        if self.stuck.as_ref().is_some_and(|stuck| !stuck.is_finished()) {
            return Err(FileTaskError::NoResponse);
        }
        let (result, ended) = oneshot::channel();
        let task = tokio::task::spawn_blocking(move || {
            // The result is dropped if it is late.
            let _ = result.send(work());
        });
        let Ok(result) = timeout(self.deadline, ended).await else {
            self.stuck = Some(task);
            return Err(FileTaskError::NoResponse);
        };
        result.map_err(|_| FileTaskError::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "1234").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read(&path(name), 4).unwrap().as_deref(), Some(b"1234".as_slice()));
            assert_eq!(read(&path(name), 3).unwrap(), None);
        }
        for other in [path("fifo"), directory.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(
                read(&other, 4).unwrap_err().to_string(),
                "it is not a regular file",
                "{}",
                other.display()
            );
        }
        assert_eq!(read(&path("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn work_that_hangs_is_not_begun_again() {
        let mut task = FileTask::default();
        let (end, hangs) = mpsc::channel::<()>();
        task.deadline = Duration::from_millis(1);
        let stuck = task.run(move || hangs.recv().is_ok()).await;
        task.deadline = Duration::MAX;
        assert_eq!(stuck, Err(FileTaskError::NoResponse));
        for _ in 0..3 {
            let refused: Result<(), _> = task.run(|| unreachable!("begun")).await;
            assert_eq!(refused, Err(FileTaskError::NoResponse));
        }
        drop(end);
        while task.run(|| 1).await != Ok(1) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_no_hang() {
        let mut task = FileTask::default();
        let panicked: Result<(), _> = task.run(|| panic!("as expected")).await;
        assert_eq!(panicked, Err(FileTaskError::Panicked));
        assert_eq!(task.run(|| 1).await, Ok(1));
    }
}
