//! The answer to "to which second can I restore", over the repositories of a stanza.

use std::cmp::Reverse;

use serde::Serialize;

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::WalSegment;

use super::recovery::{self, RecoveryWindow};
use super::snapshot::{Backup, Repo, Stanza};
use super::wal_range;

/// The best answer to "to which second can I restore": the window of one repository.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Restorable {
    pub repo_key: u32,
    /// Whether the repository answers now. Otherwise the window is as of the last answer.
    pub is_up: bool,
    /// The window.
    pub window: RecoveryWindow,
    /// The last archived WAL segment, if it is after the newest backup and the window is not proven: recovery reaches
    /// beyond the end of the window, but `info` does not contain its time.
    pub later_wal: Option<WalSegment>,
}

/// The repository to restore from: one that answers, with the latest end, then the earliest start, then the lowest number.
#[must_use]
pub fn restorable(stanza: &Stanza) -> Option<Restorable> {
    stanza
        .repos
        .iter()
        .filter_map(|repo| {
            let window = recovery::window(repo)?;
            Some(Restorable {
                repo_key: repo.key,
                is_up: repo.is_up(),
                window,
                later_wal: if window.verified { None } else { later_wal(stanza, repo) },
            })
        })
        .max_by_key(|one| {
            (one.is_up, one.window.latest, one.window.latest_lsn, Reverse((one.window.start(), one.repo_key)))
        })
}

fn later_wal(stanza: &Stanza, repo: &Repo) -> Option<WalSegment> {
    let archived = wal_range::range(stanza, repo)?;
    let is_own = |backup: &&Backup| backup.database_id == archived.database_id;
    let needed = repo.backups.iter().filter(is_own).filter_map(|backup| backup.wal_stop).max()?;
    (archived.max > needed).then_some(archived.max)
}

/// The newest backup over all repositories.
#[must_use]
pub fn newest_backup(stanza: &Stanza) -> Option<&Backup> {
    stanza.repos.iter().flat_map(Repo::dated_backups).max_by_key(|backup| backup.stop)
}

/// The number of backups of exactly this type.
#[must_use]
pub fn kept(repo: &Repo, backup_type: BackupType) -> usize {
    repo.backups.iter().filter(|backup| backup.backup_type == backup_type).count()
}

#[cfg(test)]
mod tests {
    use super::super::examples::{archive, backup, day, repo, stanza};
    use super::super::snapshot::RepoState;
    use super::*;

    const FULL: &str = "20260101-000000F";
    const NEXT: &str = "20260102-000000F";

    fn best(repos: Vec<Repo>) -> Option<u32> {
        restorable(&stanza(repos)).map(|best| best.repo_key)
    }

    #[test]
    fn the_latest_end_wins_then_the_earliest_start_then_the_lowest_number() {
        let one = backup(FULL, day(0), 1);
        let next = backup(NEXT, day(1), 2);
        assert_eq!(best(vec![repo(1, vec![one.clone()]), repo(2, vec![next.clone()])]), Some(2));
        let both = vec![one, next.clone()];
        assert_eq!(best(vec![repo(1, vec![next]), repo(2, both.clone()), repo(3, both)]), Some(2));
        assert_eq!(best(vec![repo(1, vec![])]), None);
        assert_eq!(best(vec![]), None);
    }

    #[test]
    fn a_repository_that_answers_comes_before_a_later_end() {
        let mut down = repo(2, vec![backup(NEXT, day(1), 2)]);
        down.state = RepoState::Timeout;
        assert_eq!(best(vec![repo(1, vec![backup(FULL, day(0), 1)]), down.clone()]), Some(1));
        let alone = restorable(&stanza(vec![down])).unwrap();
        assert!(!alone.is_up);
    }

    #[test]
    fn wal_after_the_newest_backup_is_named() {
        let later = |max: &str| {
            let mut repo = repo(1, vec![backup(FULL, day(0), 5)]);
            repo.archives = vec![archive(1, "000000010000000000000001", max)];
            restorable(&stanza(vec![repo])).unwrap().later_wal.map(|segment| segment.to_string())
        };
        assert_eq!(later("000000010000000000000005"), None);
        assert_eq!(later("000000010000000000000006").as_deref(), Some("000000010000000000000006"));
    }

    #[test]
    fn the_newest_backup_is_over_all_repositories() {
        let both =
            stanza(vec![repo(1, vec![backup(NEXT, day(1), 2)]), repo(2, vec![backup(FULL, day(0), 1)])]);
        assert_eq!(newest_backup(&both).unwrap().label, NEXT.into());
        assert_eq!(kept(&both.repos[0], BackupType::Full), 1);
        assert_eq!(kept(&both.repos[0], BackupType::Incr), 0);
    }
}
