//! What a listing proves: which WAL is missing, which backups can be restored, and to which points in time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::pgbackrest::wal::{Lsn, SegmentSize};

use super::super::backup::Backup;
use super::backups::{Files, Wal, files, wal};
use super::branches::{Branch, BranchState, ReachEnd, Tree};
use super::default_restore::{DefaultRestore, default_restore};
use super::expired::{ArchiveRetention, kept_from};
use super::listing::Listing;
use super::ranges::{Range, Ranges, count};
use super::segments::{Segments, held, usable};
use super::stored::{StoredWal, unneeded};

/// What a listing proves of one database in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Continuity {
    /// When the listing was made.
    pub listed_at: DateTime<Utc>,
    /// Segments on all timelines, each counted once.
    pub segments: u64,
    /// Segments that exist more than once.
    pub duplicates: u64,
    /// Segments whose file size shows that they are incomplete.
    pub wrong_sizes: u64,
    /// Segments and histories that are dated in the future. Their times are not used.
    pub future: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of segments that no backup can use; absent if unknown.
    pub unneeded_bytes: Option<u64>,
    /// Bytes from the start of each backup to that of the next one, by label, as far as they are known.
    pub backup_bytes: BTreeMap<Arc<str>, u64>,
    /// Bytes by the names of segments.
    #[serde(skip)]
    pub stored: StoredWal,
    /// When the repository received the newest segment.
    pub last_archived: Option<DateTime<Utc>>,
    /// Seconds by which the repository's clock is behind that of the PostgreSQL host; negative: ahead of it. None without a backup
    /// that shows it.
    pub clock_behind_seconds: Option<i64>,
    /// The uncertainty of file times that remains after the correction.
    #[serde(skip)]
    pub time_uncertainty: TimeDelta,
    /// The backups contradict the file times, so these do not show which branch was live when.
    pub has_unreliable_times: bool,
    /// Another timeline that received WAL in the same second as the live one, so that either can be live.
    pub tied_timeline: Option<u32>,
    /// Missing segments that a backup needs to become consistent.
    pub missing_backup: u64,
    /// Timelines with segments, or on the path to the live one, without a readable history.
    pub missing_histories: u64,
    /// Backups that cannot be restored, by reason.
    pub unrestorable: Unrestorable,
    /// Stop of the oldest backup that can be restored.
    pub earliest: Option<DateTime<Utc>>,
    /// Labels of the backups that can be restored, on any branch.
    pub restorable: BTreeSet<Arc<str>>,
    /// Branches of history, the live one first, then the newest. A timeline that another one continues is not a branch.
    pub branches: Vec<Branch>,
    /// When the database began each of its timelines; None if unknown.
    pub began: BTreeMap<u32, Option<DateTime<Utc>>>,
    /// The highest timeline that has a history file. PostgreSQL follows it by default.
    pub newest_history: Option<u32>,
    /// The result of `pgbackrest restore` without options; None if unknown.
    pub default_restore: Option<DefaultRestore>,
    /// The path to the live timeline; None without WAL, or if its history is missing.
    pub path: Option<PathContinuity>,
}

/// Backups that cannot be restored. One backup can count for several reasons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unrestorable {
    /// WAL that it needs to become consistent is missing.
    pub wal: u64,
    /// Its directory is missing; None if directories were not listed.
    pub directory: Option<u64>,
    /// A backup that it depends on is not listed, or its directory is missing.
    pub reference: u64,
    /// It is unknown whether its WAL exists. Such a backup is not used for any window.
    pub unknown: u64,
}

