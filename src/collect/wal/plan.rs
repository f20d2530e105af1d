//! Which directories of an archive a scan lists. Pure: it makes no call.
//!
//! A scan reads the names of the directories, and then lists those whose contents may have changed. The others are listed
//! again in turn, so that a scan costs as much as what has changed, whatever the archive's size.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::pgbackrest::archive::{ArchiveFile, ArchiveId, DirectoryName, TimelineHistory};
use crate::pgbackrest::label::BackupLabel;
use crate::pgbackrest::repository::{Entries, EntryKind, RepoPath};
use crate::state::archive::{DirectoryFacts, Listing};
use crate::state::snapshot::{Failure, FailureReason};

use super::archive::Archive;
use super::directories::DirectoriesReader;

/// Time in which every directory is listed again.
const FULL_SCAN: Duration = Duration::from_hours(24);
/// Directories with a hole that are listed again in one scan, the newest first: what is missing may still come.
const MAX_WITH_HOLES: usize = 32;
/// At least so many directories, and half of all, are listed with one call.
const MANY: usize = 8;
/// Directories that belong to no backup and are measured in one scan.
const MAX_LEFTOVERS: usize = 4;
/// One of these is in `backup/STANZA` of every stanza that exists.
const BACKUP_INFO: [&str; 2] = ["backup.info", "backup.info.copy"];

/// One call of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanStep {
    /// Which directories of backups are there?
    Backups,
    /// Which directories of segments, and which histories, are there?
    Archive,
    /// What does the history of a timeline say?
    History(u32),
    /// Which segments do all directories hold?
    Directories,
    /// Which segments does a directory hold?
    Directory(DirectoryName),
    /// How much does a directory hold that belongs to no backup?
    Leftover(BackupLabel),
}

/// The scan of one archive.
#[derive(Debug)]
pub(super) struct ScanPlan {
    archive: Archive,
    listing: Listing,
    /// The newest directory of each timeline, as it was known before.
    newest_before: BTreeMap<u32, DirectoryName>,
    /// A backup has come or gone since the last scan, and with it perhaps some WAL.
    backups_changed: bool,
    interval: Duration,
    todo: VecDeque<ScanStep>,
    /// Those that are listed with one call.
    at_once: BTreeSet<DirectoryName>,
    leftovers: Vec<BackupLabel>,
}

impl ScanStep {
    /// Where the answer lies; None for a stanza whose name is no name of a directory.
    pub(super) fn path(self, stanza: &str, archive: &ArchiveId) -> Option<RepoPath> {
        let archive = archive.to_string();
        match self {
            Self::Backups => RepoPath::backup(stanza, &[]),
            Self::Archive | Self::Directories => RepoPath::archive(stanza, &[&archive]),
            Self::History(timeline) => {
                RepoPath::archive(stanza, &[&archive, &format!("{timeline:08X}.history")])
            }
            Self::Directory(name) => RepoPath::archive(stanza, &[&archive, &name.to_string()]),
            Self::Leftover(label) => RepoPath::backup(stanza, &[&label.to_string()]),
        }
    }
}

impl ScanPlan {
    /// Begins with what is known from before, if that is of the same archive.
    pub(super) fn begin(
        before: Option<Listing>,
        backups_before: &BTreeSet<Arc<str>>,
        archive: Archive,
        interval: Duration,
        now: DateTime<Utc>,
    ) -> Self {
        let before = before.filter(|before| before.archive == archive.id);
        let listing = before.unwrap_or_else(|| Listing::new(archive.id.clone(), now));
        Self {
            newest_before: newest_of_each(listing.directories().map(|(name, _)| name)),
            backups_changed: *backups_before != archive.backups,
            listing,
            archive,
            interval,
            todo: VecDeque::from([ScanStep::Backups, ScanStep::Archive]),
            at_once: BTreeSet::new(),
            leftovers: Vec::new(),
        }
    }

    /// The next call; None at the end of the scan.
    pub(super) fn next(&mut self) -> Option<ScanStep> {
        self.todo.pop_front()
    }

    /// The archive.
    pub(super) const fn archive_id(&self) -> &ArchiveId {
        &self.archive.id
    }

    /// Bytes of memory that it takes.
    pub(super) fn weight(&self) -> u64 {
        self.listing.weight() + (self.todo.len() * size_of::<ScanStep>()) as u64
    }

