//! How many bytes of the WAL archive belong to which backup.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::pgbackrest::archive::DirectoryName;
use crate::pgbackrest::wal::WalSegment;

use super::super::backup::Backup;
use super::listing::{DirectoryFacts, Listing, Mark};

/// WAL that `expire` keeps, by the names of segments. The rest of the archive is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptWal {
    /// In any order; they may overlap.
    pub ranges: Vec<KeptRange>,
}

/// Segments from one to another, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeptRange {
    pub start: WalSegment,
    /// The last one; absent if all later segments are kept.
    pub stop: Option<WalSegment>,
}

/// Bytes of the segments of an archive in the order of their names, up to the first and last segments of backups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredWal {
    total: u64,
    /// Bytes before a segment, and including it.
    up_to: BTreeMap<WalSegment, (u64, u64)>,
}

impl StoredWal {
    pub(super) fn of(listing: &Listing, backups: &[&Backup]) -> Self {
        let mut before = 0_u64;
        let mut directories: Vec<(DirectoryName, &DirectoryFacts, u64)> = Vec::new();
        for (name, facts) in listing.directories() {
            directories.push((name, facts, before));
            before = before.saturating_add(facts.bytes);
        }
        let total = before;
        let up_to = |segment: WalSegment| {
            let name = DirectoryName { timeline: segment.timeline, high: segment.high };
            match directories.binary_search_by_key(&name, |(name, ..)| *name) {
                Ok(at) => {
                    let (_, facts, before) = directories.get(at)?;
                    let Mark { before: first, through, .. } = mark(facts, segment.low)?;
                    Some((before.saturating_add(first), before.saturating_add(through)))
                }
                Err(at) => {
                    let before = directories.get(at).map_or(total, |(_, _, before)| *before);
                    Some((before, before))
                }
            }
        };
        let ends = backups.iter().flat_map(|backup| [backup.wal_start, backup.wal_stop]).flatten();
        let up_to = ends.filter_map(|segment| Some((segment, up_to(segment)?))).collect();
        Self { total, up_to }
    }

    /// Bytes that are removed if only this is kept. None if the listing does not know a backup.
    #[must_use]
    pub fn removed(&self, kept: &KeptWal) -> Option<u64> {
        let mut ranges = Vec::with_capacity(kept.ranges.len());
        for KeptRange { start, stop } in &kept.ranges {
            let end = match stop {
                Some(stop) => self.up_to.get(stop)?.1,
                None => self.total,
            };
            ranges.push((self.up_to.get(start)?.0, end));
        }
        ranges.sort_unstable();
        let (mut removed, mut end) = (0_u64, 0_u64);
        for (first, last) in ranges {
            removed = removed.saturating_add(first.saturating_sub(end));
            end = end.max(last);
        }
        Some(removed.saturating_add(self.total.saturating_sub(end)))
    }

    /// Bytes from the start of each backup to that of the next one, by label. If backups start in the same segment, the bytes
    /// count for the last of them. Offline backups have none.
    pub(super) fn by_backup(&self, backups: &[&Backup]) -> Option<BTreeMap<Arc<str>, u64>> {
        let mut starts: Vec<(WalSegment, &Arc<str>)> =
            backups.iter().filter_map(|backup| Some((backup.wal_start?, &backup.label))).collect();
        starts.sort_unstable();
        let mut end = self.total;
        let mut bytes = BTreeMap::new();
        for (start, label) in starts.into_iter().rev() {
            let begin = self.up_to.get(&start)?.0;
            bytes.insert(Arc::clone(label), end.saturating_sub(begin));
            end = begin;
        }
        Some(bytes)
    }
}

/// Bytes that no backup can use: recovery reads no older timeline than that of the backup that it starts from, and no position
/// before its start. None without a backup, and if the WAL before one is unknown.
pub(super) fn unneeded(listing: &Listing, backups: &[&Backup]) -> Option<u64> {
    let starts: Vec<WalSegment> = backups.iter().filter_map(|backup| backup.wal_start).collect();
    // The WAL position of offline backups is unknown.
    if starts.is_empty() || starts.len() < backups.len() {
        return None;
    }
    let mut bytes = 0_u64;
    for (name, facts) in listing.directories() {
        let usable = starts.iter().filter(|start| start.timeline <= name.timeline);
        let first = usable.map(|start| (start.high, start.low)).min();
        let unneeded = match first {
            Some((high, _)) if high < name.high => 0,
            Some((high, low)) if high == name.high => mark(facts, low)?.before,
            _ => facts.bytes,
        };
        bytes = bytes.saturating_add(unneeded);
    }
    Some(bytes)
}