/// WAL on the path to the live timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PathContinuity {
    /// The live timeline.
    pub timeline: u32,
    /// Timelines that are not on the path.
    pub orphan_timelines: u64,
    /// Missing after the newest backup, up to the newest segment.
    pub missing_new: u64,
    /// Missing between the oldest and the newest backup, and neither needed by a backup nor expired.
    pub missing_old: u64,
    /// Missing because `expire` removed it.
    pub missing_expired: u64,
    /// Separate gaps on all timelines, without expired WAL.
    pub gaps: u64,
    /// Stop of the backup from which every later instant, up to `latest_at_most`, can be restored.
    pub continuous_start: Option<DateTime<Utc>>,
    /// When the repository received the last segment that can be reached from there without a gap, or the stop of the last backup
    /// on the path, if that is later or the time of the segment cannot be trusted.
    pub latest_at_most: Option<DateTime<Utc>>,
    /// Position after that segment.
    pub latest_lsn: Option<Lsn>,
}

impl Continuity {
    /// Missing segments, except those that `expire` removed.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing_backup
            + self.wrong_sizes
            + self.path.map_or(0, |path| path.missing_new + path.missing_old)
    }

    /// The branch that the database was on at a time, and whether that is certain.
    ///
    /// Timelines are numbered in the order in which they begin. So the database was on the newest one that had begun.
    #[must_use]
    pub fn branch_at(&self, time: DateTime<Utc>) -> Option<(&Branch, bool)> {
        let live = self.live()?;
        let (before, after) = (SWITCH_BEFORE + self.time_uncertainty, SWITCH_AFTER + self.time_uncertainty);
        let is_clear = |began: DateTime<Utc>| time + before < began || began + after <= time;
        let is_known = |(timeline, began): (&u32, &Option<DateTime<Utc>>)| {
            began.map_or(*timeline == 1, |began| *timeline == 1 || is_clear(began))
        };
        let is_certain = self.began.iter().all(is_known)
            && self.is_before_tie(live, time + before)
            && (self.branches.len() < 2 || !self.has_unreliable_times);
        let had_begun = |began: &Option<DateTime<Utc>>| began.is_none_or(|began| began <= time);
        let then = self.began.iter().rev().find(|(_, began)| had_begun(began)).map(|(timeline, _)| *timeline);
        let Some(then) = then.or_else(|| self.began.keys().next().copied()) else {
            return Some((live, is_certain));
        };
        let own = || self.branches.iter().filter(|branch| branch.state != BranchState::Foreign);
        // If no branch ends with it, another one continues it completely.
        let found = own().find(|branch| branch.timeline == then);
        let found = found.or_else(|| own().find(|branch| branch.continues.contains(&then)));
        Some((found.unwrap_or(live), is_certain))
    }

    /// Before the newer of two tied timelines began, it does not matter which of them is live.
    fn is_before_tie(&self, live: &Branch, time: DateTime<Utc>) -> bool {
        let Some(tied) = self.tied_timeline else { return true };
        let began = self.began.get(&tied.max(live.timeline)).copied().flatten();
        began.is_some_and(|began| time < began)
    }

    /// The live branch.
    #[must_use]
    pub fn live(&self) -> Option<&Branch> {
        self.branches.first().filter(|branch| branch.state == BranchState::Live)
    }

    /// Whether the windows are proven: the path through the timelines is known, and backup directories were checked.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.path.is_some() && self.unrestorable.directory.is_some()
    }
}

/// A timeline may have begun this much earlier than its history file arrived in the archive …
const SWITCH_BEFORE: TimeDelta = TimeDelta::seconds(3);
/// … and slightly later than that time, because file times are whole seconds.
const SWITCH_AFTER: TimeDelta = TimeDelta::seconds(1);

/// Properties of the database that an archive belongs to.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseFacts {
    /// Size of its WAL segments.
    pub size: SegmentSize,
    /// What `expire` keeps.
    pub retention: ArchiveRetention,
    /// Major version of PostgreSQL.
    pub postgres_version: Option<u32>,
}