    /// What is known now. It is consistent only at the end of the scan.
    pub(super) fn into_listing(self) -> Listing {
        self.listing
    }

    /// Takes a listing.
    ///
    /// # Errors
    /// What was listed cannot be what is there.
    pub(super) fn take(
        &mut self,
        step: ScanStep,
        entries: &Entries,
        at: DateTime<Utc>,
    ) -> Result<(), Failure> {
        match step {
            ScanStep::Backups => self.take_backups(entries),
            ScanStep::Archive => self.take_archive(entries, at),
            ScanStep::Directory(name) => self.take_directory(name, entries, at),
            ScanStep::History(_) | ScanStep::Directories => Ok(()),
            ScanStep::Leftover(label) => {
                let sizes = entries.values().map(|entry| entry.size.unwrap_or(0));
                self.take_leftover(label, Some(sizes.fold(0, u64::saturating_add)));
                Ok(())
            }
        }
    }

    /// Reads the listing of all directories.
    pub(super) fn reader(&self) -> DirectoriesReader {
        DirectoriesReader::new(self.archive.clone(), self.at_once.clone())
    }

    /// Takes what such a listing contained. The other directories are listed one by one.
    pub(super) fn take_directories(&mut self, listed: BTreeMap<DirectoryName, DirectoryFacts>) {
        let rest = std::mem::take(&mut self.at_once).into_iter().filter(|name| !listed.contains_key(name));
        self.todo.extend(rest.map(ScanStep::Directory));
        for (name, facts) in listed {
            self.listing.replace_directory(name, facts);
        }
    }

    /// Takes the size of a directory that belongs to no backup; None where it cannot be told.
    pub(super) fn take_leftover(&mut self, label: BackupLabel, bytes: Option<u64>) {
        self.listing.leftover_bytes.insert(label.to_string(), bytes);
    }

    /// Takes the text of a history. One that says nothing sensible is left out, as PostgreSQL could not follow it either.
    pub(super) fn take_history(&mut self, timeline: u32, text: &[u8]) {
        match TimelineHistory::parse(timeline, &String::from_utf8_lossy(text)) {
            Ok(history) => _ = self.listing.histories.insert(timeline, history),
            Err(error) => {
                tracing::warn!(archive = %self.archive.id, %error, "Ignoring invalid timeline history");
            }
        }
    }

    fn take_backups(&mut self, entries: &Entries) -> Result<(), Failure> {
        // A directory that does not exist is listed as an empty one, and would make every backup look lost.
        if !BACKUP_INFO.iter().any(|name| entries.contains_key(*name)) {
            return Err(implausible("the stanza's backup directory was listed without backup.info"));
        }
        let directories = entries.iter().filter(|(_, entry)| entry.kind == EntryKind::Path);
        let directories: BTreeSet<String> = directories.map(|(name, _)| name.clone()).collect();
        let mut labels: Vec<BackupLabel> =
            directories.iter().filter_map(|name| BackupLabel::parse(name)).collect();
        if self.archive.may_run {
            labels.pop();
        }
        let sizes = &mut self.listing.leftover_bytes;
        sizes.retain(|label, _| directories.contains(label));
        let is_unmeasured = |label: &BackupLabel| {
            let name = label.to_string();
            !self.archive.labels.contains(&*name) && !sizes.contains_key(&name)
        };
        self.leftovers = labels.into_iter().filter(is_unmeasured).take(MAX_LEFTOVERS).collect();
        self.listing.backup_directories = Some(directories);
        Ok(())
    }

