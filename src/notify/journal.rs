//! What webhooks have accepted, in a file: after a restart, nothing is told twice, and the end of a problem is told.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::check::facts::Place;
use crate::check::report::Severity;
use crate::check::services;
use crate::files::{self, FileTask};

use super::changes::Subject;

/// Below the state directory.
const FILE: &str = "exporter/notifications.json";
/// The version of the format; increased when the meaning of a member changes.
const FORMAT: u32 = 1;
/// Bytes of the file: more than the problems of 5,000 stanzas.
const LARGEST_FILE: usize = 16 * 1024 * 1024;
const MODE: u32 = 0o640;

/// The problems that each webhook was told.
pub(super) type Delivered = BTreeMap<Arc<str>, BTreeMap<Subject, Severity>>;

/// The file, or none if nothing is kept. Clones share its lock.
#[derive(Debug, Clone)]
pub struct Journal(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// The directory, locked until the process ends.
    lock: Mutex<Option<File>>,
}

/// Another process has it.
#[derive(Debug, Error)]
#[error(
    "another exporter keeps in {} what webhooks were told; give each exporter a --state-directory of its own",
    .0.display()
)]
pub struct JournalBusy(PathBuf);

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    webhooks: BTreeMap<Arc<str>, Vec<Entry>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    service: String,
    stanza: Arc<str>,
    /// The exit code of `check`.
    state: u8,
}

impl Journal {
    /// In the state directory of a host.
    #[must_use]
    pub fn of_host(state_directory: &Path) -> Self {
        let kept = Kept { path: state_directory.join(FILE), lock: Mutex::default() };
        Self(Some(Arc::new(kept)))
    }

    /// Of a process that can keep nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Takes possession of the file, unless another process has it. What else is wrong with it shows when it is used.
    pub async fn claim(&self) -> Result<(), JournalBusy> {
        let Some(kept) = self.0.clone() else { return Ok(()) };
        let directory = kept.directory().to_owned();
        let claimed = FileTask::default().run(move || kept.lock()).await;
        match claimed {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => Err(JournalBusy(directory)),
            _ => Ok(()),
        }
    }

    /// Blocks on file I/O. Without a file, or if it cannot be used, nothing was told.
    pub(super) fn read(&self) -> Delivered {
        let Some(path) = self.path() else { return Delivered::new() };
        let problem = match files::read(path, LARGEST_FILE) {
            Ok(Some(bytes)) => match parse(&bytes) {
                Ok(delivered) => return delivered,
                Err(problem) => problem,
            },
            Ok(None) => "it is larger than 16 MiB".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Delivered::new(),
            Err(error) => error.to_string(),
        };
        let file = path.display();
        tracing::warn!(%file, problem, "Cannot use the record of what webhooks were told; telling all problems again");
        Delivered::new()
    }

    /// Replaces the file. Blocks on file I/O.
    pub(super) fn write(&self, delivered: &Delivered) -> io::Result<()> {
        let Some(kept) = &self.0 else { return Ok(()) };
        // Unless it was locked at the start.
        kept.lock()?;
        files::replace(&kept.path, &serde_json::to_vec(&document(delivered))?, MODE)
    }

    /// For messages.
    pub(super) fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|kept| kept.path.as_path())
    }
}

impl Kept {
    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Creates the directory and locks it, if the file system has locks.
    fn lock(&self) -> io::Result<()> {
        fs::create_dir_all(self.directory())?;
        let mut lock = self.lock.lock();
        if lock.is_none() {
            let directory = File::open(self.directory())?;
            if matches!(directory.try_lock(), Err(TryLockError::WouldBlock)) {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another exporter keeps its own there",
                ));
            }
            *lock = Some(directory);
        }
        Ok(())
    }
}

fn document(delivered: &Delivered) -> Document {
    let entry = |((service, place), state): (&Subject, &Severity)| Entry {
        service: (*service).to_owned(),
        stanza: Arc::clone(&place.stanza),
        state: state.code(),
    };
    let webhooks = delivered.iter();
    let webhooks = webhooks.map(|(name, states)| (Arc::clone(name), states.iter().map(entry).collect()));
    Document { format: FORMAT, webhooks: webhooks.collect() }
}

/// Entries that this version does not know are left out.
fn parse(bytes: &[u8]) -> Result<Delivered, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!("its format is {}, and {FORMAT} is known", document.format));
    }
    let known = |entry: Entry| {
        let service = services::ALL.iter().find(|service| service.name == entry.service)?;
        let states = [Severity::Warning, Severity::Unknown, Severity::Critical];
        let state = states.into_iter().find(|state| state.code() == entry.state)?;
        Some(((service.name, Place { stanza: entry.stanza, ..Place::default() }), state))
    };
    let webhooks = document.webhooks.into_iter();
    Ok(webhooks.map(|(name, entries)| (name, entries.into_iter().filter_map(known).collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::of_host(&directory.path().join("state"));
        assert_eq!(journal.read(), Delivered::new());
        let problems = [
            (("backups", Place::stanza("demo")), Severity::Critical),
            (("wal", Place::stanza("all-stanzas")), Severity::Unknown),
        ];
        let delivered =
            Delivered::from([("pager".into(), problems.into()), ("chat".into(), BTreeMap::new())]);
        journal.write(&delivered).unwrap();
        assert_eq!(journal.read(), delivered);
        assert_eq!(Journal::none().read(), Delivered::new());
        Journal::none().write(&delivered).unwrap();
    }

    #[tokio::test]
    async fn only_one_process_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let [own, other] = [(); 2].map(|()| Journal::of_host(directory.path()));
        own.claim().await.unwrap();
        own.claim().await.unwrap();
        own.write(&Delivered::new()).unwrap();
        let busy = other.claim().await.unwrap_err().to_string();
        assert!(busy.contains("--state-directory"), "{busy}");
        other.write(&Delivered::new()).unwrap_err();
        drop(own);
        other.claim().await.unwrap();
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = r#"{"format":1,"webhooks":{"a":[{"service":"backups","stanza":"x","state":1},
            {"service":"other","stanza":"x","state":1},{"service":"wal","stanza":"x","state":0},
            {"service":"wal","stanza":"x","state":9,"more":1}]}}"#;
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(read["a"], BTreeMap::from([(("backups", Place::stanza("x")), Severity::Warning)]));
        for text in ["", "[]", r#"{"format":2,"webhooks":{}}"#, r#"{"format":1}"#] {
            parse(text.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::of_host(directory.path());
        fs::create_dir_all(directory.path().join(FILE)).unwrap();
        assert_eq!(journal.read(), Delivered::new());
        journal.write(&Delivered::new()).unwrap_err();
    }
}
