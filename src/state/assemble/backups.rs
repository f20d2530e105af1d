//! The facts of the backups of one stanza, which need not be in one document.

use std::collections::HashSet;
use std::sync::Arc;

use crate::pgbackrest::info::view::RepoView;
use crate::pgbackrest::info::{InfoBackup, InfoBackups, InfoRange, Text};
use crate::pgbackrest::wal::{Lsn, WalSegment};
use crate::state::snapshot::{Backup, ByteCount};
use crate::text::SharedTexts;

/// The backups of a stanza.
#[derive(Debug, Default)]
pub(super) struct BackupFacts {
    /// In the order in which they are printed, with the number of the repository.
    list: Vec<(Option<u32>, Backup)>,
    known: HashSet<(Option<u32>, Arc<str>)>,
    /// A backup is named by those that depend on it, too.
    texts: SharedTexts,
}

impl BackupFacts {
    /// What a stanza takes here …
    const WEIGHT: u64 = 1024;
    /// … and each of its backups, without their texts, until it is in the list of its repository.
    const WEIGHT_OF_ONE: u64 = 768;

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.list.len()
    }

    /// Returns whether it was added. Labels are unique in a repository, so a backup is not added if its label is known.
    pub(super) fn add(&mut self, raw: &InfoBackup<'_>) -> bool {
        let key = raw.database.repo_key;
        let Some(backup) = backup(raw, &mut self.texts) else { return false };
        let is_new = self.known.insert((key, Arc::clone(&backup.label)));
        if is_new {
            self.list.push((key, backup));
        }
        is_new
    }

    /// Adds those that were not taken, which follow. Returns those that have the label of another.
    pub(super) fn complete<'a>(&mut self, left: &'a InfoBackups<'a>) -> Vec<&'a InfoBackup<'a>> {
        left.iter().filter(|raw| !self.add(raw)).collect()
    }

    /// Those of one repository, which are not here any more.
    pub(super) fn of(&mut self, view: RepoView<'_>) -> Vec<Backup> {
        let is_own = |(key, _): &(Option<u32>, Backup)| view.has(*key);
        let mut own = Vec::with_capacity(self.list.iter().filter(|entry| is_own(entry)).count());
        own.extend(self.list.extract_if(.., |entry| is_own(entry)).map(|(_, backup)| backup));
        own
    }

    /// Bytes that they take.
    pub(super) fn weight(&self) -> u64 {
        let of_stanza = if self.known.is_empty() { 0 } else { Self::WEIGHT };
        of_stanza + self.list.len() as u64 * Self::WEIGHT_OF_ONE + self.texts.bytes()
    }
}

fn backup(raw: &InfoBackup<'_>, texts: &mut SharedTexts) -> Option<Backup> {
    let span = raw.timestamp?;
    let segment = |name: &Option<Text<'_>>| name.as_ref().and_then(|name| WalSegment::parse(name));
    let lsn = |of: fn(&InfoRange<'_>) -> Option<Lsn>| raw.lsn.as_ref().and_then(of);
    Some(Backup {
        label: texts.shared(&raw.label),
        backup_type: raw.backup_type?,
        start: span.start,
        stop: span.stop,
        database_id: raw.database.id,
        backrest_version: texts.shared(&raw.backrest.version),
        wal_start: segment(&raw.archive.start),
        wal_stop: segment(&raw.archive.stop),
        lsn_start: lsn(|range| range.start.as_deref().and_then(Lsn::parse)),
        lsn_stop: lsn(|range| range.stop.as_deref().and_then(Lsn::parse)),
        size: raw.info.size.and_then(ByteCount::new),
        delta: raw.info.delta.and_then(ByteCount::new),
        repo_size: raw.info.repository.size.and_then(ByteCount::new),
        repo_delta: raw.info.repository.delta.and_then(ByteCount::new),
        repo_size_map: raw.info.repository.size_map.and_then(ByteCount::new),
        repo_delta_map: raw.info.repository.delta_map.and_then(ByteCount::new),
        prior: raw.prior.as_deref().map(|prior| texts.shared(prior)),
        references: raw.reference.0,
        error: raw.error,
        annotations: raw.annotation.as_ref().map_or(0, |all| count(all.len())),
        databases: raw.database_ref.as_ref().map(|all| count(all.len())),
    })
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
