//! The directories of an archive, from one recursive listing that is read while it is printed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::pgbackrest::archive::DirectoryName;
use crate::pgbackrest::repository::{Entries, Entry};
use crate::state::archive::DirectoryFacts;

use super::archive::Archive;

/// Files of one directory. It holds 4096 segments at most, of 1 MiB.
const MOST_FILES: usize = 64 << 10;

/// Keeps the facts of each directory, and the entries of only one.
#[derive(Debug)]
pub(super) struct DirectoriesReader {
    archive: Archive,
    wanted: BTreeSet<DirectoryName>,
    current: Option<(DirectoryName, Entries)>,
    found: BTreeMap<DirectoryName, DirectoryFacts>,
}

impl DirectoriesReader {
    pub(super) fn new(archive: Archive, wanted: BTreeSet<DirectoryName>) -> Self {
        Self { archive, wanted, current: None, found: BTreeMap::new() }
    }

    /// Takes the next entry. The path of a directory comes before its files, and these come together.
    pub(super) fn take(&mut self, name: &str, entry: Entry, at: DateTime<Utc>) {
        let (directory, file) = match name.split_once('/') {
            Some((directory, file)) => (directory, Some(file)),
            None => (name, None),
        };
        let directory = DirectoryName::parse(directory).filter(|name| self.wanted.contains(name));
        if self.current.as_ref().map(|(current, _)| *current) != directory {
            self.finish_current(at);
            if let Some(again) = directory.filter(|name| self.found.contains_key(name)) {
                // Not in the expected order, so a part could look like the whole.
                self.leave_out(again);
                return;
            }
            self.current = directory.map(|name| (name, Entries::new()));
        }
        let (Some((_, entries)), Some(file)) = (&mut self.current, file) else { return };
        entries.insert(file.to_owned(), entry);
        if entries.len() > MOST_FILES {
            self.current.take().into_iter().for_each(|(name, _)| self.leave_out(name));
        }
    }

    /// The directories that were listed completely.
    pub(super) fn finish(
        &mut self,
        is_complete: bool,
        at: DateTime<Utc>,
    ) -> BTreeMap<DirectoryName, DirectoryFacts> {
        if is_complete {
            self.finish_current(at);
        }
        self.current = None;
        std::mem::take(&mut self.found)
    }

    fn finish_current(&mut self, at: DateTime<Utc>) {
        let Some((name, entries)) = self.current.take() else { return };
        if let Some(facts) = self.archive.facts(name, &entries, at) {
            self.found.insert(name, facts);
        }
    }

    fn leave_out(&mut self, name: DirectoryName) {
        self.wanted.remove(&name);
        self.found.remove(&name);
    }
}
