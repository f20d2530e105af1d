//! Configuration files in YAML: read strictly, within limits, and again when they change or on request.
//!
//! Anything that cannot be applied as written is rejected with file, line, key, reason and remedy. If a file becomes invalid, the
//! previous configuration stays in effect.

mod document;
mod handle;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files;

pub use document::{ConfigFileError, List, Problem, Secret, Text, parse, parse_strictly};
pub use handle::{ConfigHandle, LastReload};

/// Larger than any certificate, key or configuration; protects against devices and wrong paths.
const LARGEST_FILE: usize = 1024 * 1024;

/// What a file is read into, including the contents of all files that it refers to. Without a file, it is the default.
pub trait Configuration: Default + Send + Sync + 'static {
    /// In sentences, such as `web configuration`.
    const NAME: &'static str;

    /// Validates the text of the file.
    fn check(text: &str, files: &mut Files) -> Result<Self, Problem>;

    /// Settings that work but are probably not intended.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Why a reload may not change this configuration to another.
    fn refused_change(&self, _to: &Self) -> Option<&'static str> {
        None
    }
}

/// Reads and validates a configuration file and the files that it references. Blocks on file I/O.
pub fn load<T: Configuration>(file: &Path) -> Result<T, ConfigFileError> {
    load_and_trace(file).0
}

/// Changes when a file is written or replaced: its time, length and inode; `None` if it is missing.
type Trace = Option<(SystemTime, u64, u64)>;

/// Like [`load`], but also returns the files it opened and their state just before, even on failure.
fn load_and_trace<T: Configuration>(file: &Path) -> (Result<T, ConfigFileError>, Vec<(PathBuf, Trace)>) {
    let mut files =
        Files { directory: file.parent().unwrap_or(Path::new("")).to_owned(), opened: Vec::new() };
    let config = files
        .read_path(file)
        .map_err(|reason| Problem::of_file(format!("this {} {reason}", T::NAME)))
        .and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|_| {
                Problem::of_file(format!("this {} is not UTF-8 text; save it as UTF-8", T::NAME))
            })?;
            T::check(text, &mut files)
        })
        .map_err(|problem| problem.in_file(file));
    (config, files.opened)
}

fn trace(path: &Path) -> Trace {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// Reads files referenced by the configuration, and records them.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    opened: Vec<(PathBuf, Trace)>,
}

impl Files {
    /// Reads a referenced file; relative paths are resolved against the directory of the configuration.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, String> {
        if name.is_empty() {
            return Err("is empty; set a path or remove the key".to_owned());
        }
        self.read_path(&self.directory.join(name))
    }

    /// Reads a referenced file with a secret. Problems do not contain its name, because the secret itself may have been written there by
    /// mistake.
    pub fn read_secret(&mut self, name: &str) -> Result<Vec<u8>, String> {
        if name.is_empty() {
            return Err("is empty; set a path or remove the key".to_owned());
        }
        let path = self.directory.join(name);
        self.opened.push((path.clone(), trace(&path)));
        let read = files::read(&path, LARGEST_FILE).map_err(|error| {
            format!("the file cannot be read: {error}; check the path and its permissions")
        })?;
        read.ok_or_else(|| "the file is larger than 1 MiB; check that it is the right one".to_owned())
    }

    /// Records a file that something else reads.
    pub fn follow(&mut self, name: &Path) {
        let path = self.directory.join(name);
        self.opened.push((path.clone(), trace(&path)));
    }

    /// What relative paths are resolved against.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn read_path(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        self.opened.push((path.to_owned(), trace(path)));
        let read = files::read(path, LARGEST_FILE).map_err(|error| {
            format!("cannot be read: {error}; check the path ({}) and its permissions", path.display())
        })?;
        read.ok_or_else(|| "is larger than 1 MiB; check that it is the right file".to_owned())
    }
}