/// Evaluates a listing with the backups of its repository. Backups of other databases are ignored.
///
/// Costs O(runs + backups · log runs).
#[must_use]
pub fn judge<'a>(
    listing: &Listing,
    backups: impl IntoIterator<Item = &'a Backup>,
    database: DatabaseFacts,
) -> Continuity {
    let DatabaseFacts { size, retention, postgres_version } = database;
    let is_own = |backup: &&Backup| backup.database_id == listing.archive.database_id;
    let backups: Vec<&Backup> = backups.into_iter().filter(is_own).collect();
    let held = held(listing, size);
    let usable = usable(listing, &held, size);
    let tree = Tree::new(listing, &backups, &held, &usable, size);
    let live = tree.live(&backups);
    let tied_timeline = live.and_then(|live| tree.tied_with(live));
    let path = live.and_then(|live| tree.path(live));
    let there = Segments::new(&held, path);
    let wal_of: Vec<Wal> = backups.iter().map(|backup| wal(backup, &there, listing, size)).collect();
    // Unusable segments are not missing, but a restore cannot use them.
    let usable_on_path = Segments::new(&usable, path);
    let with_files: Vec<(&Backup, Files)> = backups.iter().copied().zip(files(&backups, listing)).collect();
    let (restorable, unrestorable) = sort_out(&with_files, &usable_on_path, listing, size);
    let aside = missing_aside(&wal_of);
    let on_path = there.on_path.as_ref();
    let missing_on_path = on_path.map_or_else(Ranges::default, |(_, held)| missing_of_backups(&wal_of, held));
    let used: BTreeSet<u32> = held.keys().copied().chain(live).collect();
    let branches = tree.branches(&with_files, live);
    let end = branches.first().filter(|branch| branch.state == BranchState::Live);
    let stored = StoredWal::of(listing, &backups);
    Continuity {
        listed_at: listing.listed_at,
        segments: held.values().map(Ranges::count).sum(),
        duplicates: listing.duplicates(),
        wrong_sizes: listing.wrong_sizes(),
        future: listing.future(),
        bytes: listing.bytes(),
        unneeded_bytes: unneeded(listing, &backups),
        backup_bytes: stored.by_backup(&backups).unwrap_or_default(),
        stored,
        last_archived: tree.newest().values().max().copied(),
        clock_behind_seconds: tree.clock().known_behind().map(|behind| behind.num_seconds()),
        time_uncertainty: tree.clock().uncertainty,
        has_unreliable_times: !tree.clock().is_reliable,
        tied_timeline,
        missing_backup: missing_on_path.count() + aside.iter().map(Ranges::count).sum::<u64>(),
        missing_histories: count_of(used.iter().filter(|t| **t > 1 && !listing.histories.contains_key(t))),
        unrestorable,
        earliest: restorable.iter().map(|backup| backup.stop).min(),
        restorable: restorable.iter().map(|backup| backup.label.clone()).collect(),
        began: tree.began(&branches),
        newest_history: listing.history_files.keys().max().copied(),
        default_restore: default_restore(
            &backups,
            listing,
            &tree,
            live.filter(|_| tied_timeline.is_none()),
            postgres_version,
            size,
        ),
        path: on_path.zip(live).map(|((path, held), timeline)| {
            let gaps_aside: u64 = aside.iter().map(|ranges| count_of(ranges.as_slice().iter())).sum();
            let kept = |needs: &Ranges| kept_from(retention, &backups, path, needs, held, size);
            let gaps = Gaps::of(&wal_of, held, &missing_on_path, kept);
            let known = used.iter().chain(listing.history_files.keys()).collect::<BTreeSet<_>>();
            let reach = end.and_then(|branch: &Branch| branch.end);
            PathContinuity {
                timeline,
                orphan_timelines: count_of(known.into_iter().filter(|t| path.piece(**t).is_none())),
                missing_new: gaps.new,
                missing_old: gaps.old,
                missing_expired: gaps.expired,
                gaps: gaps.count + gaps_aside,
                continuous_start: end.and_then(|branch| branch.continuous_start),
                latest_at_most: reach.map(|end: ReachEnd| end.at),
                latest_lsn: reach.and_then(|end| end.lsn),
            }
        }),
        branches,
    }
}

fn count_of<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |sum, _| sum + 1)
}

