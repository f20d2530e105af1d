//! The directory of a test: made, marked, locked, and removed with everything in it.
//!
//! Only directories are used that are empty or carry the mark, so nothing else is ever removed. The lock is held on the directory itself,
//! and ends with the process. What a killed test left behind is removed by the next one in the same directory.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::pgbackrest::command::CopyPaths;
use crate::postgres::copy;
use crate::source::processes_in;
use crate::state::proofs::ReasonClass;

use super::stop::Stop;

/// The mark, and what is in it.
const MARK: &str = "pgbackrest-keeper-restore-test";
const MARK_TEXT: &str =
    "This directory belongs to `pgbackrest-keeper restore-test`, which removes everything in it.\n";
/// What a test creates beside the mark.
const OWN: [&str; 9] =
    ["data", "tablespaces", "spool", "lock", "log", "socket", "conf", "restore.log", "postgres.log"];

/// The permission of others to write in a directory.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// With fewer free bytes than this, a file system is full.
const NEARLY_FULL: u64 = 1 << 20;

/// The directory of a test, locked as long as this lives.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    lock: File,
}

/// Why a directory is refused: the user has to choose another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--directory {}: {why}", .path.display())]
pub struct Refused {
    path: PathBuf,
    why: String,
}

/// Why a test cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("another restore test is running in {}", .0.display())]
    Busy(PathBuf),
    #[error("cannot use the directory {}: {error}", .path.display())]
    Unusable { path: PathBuf, error: io::Error },
}

impl Place {
    /// Makes or takes over the directory, and removes what an earlier test left there.
    pub fn take(directory: &Path, stanza: &str) -> Result<Self, NoPlace> {
        let refuse = |why: &str| Refused { path: directory.to_owned(), why: why.to_owned() };
        if !directory.is_absolute() {
            return Err(refuse("must be an absolute path").into());
        }
        let unusable = |error: io::Error| NoPlace::Unusable { path: directory.to_owned(), error };
        let path = whereabouts(directory).map_err(unusable)?;
        if path.to_str().is_none_or(|path| path.chars().any(char::is_control)) {
            return Err(refuse("must have a name that is plain text").into());
        }
        if let Some(above) = path.ancestors().find(|above| above.join("PG_VERSION").exists()) {
            return Err(refuse(&format!("is in the data directory {}", above.display())).into());
        }
        let is_repository = |above: &Path| {
            let index = |kind: &str| above.join(kind).join(stanza).join(format!("{kind}.info")).exists();
            index("archive") || index("backup")
        };
        if let Some(above) = path.ancestors().find(|above| is_repository(above)) {
            return Err(refuse(&format!("is in the repository {}", above.display())).into());
        }
        if !shape(&path).has_short_socket() {
            return Err(refuse("is too long for the path of a socket").into());
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(unusable)?,
        }
        // No other user may replace what is in it.
        let flags = libc::O_NOFOLLOW | libc::O_DIRECTORY;
        let lock = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(unusable)?;
        let found = lock.metadata().map_err(unusable)?;
        if found.uid() != geteuid().as_raw() {
            return Err(refuse("belongs to another user").into());
        }
        if found.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(refuse("can be written by other users").into());
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NoPlace::Busy(path)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let place = Self { path, lock };
        if place.is_marked() {
            place.empty().map_err(unusable)?;
        }
        if fs::read_dir(&place.path).map_err(unusable)?.next().is_some() {
            return Err(refuse("is not empty, and not the directory of a restore test").into());
        }
        place.furnish().map_err(unusable)?;
        Ok(place)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where pgBackRest restores to.
    #[must_use]
    pub fn copy(&self) -> CopyPaths {
        CopyPaths { directory: self.path.display().to_string() }
    }

    /// Where PostgreSQL runs.
    #[must_use]
    pub fn paths(&self) -> copy::Place {
        shape(&self.path)
    }

    /// The same directory for another thread. The lock is shared.
    pub fn share(&self) -> io::Result<Self> {
        Ok(Self { path: self.path.clone(), lock: self.lock.try_clone()? })
    }

    /// Bytes that are free for this user.
    pub fn free(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.path)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// Whether writing has failed because no space was left, or soon will.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free().is_ok_and(|free| free < NEARLY_FULL)
    }

