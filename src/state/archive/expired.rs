//! Which WAL `expire` has removed on purpose.

use serde::Serialize;

use crate::pgbackrest::conf::{RepoOptions, RetentionType};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::SegmentSize;

use super::super::backup::Backup;
use super::path::Path;
use super::ranges::Ranges;

/// `repoN-retention-archive` and its type: for how many of the newest backups all WAL is kept. For older ones pgBackRest keeps
/// only the WAL that they need to become consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveRetention {
    /// Unknown, or the configuration contains no retention: another host may run `expire`.
    Unknown,
    /// Nothing is removed: there is no number of backups to keep WAL for.
    Forever,
    /// All WAL since the start of the oldest backup is kept: with retention by time, without `repoN-retention-archive`.
    All,
    /// All WAL since the start of the oldest of this many backups of that type or a stronger one is kept.
    Backups {
        /// `repoN-retention-archive-type`.
        backup_type: BackupType,
        /// `repoN-retention-archive`.
        count: usize,
    },
}

impl ArchiveRetention {
    /// From the options, with pgBackRest's defaults: for `full` as many as full backups are kept, for `diff` as many as
    /// `repoN-retention-diff`. None if the options do not define a retention.
    #[must_use]
    pub fn of(options: &RepoOptions) -> Option<Self> {
        let RepoOptions { retention_full, retention_diff, retention_archive, .. } = *options;
        let backup_type = options.retention_archive_type;
        let usual = match (backup_type, options.retention_full_type) {
            (BackupType::Full, RetentionType::Count) => retention_full,
            (BackupType::Diff, _) => retention_diff,
            _ => None,
        };
        match retention_archive.or(usual) {
            Some(count) => Some(Self::Backups { backup_type, count: usize::try_from(count).ok()? }),
            None => retention_full.map(|_| match (backup_type, options.retention_full_type) {
                (BackupType::Full, RetentionType::Time) => Self::All,
                _ => Self::Forever,
            }),
        }
    }
}

/// The first number of the path from which all WAL is kept. `needs` is the WAL that backups on the path need.
///
/// If the configuration is unknown, missing WAL counts as expired only if, starting with the oldest backup, all WAL between the
/// stop of one backup and the start of the next is missing.
pub(super) fn kept_from(
    retention: ArchiveRetention,
    backups: &[&Backup],
    path: &Path,
    needs: &Ranges,
    held: &Ranges,
    size: SegmentSize,
) -> u64 {
    match retention {
        ArchiveRetention::Forever | ArchiveRetention::All => 0,
        ArchiveRetention::Backups { backup_type, count } => {
            let mut counted: Vec<&&Backup> =
                backups.iter().filter(|backup| backup.backup_type <= backup_type).collect();
            counted.sort_by_key(|backup| backup.stop);
            let Some(from) = counted.len().checked_sub(count).filter(|_| count > 0) else { return 0 };
            let start = counted.iter().skip(from).find_map(|backup| backup.wal_start);
            let start = start.and_then(|segment| Some((segment.timeline, segment.number(size)?)));
            start.map_or(0, |start| path.first_not_before(start))
        }
        ArchiveRetention::Unknown => {
            let mut kept_from = 0;
            for pair in needs.as_slice().windows(2) {
                let [(_, stop), (start, _)] = pair else { break };
                let between = (stop + 1, start - 1);
                if held.missing(between.0, between.1) != [between] {
                    break;
                }
                kept_from = *start;
            }
            kept_from
        }
    }
}