/// The backups that can be restored, and why the others cannot.
fn sort_out<'a>(
    backups: &[(&'a Backup, Files)],
    usable: &Segments<'_>,
    listing: &Listing,
    size: SegmentSize,
) -> (Vec<&'a Backup>, Unrestorable) {
    let mut unrestorable = Unrestorable {
        directory: listing.backup_directories.is_some().then_some(0),
        ..Unrestorable::default()
    };
    let mut restorable = Vec::new();
    for (backup, files) in backups {
        let wal = wal(backup, usable, listing, size);
        unrestorable.wal += u64::from(wal.is_there() == Some(false));
        unrestorable.unknown += u64::from(wal.is_there().is_none());
        unrestorable.reference += u64::from(!files.references);
        if let Some(directory) = &mut unrestorable.directory {
            *directory += u64::from(files.directory == Some(false));
        }
        if files.are_there() && wal.is_there() == Some(true) {
            restorable.push(*backup);
        }
    }
    (restorable, unrestorable)
}

/// The WAL that backups outside of the path need, by timeline.
fn missing_aside(wal_of: &[Wal]) -> Vec<Ranges> {
    let mut aside: BTreeMap<u32, Vec<Range>> = BTreeMap::new();
    for wal in wal_of {
        if let Wal::Aside { timeline, missing } = wal {
            aside.entry(*timeline).or_default().extend(missing);
        }
    }
    aside.into_values().map(Ranges::of).collect()
}

/// The WAL that backups on the path need and that nothing can replace.
fn missing_of_backups(wal_of: &[Wal], held: &Ranges) -> Ranges {
    let missing = wal_of.iter().filter_map(|wal| match wal {
        Wal::OnPath { first, last, complete: false, .. } => Some(held.missing(*first, *last)),
        _ => None,
    });
    Ranges::of(missing.flatten().collect())
}

#[derive(Default)]
struct Gaps {
    new: u64,
    old: u64,
    expired: u64,
    count: u64,
}

impl Gaps {
    fn of(wal_of: &[Wal], held: &Ranges, of_backups: &Ranges, kept: impl Fn(&Ranges) -> u64) -> Self {
        let needs = wal_of.iter().filter_map(|wal| match wal {
            Wal::OnPath { first, last, .. } => Some((*first, *last)),
            _ => None,
        });
        let needs = Ranges::of(needs.collect());
        let begin = needs.as_slice().first().map(|(first, _)| *first);
        let (Some(begin), Some(newest_stop)) = (begin, needs.last()) else { return Self::default() };
        let kept_from = kept(&needs);
        let mut bad: Vec<Range> = of_backups.as_slice().to_vec();
        let mut gaps = Self::default();
        let end = held.last().unwrap_or(0);
        let all = if begin <= end { held.missing(begin, end) } else { Vec::new() };
        for (first, last) in all.iter().flat_map(|(first, last)| of_backups.missing(*first, *last)) {
            let (old, new) = split(first, last, newest_stop.saturating_add(1));
            gaps.new += count(new.as_slice());
            bad.extend(new);
            if let Some((first, last)) = old {
                let (below, kept) = split(first, last, kept_from);
                // `expire` never removes WAL that a backup needs.
                let removed = below.map_or_else(Vec::new, |(first, last)| needs.missing(first, last));
                let removed = Ranges::of(removed);
                gaps.expired += removed.count();
                let lost = below.map_or_else(Vec::new, |(first, last)| removed.missing(first, last));
                gaps.old += count(&lost) + count(kept.as_slice());
                bad.extend(lost.into_iter().chain(kept));
            }
        }
        gaps.count = count_of(Ranges::of(bad).as_slice().iter());
        gaps
    }
}

/// Splits a range at a number.
fn split(first: u64, last: u64, at: u64) -> (Option<Range>, Option<Range>) {
    let below = at.checked_sub(1).filter(|end| first <= *end).map(|end| (first, last.min(end)));
    let above = (at <= last).then(|| (first.max(at), last));
    (below, above)
}