    fn take_archive(&mut self, entries: &Entries, at: DateTime<Utc>) -> Result<(), Failure> {
        let (mut directories, mut histories) = (BTreeSet::new(), BTreeMap::new());
        for (name, entry) in entries {
            match (entry.kind, ArchiveFile::parse(name), DirectoryName::parse(name)) {
                (EntryKind::Path, _, Some(name)) => _ = directories.insert(name),
                (EntryKind::File, ArchiveFile::History { timeline }, _) => {
                    histories.insert(timeline, entry.time);
                }
                _ => (),
            }
        }
        if directories.is_empty() && self.archive.has_wal {
            return Err(implausible("the WAL archive was listed as empty, but info reports segments in it"));
        }
        self.listing.listed_at = at;
        self.listing.retain_directories(|name| directories.contains(&name));
        self.listing.histories.retain(|timeline, _| histories.contains_key(timeline));
        let known = &self.listing.histories;
        let unread = histories.keys().filter(|timeline| !known.contains_key(timeline));
        self.todo.extend(unread.copied().map(ScanStep::History));
        self.listing.history_files = histories;
        let due = self.due(&directories);
        if due.len() >= MANY && due.len() * 2 >= directories.len() {
            self.at_once = due;
            self.todo.push_back(ScanStep::Directories);
        } else {
            self.todo.extend(due.into_iter().map(ScanStep::Directory));
        }
        self.todo.extend(self.leftovers.drain(..).map(ScanStep::Leftover));
        Ok(())
    }

    fn take_directory(
        &mut self,
        name: DirectoryName,
        entries: &Entries,
        at: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let facts = self.archive.facts(name, entries, at);
        let facts = facts.ok_or_else(|| implausible("a file was listed without size or time"))?;
        self.listing.replace_directory(name, facts);
        Ok(())
    }

    /// The directories that may hold something else than is known of them.
    fn due(&self, directories: &BTreeSet<DirectoryName>) -> BTreeSet<DirectoryName> {
        let is_known = |name: &DirectoryName| self.listing.directory(*name).is_some();
        let mut due: BTreeSet<DirectoryName> =
            directories.iter().filter(|name| !is_known(name)).copied().collect();
        // Segments came into it after it was listed, even where it is no longer the newest.
        due.extend(self.newest_before.values().filter(|name| directories.contains(name)));
        due.extend(newest_of_each(directories.iter().copied()).into_values());
        // `expire` removes the oldest first, and with archive retention what lies between backups.
        due.extend(directories.first());
        if self.backups_changed {
            due.extend(self.archive.edges.intersection(directories));
            due.extend(directories.iter().filter(|name| self.archive.marked.contains_key(&name.high)));
        }
        due.extend(self.with_holes().into_iter().take(MAX_WITH_HOLES));
        let mut in_turn: Vec<(DateTime<Utc>, DirectoryName)> =
            self.listing.directories().map(|(name, facts)| (facts.verified_at, name)).collect();
        in_turn.sort_unstable();
        let turns =
            (in_turn.len() as u64).saturating_mul(self.interval.as_secs()).div_ceil(FULL_SCAN.as_secs());
        let turns = usize::try_from(turns).unwrap_or(usize::MAX);
        due.extend(in_turn.into_iter().take(turns).map(|(_, name)| name));
        due
    }

    /// Directories in which a segment is missing between others of the timeline, newest first.
    fn with_holes(&self) -> Vec<DirectoryName> {
        let highest = u32::try_from(self.archive.size.segments_per_high_word() - 1).unwrap_or(u32::MAX);
        let names: BTreeSet<DirectoryName> = self.listing.directories().map(|(name, _)| name).collect();
        let has_hole = |name: DirectoryName, facts: &DirectoryFacts| {
            let neighbour = |high: Option<u32>| {
                high.is_some_and(|high| names.contains(&DirectoryName { timeline: name.timeline, high }))
            };
            let begins_late = facts.runs.first().is_none_or(|run| run.first > 0);
            let ends_early = facts.runs.last().is_none_or(|run| run.last < highest);
            facts.runs.len() > 1
                || (begins_late && neighbour(name.high.checked_sub(1)))
                || (ends_early && neighbour(name.high.checked_add(1)))
        };
        let mut found: Vec<DirectoryName> = self
            .listing
            .directories()
            .filter(|(name, facts)| has_hole(*name, facts))
            .map(|(name, _)| name)
            .collect();
        found.sort_unstable_by_key(|name| Reverse(name.high));
        found
    }
}

fn newest_of_each(names: impl Iterator<Item = DirectoryName>) -> BTreeMap<u32, DirectoryName> {
    // Names come in order, so that the last of a timeline stays.
    names.map(|name| (name.timeline, name)).collect()
}

fn implausible(what: &str) -> Failure {
    let remedy = "check that the storage is available, and the output of pgbackrest repo-ls";
    Failure::new(FailureReason::Parse, format!("{what}; {remedy}"))
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
