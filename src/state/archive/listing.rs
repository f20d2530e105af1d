//! The contents of one database's archive in one repository, directory by directory.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::pgbackrest::archive::{ArchiveFile, ArchiveId, DirectoryName, TimelineHistory};
use crate::pgbackrest::stored_size::StoredSize;
use crate::pgbackrest::wal::WalSegment;

/// How far a clock may be ahead of ours. Later times are not used.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// What an entry of a set takes beside the text of its name.
const NAME: usize = 40;
/// What a history takes beside its ancestors.
const HISTORY: usize = 64;

/// One database's archive in one repository. Facts are kept by directory, so that a single directory can be listed again; a directory without holes is one [`Run`], whatever the number of its segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Which archive.
    pub archive: ArchiveId,
    /// When the names of its directories were last read.
    pub listed_at: DateTime<Utc>,
    /// Readable histories, by timeline. Invalid ones are omitted, because they prove nothing.
    pub histories: BTreeMap<u32, TimelineHistory>,
    /// All existing history files, whether or not they are readable, with the time of each by the clock of the
    /// repository. PostgreSQL archives one when it begins the timeline.
    pub history_files: BTreeMap<u32, Option<DateTime<Utc>>>,
    /// Labels of the directories in `backup/STANZA`; absent if these were not listed.
    pub backup_directories: Option<BTreeSet<String>>,
    /// Bytes in directories that belong to no backup, as far as they were determined; absent if that failed.
    pub leftover_bytes: BTreeMap<String, Option<u64>>,
    directories: BTreeMap<DirectoryName, DirectoryFacts>,
}

/// The contents of one directory of segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectoryFacts {
    /// Segments by the last 8 digits of their names, ascending. One that exists more than once, or has a wrong size, is a separate
    /// run; the others are not adjacent to each other.
    pub runs: Box<[Run]>,
    /// Last words of segments that exist more than once, with different checksums or compressions, ascending. pgBackRest refuses to
    /// restore these.
    pub duplicates: Box<[u32]>,
    /// Last words of segments whose file size shows that they are incomplete, ascending. The runs include them.
    pub wrong_sizes: Box<[u32]>,
    /// Those of them that are neither compressed nor encrypted, ascending. PostgreSQL receives them and stops with an error, even if
    /// recovery would end before.
    pub stopping: Box<[u32]>,
    /// Times of the requested segments by their last words, by the clock of the repository.
    pub times: Box<[(u32, DateTime<Utc>)]>,
    /// Bytes before the requested segments, by their last words.
    pub marks: Box<[Mark]>,
    /// Segments that are dated in the future.
    pub future: u64,
    /// Bytes of all segments in the repository, duplicates included.
    pub bytes: u64,
    /// When the directory was listed.
    pub verified_at: DateTime<Utc>,
}

/// Consecutive segments of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Last word of the first segment's name.
    pub first: u32,
    /// Last word of the last segment's name.
    pub last: u32,
    /// When the repository received the last segment, by its clock.
    pub last_modified: DateTime<Utc>,
}

/// Bytes of the segments of a directory up to one of them, which may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Last word of its name.
    pub low: u32,
    /// Bytes of the segments before it.
    pub before: u64,
    /// The same, including it.
    pub through: u64,
}

/// What to look for in a directory.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Sizes of whole segments.
    pub size: StoredSize,
    /// Last words of the segments whose times are kept: those with which backups end.
    pub timed: BTreeSet<u32>,
    /// Last words of the segments up to which bytes are added up: those with which backups begin and end.
    pub marked: BTreeSet<u32>,
}

/// A file in the output of `repo-ls --output=json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedFile<'a> {
    /// Name within the directory.
    pub name: &'a str,
    /// Bytes in the repository.
    pub size: u64,
    /// When it was written.
    pub modified: DateTime<Utc>,
}

