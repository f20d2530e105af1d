//! The segments in an archive, by timeline and on the path of recovery.

use std::collections::BTreeMap;

use crate::pgbackrest::archive::DirectoryName;
use crate::pgbackrest::wal::{SegmentSize, WalSegment};

use super::listing::Listing;
use super::path::Path;
use super::ranges::{Range, Ranges};

/// The existing WAL.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    pub(super) timelines: &'a BTreeMap<u32, Ranges>,
    /// The path to one timeline with its existing segments; None if the path is unknown.
    pub(super) on_path: Option<(&'a Path, Ranges)>,
}

impl<'a> Segments<'a> {
    pub(super) fn new(timelines: &'a BTreeMap<u32, Ranges>, path: Option<&'a Path>) -> Self {
        let on_path = path.map(|path| (path, path.held(timelines)));
        Self { timelines, on_path }
    }
}

/// Numbers of the segments that each timeline has. Names that cannot exist with the segment size are omitted.
pub(super) fn held(listing: &Listing, size: SegmentSize) -> BTreeMap<u32, Ranges> {
    let highest = u32::try_from(size.segments_per_high_word() - 1).unwrap_or(u32::MAX);
    let mut held: BTreeMap<u32, Vec<Range>> = BTreeMap::new();
    for (directory, facts) in listing.directories() {
        let number =
            |low| WalSegment { timeline: directory.timeline, high: directory.high, low }.number(size);
        let runs =
            facts.runs.iter().filter_map(|run| Some((number(run.first)?, number(run.last.min(highest))?)));
        held.entry(directory.timeline).or_default().extend(runs);
    }
    held.retain(|_, ranges| !ranges.is_empty());
    held.into_iter().map(|(timeline, ranges)| (timeline, Ranges::of(ranges))).collect()
}

/// The same without segments that recovery cannot use: those that exist more than once, which pgBackRest refuses to restore, and
/// files whose size shows that they are incomplete.
pub(super) fn usable(
    listing: &Listing,
    held: &BTreeMap<u32, Ranges>,
    size: SegmentSize,
) -> BTreeMap<u32, Ranges> {
    let mut usable = held.clone();
    for (directory, facts) in listing.directories() {
        let DirectoryName { timeline, high } = directory;
        let useless = facts.duplicates.iter().chain(&facts.wrong_sizes);
        let numbers = useless.filter_map(|low| WalSegment { timeline, high, low: *low }.number(size));
        if let Some(ranges) = usable.get_mut(&timeline) {
            numbers.for_each(|number| ranges.remove(number));
        }
    }
    usable.retain(|_, ranges| !ranges.as_slice().is_empty());
    usable
}