fn mark(facts: &DirectoryFacts, low: u32) -> Option<Mark> {
    let at = facts.marks.binary_search_by_key(&low, |mark| mark.low).ok()?;
    facts.marks.get(at).copied()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::super::super::examples::{backup, day, offline};
    use super::super::listing::{Expected, ListedFile};
    use super::*;
    use crate::pgbackrest::archive::ArchiveId;

    fn segment(timeline: u32, high: u32, low: u32) -> WalSegment {
        WalSegment { timeline, high, low }
    }

    fn at(label: &str, start: WalSegment, stop: WalSegment) -> Backup {
        Backup { wal_start: Some(start), wal_stop: Some(stop), ..backup(label, day(1), 1) }
    }

    /// Segments of one byte each: the first so many of each directory.
    fn listing(directories: &[(u32, u32, u32)], marked: &[u32]) -> Listing {
        let mut listing = Listing::new(ArchiveId::parse("15-1").unwrap(), day(9));
        for (timeline, high, count) in directories {
            let name = DirectoryName { timeline: *timeline, high: *high };
            let names: Vec<String> =
                (0..*count).map(|low| format!("{name}{low:08X}-{}.gz", "a".repeat(40))).collect();
            let modified: DateTime<Utc> = day(1);
            let files = names.iter().map(|name| ListedFile { name, size: 1, modified });
            let expected = Expected { marked: marked.iter().copied().collect(), ..Expected::default() };
            listing.replace_directory(name, DirectoryFacts::of(name, files, day(9), &expected));
        }
        listing
    }

    #[test]
    fn wal_belongs_to_the_backup_before_it() {
        let first = at("20260101-000000F", segment(1, 0, 10), segment(1, 0, 12));
        let second = at("20260102-000000F", segment(1, 1, 5), segment(1, 1, 5));
        let same = at("20260102-000000F_20260103-000000I", segment(1, 1, 5), segment(1, 1, 6));
        let listing = listing(&[(1, 0, 256), (1, 1, 20)], &[5, 6, 10, 12]);
        let all = [&first, &second, &same];
        let stored = StoredWal::of(&listing, &all);
        let of: Vec<u64> = all.map(|backup| stored.by_backup(&all).unwrap()[&backup.label]).into();
        assert_eq!(of, [256 - 10 + 5, 0, 15]);
        assert_eq!(unneeded(&listing, &all), Some(10));
        let range = |start, stop| KeptRange { start, stop };
        let kept = |ranges: &[KeptRange]| stored.removed(&KeptWal { ranges: ranges.to_vec() });
        let middle = range(segment(1, 0, 10), Some(segment(1, 0, 12)));
        let rest = range(segment(1, 1, 5), None);
        assert_eq!(kept(&[middle, rest]), Some(276 - 3 - 15));
        assert_eq!(kept(&[rest, middle, middle]), Some(276 - 3 - 15));
        assert_eq!(kept(&[range(segment(1, 0, 10), None), middle]), Some(10));
        // All that is there is older than a backup that is yet to be made.
        assert_eq!(kept(&[middle]), Some(273));
        assert_eq!(kept(&[range(segment(1, 0, 11), None)]), None);
    }

    #[test]
    fn what_comes_before_every_backup_on_its_timeline_is_unneeded() {
        let old = at("20260101-000000F", segment(1, 0, 10), segment(1, 0, 12));
        let new = at("20260102-000000F", segment(2, 0, 20), segment(2, 0, 20));
        let both = listing(&[(1, 0, 30), (2, 0, 40), (3, 1, 5)], &[10, 12, 20]);
        // A backup of timeline 1 may lead to the others.
        assert_eq!(unneeded(&both, &[&old, &new]), Some(10 + 10));
        assert_eq!(unneeded(&both, &[&new]), Some(30 + 20));
        assert_eq!(unneeded(&both, &[]), None);
        assert_eq!(unneeded(&both, &[&new, &offline("20260103-000000F", day(2))]), None);
        // A directory that was listed before the backup was known.
        let unmarked = listing(&[(2, 0, 40)], &[]);
        assert_eq!(unneeded(&unmarked, &[&new]), None);
        assert_eq!(StoredWal::of(&unmarked, &[&new]).by_backup(&[&new]), None);
        // Expired directories are not there.
        let gone = listing(&[(2, 1, 5)], &[]);
        assert_eq!(StoredWal::of(&gone, &[&new]).by_backup(&[&new]).unwrap()[&new.label], 5);
    }
}
