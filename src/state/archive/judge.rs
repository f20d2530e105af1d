//! What a listing proves: which WAL is missing, which backups can be restored, and between which instants.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::wal::SegmentSize;

use super::super::backup::Backup;
use super::backups::{Wal, files, wal};
use super::expired::{ArchiveRetention, kept_from};
use super::listing::Listing;
use super::path::Path;
use super::ranges::{Range, Ranges, count};
use super::segments::{Segments, held, usable};

/// What a listing proves of one database in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Continuity {
    /// When the listing was made.
    pub listed_at: DateTime<Utc>,
    /// Segments on all timelines, each counted once.
    pub segments: u64,
    /// Segments that are there more than once.
    pub duplicates: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// When the repository got the newest segment.
    pub last_archived: Option<DateTime<Utc>>,
    /// Segments that some backup needs to become consistent, and that are not there.
    pub missing_backup: u64,
    /// Timelines that have segments, or lead to the newest one, and have no history that can be read.
    pub missing_histories: u64,
    /// Backups that cannot be restored, by reason.
    pub unrestorable: Unrestorable,
    /// Stop of the oldest backup that can be restored.
    pub earliest: Option<DateTime<Utc>>,
    /// Backups that can be restored, by label, with the end up to which WAL can be replayed on each without a hole. That is
    /// when the repository got the last segment, an upper bound of the last commit; the backup's own stop where no WAL is
    /// known to lead on from it.
    pub reach: BTreeMap<String, DateTime<Utc>>,
    /// What holds on the way to the newest timeline; None where there is no WAL, or its history is missing.
    pub path: Option<PathContinuity>,
}

/// Backups that cannot be restored. One backup can count for several reasons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unrestorable {
    /// WAL that it needs to become consistent is missing.
    pub wal: u64,
    /// Its directory is not there; None where directories were not listed.
    pub directory: Option<u64>,
    /// A backup that it was made against is not listed or has lost its directory.
    pub reference: u64,
    /// It cannot be told whether its WAL is there. Such a backup counts for no window.
    pub unknown: u64,
}

/// WAL on the way to the newest timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PathContinuity {
    /// The newest timeline.
    pub timeline: u32,
    /// Timelines that the way does not go through.
    pub orphan_timelines: u64,
    /// Missing after the newest backup, up to the newest segment.
    pub missing_new: u64,
    /// Missing between the oldest and the newest backup, and neither needed by a backup nor expired.
    pub missing_old: u64,
    /// Missing because `expire` removed it.
    pub missing_expired: u64,
    /// Separate holes on all timelines, without what is expired.
    pub gaps: u64,
    /// Stop of the backup from which every later instant, up to `latest_at_most`, can be restored.
    pub continuous_start: Option<DateTime<Utc>>,
    /// When the repository got the last segment that can be reached from there without a hole: an upper bound of the last
    /// commit that can be restored.
    pub latest_at_most: Option<DateTime<Utc>>,
}

impl Continuity {
    /// Segments that are missing and should not be: all but those that `expire` removed.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing_backup + self.path.map_or(0, |path| path.missing_new + path.missing_old)
    }

    /// The windows are proven: the way through the timelines is known, and backup directories were looked for.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.path.is_some() && self.unrestorable.directory.is_some()
    }
}

/// Judges a listing by the backups of its repository. Backups of other databases are left out.
///
/// Costs O(runs + backups · log runs).
#[must_use]
pub fn judge<'a>(
    listing: &Listing,
    backups: impl IntoIterator<Item = &'a Backup>,
    size: SegmentSize,
    retention: ArchiveRetention,
) -> Continuity {
    let is_own = |backup: &&Backup| backup.database_id == listing.archive.database_id;
    let backups: Vec<&Backup> = backups.into_iter().filter(is_own).collect();
    let timelines = held(listing, size);
    let newest = timelines.keys().chain(listing.histories.keys()).max().copied();
    let path = newest.and_then(|newest| Path::to(newest, listing.histories.get(&newest), size));
    let there = Segments::new(timelines, path.as_ref());
    let wal_of: Vec<Wal> = backups.iter().map(|backup| wal(backup, &there, listing, size)).collect();
    // What is there more than once is not missing, but no restore gets it.
    let usable = Segments::new(usable(listing, &there.timelines, size), path.as_ref());
    let (restorable, unrestorable) = sort_out(&backups, &usable, listing, size);
    let aside = missing_aside(&wal_of);
    let on_path = there.on_path.as_ref();
    let missing_on_path = on_path.map_or_else(Ranges::default, |(_, held)| missing_of_backups(&wal_of, held));
    let used: BTreeSet<u32> = there.timelines.keys().copied().chain(newest).collect();
    Continuity {
        listed_at: listing.listed_at,
        segments: there.timelines.values().map(Ranges::count).sum(),
        duplicates: listing.duplicates(),
        bytes: listing.bytes(),
        last_archived: listing.newest().into_values().max(),
        missing_backup: missing_on_path.count() + aside.iter().map(Ranges::count).sum::<u64>(),
        missing_histories: count_of(used.iter().filter(|t| **t > 1 && !listing.histories.contains_key(t))),
        unrestorable,
        earliest: restorable.iter().map(|(backup, _)| backup.stop).min(),
        reach: reach(&restorable, usable.on_path.as_ref(), |path, number| {
            path.modified(number, listing, size)
        }),
        path: on_path.zip(newest).map(|((path, held), timeline)| {
            let gaps_aside: u64 = aside.iter().map(|ranges| count_of(ranges.as_slice().iter())).sum();
            let kept = |needs: &Ranges| kept_from(retention, &backups, path, needs, held, size);
            let holes = Holes::of(&wal_of, held, &missing_on_path, kept);
            let usable = usable.on_path.as_ref().map_or(held, |(_, usable)| usable);
            let (continuous_start, latest_at_most) =
                window(&restorable, usable, |number| path.modified(number, listing, size)).unzip();
            let known = used.iter().chain(listing.histories.keys()).collect::<BTreeSet<_>>();
            PathContinuity {
                timeline,
                orphan_timelines: count_of(known.into_iter().filter(|t| path.piece(**t).is_none())),
                missing_new: holes.new,
                missing_old: holes.old,
                missing_expired: holes.expired,
                gaps: holes.gaps + gaps_aside,
                continuous_start,
                latest_at_most,
            }
        }),
    }
}

