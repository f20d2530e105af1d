//! The path of recovery through the timelines.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::archive::{DirectoryName, TimelineHistory};
use crate::pgbackrest::wal::{Lsn, SegmentSize, WalSegment};

use super::listing::Listing;
use super::ranges::{Range, Ranges};

/// Where recovery switches from a timeline to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// The timeline that was left.
    pub timeline: u32,
    /// The position.
    pub lsn: Lsn,
}

/// The segments that recovery takes from one timeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) timeline: u32,
    first: u64,
    /// None if nothing of the timeline is needed, because it was left within its first segment.
    last: Option<u64>,
    /// Where the timeline was left; None for the last one.
    switch: Option<Lsn>,
}

/// From which timeline each segment is taken on the path to one timeline.
///
/// The segment in which a timeline was left is taken from the next one: PostgreSQL copies its contents to the new timeline, and
/// requests the newest timeline first. This also applies to a switch on a segment boundary.
#[derive(Debug, Clone)]
pub(super) struct Path(Vec<Piece>);

impl Path {
    /// The path to a timeline; None if it cannot be known without its history.
    pub(super) fn to(timeline: u32, history: Option<&TimelineHistory>, size: SegmentSize) -> Option<Self> {
        let parents = match history {
            Some(history) => history.parents.as_slice(),
            None if timeline == 1 => &[],
            None => return None,
        };
        let mut pieces = Vec::with_capacity(parents.len() + 1);
        let mut first = 0;
        for parent in parents {
            let next = parent.switch.0 / size.bytes();
            let last = next.checked_sub(1).filter(|last| *last >= first);
            pieces.push(Piece { timeline: parent.timeline, first, last, switch: Some(parent.switch) });
            first = next;
        }
        pieces.push(Piece { timeline, first, last: Some(u64::MAX), switch: None });
        Some(Self(pieces))
    }

    /// The piece of a timeline.
    pub(super) fn piece(&self, timeline: u32) -> Option<&Piece> {
        self.0.iter().find(|piece| piece.timeline == timeline)
    }

    /// The existing segments on the path.
    pub(super) fn held(&self, held: &BTreeMap<u32, Ranges>) -> Ranges {
        let mut ranges = Vec::new();
        for (piece, last) in self.0.iter().filter_map(|piece| Some((piece, piece.last?))) {
            let Some(of_timeline) = held.get(&piece.timeline) else { continue };
            let within = |(first, end): &Range| ((*first).max(piece.first), (*end).min(last));
            ranges.extend(of_timeline.as_slice().iter().map(within));
        }
        Ranges::of(ranges)
    }

    /// The first number whose name does not sort before `segment`, which is how `expire` compares.
    pub(super) fn first_not_before(&self, segment: (u32, u64)) -> u64 {
        let first = |piece: &Piece| match piece.timeline.cmp(&segment.0) {
            Ordering::Less => None,
            Ordering::Equal => Some(piece.first.max(segment.1)),
            Ordering::Greater => Some(piece.first),
        };
        let within =
            |piece: &Piece| first(piece).filter(|first| piece.last.is_some_and(|last| *first <= last));
        self.0.iter().find_map(within).unwrap_or(0)
    }

    /// When the repository received the last segment of a run, by its clock; None if other segments follow it.
    pub(super) fn modified(
        &self,
        number: u64,
        listing: &Listing,
        size: SegmentSize,
    ) -> Option<DateTime<Utc>> {
        let segment = self.segment(number, size)?;
        let facts = listing.directory(DirectoryName { timeline: segment.timeline, high: segment.high })?;
        // The time is that of the last segment of a run, which continues after the path has left the timeline.
        facts.runs.iter().find(|run| run.last == segment.low).map(|run| run.last_modified)
    }

    /// PostgreSQL stops with an error if it continues after this segment.
    pub(super) fn stops_after(&self, number: u64, listing: &Listing, size: SegmentSize) -> bool {
        let next = number.checked_add(1).and_then(|next| self.segment(next, size));
        next.is_some_and(|next| listing.is_stopping(next))
    }

    /// The segment that is used on the path.
    fn segment(&self, number: u64, size: SegmentSize) -> Option<WalSegment> {
        let is_in = |piece: &&Piece| piece.first <= number && piece.last.is_some_and(|last| number <= last);
        WalSegment::from_number(self.0.iter().find(is_in)?.timeline, number, size)
    }

    /// The timeline that recovery falls back to on the path: PostgreSQL takes a segment from an older timeline if the newer one does
    /// not have it, and so continues past the point where the older one was left.
    pub(super) fn falls_back_to(&self, from: u32, held: &BTreeMap<u32, Ranges>) -> Option<u32> {
        let has = |timeline: u32, number| held.get(&timeline).is_some_and(|held| held.holds(number, number));
        let pairs = self.0.windows(2).skip_while(|pair| pair.first().is_some_and(|one| one.timeline < from));
        pairs.filter_map(|pair| Some((pair.first()?.timeline, pair.last()?))).find_map(|(older, newer)| {
            (!has(newer.timeline, newer.first) && has(older, newer.first)).then_some(older)
        })
    }

    /// The timeline that it leads to.
    pub(super) fn timeline(&self) -> Option<u32> {
        self.0.last().map(|piece| piece.timeline)
    }

    /// Where the last timeline comes from.
    pub(super) fn fork(&self) -> Option<Fork> {
        let parent = self.0.iter().rev().nth(1)?;
        Some(Fork { timeline: parent.timeline, lsn: parent.switch? })
    }

    /// Where it leaves a timeline; None for the last one.
    pub(super) fn leaves(&self, timeline: u32) -> Option<Lsn> {
        self.piece(timeline)?.switch
    }

    /// The timelines on the path.
    pub(super) fn timelines(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|piece| piece.timeline)
    }

    /// Whether the path uses all existing segments of a timeline, and continues after it.
    pub(super) fn goes_through(&self, timeline: u32, held: Option<&Ranges>) -> bool {
        let Some(piece) = self.piece(timeline).filter(|piece| piece.switch.is_some()) else { return false };
        held.and_then(Ranges::last).is_none_or(|held| piece.last.is_some_and(|last| held <= last))
    }

    /// Whether recovery from a backup can follow the path: the backup was complete before its timeline was left.
    pub(super) fn holds_backup(&self, stop: WalSegment, lsn_stop: Option<Lsn>, size: SegmentSize) -> bool {
        let piece = self.piece(stop.timeline).zip(stop.number(size));
        piece.is_some_and(|(piece, number)| piece.holds_backup(lsn_stop, number))
    }
}

impl Piece {
    /// Whether a backup of this timeline is on the path: it was complete before the timeline was left.
    pub(super) fn holds_backup(&self, stop: Option<Lsn>, last_number: u64) -> bool {
        match (self.switch, stop) {
            (None, _) => true,
            (Some(switch), Some(stop)) => stop <= switch,
            (Some(_), None) => self.last.is_some_and(|last| last_number <= last),
        }
    }
}