impl DirectoryFacts {
    /// Derives the facts from the files of a directory, in any order. Files that are not segments of this directory are ignored.
    #[must_use]
    pub fn of<'a>(
        directory: DirectoryName,
        files: impl IntoIterator<Item = ListedFile<'a>>,
        verified_at: DateTime<Utc>,
        expected: &Expected,
    ) -> Self {
        let latest = verified_at + CLOCK_TOLERANCE;
        let (mut bytes, mut future) = (0_u64, 0);
        let mut segments: Vec<(u32, DateTime<Utc>)> = Vec::new();
        let mut sizes: Vec<(u32, u64)> = Vec::new();
        let (mut wrong_sizes, mut stopping) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            let ArchiveFile::Segment { segment, compression, .. } = ArchiveFile::parse(file.name) else {
                continue;
            };
            if (segment.timeline, segment.high) != (directory.timeline, directory.high) {
                continue;
            }
            bytes = bytes.saturating_add(file.size);
            if !expected.size.is_possible(compression, file.size) {
                wrong_sizes.insert(segment.low);
                if expected.size.is_plain(compression) {
                    stopping.insert(segment.low);
                }
            }
            future += u64::from(file.modified > latest);
            segments.push((segment.low, file.modified));
            sizes.push((segment.low, file.size));
        }
        segments.sort_unstable();
        let marks = marks(&expected.marked, sizes);
        let times = segments.iter().filter(|(low, _)| expected.timed.contains(low)).copied().collect();
        let mut runs: Vec<Run> = Vec::new();
        let mut duplicates: Vec<u32> = Vec::new();
        for files in segments.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((low, modified)) = files.last().copied() else { continue };
            let is_duplicate = files.len() > 1;
            let is_alone = is_duplicate || wrong_sizes.contains(&low);
            let was_alone = |last: u32| duplicates.last() == Some(&last) || wrong_sizes.contains(&last);
            let follows =
                |run: &&mut Run| run.last.checked_add(1) == Some(low) && !is_alone && !was_alone(run.last);
            match runs.last_mut().filter(follows) {
                Some(run) => (run.last, run.last_modified) = (low, modified),
                None => runs.push(Run { first: low, last: low, last_modified: modified }),
            }
            duplicates.extend(is_duplicate.then_some(low));
        }
        Self {
            runs: runs.into(),
            duplicates: duplicates.into(),
            wrong_sizes: wrong_sizes.into_iter().collect(),
            stopping: stopping.into_iter().collect(),
            times,
            marks,
            future,
            bytes,
            verified_at,
        }
    }
}

/// Adds up the sizes of segments by the last words of their names.
fn marks(wanted: &BTreeSet<u32>, mut sizes: Vec<(u32, u64)>) -> Box<[Mark]> {
    sizes.sort_unstable();
    let (mut rest, mut sum) = (sizes.into_iter().peekable(), 0_u64);
    let mut up_to = |is_in: &dyn Fn(u32) -> bool| {
        while let Some((_, size)) = rest.next_if(|(low, _)| is_in(*low)) {
            sum = sum.saturating_add(size);
        }
        sum
    };
    let mark =
        |low: u32| Mark { low, before: up_to(&|other| other < low), through: up_to(&|other| other <= low) };
    wanted.iter().copied().map(mark).collect()
}

impl Listing {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(archive: ArchiveId, listed_at: DateTime<Utc>) -> Self {
        Self {
            archive,
            listed_at,
            histories: BTreeMap::new(),
            history_files: BTreeMap::new(),
            backup_directories: None,
            leftover_bytes: BTreeMap::new(),
            directories: BTreeMap::new(),
        }
    }

    /// Replaces the contents of a directory.
    pub fn replace_directory(&mut self, name: DirectoryName, facts: DirectoryFacts) {
        self.directories.insert(name, facts);
    }

    /// Removes directories that no longer exist.
    pub fn retain_directories(&mut self, is_there: impl Fn(DirectoryName) -> bool) {
        self.directories.retain(|name, _| is_there(*name));
    }

    /// The listed directories, by timeline and position.
    #[must_use]
    pub fn directories(&self) -> impl DoubleEndedIterator<Item = (DirectoryName, &DirectoryFacts)> {
        self.directories.iter().map(|(name, facts)| (*name, facts))
    }

