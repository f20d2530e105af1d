//! Compares repositories with each other, and a backup with its predecessors.

use std::cmp::Reverse;

use crate::pgbackrest::label::BackupType;

use super::snapshot::{Backup, ByteCount, Database, Repo, Stanza};
use super::wal_range::{self, WalRange};

/// The number of earlier backups for comparing sizes.
const PREDECESSORS: usize = 5;

/// The compared size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Size of the database.
    Database,
    /// Bytes that the backup stored in the repository.
    Stored,
}

impl What {
    /// Both, in display order.
    pub const ALL: [Self; 2] = [Self::Database, Self::Stored];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Stored => "stored",
        }
    }

    fn of(self, backup: &Backup) -> Option<u64> {
        match self {
            Self::Database => backup.size,
            Self::Stored => backup.repo_delta,
        }
        .map(ByteCount::get)
    }
}

/// Whether the current cluster is the same in all repositories, by system identifier and PostgreSQL version.
///
/// `None` if fewer than two repositories report their cluster.
#[must_use]
pub fn system_ids_match(stanza: &Stanza) -> Option<bool> {
    let clusters: Vec<&Database> = stanza
        .repos
        .iter()
        .filter_map(Repo::current_database)
        .filter(|database| database.system_id.is_some())
        .collect();
    let (first, others) = clusters.split_first()?;
    let is_same = |other: &&Database| other.system_id == first.system_id && other.version == first.version;
    (!others.is_empty()).then(|| others.iter().all(is_same))
}

/// Seconds between the newest backups of the most and the least current repository.
///
/// Repositories without a backup are ignored; `None` if fewer than two remain.
#[must_use]
pub fn backup_skew(stanza: &Stanza) -> Option<i64> {
    let newest_stops: Vec<i64> = stanza
        .repos
        .iter()
        .filter_map(|repo| repo.dated_backups().map(|backup| backup.stop.timestamp()).max())
        .collect();
    if newest_stops.len() < 2 {
        return None;
    }
    newest_stops.iter().max()?.checked_sub(*newest_stops.iter().min()?)
}

/// WAL segments between the newest ones of the most and the least current repository.
///
/// Segment numbers are comparable only on the same timeline of the same cluster: after a recovery to an earlier time,
/// the new timeline starts before the end of the old one. `None` also if fewer than two repositories contain WAL.
#[must_use]
pub fn wal_skew_segments(stanza: &Stanza) -> Option<u64> {
    if system_ids_match(stanza) != Some(true) {
        return None;
    }
    let ranges: Vec<WalRange> =
        stanza.repos.iter().filter_map(|repo| wal_range::range(stanza, repo)).collect();
    let (first, others) = ranges.split_first()?;
    let is_comparable = |other: &WalRange| {
        other.max.timeline == first.max.timeline && other.segment_size == first.segment_size
    };
    if others.is_empty() || !others.iter().all(is_comparable) {
        return None;
    }
    let numbers = || ranges.iter().map(|range| range.max_number);
    numbers().max()?.checked_sub(numbers().min()?)
}

/// Size of the newest backup of exactly this type, relative to the median of up to five predecessors of the same
/// type.
///
/// `None` with fewer than two predecessors, which is too few for a comparison, or if their median is 0.
#[must_use]
pub fn size_deviation(repo: &Repo, backup_type: BackupType, what: What) -> Option<f64> {
    let mut same_type: Vec<&Backup> =
        repo.dated_backups().filter(|backup| backup.backup_type == backup_type).collect();
    same_type.sort_by_key(|backup| Reverse(backup.stop));
    let (newest, predecessors) = same_type.split_first()?;
    let predecessors = predecessors.iter().filter_map(|backup| what.of(backup));
    let mut sizes: Vec<u64> = predecessors.take(PREDECESSORS).collect();
    if sizes.len() < 2 {
        return None;
    }
    let median = median(&mut sizes)?;
    let size = what.of(newest)?;
    (median > 0.0).then(|| size as f64 / median)
}

