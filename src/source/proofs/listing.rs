//! The files of records of one kind, and what they hold.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;
use crate::state::chain::{self, Digest, Fault, Found, Head, Storage};
use crate::state::proofs::envelope::{self, Signature};
use crate::state::proofs::{MAX_STORED, Record, file, record};

/// Files and directories that are looked at. There are never many more than are kept.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of all records of a kind together. The usual record has 4 KiB.
const MAX_TOTAL: usize = 64 << 20;
/// Files of a repository that those who only follow the records look at, the last by their names.
pub(super) const FOLLOWED: usize = 2 * file::KEPT;
/// Bytes of the note of the newest record.
const MAX_HEAD: usize = 1 << 10;

/// The files of the records of each stanza and repository, in order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) repos: Vec<RepoFiles>,
    pub(super) unreadable: Vec<UnreadableRecord>,
    entries: usize,
}

/// A file or directory that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRecord {
    pub path: PathBuf,
    pub why: String,
}

/// The files of a repository of a stanza.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepoFiles {
    stanza: Arc<str>,
    repo: u32,
    directory: PathBuf,
    /// As it was before the records were listed, so it is never newer than they are.
    head: Result<Option<Head>, ()>,
    files: Vec<RecordFile>,
}

/// A file, and what changes with its contents and its permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RecordFile {
    path: PathBuf,
    /// Number, size, and the time of the last change.
    stamp: Option<(u64, u64, i64, i64)>,
}

/// The records of a repository of a stanza.
#[derive(Debug)]
pub struct StoredRepo<R> {
    pub stanza: Arc<str>,
    pub repo: u32,
    pub directory: PathBuf,
    pub head: Result<Option<Head>, ()>,
    /// By their names.
    pub records: Vec<StoredRecord<R>>,
    /// Of their chain.
    pub faults: Vec<Fault>,
}

/// One file.
#[derive(Debug)]
pub struct StoredRecord<R> {
    pub path: PathBuf,
    pub found: Found,
    /// Why it is no record, if it is none.
    pub record: Result<R, String>,
    /// The record without its envelope, which is what is signed.
    pub payload: Vec<u8>,
    pub signatures: Vec<Signature>,
}

impl Listing {
    /// At most [`FOLLOWED`] of each repository.
    pub(super) fn of_last<R: Record>(state_directory: &Path) -> Self {
        let mut listing = Self::of_all::<R>(state_directory);
        for repo in &mut listing.repos {
            if let Some(more) = repo.files.len().checked_sub(FOLLOWED).filter(|more| *more > 0) {
                repo.files.drain(..more);
                let why = format!("there are more than {FOLLOWED} records, of which {} are kept", file::KEPT);
                listing.unreadable.push(UnreadableRecord { path: repo.directory.clone(), why });
            }
        }
        listing
    }

    /// A state directory that does not exist has none.
    pub(super) fn of_all<R: Record>(state_directory: &Path) -> Self {
        let mut listing = Self::default();
        let top = state_directory.join(R::DIRECTORY);
        for stanza in listing.names_in(&top) {
            let directory = top.join(&stanza);
            if directory.is_file() {
                continue;
            }
            let stanza: Arc<str> = stanza.into();
            for name in listing.names_in(&directory) {
                if let Some(repo) = file::repo(&name) {
                    let repo = listing.repo(directory.join(&name), &stanza, repo);
                    if !repo.files.is_empty() || repo.head != Ok(None) {
                        listing.repos.push(repo);
                    }
                }
            }
        }
        listing
    }

    fn repo(&mut self, directory: PathBuf, stanza: &Arc<str>, repo: u32) -> RepoFiles {
        let head = read_head(&directory);
        let names = self.names_in(&directory).into_iter().filter(|name| file::start(name).is_some());
        let files = names.map(|name| {
            let path = directory.join(name);
            let stamp = fs::metadata(&path).ok();
            let stamp = stamp.map(|file| (file.ino(), file.size(), file.ctime(), file.ctime_nsec()));
            RecordFile { path, stamp }
        });
        let files = files.collect();
        RepoFiles { stanza: Arc::clone(stanza), repo, directory, head, files }
    }