    /// The contents of a directory.
    #[must_use]
    pub fn directory(&self, name: DirectoryName) -> Option<&DirectoryFacts> {
        self.directories.get(&name)
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let names = self.backup_directories.iter().flatten().chain(self.leftover_bytes.keys());
        let names: usize = names.map(|name| NAME + name.len()).sum();
        let parents: usize = self.histories.values().map(|history| size_of_val(&*history.parents)).sum();
        let histories = (self.histories.len() + self.history_files.len()) * HISTORY + parents;
        let directories = self.directories.values().map(|facts| {
            let lists =
                [&facts.duplicates, &facts.wrong_sizes, &facts.stopping].map(|list| size_of_val(&**list));
            let rest = size_of_val(&*facts.runs) + size_of_val(&*facts.times) + size_of_val(&*facts.marks);
            size_of_val(facts) + size_of::<DirectoryName>() + lists.iter().sum::<usize>() + rest
        });
        (names + histories + directories.sum::<usize>()) as u64
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.directories.values().fold(0, |sum, facts| sum.saturating_add(facts.bytes))
    }

    /// Segments that exist more than once.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.directories.values().map(|facts| facts.duplicates.len() as u64).sum()
    }

    /// Segments whose file has a size that no whole segment has.
    #[must_use]
    pub fn wrong_sizes(&self) -> u64 {
        self.directories.values().map(|facts| facts.wrong_sizes.len() as u64).sum()
    }

    /// PostgreSQL stops with an error at this segment. Version 15 and later read ahead, so they stop even if recovery ends before.
    #[must_use]
    pub fn is_stopping(&self, segment: WalSegment) -> bool {
        let WalSegment { timeline, high, low } = segment;
        let facts = self.directory(DirectoryName { timeline, high });
        facts.is_some_and(|facts| facts.stopping.binary_search(&low).is_ok())
    }

    /// Segments and histories that are dated in the future.
    #[must_use]
    pub fn future(&self) -> u64 {
        let latest = self.listed_at + CLOCK_TOLERANCE;
        let histories = self.history_files.values().flatten().filter(|time| **time > latest).count() as u64;
        self.directories.values().map(|facts| facts.future).sum::<u64>() + histories
    }

    /// When the repository received the last segment of a timeline, by its own clock.
    pub(super) fn last_modified(&self, timeline: u32) -> Option<DateTime<Utc>> {
        let of_timeline = self.directories().rev().filter(|(name, _)| name.timeline == timeline);
        of_timeline.filter_map(|(_, facts)| facts.runs.last()).map(|run| run.last_modified).next()
    }

    /// When the repository received a segment whose time was requested.
    #[must_use]
    pub fn time(&self, segment: WalSegment) -> Option<DateTime<Utc>> {
        let WalSegment { timeline, high, low } = segment;
        let times = &self.directory(DirectoryName { timeline, high })?.times;
        times.iter().find(|(timed, _)| *timed == low).map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::examples::day;
    use super::super::clock::Clock;
    use super::*;

    fn newest(listing: &Listing) -> Option<DateTime<Utc>> {
        Clock::of(&[], listing).newest(listing).remove(&1)
    }

    fn facts(names: &[(&str, i64)]) -> DirectoryFacts {
        let files =
            names.iter().map(|(name, modified)| ListedFile { name, size: 1 << 20, modified: day(*modified) });
        DirectoryFacts::of(DirectoryName { timeline: 1, high: 0 }, files, day(9), &Expected::default())
    }

    fn name(low: u32, checksum: char) -> String {
        format!("0000000100000000{low:08X}-{}.gz", checksum.to_string().repeat(40))
    }

    #[test]
    fn segments_become_runs_in_any_order() {
        let [three, one, two, nine] =
            [(3, 'a'), (1, 'b'), (2, 'c'), (9, 'd')].map(|(low, sum)| name(low, sum));
        let found = facts(&[(&three, 3), (&nine, 5), (&one, 1), (&two, 2)]);
        let run = |first, last, modified| Run { first, last, last_modified: day(modified) };
        assert_eq!(*found.runs, [run(1, 3, 3), run(9, 9, 5)]);
        assert_eq!((found.duplicates.len(), found.bytes), (0, 4 << 20));
    }

    #[test]
    fn a_segment_with_several_checksums_is_one_duplicate() {
        let names = ['a', 'b', 'c'].map(|sum| name(4, sum));
        let found = facts(&[(&names[0], 1), (&names[1], 3), (&names[2], 2)]);
        assert_eq!((&*found.duplicates, found.runs.len()), (&[4][..], 1));
        assert_eq!(found.runs[0].last_modified, day(3));
    }

    #[test]
    fn a_duplicate_is_a_run_by_itself() {
        let names = [name(3, 'a'), name(4, 'a'), name(4, 'b'), name(5, 'a'), name(6, 'a')];
        let listed: Vec<(&str, i64)> = names.iter().map(String::as_str).zip([3, 4, 5, 6, 7]).collect();
        let run = |first, last, modified| Run { first, last, last_modified: day(modified) };
        assert_eq!(*facts(&listed).runs, [run(3, 3, 3), run(4, 4, 5), run(5, 6, 7)]);
    }

    #[test]
    fn what_is_no_segment_of_the_directory_counts_for_nothing() {
        let foreign = name(1, 'a').replace("0000000100000000", "0000000200000000");
        let partial = format!("000000010000000000000001.partial-{}.gz", "a".repeat(40));
        let found = facts(&[(&foreign, 1), (&partial, 1), ("000000010000000000000001.00000028.backup", 1)]);
        assert_eq!((found.runs.len(), found.bytes), (0, 0));
    }

    #[test]
    fn a_directory_is_replaced_alone() {
        let mut listing = Listing::new(ArchiveId::parse("15-1").unwrap(), day(9));
        let [zero, one] = [0, 1].map(|high| DirectoryName { timeline: 1, high });
        let [file, other] = [name(1, 'a'), name(2, 'a')];
        listing.replace_directory(zero, facts(&[(&file, 1)]));
        listing.replace_directory(one, facts(&[]));
        listing.replace_directory(zero, facts(&[(&file, 1), (&other, 2)]));
        assert_eq!((listing.bytes(), listing.directories().count()), (2 << 20, 2));
        assert_eq!(newest(&listing), Some(day(2)));
        listing.retain_directories(|name| name.high == 1);
        assert_eq!((listing.bytes(), listing.directory(zero)), (0, None));
    }

    #[test]
    fn bytes_are_added_up_to_the_segments_that_were_asked_for() {
        let names = [name(1, 'a'), name(3, 'a'), name(3, 'b'), name(5, 'a')];
        let files = names.iter().zip([100, 20, 3, 4000]);
        let files = files.map(|(name, size)| ListedFile { name, size, modified: day(1) });
        let expected = Expected { marked: [1, 3, 4, 9].into(), ..Expected::default() };
        let found = DirectoryFacts::of(DirectoryName { timeline: 1, high: 0 }, files, day(9), &expected);
        let mark = |low, before, through| Mark { low, before, through };
        let expected = [mark(1, 0, 100), mark(3, 100, 123), mark(4, 123, 123), mark(9, 4123, 4123)];
        assert_eq!((&*found.marks, found.bytes), (&expected[..], 4123));
    }

    #[test]
    fn a_time_in_the_future_says_nothing() {
        let names = [name(1, 'a'), name(2, 'a'), name(4, 'a')];
        let listed: Vec<(&str, i64)> = names.iter().map(String::as_str).zip([1, 2, 99]).collect();
        let found = facts(&listed);
        assert_eq!(found.future, 1);
        let mut listing = Listing::new(ArchiveId::parse("15-1").unwrap(), day(9));
        listing.replace_directory(DirectoryName { timeline: 1, high: 0 }, found);
        assert_eq!(newest(&listing), Some(day(2)));
    }

    #[test]
    fn impossible_sizes_and_times_that_were_asked_for_are_kept() {
        let directory = DirectoryName { timeline: 1, high: 0 };
        let names = [name(1, 'a'), name(2, 'a'), name(3, 'a')];
        let files = names.iter().zip([5, 1 << 20, 0]);
        let files = files.map(|(name, size)| ListedFile { name, size, modified: day(1) });
        let expected = Expected { timed: [2, 7].into(), ..Expected::default() };
        let found = DirectoryFacts::of(directory, files, day(9), &expected);
        assert_eq!((&*found.wrong_sizes, &*found.times), (&[1, 3][..], &[(2, day(1))][..]));
        assert!(found.stopping.is_empty(), "they are compressed");
        let mut listing = Listing::new(ArchiveId::parse("15-1").unwrap(), day(0));
        listing.replace_directory(directory, found);
        assert_eq!(listing.wrong_sizes(), 2);
        let segment = |low| WalSegment { timeline: 1, high: 0, low };
        assert_eq!((listing.time(segment(2)), listing.time(segment(3))), (Some(day(1)), None));
    }
}
