//! What to scan: the WAL archive of the current database of a stanza in one repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pgbackrest::archive::{ArchiveId, DirectoryName};
use crate::pgbackrest::repository::{Entries, EntryKind};
use crate::pgbackrest::stored_size::StoredSize;
use crate::pgbackrest::version::Feature;
use crate::pgbackrest::wal::{SegmentSize, WalSegment};
use crate::state::archive::{DirectoryFacts, Expected, ListedFile};
use crate::state::snapshot::{Backup, Repo, Snapshot, Stanza};
use crate::state::wal_range;

/// One stanza in one repository.
pub(in crate::collect) type ArchiveKey = (Arc<str>, u32);

/// The archive of the current database of a stanza in one repository, as `info` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::collect) struct Archive {
    pub(super) id: ArchiveId,
    /// `info` names a segment, so the archive cannot be empty.
    pub(super) has_wal: bool,
    pub(super) size: SegmentSize,
    pub(super) stored_size: StoredSize,
    /// Labels of the backups.
    pub(super) backups: BTreeSet<Arc<str>>,
    /// Last words of the segments with which backups end, by directory.
    pub(super) backup_ends: BTreeMap<DirectoryName, BTreeSet<u32>>,
    /// Directories in which a backup's WAL begins or ends. `expire` may remove a part of these.
    pub(super) edges: BTreeSet<DirectoryName>,
    /// Last words of the segments with which backups begin and end, by the word before, which directories of all timelines share.
    pub(super) marked: BTreeMap<u32, BTreeSet<u32>>,
    /// Labels of the backups of all databases.
    pub(super) labels: BTreeSet<Arc<str>>,
    /// The newest directory of a backup may be that of one that runs.
    pub(super) may_run: bool,
}

impl Archive {
    /// What to list; None where there is nothing, nor a backup that would need it.
    pub(super) fn of(stanza: &Stanza, repo: &Repo) -> Option<Self> {
        let database_id = repo.current_database_id()?;
        let archive = repo.archives.iter().find(|archive| archive.database_id == database_id)?;
        let own = || repo.backups.iter().filter(|backup| backup.database_id == database_id);
        if archive.max.is_none() && own().next().is_none() {
            return None;
        }
        let directory =
            |segment: WalSegment| DirectoryName { timeline: segment.timeline, high: segment.high };
        let edges = || own().flat_map(|backup: &Backup| [backup.wal_start, backup.wal_stop]).flatten();
        let mut backup_ends: BTreeMap<DirectoryName, BTreeSet<u32>> = BTreeMap::new();
        for stop in own().filter_map(|backup| backup.wal_stop) {
            backup_ends.entry(directory(stop)).or_default().insert(stop.low);
        }
        let mut marked: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for edge in edges() {
            marked.entry(edge.high).or_default().insert(edge.low);
        }
        Some(Self {
            id: ArchiveId::parse(&archive.id)?,
            has_wal: archive.max.is_some(),
            size: wal_range::segment_size(stanza, repo).0,
            stored_size: wal_range::stored_size(stanza, repo),
            backups: own().map(|backup| backup.label.clone()).collect(),
            backup_ends,
            edges: edges().map(directory).collect(),
            marked,
            labels: repo.backups.iter().map(|backup| backup.label.clone()).collect(),
            may_run: stanza.backup_lock.held != Some(false),
        })
    }

    /// What the entries of a directory say; none if one lacks size or time.
    pub(super) fn facts(
        &self,
        name: DirectoryName,
        entries: &Entries,
        at: DateTime<Utc>,
    ) -> Option<DirectoryFacts> {
        let files = entries.iter().filter(|(_, entry)| entry.kind == EntryKind::File);
        let listed =
            files.map(|(name, entry)| Some(ListedFile { name, size: entry.size?, modified: entry.time? }));
        let listed: Option<Vec<ListedFile<'_>>> = listed.collect();
        let timed = self.backup_ends.get(&name).cloned().unwrap_or_default();
        let marked = self.marked.get(&name.high).cloned().unwrap_or_default();
        let expected = Expected { size: self.stored_size, timed, marked };
        Some(DirectoryFacts::of(name, listed?, at, &expected))
    }
}

/// The archives that can be scanned now: of repositories that answer `info`. Old versions do not number the only one.
pub(in crate::collect) fn archives(snapshot: &Snapshot) -> impl Iterator<Item = (ArchiveKey, Archive)> {
    let is_supported = snapshot.version.is_none_or(|version| version.has(Feature::RepoOption));
    snapshot.stanzas.iter().filter(move |_| is_supported).flat_map(|stanza| {
        let repos = stanza.repos.iter().filter(|repo| repo.is_up() && repo.key > 0);
        repos.filter_map(|repo| Some(((stanza.name.clone(), repo.key), Archive::of(stanza, repo)?)))
    })
}
