//! Writes records into the state directory, and lets only one run of each kind write at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::state::proofs::{Record, file};

/// The directory of all records of a kind, locked as long as this lives.
#[derive(Debug)]
pub struct ProofWriter<R> {
    state_directory: PathBuf,
    _lock: File,
    kind: PhantomData<R>,
}

/// Why records cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error("cannot write records to the state directory {}: {error}; see --state-directory", .path.display())]
    Unusable { path: PathBuf, error: io::Error },
    #[error("another {kind} of this host is running: {} is locked", .directory.display())]
    Busy { kind: &'static str, directory: PathBuf },
    #[error("the stanza {0:?} has no name that could be a directory")]
    Stanza(String),
}

impl<R: Record> ProofWriter<R> {
    /// Makes sure that the record can be written in the end.
    pub fn open(state_directory: &Path, stanza: &str) -> Result<Self, WriteError> {
        let unusable = |error| WriteError::Unusable { path: state_directory.to_owned(), error };
        let below = file::directory::<R>(stanza, 1).ok_or_else(|| WriteError::Stanza(stanza.to_owned()))?;
        let top = state_directory.join(R::DIRECTORY);
        let of_stanza = state_directory.join(below.parent().unwrap_or(&below));
        fs::create_dir_all(&of_stanza).map_err(unusable)?;
        let probe = of_stanza.join(".writable");
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(unusable)?;
        let lock = File::open(&top).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {
                Ok(Self { state_directory: state_directory.to_owned(), _lock: lock, kind: PhantomData })
            }
            Err(TryLockError::WouldBlock) => Err(WriteError::Busy { kind: R::NAME, directory: top }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Writes a record as a whole, and removes those that are no longer kept.
    pub fn write(&self, record: &R) -> Result<PathBuf, WriteError> {
        let unusable = |error| WriteError::Unusable { path: self.state_directory.clone(), error };
        let below = file::directory::<R>(record.stanza(), record.repo())
            .ok_or_else(|| WriteError::Stanza(record.stanza().to_owned()))?;
        let directory = self.state_directory.join(below);
        let document = record.document().map_err(|error| unusable(error.into()))?;
        let path = directory.join(file::name(record.start()));
        write_all(&directory, &path, &document).map_err(unusable)?;
        let names = fs::read_dir(&directory).map_err(unusable)?;
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        for name in file::outdated(names) {
            if let Err(error) = fs::remove_file(directory.join(&name)) {
                tracing::warn!(%error, name, kind = R::NAME, "Failed to remove an old record");
            }
        }
        Ok(path)
    }
}

fn write_all(directory: &Path, path: &Path, document: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
    file.write_all(document.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}
