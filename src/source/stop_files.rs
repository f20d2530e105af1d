//! The stop files in the lock paths of pgBackRest's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::files::FileTask;
use crate::state::stopped::StopListing;

use super::config_files::Configuration;

/// What their names end with.
const ENDING: &str = ".stop";
/// Entries of one directory: of tens of thousands of stanzas, each with lock files of all kinds.
const MAX_ENTRIES: usize = 1 << 20;

/// Lists stop files.
#[derive(Debug, Default)]
pub struct StopFiles {
    listing: FileTask,
}

impl StopFiles {
    /// Those in every directory in which commands of some stanza look. Nothing is known without a configuration.
    pub async fn list(&mut self, configuration: Option<&Configuration>) -> StopListing {
        let Some(configuration) = configuration else { return StopListing::new() };
        let paths = configuration.lock_paths_in_use();
        self.listing.run(move || list_all(paths)).await.unwrap_or_default()
    }
}

fn list_all(paths: BTreeSet<PathBuf>) -> StopListing {
    paths.into_iter().filter_map(|path| list(&path).map(|found| (path, found))).collect()
}

/// The stop files in a directory; none if it cannot be read. There are none where pgBackRest has not yet made it.
fn list(directory: &Path) -> Option<BTreeMap<String, DateTime<Utc>>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(BTreeMap::new()),
        Err(_) => return None,
    };
    let mut found = BTreeMap::new();
    for (number, entry) in entries.enumerate() {
        if number == MAX_ENTRIES {
            return None;
        }
        found.extend(read(&entry.ok()?).ok()?);
    }
    Some(found)
}

/// Only a file counts, or a link to one, as for pgBackRest (`storageExists` in `src/storage/storage.c`).
fn read(entry: &DirEntry) -> io::Result<Option<(String, DateTime<Utc>)>> {
    let name = entry.file_name();
    let Some(name) = name.to_str().and_then(|name| name.strip_suffix(ENDING)) else { return Ok(None) };
    let metadata = match fs::metadata(entry.path()) {
        // It has just been removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    Ok(if metadata.is_file() { Some((name.to_owned(), metadata.modified()?.into())) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stop_files_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["all.stop", "my-db.stop", "demo-backup-1.lock", "demo.stopped", "stop"] {
            fs::write(path(name), "").unwrap();
        }
        fs::create_dir(path("directory.stop")).unwrap();
        for (target, link) in [("all.stop", "linked.stop"), ("nowhere", "dangling.stop")] {
            std::os::unix::fs::symlink(path(target), path(link)).unwrap();
        }
        let found = list(directory.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["all", "linked", "my-db"]);
        assert!(found.values().all(|at| (Utc::now() - *at).num_seconds().abs() < 60));
        assert_eq!(list(&path("nowhere")), Some(BTreeMap::new()));
        assert_eq!(list(&path("all.stop")), None, "it is no directory");
        let listing = list_all(["nowhere", "all.stop"].map(path).into());
        assert_eq!(listing.keys().collect::<Vec<_>>(), [&path("nowhere")]);
    }
}
