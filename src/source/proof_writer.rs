//! Writes records into the state directory, and lets only one run of each kind write at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::state::chain::{self, Digest, Found, Head};
use crate::state::proofs::{Record, file};
use crate::text;

use super::proofs::listing;
use super::signing_key::SigningKey;

/// The directory of all records of a kind, locked as long as this lives.
#[derive(Debug)]
pub struct ProofWriter<R> {
    state_directory: PathBuf,
    _lock: File,
    kind: PhantomData<R>,
}

/// A record that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub path: PathBuf,
    /// Its place in the chain, and its digest.
    pub head: Head,
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
        assert_writable(&of_stanza).map_err(unusable)?;
        let lock = File::open(&top).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {
                Ok(Self { state_directory: state_directory.to_owned(), _lock: lock, kind: PhantomData })
            }
            Err(TryLockError::WouldBlock) => Err(WriteError::Busy { kind: R::NAME, directory: top }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Gives the record its place in the chain, writes it as a whole, and removes those that are no longer kept. Without a key, it is
    /// not signed.
    pub fn write(&self, record: &mut R, key: Option<&SigningKey>) -> Result<Written, WriteError> {
        let unusable = |error| WriteError::Unusable { path: self.state_directory.clone(), error };
        let below = file::directory::<R>(record.stanza(), record.repo())
            .ok_or_else(|| WriteError::Stanza(record.stanza().to_owned()))?;
        let directory = self.state_directory.join(below);
        let before = listing::of_repo::<R>(&directory, record.stanza(), record.repo());
        let found: Vec<Found> = before.records.iter().map(|stored| stored.found).collect();
        let link = chain::next(&found, before.head.unwrap_or_default());
        // The program may have been killed before it noted the last record.
        if let Some(digest) = link.previous {
            let last = Head { sequence: link.sequence.saturating_sub(1), digest };
            if before.head != Ok(Some(last)) {
                write_head(&directory, last).map_err(unusable)?;
            }
        }
        *record.chain() = Some(link);
        let document = record.document().map_err(|error| unusable(error.into()))?;
        let document = key.map_or(Ok(document.clone()), |key| key.seal(&document)).map_err(unusable)?;
        let head = Head { sequence: link.sequence, digest: Digest::of(document.as_bytes()) };
        let path = free_path(&directory, record.start());
        write_all(&directory, &path, &document).map_err(unusable)?;
        // If the program is killed before this, the head is that of the record before, which is no fault.
        write_head(&directory, head).map_err(unusable)?;
        let Head { sequence, digest } = head;
        tracing::info!(sequence, %digest, file = %path.display(), kind = R::NAME, "Wrote a record");
        let old = before.records.iter().filter_map(|stored| {
            let name = stored.path.file_name()?.to_str()?.to_owned();
            Some((stored.found.link.map(|link| link.sequence), name))
        });
        let own = path.file_name().and_then(|name| Some((Some(sequence), name.to_str()?.to_owned())));
        for name in file::outdated(old.chain(own).collect()) {
            if let Err(error) = fs::remove_file(directory.join(&name)) {
                tracing::warn!(%error, name, kind = R::NAME, "Failed to remove an old record");
            }
        }
        Ok(Written { path, head })
    }
}

/// Runs that wait for each other do this at the same time, so one may remove the file of another.
fn assert_writable(directory: &Path) -> io::Result<()> {
    let probe = directory.join(".writable");
    File::create(&probe)?;
    fs::remove_file(&probe).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn write_head(directory: &Path, head: Head) -> io::Result<()> {
    write_all(directory, &directory.join(file::HEAD), &text::json(&head)?)
}

/// The file for what started then. There is already one only after the clock was set back.
fn free_path(directory: &Path, start: DateTime<Utc>) -> PathBuf {
    let mut paths = file::names(start).map(|name| directory.join(name));
    let free = paths.find(|path| fs::symlink_metadata(path).is_err());
    free.unwrap_or_else(|| directory.join(file::name(start)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::proofs;
    use crate::state::examples::{day, restore_test};
    use crate::state::proofs::{Outcome, RestoreTest};

    #[test]
    fn a_writer_that_was_killed_breaks_no_chain() {
        let state = tempfile::tempdir().unwrap();
        let writer = ProofWriter::<RestoreTest>::open(state.path(), "demo").unwrap();
        let write = |at| writer.write(&mut restore_test(day(at), Outcome::Passed), None).unwrap();
        let is_whole = || {
            let mut count = 0;
            let unlisted = proofs::read_stored::<RestoreTest>(state.path(), |repo| {
                count += repo.records.len();
                assert_eq!(repo.faults, []);
            });
            assert_eq!(unlisted, []);
            count
        };
        let mut last = write(1);
        let head = last.path.with_file_name(file::HEAD);
        for at in 2..6 {
            let written = write(at);
            assert_eq!(written.head.sequence, u64::try_from(at).unwrap());
            // Before it wrote the head, and while it wrote the next record.
            fs::write(&head, text::json(&last.head).unwrap()).unwrap();
            fs::write(head.with_file_name("20990101T000000.000Z.new"), "{\"for").unwrap();
            assert_eq!(i64::try_from(is_whole()).unwrap(), at);
            last = written;
        }
        fs::remove_dir_all(head.parent().unwrap()).unwrap();
        // Before it wrote the first head.
        assert_eq!(write(1).head.sequence, 1);
        fs::remove_file(&head).unwrap();
        assert_eq!(is_whole(), 1);
        assert_eq!(write(2).head.sequence, 2);
        assert_eq!(is_whole(), 2);
    }

    #[test]
    fn those_who_wait_are_only_told_that_it_is_busy() {
        let state = tempfile::tempdir().unwrap();
        let open = || {
            for _ in 0..200 {
                match ProofWriter::<RestoreTest>::open(state.path(), "demo") {
                    Ok(_) | Err(WriteError::Busy { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(open);
            }
        });
        assert!(!state.path().join("restore-tests/demo/.writable").exists());
    }

    #[test]
    fn two_records_of_the_same_time_are_both_kept() {
        let state = tempfile::tempdir().unwrap();
        let writer = ProofWriter::<RestoreTest>::open(state.path(), "demo").unwrap();
        let [first, second] =
            [1, 1].map(|at| writer.write(&mut restore_test(day(at), Outcome::Passed), None).unwrap());
        assert_ne!(first.path, second.path);
        assert_eq!((first.head.sequence, second.head.sequence), (1, 2));
        assert_eq!(proofs::read::<RestoreTest>(state.path()).unreadable, []);
    }
}
