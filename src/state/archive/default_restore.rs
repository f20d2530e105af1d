//! What `pgbackrest restore` without options leads to.
//!
//! pgBackRest takes the newest backup, and PostgreSQL 12 and later recover along the latest timeline that they find, no matter
//! which server archived it. If the backup is not on the path to that timeline, PostgreSQL refuses to start ("requested timeline is
//! not a child of this server's history"), and pgBackRest 2.55 and later refuse the restore (pgBackRest
//! commit 922e9f077).

use serde::Serialize;

use crate::pgbackrest::wal::SegmentSize;

use super::super::backup::Backup;
use super::branches::Tree;
use super::listing::Listing;
use super::path::Path;

/// Where `pgbackrest restore` without options ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum DefaultRestore {
    /// On the live branch.
    Live,
    /// On another branch.
    Other {
        /// Its last timeline.
        timeline: u32,
    },
    /// At the newest backup: that was made while PostgreSQL was down, and pgBackRest replays no WAL on it by default.
    BackupAlone,
    /// It fails, because the newest backup is not on the path to the latest timeline.
    Fails {
        /// The latest timeline.
        latest: u32,
    },
}

/// Based on the newest backup, which is the last one that pgBackRest lists. None if a history is missing.
pub(super) fn default_restore(
    backups: &[&Backup],
    listing: &Listing,
    tree: &Tree<'_>,
    live: Option<u32>,
    postgres_version: Option<u32>,
    size: SegmentSize,
) -> Option<DefaultRestore> {
    let newest = backups.iter().max_by_key(|backup| &backup.label)?;
    let live = live?;
    let Some(stop) = newest.wal_stop else {
        let goes_on = tree.newest().get(&live).is_some_and(|last| *last > newest.stop);
        return Some(if goes_on { DefaultRestore::BackupAlone } else { DefaultRestore::Live });
    };
    let holds = |path: &Path| path.holds_backup(stop, newest.lsn_stop, size);
    // A timeline that the live one continues leads to it only if recovery follows it there.
    if postgres_version? < 12 {
        return Some(if stop.timeline == live {
            DefaultRestore::Live
        } else {
            DefaultRestore::Other { timeline: stop.timeline }
        });
    }
    // PostgreSQL tries one history after the other, and stops at the first missing one. Newer versions of pgBackRest check the
    // last one instead.
    let has_history = |timeline: &u32| listing.history_files.contains_key(timeline);
    let latest =
        (stop.timeline.checked_add(1)?..=u32::MAX).take_while(has_history).last().unwrap_or(stop.timeline);
    let last = listing.history_files.keys().max().copied().unwrap_or(1).max(stop.timeline);
    for timeline in [latest, last] {
        if timeline != stop.timeline && !holds(tree.path(timeline)?) {
            return Some(DefaultRestore::Fails { latest: timeline });
        }
    }
    if let Some(timeline) = tree.path(latest)?.falls_back_to(stop.timeline, tree.usable()) {
        return Some(DefaultRestore::Other { timeline });
    }
    Some(if latest == live { DefaultRestore::Live } else { DefaultRestore::Other { timeline: latest } })
}