fn count_of<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |sum, _| sum + 1)
}

/// The backups that can be restored, and why the others cannot.
fn sort_out<'a>(
    backups: &[&'a Backup],
    usable: &Segments<'_>,
    listing: &Listing,
    size: SegmentSize,
) -> (Vec<(&'a Backup, Wal)>, Unrestorable) {
    let mut unrestorable = Unrestorable {
        directory: listing.backup_directories.is_some().then_some(0),
        ..Unrestorable::default()
    };
    let mut restorable = Vec::new();
    for (backup, files) in backups.iter().zip(files(backups, listing)) {
        let wal = wal(backup, usable, listing, size);
        unrestorable.wal += u64::from(wal.is_there() == Some(false));
        unrestorable.unknown += u64::from(wal.is_there().is_none());
        unrestorable.reference += u64::from(!files.references);
        if let Some(directory) = &mut unrestorable.directory {
            *directory += u64::from(files.directory == Some(false));
        }
        if files.are_there() && wal.is_there() == Some(true) {
            restorable.push((*backup, wal));
        }
    }
    (restorable, unrestorable)
}

/// What backups beside the path need, by timeline.
fn missing_aside(wal_of: &[Wal]) -> Vec<Ranges> {
    let mut aside: BTreeMap<u32, Vec<Range>> = BTreeMap::new();
    for wal in wal_of {
        if let Wal::Aside { timeline, missing } = wal {
            aside.entry(*timeline).or_default().extend(missing);
        }
    }
    aside.into_values().map(Ranges::of).collect()
}

/// What backups on the path need and nothing else can stand for.
fn missing_of_backups(wal_of: &[Wal], held: &Ranges) -> Ranges {
    let missing = wal_of.iter().filter_map(|wal| match wal {
        Wal::OnPath { first, last, complete: false, .. } => Some(held.missing(*first, *last)),
        _ => None,
    });
    Ranges::of(missing.flatten().collect())
}

#[derive(Default)]
struct Holes {
    new: u64,
    old: u64,
    expired: u64,
    gaps: u64,
}

impl Holes {
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
        let mut holes = Self::default();
        let end = held.last().unwrap_or(0);
        let all = if begin <= end { held.missing(begin, end) } else { Vec::new() };
        for (first, last) in all.iter().flat_map(|(first, last)| of_backups.missing(*first, *last)) {
            let (old, new) = split(first, last, newest_stop.saturating_add(1));
            holes.new += count(new.as_slice());
            bad.extend(new);
            if let Some((first, last)) = old {
                let (below, kept) = split(first, last, kept_from);
                // What a backup needs is never removed on purpose.
                let removed = below.map_or_else(Vec::new, |(first, last)| needs.missing(first, last));
                let removed = Ranges::of(removed);
                holes.expired += removed.count();
                let lost = below.map_or_else(Vec::new, |(first, last)| removed.missing(first, last));
                holes.old += count(&lost) + count(kept.as_slice());
                bad.extend(lost.into_iter().chain(kept));
            }
        }
        holes.gaps = count_of(Ranges::of(bad).as_slice().iter());
        holes
    }
}

/// What of a range lies below a number, and what does not.
fn split(first: u64, last: u64, at: u64) -> (Option<Range>, Option<Range>) {
    let below = at.checked_sub(1).filter(|end| first <= *end).map(|end| (first, last.min(end)));
    let above = (at <= last).then(|| (first.max(at), last));
    (below, above)
}

/// How far each backup that can be restored leads.
fn reach(
    restorable: &[(&Backup, Wal)],
    path: Option<&(&Path, Ranges)>,
    modified: impl Fn(&Path, u64) -> Option<DateTime<Utc>>,
) -> BTreeMap<String, DateTime<Utc>> {
    let end = |wal: &Wal| {
        let Wal::OnPath { first, complete_on_path: true, .. } = wal else { return None };
        let (path, held) = path?;
        modified(path, held.range_of(*first)?.1)
    };
    let of = |(backup, wal): &(&Backup, Wal)| {
        // A repository that was copied may have times from before the backups'.
        let end = end(wal).map_or(backup.stop, |end| end.max(backup.stop));
        (backup.label.clone(), end)
    };
    restorable.iter().map(of).collect()
}

/// From where to where recovery can go without a hole, starting from the newest backup that WAL can be replayed on.
fn window(
    restorable: &[(&Backup, Wal)],
    held: &Ranges,
    modified: impl Fn(u64) -> Option<DateTime<Utc>>,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let starts = restorable.iter().filter_map(|(backup, wal)| match wal {
        Wal::OnPath { first, complete_on_path: true, .. } => Some((*first, backup.stop)),
        _ => None,
    });
    let starts: Vec<(u64, DateTime<Utc>)> = starts.collect();
    let run = starts.iter().map(|(first, _)| *first).max().and_then(|first| held.range_of(first))?;
    let in_run = starts.iter().filter(|(first, _)| (run.0..=run.1).contains(first));
    let continuous_start = in_run.map(|(_, stop)| *stop).min()?;
    // A repository that was copied may have times from before the backups'.
    Some((continuous_start, modified(run.1)?.max(continuous_start)))
}
