//! Converts the `info` document from lists per stanza to one entry per repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pgbackrest::exit_code;
use crate::pgbackrest::info::view::{Presence, RepoView, StanzaView};
use crate::pgbackrest::info::{self, BackupReader, MAX_UNREADABLE, Unreadable};

use super::snapshot::{Activity, Archive, Backup, Database, Progress, Repo, RepoState, Stanza};

mod backups;
#[cfg(test)]
mod tests;

use backups::BackupFacts;

/// Reads the output of `info` while it is printed: of each backup, only the facts are kept.
#[derive(Debug, Default)]
pub struct InfoReader {
    reader: BackupReader,
    /// By the stanza's place.
    backups: BTreeMap<usize, BackupFacts>,
    weight: u64,
}

impl InfoReader {
    /// Takes the backups out of `text`, and returns how many bytes are in use for all that were taken.
    pub fn read(&mut self, text: &mut Vec<u8>) -> u64 {
        let (backups, weight) = (&mut self.backups, &mut self.weight);
        self.reader.read(text, |place, raw| {
            let backups = backups.entry(place).or_default();
            let before = backups.weight();
            let is_added = backups.add(raw);
            *weight += backups.weight() - before;
            is_added
        });
        *weight
    }

    /// How many backups of a stanza were taken.
    #[must_use]
    pub fn taken(&self, place: usize) -> usize {
        self.backups.get(&place).map_or(0, BackupFacts::count)
    }

    /// The stanza of a document from which the backups were taken. `unreadable` gets those that are printed twice.
    pub fn stanza(
        &mut self,
        view: StanzaView<'_>,
        read_at: DateTime<Utc>,
        unreadable: &mut Vec<Unreadable>,
    ) -> Stanza {
        let mut backups = self.backups.remove(&view.raw.place).unwrap_or_default();
        for repeated in backups.complete(&view.raw.backup) {
            if unreadable.len() < MAX_UNREADABLE {
                unreadable.push(Unreadable::backup(&view.raw.name, &repeated.label));
            }
        }
        of_backups(view, read_at, backups)
    }
}

/// The stanza of a whole document as facts per repository, read at `read_at`.
///
/// If a repository cannot be listed by a query for all stanzas, pgBackRest reports a stanza named `[invalid]` with
/// the state of that repository; it is kept as it is.
#[must_use]
pub fn stanza(view: StanzaView<'_>, read_at: DateTime<Utc>) -> Stanza {
    InfoReader::default().stanza(view, read_at, &mut Vec::new())
}

fn of_backups(view: StanzaView<'_>, read_at: DateTime<Utc>, mut backups: BackupFacts) -> Stanza {
    let status = &view.raw.status;
    let mut repos: Vec<Repo> = view.repos().map(|own| repo(own, read_at, backups.of(own))).collect();
    repos.sort_by_key(|repo| repo.key);
    repos.dedup_by_key(|repo| repo.key);
    let is_told = view.repos().any(|repo| repo.code.presence() == Presence::Present);
    Stanza {
        name: Arc::from(&*view.raw.name),
        status_code: status.code.0,
        status_message: status.message.redacted(),
        backup_lock: activity(status.lock.backup.as_ref(), is_told, read_at),
        restore_lock: activity(status.lock.restore.as_ref(), is_told, read_at),
        repos,
        other_program: None,
        stop_files: None,
    }
}

fn repo(view: RepoView<'_>, read_at: DateTime<Utc>, backups: Vec<Backup>) -> Repo {
    let status_message = view.message.redacted();
    let mut databases: Vec<Database> = view.databases().map(database).collect();
    databases.sort_by_key(|database| database.id);
    // A database has one archive in a repository; whatever is named again would be a series again.
    let mut known = BTreeSet::new();
    let archives = view.archives().map(archive).filter(|archive| known.insert(archive.database_id)).collect();
    let progress = view.progress().and_then(|repo| progress(repo.size, repo.size_complete));
    Repo {
        key: view.key,
        state: RepoState::of_code(view.code.0),
        status_code: Some(view.code.0),
        error: exit_code::class_in(&status_message),
        status_message,
        collected_at: read_at,
        cipher: view.cipher.filter(|_| view.code.presence() != Presence::Unreadable).map(str::to_owned),
        printed_cipher: view.cipher.map(str::to_owned),
        databases,
        archives,
        backups: backups.into(),
        progress,
        in_progress_since: progress.map(|_| read_at),
        settings: None,
        expiry: None,
        expiry_blocked: None,
        last_attempt: None,
        watched: None,
        wal: None,
        leftovers: None,
        restore_tests: None,
        verifications: None,
        archived_segments: 0,
    }
}

/// pgBackRest looks for locks only if it could read the stanza in a repository; otherwise it prints that none is held.
fn activity(lock: Option<&info::LockState>, is_told: bool, read_at: DateTime<Utc>) -> Activity {
    match lock.map(|lock| (lock, lock.held)) {
        Some((lock, held @ Some(true))) => {
            Activity { held, since: Some(read_at), progress: progress(lock.size, lock.size_complete) }
        }
        Some((_, Some(false))) => Activity { held: is_told.then_some(false), ..Activity::default() },
        _ => Activity::default(),
    }
}

fn progress(total: Option<u64>, complete: Option<u64>) -> Option<Progress> {
    total.map(|total| Progress { total, complete: complete.unwrap_or(0) })
}

fn database(raw: &info::InfoDatabase<'_>) -> Database {
    Database { id: raw.id, system_id: raw.system_id, version: raw.version.to_string() }
}

fn archive(raw: &info::InfoArchive<'_>) -> Archive {
    let name = |name: &Option<info::Text<'_>>| {
        name.as_ref().filter(|name| !name.is_empty()).map(ToString::to_string)
    };
    Archive { database_id: raw.database.id, id: raw.id.to_string(), min: name(&raw.min), max: name(&raw.max) }
}

impl RepoState {
    /// The state for a status code of pgBackRest.
    #[must_use]
    pub const fn of_code(code: i64) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::MissingStanzaPath,
            2 => Self::NoValidBackups,
            3 => Self::MissingStanzaData,
            6 => Self::BackupNotFound,
            _ => Self::Other,
        }
    }
}
