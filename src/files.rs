//! Files from outside, which may be anything: a FIFO without a writer, an endless device, or a file on a file system
//! that does not answer.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
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

/// Replaces a regular file, or creates it, so that a reader sees the old contents or the new ones, and nothing else.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // What a link leads to is replaced, not the link; and never a device, such as /dev/stdout.
    let path = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        other => other?,
    };
    if path.exists() && !path.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut unfinished = OsString::from(".");
    unfinished.push(name);
    // No other process that runs has this name.
    unfinished.push(format!(".{}.new", std::process::id()));
    let unfinished = path.with_file_name(unfinished);
    let written = write_new(&unfinished, contents, mode).and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        // The first error matters more than a failed cleanup.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // Left over from a process that was killed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(contents)?;
    // Independent of the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
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
    #[cfg(test)]
    pub(crate) fn with_deadline(deadline: Duration) -> Self {
        Self { stuck: None, deadline }
    }

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

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let names = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        replace(&path("new"), b"1", 0o644).unwrap();
        std::os::unix::fs::symlink("new", path("link")).unwrap();
        let mut open = File::open(path("new")).unwrap();
        replace(&path("link"), b"22", 0o640).unwrap();
        assert_eq!(fs::read(path("new")).unwrap(), b"22");
        assert_eq!(fs::metadata(path("new")).unwrap().permissions().mode() & 0o777, 0o640);
        let mut old = String::new();
        open.read_to_string(&mut old).unwrap();
        assert_eq!((old.as_str(), names()), ("1", vec!["link".to_owned(), "new".to_owned()]));
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        for other in [path("fifo"), directory.path().to_owned(), "/dev/null".into(), path("none/file")] {
            replace(&other, b"1", 0o644).unwrap_err();
        }
        assert_eq!(names(), ["fifo", "link", "new"]);
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
