//! Which WAL `expire` has removed on purpose.

use serde::Serialize;

use crate::pgbackrest::conf::{RepoOptions, RetentionType};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::SegmentSize;

use super::super::backup::Backup;
use super::path::Path;
use super::ranges::Ranges;

/// `repoN-retention-archive` and its type: for which of the newest backups WAL is kept without a break. For older ones
/// pgBackRest keeps what they need to become consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveRetention {
    /// The configuration is not known, or tells nothing of what is kept: another host may run `expire`.
    Unknown,
    /// Nothing is removed: there is no number of backups to keep WAL for.
    Forever,
    /// WAL is kept without a break from the start of the oldest backup: by time, and without `repoN-retention-archive`.
    All,
    /// WAL is kept without a break from the start of the oldest of so many backups of that type or a stronger one.
    Backups {
        /// `repoN-retention-archive-type`.
        backup_type: BackupType,
        /// `repoN-retention-archive`.
        count: usize,
    },
}

impl ArchiveRetention {
    /// What options say, with the defaults of pgBackRest: for `full` so many as full backups are kept, for `diff` so many as
    /// `repoN-retention-diff` says. None where they say nothing of what is kept.
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

/// The first number of the path from which WAL is kept without a break. `needs` is what backups on the path need.
///
/// Where the configuration is not known, what is missing counts as expired only where, from the oldest backup on, all that
/// lies between one backup's stop and the next one's start is missing.
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
