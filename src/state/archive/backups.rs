//! Which backups can be restored.

use std::collections::HashMap;

use crate::pgbackrest::wal::SegmentSize;

use super::super::backup::Backup;
use super::listing::Listing;
use super::path::Path;
use super::ranges::Range;
use super::segments::Segments;

/// Which files of a backup exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Files {
    /// Whether the backup's own directory exists; None if directories were not listed.
    pub(super) directory: Option<bool>,
    /// Whether the backups that it depends on are listed, and their directories exist.
    pub(super) references: bool,
}

impl Files {
    /// Whether nothing is known to be missing.
    pub(super) fn are_there(self) -> bool {
        self.references && self.directory != Some(false)
    }
}

/// The files of each backup, in the order of `backups`.
pub(super) fn files(backups: &[&Backup], listing: &Listing) -> Vec<Files> {
    // A label sorts after those of the backups that it depends on.
    let mut by_label = backups.to_vec();
    by_label.sort_by_key(|backup| &backup.label);
    let mut known: HashMap<&str, Files> = HashMap::with_capacity(backups.len());
    for backup in by_label {
        let directory = listing.backup_directories.as_ref().map(|labels| labels.contains(&*backup.label));
        let prior = backup.prior.as_deref();
        let references = prior.is_none_or(|prior| known.get(prior).is_some_and(|prior| prior.are_there()));
        known.insert(&backup.label, Files { directory, references });
    }
    let of = |backup: &&Backup| known.get(&*backup.label).copied();
    backups.iter().filter_map(of).collect()
}

/// The WAL that a backup needs, and whether it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wal {
    /// It was made while PostgreSQL was down.
    NotNeeded,
    /// Unknown: a name is not that of a segment, or a history is missing.
    Unknown,
    /// It is on the path: first and last number, and whether it is complete.
    OnPath { first: u64, last: u64, complete_on_path: bool, complete: bool },
    /// It is on a timeline that the path does not include, or has already left: the missing segments.
    Aside { timeline: u32, missing: Vec<Range> },
}

/// The WAL that a backup needs.
pub(super) fn wal(backup: &Backup, segments: &Segments<'_>, listing: &Listing, size: SegmentSize) -> Wal {
    let timelines = segments.timelines;
    let (start, stop) = match (backup.wal_start, backup.wal_stop) {
        (Some(start), Some(stop)) => (start, stop),
        (None, None) if backup.lsn_start.is_none() => return Wal::NotNeeded,
        _ => return Wal::Unknown,
    };
    let (Some(first), Some(last)) = (start.number(size), stop.number(size)) else { return Wal::Unknown };
    if first > last {
        return Wal::Unknown;
    }
    let missing = if start.timeline == stop.timeline {
        let held = timelines.get(&stop.timeline);
        held.map_or_else(|| vec![(first, last)], |held| held.missing(first, last))
    } else {
        match Path::to(stop.timeline, listing.histories.get(&stop.timeline), size) {
            Some(own) if own.piece(start.timeline).is_some() => own.held(timelines).missing(first, last),
            _ => return Wal::Unknown,
        }
    };
    let on_path = segments.on_path.as_ref();
    let piece = on_path.and_then(|(path, held)| Some((path.piece(stop.timeline)?, held)));
    match piece.filter(|(piece, _)| piece.holds_backup(backup.lsn_stop, last)) {
        Some((_, held)) => {
            let complete_on_path = held.holds(first, last);
            Wal::OnPath { first, last, complete_on_path, complete: complete_on_path || missing.is_empty() }
        }
        None => Wal::Aside { timeline: stop.timeline, missing },
    }
}

impl Wal {
    /// Whether all required WAL exists; None if that is unknown.
    pub(super) const fn is_there(&self) -> Option<bool> {
        match self {
            Self::NotNeeded => Some(true),
            Self::Unknown => None,
            Self::OnPath { complete, .. } => Some(*complete),
            Self::Aside { missing, .. } => Some(missing.is_empty()),
        }
    }
}