fn median(sizes: &mut [u64]) -> Option<f64> {
    sizes.sort_unstable();
    let upper = *sizes.get(sizes.len() / 2)? as f64;
    if sizes.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sizes.get((sizes.len() / 2).checked_sub(1)?)? as f64;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::super::examples::{archive, backup, database, day, repo, stanza};
    use super::*;

    const MIN: &str = "000000010000000000000001";

    fn of_system(key: u32, system_id: u64) -> Repo {
        Repo { databases: vec![database(1, system_id)], ..repo(key, vec![]) }
    }

    fn with_wal(key: u32, max: &str) -> Repo {
        Repo { archives: vec![archive(1, MIN, max)], ..repo(key, vec![]) }
    }

    fn of_sizes(sizes: &[u64]) -> Repo {
        let made = sizes.iter().zip(0_i64..).map(|(size, at)| Backup {
            size: ByteCount::new(*size),
            repo_delta: ByteCount::new(size / 2),
            ..backup(&format!("20260101-{at:06}F"), day(at), 1)
        });
        repo(1, made.collect())
    }

    #[test]
    fn clusters_are_compared_over_the_repos_that_name_one() {
        let mut silent = of_system(3, 0);
        silent.databases.clear();
        let table = [
            (vec![], None),
            (vec![of_system(1, 7)], None),
            (vec![of_system(1, 7), silent.clone()], None),
            (vec![of_system(1, 7), of_system(2, 7), silent], Some(true)),
            (vec![of_system(1, 7), of_system(2, 8)], Some(false)),
        ];
        for (repos, expected) in table {
            assert_eq!(system_ids_match(&stanza(repos)), expected);
        }
        let mut other_version = of_system(2, 7);
        other_version.databases[0].version = "16".to_owned();
        assert_eq!(system_ids_match(&stanza(vec![of_system(1, 7), other_version])), Some(false));
    }

    #[test]
    fn only_the_present_cluster_is_compared() {
        let mut upgraded = of_system(1, 7);
        upgraded.databases.push(database(2, 8));
        assert_eq!(system_ids_match(&stanza(vec![upgraded, of_system(2, 7)])), Some(false));
    }

    #[test]
    fn the_backup_skew_is_between_the_newest_ones() {
        let ahead =
            repo(1, vec![backup("20260101-000000F", day(0), 1), backup("20260104-000000F", day(3), 2)]);
        let behind = repo(2, vec![backup("20260103-000000F", day(2), 1)]);
        let empty = repo(3, vec![]);
        assert_eq!(backup_skew(&stanza(vec![ahead.clone(), behind, empty.clone()])), Some(86_400));
        assert_eq!(backup_skew(&stanza(vec![ahead, empty])), None);
    }

    #[test]
    fn the_wal_skew_needs_one_timeline_of_one_cluster() {
        let table = [
            ("000000010000000000000020", "000000010000000000000018", Some(8)),
            ("000000010000000000000020", "000000010000000000000020", Some(0)),
            ("0000000100000001000000FF", "000000010000000100000000", Some(255)),
            ("000000010000000000000020", "000000020000000000000020", None),
            ("000000010000000000000020", "", None),
        ];
        for (one, other, expected) in table {
            let both = stanza(vec![with_wal(1, one), with_wal(2, other)]);
            assert_eq!(wal_skew_segments(&both), expected, "{one} {other}");
        }
        let mut foreign = with_wal(2, "000000010000000000000018");
        foreign.databases = vec![database(1, 99)];
        assert_eq!(wal_skew_segments(&stanza(vec![with_wal(1, "000000010000000000000020"), foreign])), None);
    }

    #[test]
    fn sizes_are_compared_with_the_median_of_up_to_five() {
        let deviation = |sizes: &[u64]| size_deviation(&of_sizes(sizes), BackupType::Full, What::Database);
        assert_eq!(deviation(&[]), None);
        assert_eq!(deviation(&[100]), None);
        assert_eq!(deviation(&[100, 100]), None);
        assert_eq!(deviation(&[100, 300, 100]), Some(0.5));
        assert_eq!(deviation(&[100, 100, 900, 250]), Some(2.5));
        assert_eq!(deviation(&[9000, 100, 200, 300, 400, 500, 600]), Some(2.0));
        assert_eq!(deviation(&[0, 0, 100]), None);
        assert_eq!(size_deviation(&of_sizes(&[100, 100, 100]), BackupType::Incr, What::Database), None);
        assert_eq!(size_deviation(&of_sizes(&[100, 100, 50]), BackupType::Full, What::Stored), Some(0.5));
    }
}