    /// A tablespace of the copy that is elsewhere, because WAL created it in the place where the original database has it.
    pub(super) fn foreign_tablespace(&self) -> io::Result<Option<PathBuf>> {
        for entry in fs::read_dir(self.path.join("data/pg_tblspc"))? {
            // Tablespaces within the data directory are no links.
            if let Ok(target) = fs::read_link(entry?.path())
                && !target.starts_with(&self.path)
            {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    /// Why a test cannot go on if it is full.
    pub(super) fn full(&self) -> Stop {
        let message = format!("the file system of {} is full", self.path.display());
        Stop::new(ReasonClass::NoSpace, message)
    }

    /// Ends all processes of the test. Blocks.
    pub fn end_processes(&self) {
        processes_in::end(&self.path);
    }

    /// Ends all processes of the test, and removes everything but the directory itself. Blocks.
    pub fn empty(&self) -> io::Result<()> {
        self.end_processes();
        for name in OWN {
            let path = self.path.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        // Last, so that what is left after an error still carries it.
        fs::remove_file(self.path.join(MARK))
    }

    fn is_marked(&self) -> bool {
        fs::symlink_metadata(self.path.join(MARK)).is_ok_and(|mark| mark.is_file())
    }

    /// The mark comes first.
    fn furnish(&self) -> io::Result<()> {
        let mut mark =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join(MARK))?;
        mark.write_all(MARK_TEXT.as_bytes())?;
        for name in OWN.into_iter().filter(|name| !name.contains('.')) {
            DirBuilder::new().mode(0o700).create(self.path.join(name))?;
        }
        Ok(())
    }
}

/// The path without links, whether or not it exists.
fn whereabouts(directory: &Path) -> io::Result<PathBuf> {
    match (fs::canonicalize(directory), directory.parent(), directory.file_name()) {
        (Err(error), Some(above), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(fs::canonicalize(above)?.join(name))
        }
        (found, ..) => found,
    }
}

fn shape(directory: &Path) -> copy::Place {
    let path = |name: &str| directory.join(name);
    copy::Place { data: path("data"), socket: path("socket"), configuration: path("conf") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn why(directory: &Path) -> String {
        Place::take(directory, "demo").unwrap_err().to_string()
    }

    #[test]
    fn only_empty_directories_and_our_own_are_used() {
        let above = tempfile::Builder::new().prefix("p").tempdir().unwrap();
        let path = |name: &str| above.path().join(name);
        // A new one.
        let place = Place::take(&path("new"), "demo").unwrap();
        assert!(why(&path("new")).contains("another restore test is running"));
        fs::write(path("new/data/file"), "").unwrap();
        drop(place);
        // What a killed test left.
        let place = Place::take(&path("new"), "demo").unwrap();
        assert!(!path("new/data/file").exists() && path("new/data").exists());
        assert!(place.free().unwrap() > 0);
        fs::create_dir(path("new/data/pg_tblspc")).unwrap();
        let link = |name: &str, to: PathBuf| {
            std::os::unix::fs::symlink(to, path("new/data/pg_tblspc").join(name)).unwrap();
        };
        link("1", place.path().join("tablespaces/a"));
        assert_eq!(place.foreign_tablespace().unwrap(), None);
        link("2", path("other"));
        assert_eq!(place.foreign_tablespace().unwrap(), Some(path("other")));
        place.empty().unwrap();
        drop(place);
        assert_eq!(fs::read_dir(path("new")).unwrap().count(), 0);
        // That of another program.
        fs::write(path("new/file"), "").unwrap();
        assert!(why(&path("new")).contains("is not empty"));
        assert!(path("new/file").exists());
        assert!(why(Path::new("relative")).contains("absolute"));
        fs::create_dir(path("shared")).unwrap();
        fs::set_permissions(path("shared"), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(why(&path("shared")).contains("can be written by other users"));
        if geteuid().is_root() {
            fs::set_permissions(path("shared"), fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(path("shared"), Some(1), None).unwrap();
            assert!(why(&path("shared")).contains("belongs to another user"));
        }
        assert!(why(&path(&"a".repeat(100))).contains("too long"));
    }

    #[test]
    fn data_directories_and_repositories_are_refused() {
        let above = tempfile::Builder::new().prefix("p").tempdir().unwrap();
        let path = |name: &str| above.path().join(name);
        fs::create_dir_all(path("data/a")).unwrap();
        fs::write(path("data/PG_VERSION"), "15").unwrap();
        assert!(why(&path("data/a/b")).contains("is in the data directory"));
        assert!(!path("data/a/b").exists());
        assert!(why(&path("data")).contains("is in the data directory"));
        fs::create_dir_all(path("repo/backup/demo/x")).unwrap();
        fs::write(path("repo/backup/demo/backup.info"), "").unwrap();
        assert!(why(&path("repo/backup/demo/x")).contains("is in the repository"));
        // Links lead there, too.
        std::os::unix::fs::symlink(path("data/a"), path("link")).unwrap();
        assert!(why(&path("link")).contains("is in the data directory"));
    }

    #[test]
    fn a_process_that_was_left_is_ended() {
        let above = tempfile::Builder::new().prefix("p").tempdir().unwrap();
        let directory = above.path().join("test");
        drop(Place::take(&directory, "demo").unwrap());
        let mut left = std::process::Command::new("sleep")
            .arg("600")
            .env("KEEPER_CALL", "of a killed test")
            .current_dir(directory.join("data"))
            .spawn()
            .unwrap();
        let place = Place::take(&directory, "demo").unwrap();
        assert!(!left.wait().unwrap().success());
        place.empty().unwrap();
    }
}
