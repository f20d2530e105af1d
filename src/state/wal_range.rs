//! The WAL range of the current cluster in a repository, in numbers.

use serde::Serialize;

use crate::pgbackrest::stored_size::StoredSize;
use crate::pgbackrest::wal::{Lsn, SegmentSize, WalSegment, infer_segment_size};

use super::archive::{ArchiveRetention, DatabaseFacts};
use super::snapshot::{Backup, Repo, Stanza};

/// First and last archived WAL segment of the cluster that currently uses the stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// Number of the cluster within the stanza.
    pub database_id: u64,
    /// First segment by name, that is, first by timeline.
    pub min: WalSegment,
    /// Last segment by name.
    pub max: WalSegment,
    /// Number of the first segment; with several timelines, it can be greater than the other.
    pub min_number: u64,
    /// Number of the last segment.
    pub max_number: u64,
    /// Position after the last segment; absent if it cannot be expressed.
    pub end: Option<Lsn>,
    /// The segment size for the numbers.
    pub segment_size: SegmentSize,
    /// The source of the size.
    pub source: SegmentSizeSource,
}

/// The source of a segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentSizeSource {
    /// Configured.
    Config,
    /// The only size that is consistent with positions and segment names of backups.
    Inferred,
    /// PostgreSQL's default, because the size is unknown.
    Default,
}

impl SegmentSizeSource {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Inferred => "inferred",
            Self::Default => "default",
        }
    }
}

/// The WAL range of the current cluster in `repo`, with the segment size according to the backups of `stanza`.
///
/// `None` if the archive is empty, its names are not WAL segments, or they cannot exist with the segment size, which
/// happens with a size other than the default and no backup with positions (before 2.38, or offline).
#[must_use]
pub fn range(stanza: &Stanza, repo: &Repo) -> Option<WalRange> {
    range_of_size(stanza, repo, None)
}

/// Like [`range`], with a given segment size.
#[must_use]
pub fn range_of_size(stanza: &Stanza, repo: &Repo, configured: Option<SegmentSize>) -> Option<WalRange> {
    let database_id = repo.current_database_id()?;
    let archive = repo.archives.iter().find(|archive| archive.database_id == database_id)?;
    let min = WalSegment::parse(archive.min.as_deref()?)?;
    let max = WalSegment::parse(archive.max.as_deref()?)?;
    let (segment_size, source) = match configured {
        Some(size) => (size, SegmentSizeSource::Config),
        None => segment_size(stanza, repo),
    };
    Some(WalRange {
        database_id,
        min,
        max,
        min_number: min.number(segment_size)?,
        max_number: max.number(segment_size)?,
        end: max.end_lsn(segment_size),
        segment_size,
        source,
    })
}

/// The growth of archive max of one cluster between two answers, in segments.
#[must_use]
pub fn growth(before: (&Stanza, &Repo), after: (&Stanza, &Repo)) -> u64 {
    let ranges = range(before.0, before.1).zip(range(after.0, after.1));
    let same = ranges.filter(|(before, after)| {
        before.database_id == after.database_id && before.segment_size == after.segment_size
    });
    same.map_or(0, |(before, after)| after.max_number.saturating_sub(before.max_number))
}

/// The segment size of the current cluster: from the backups of this repository, or of any other with the same
/// cluster.
#[must_use]
pub fn segment_size(stanza: &Stanza, repo: &Repo) -> (SegmentSize, SegmentSizeSource) {
    let system_id = repo.current_database().and_then(|database| database.system_id);
    let is_same_cluster = |other: &&Repo| {
        system_id.is_some() && other.current_database().and_then(|database| database.system_id) == system_id
    };
    let inferred =
        inferred_size(repo).or_else(|| stanza.repos.iter().filter(is_same_cluster).find_map(inferred_size));
    match inferred {
        Some(size) => (size, SegmentSizeSource::Inferred),
        None => (SegmentSize::DEFAULT, SegmentSizeSource::Default),
    }
}

/// Properties of the database that currently uses the stanza, for evaluating its archive in `repo`.
#[must_use]
pub fn database_facts(stanza: &Stanza, repo: &Repo) -> DatabaseFacts {
    let retention = repo.settings.as_ref().and_then(|settings| settings.retention_archive);
    DatabaseFacts {
        size: segment_size(stanza, repo).0,
        retention: retention.unwrap_or(ArchiveRetention::Unknown),
        postgres_version: repo.postgres_version(),
    }
}

/// The possible file sizes of its segments in `repo`.
#[must_use]
pub fn stored_size(stanza: &Stanza, repo: &Repo) -> StoredSize {
    let (size, source) = segment_size(stanza, repo);
    StoredSize {
        segment: (source != SegmentSizeSource::Default).then_some(size),
        is_encrypted: repo.cipher.as_deref().map(|cipher| cipher != "none"),
    }
}