    /// In order. A directory that does not exist is empty.
    fn names_in(&mut self, directory: &Path) -> Vec<String> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.note(directory.to_owned(), error.to_string());
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            self.entries += 1;
            match entry {
                _ if self.entries > MAX_ENTRIES => {
                    if self.entries == MAX_ENTRIES + 1 {
                        let why = format!("there are more than {MAX_ENTRIES} files here and before it");
                        self.note(directory.to_owned(), why);
                    }
                    break;
                }
                Ok(entry) => names.extend(entry.file_name().into_string()),
                Err(error) => {
                    self.note(directory.to_owned(), error.to_string());
                    break;
                }
            }
        }
        names.sort_unstable();
        names
    }

    /// Reads one repository after the other, and returns what could not be listed.
    pub(super) fn read<R: Record>(self, mut visit: impl FnMut(StoredRepo<R>)) -> Vec<UnreadableRecord> {
        let mut room = MAX_TOTAL;
        for repo in self.repos {
            visit(repo.read(&mut room));
        }
        self.unreadable
    }

    fn note(&mut self, path: PathBuf, why: String) {
        self.unreadable.push(UnreadableRecord { path, why });
    }
}

/// All records of one repository, also those that are no longer kept.
pub(in crate::source) fn of_repo<R: Record>(directory: &Path, stanza: &str, repo: u32) -> StoredRepo<R> {
    let repo = Listing::default().repo(directory.to_owned(), &stanza.into(), repo);
    repo.read(&mut { MAX_TOTAL })
}

fn read_head(directory: &Path) -> Result<Option<Head>, ()> {
    match files::read(&directory.join(file::HEAD), MAX_HEAD) {
        // What is no directory is told by who lists it.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Ok(Some(text)) => serde_json::from_slice(&text).map(Some).map_err(|_| ()),
        Ok(None) | Err(_) => Err(()),
    }
}

impl RepoFiles {
    fn read<R: Record>(self, room: &mut usize) -> StoredRepo<R> {
        let Self { stanza, repo, directory, head, files } = self;
        // Also if the oldest are removed meanwhile.
        let is_full = files.len() >= file::KEPT;
        let read = files.into_iter().filter_map(|file| read_record(file.path, (&stanza, repo), room));
        let records: Vec<StoredRecord<R>> = read.collect();
        let found: Vec<Found> = records.iter().map(|record| record.found).collect();
        let faults = chain::faults(&found, head, Storage { is_full, is_atomic: false });
        StoredRepo { stanza, repo, directory, head, records, faults }
    }
}

/// None if it has been removed since it was listed.
fn read_record<R: Record>(
    path: PathBuf,
    (stanza, repo): (&str, u32),
    room: &mut usize,
) -> Option<StoredRecord<R>> {
    let none = |path, digest, why| {
        let found = Found { digest, link: None, is_record: false, is_moved: false };
        Some(StoredRecord { path, found, record: Err(why), payload: Vec::new(), signatures: Vec::new() })
    };
    let document = match files::read(&path, MAX_STORED.min(*room)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return none(path, None, error.to_string()),
        Ok(None) => {
            let why =
                if *room < MAX_STORED { "the records before it are too large" } else { "it is too large" };
            return none(path, None, why.to_owned());
        }
        Ok(Some(document)) => document,
    };
    *room -= document.len();
    let digest = Some(Digest::of(&document));
    let opened = match envelope::open(&document) {
        Ok(opened) => opened,
        Err(error) => return none(path, digest, format!("its envelope cannot be used: {error}")),
    };
    let record = R::read(&opened.payload).map_err(|error| error.to_string());
    if record.as_ref().is_ok_and(|record| record.stanza() != stanza || record.repo() != repo) {
        return none(path, digest, "it belongs to another stanza or repository".to_owned());
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_moved = record.as_ref().is_ok_and(|record| !file::is_of(name, record.start()));
    let found = Found { digest, link: record::link(&opened.payload), is_record: record.is_ok(), is_moved };
    let (payload, signatures) = (opened.payload.into_owned(), opened.signatures);
    Some(StoredRecord { path, found, record, payload, signatures })
}

impl<R> StoredRecord<R> {
    /// Its number; None if it has none.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.found.link.map(|link| link.sequence)
    }
}

impl<R> StoredRepo<R> {
    /// What is wrong with the chain, and where.
    pub fn faults(&self) -> impl Iterator<Item = UnreadableRecord> {
        self.faults.iter().map(|fault| {
            let record = fault.index().and_then(|index| self.records.get(index));
            let path = record.map_or(&self.directory, |record| &record.path).clone();
            UnreadableRecord { path, why: format!("{fault}; see pgbackrest-keeper verify-records") }
        })
    }

    /// Whether the chain contradicts the record.
    #[must_use]
    pub fn is_contradicted(&self, index: usize) -> bool {
        self.faults.iter().any(|fault| fault.contradicts(index))
    }
}
