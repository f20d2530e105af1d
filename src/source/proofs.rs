//! Reads the records of restore tests from the state directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, FileTask, FileTaskError};
use crate::state::proofs::{MAX_BYTES, RestoreTest, file};

/// Entries of one directory. There are never many more than are kept.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of all records together. The usual record has 4 KiB.
const MAX_TOTAL: usize = 64 << 20;

/// Reads records.
#[derive(Debug, Default)]
pub struct ProofFiles {
    reading: FileTask,
}

/// What is recorded in a state directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    /// Oldest first for each stanza and repository.
    pub tests: BTreeMap<(String, u32), Vec<RestoreTest>>,
    /// Files and directories that could not be read.
    pub unreadable: Vec<UnreadableRecord>,
}

/// A file or directory that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRecord {
    pub path: PathBuf,
    pub why: String,
}

impl ProofFiles {
    /// The last records of each stanza and repository. A state directory that does not exist has none.
    pub async fn read(&mut self, state_directory: PathBuf) -> Result<Recorded, FileTaskError> {
        self.reading.run(move || read(&state_directory)).await
    }
}

/// The same without a deadline.
#[must_use]
pub fn read(state_directory: &Path) -> Recorded {
    let mut recorded = Recorded::default();
    let mut room = MAX_TOTAL;
    let top = state_directory.join(file::DIRECTORY);
    for stanza in recorded.names_in(&top) {
        let directory = top.join(&stanza);
        for repo in recorded.names_in(&directory) {
            if let Some(number) = file::repo(&repo) {
                recorded.read_repo(&directory.join(&repo), stanza.clone(), number, &mut room);
            }
        }
    }
    recorded
}

impl Recorded {
    fn read_repo(&mut self, directory: &Path, stanza: String, repo: u32, room: &mut usize) {
        let mut names = self.names_in(directory);
        names.retain(|name| file::start(name).is_some());
        let older = names.len().saturating_sub(file::KEPT);
        let mut tests = Vec::new();
        for name in names.into_iter().skip(older) {
            let path = directory.join(name);
            match read_record(&path, room) {
                Ok(test) if test.stanza == stanza && test.repo == repo => tests.push(test),
                Ok(_) => self.note(path, "it belongs to another stanza or repository".to_owned()),
                Err(why) => self.note(path, why),
            }
        }
        if !tests.is_empty() {
            self.tests.insert((stanza, repo), tests);
        }
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
        for (number, entry) in entries.enumerate() {
            match entry {
                _ if number == MAX_ENTRIES => {
                    self.note(directory.to_owned(), format!("it has more than {MAX_ENTRIES} entries"));
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

    fn note(&mut self, path: PathBuf, why: String) {
        self.unreadable.push(UnreadableRecord { path, why });
    }
}

fn read_record(path: &Path, room: &mut usize) -> Result<RestoreTest, String> {
    let document = files::read(path, MAX_BYTES.min(*room)).map_err(|error| error.to_string())?;
    let document = document.ok_or("it is too large")?;
    *room -= document.len();
    RestoreTest::parse(&document).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn record(stanza: &str, repo: u32, start: DateTime<Utc>) -> String {
        let start = start.to_rfc3339();
        format!(
            r#"{{"format":1,"source":{{"kind":"host"}},"stanza":"{stanza}","repo":{repo},"versions":{{"keeper":"0.1.0"}},
               "start":"{start}","stop":"{start}","target":{{"kind":"latest"}},"outcome":"passed"}}"#
        )
    }

    #[test]
    fn the_last_records_are_read_and_what_is_no_record_is_reported() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()), Recorded::default());
        let start = |minute: i64| DateTime::from_timestamp(1_795_000_000 + 60 * minute, 0).unwrap();
        let write = |stanza: &str, repo: u32, name: &str, text: &str| {
            let directory = state.path().join(file::directory(stanza, repo).unwrap());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(name), text).unwrap();
        };
        for minute in 0..52 {
            write("demo", 1, &file::name(start(minute)), &record("demo", 1, start(minute)));
        }
        write("demo", 1, "unfinished.new", "");
        write("other", 2, &file::name(start(0)), "{");
        write("other", 2, &file::name(start(1)), &record("demo", 2, start(1)));
        write("other", 2, &file::name(start(2)), &record("other", 2, start(2)));
        let recorded = read(state.path());
        let starts = |stanza: &str, repo| -> Vec<_> {
            recorded.tests[&(stanza.to_owned(), repo)].iter().map(|test| test.start).collect()
        };
        assert_eq!(starts("demo", 1), (2..52).map(start).collect::<Vec<_>>());
        assert_eq!(starts("other", 2), [start(2)]);
        let why: Vec<&str> = recorded.unreadable.iter().map(|record| &*record.why).collect();
        assert!(why[0].starts_with("it is not a record of a restore test: "), "{why:?}");
        assert_eq!(why[1..], ["it belongs to another stanza or repository"]);
    }
}