fn inferred_size(repo: &Repo) -> Option<SegmentSize> {
    let database_id = repo.current_database_id()?;
    let pairs = || {
        repo.backups
            .iter()
            .filter(|backup| backup.database_id == database_id)
            .rev()
            .filter_map(start_of_backup)
    };
    // The size of a cluster can be changed while it is down; then only the newest backup shows the current one.
    infer_segment_size(pairs()).or_else(|| infer_segment_size(pairs().next()))
}

fn start_of_backup(backup: &Backup) -> Option<(Lsn, WalSegment)> {
    Some((backup.lsn_start?, backup.wal_start?))
}

#[cfg(test)]
mod tests {
    use super::super::examples::{archive, backup, database, day, offline, repo, stanza};
    use super::*;

    const MIN: &str = "000000010000000000000001";

    fn sized(label: &str, size: SegmentSize, position: u64) -> Backup {
        let wal = Lsn(position).segment(1, size);
        Backup { lsn_start: Some(Lsn(position)), wal_start: Some(wal), ..backup(label, day(0), 1) }
    }

    fn mib(mib: u64) -> SegmentSize {
        SegmentSize::new(mib << 20).unwrap()
    }

    #[test]
    fn the_size_comes_from_the_backups() {
        let one = repo(1, vec![backup("20260101-000000F", day(0), 3)]);
        let found = range(&stanza(vec![one.clone()]), &one).unwrap();
        assert_eq!((found.segment_size, found.source), (mib(16), SegmentSizeSource::Inferred));
        assert_eq!((found.min_number, found.max_number), (1, 0x20));
        assert_eq!(found.end, Lsn::parse("0/21000000"));

        let wide = repo(1, vec![sized("20260101-000000F", mib(64), 5 << 26)]);
        let found = range(&stanza(vec![wide.clone()]), &wide).unwrap();
        assert_eq!((found.segment_size, found.end), (mib(64), Some(Lsn(0x21 << 26))));
    }

    #[test]
    fn every_size_is_found() {
        for size in SegmentSize::all() {
            let mut one = repo(1, vec![sized("20260101-000000F", size, size.bytes() * 3 + 0x28)]);
            one.archives = vec![archive(1, MIN, "000000010000000000000003")];
            let found = range(&stanza(vec![one.clone()]), &one).unwrap();
            assert_eq!((found.segment_size, found.max_number), (size, 3));
        }
    }

    #[test]
    fn another_repo_of_the_same_cluster_shows_the_size() {
        let inferred = repo(1, vec![sized("20260101-000000F", mib(64), 5 << 26)]);
        let silent = repo(2, vec![offline("20260101-000000F", day(0))]);
        let found = range(&stanza(vec![inferred.clone(), silent.clone()]), &silent).unwrap();
        assert_eq!((found.segment_size, found.source), (mib(64), SegmentSizeSource::Inferred));

        let mut foreign = silent.clone();
        foreign.databases = vec![database(1, 99)];
        let found = range(&stanza(vec![inferred, foreign.clone()]), &foreign).unwrap();
        assert_eq!((found.segment_size, found.source), (mib(16), SegmentSizeSource::Default));
    }

    #[test]
    fn a_changed_size_is_that_of_the_newest_backup() {
        let old = sized("20260101-000000F", mib(16), 3 << 24);
        let new = sized("20260102-000000F", mib(64), 5 << 26);
        let one = repo(1, vec![old, new]);
        assert_eq!(segment_size(&stanza(vec![one.clone()]), &one).0, mib(64));
    }

    #[test]
    fn names_that_cannot_exist_are_refused() {
        let mut small = repo(1, vec![]);
        small.archives = vec![archive(1, MIN, "0000000100000000000001FF")];
        let all = stanza(vec![small.clone()]);
        assert_eq!(range(&all, &small), None);
        let found = range_of_size(&all, &small, Some(mib(8))).unwrap();
        assert_eq!((found.source.as_str(), found.max_number), ("config", 0x1FF));
    }

    #[test]
    fn only_the_present_cluster_is_reported() {
        let mut upgraded = repo(1, vec![]);
        upgraded.databases.push(database(2, 78));
        let all = stanza(vec![]);
        assert_eq!(range(&all, &upgraded), None);
        upgraded.archives.push(archive(2, "", ""));
        assert_eq!(range(&all, &upgraded), None);
        upgraded.archives = vec![archive(1, MIN, MIN), archive(2, MIN, "000000010000000000000002")];
        assert_eq!(range(&all, &upgraded).map(|found| (found.database_id, found.max_number)), Some((2, 2)));
        upgraded.archives = vec![archive(2, MIN, "00000001.history")];
        assert_eq!(range(&all, &upgraded), None);
    }
}
