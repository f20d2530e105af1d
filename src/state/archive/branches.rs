//! The archive as a tree of timelines: which branches of history there are, which one is live, and how far each leads.
//!
//! A timeline begins where a standby is promoted or a restore ends. WAL that was written to its parent after that point is another
//! branch. In PostgreSQL, the number of its last timeline identifies a branch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::wal::{Lsn, SegmentSize, WalSegment};

use super::super::backup::Backup;
use super::backups::{Files, Wal, wal};
use super::clock::Clock;
use super::listing::{CLOCK_TOLERANCE, Listing};
use super::path::{Fork, Path};
use super::ranges::Ranges;
use super::segments::Segments;

/// Maximum number of branches besides the live one; the newest are kept.
const MAX_BRANCHES: usize = 32;

/// The state of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BranchState {
    /// The database is on this branch.
    Live,
    /// The database was on this branch, and continued on another one.
    Abandoned,
    /// The database continued to archive an older timeline, so another server archived this one: a copy that was restored with
    /// archiving enabled, or a standby that was promoted by mistake.
    Foreign,
}

impl BranchState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Live, Self::Abandoned, Self::Foreign];

    /// The label value, also for display.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Abandoned => "abandoned",
            Self::Foreign => "foreign",
        }
    }
}

/// The history that ends with one timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// Its last timeline.
    pub timeline: u32,
    /// All timelines that it goes through, oldest first.
    pub timelines: Vec<u32>,
    /// Those of them that it includes completely.
    pub continues: Vec<u32>,
    /// Where that branched off from its parent; None for the first timeline.
    pub fork: Option<Fork>,
    /// Its state.
    pub state: BranchState,
    /// When its last timeline began; None for the first timeline, and if unknown.
    pub began: Option<DateTime<Utc>>,
    /// When the repository received its last segment, by the clock of the PostgreSQL host.
    pub last_archived: Option<DateTime<Utc>>,
    /// Backups from which recovery can follow the branch, with the end of the WAL that follows each.
    pub reach: BTreeMap<Arc<str>, ReachEnd>,
    /// Stop of the backup from which every later instant of the branch can be restored.
    pub continuous_start: Option<DateTime<Utc>>,
    /// The end of that.
    pub end: Option<ReachEnd>,
    /// Position after the last existing segment, whether or not any backup leads to it.
    pub last_lsn: Option<Lsn>,
    /// When the database left it for the next timeline; None for the live branch and for foreign ones.
    pub until: Option<DateTime<Utc>>,
}

impl Branch {
    /// Whether a backup leads to the last existing segment.
    fn is_whole(&self) -> bool {
        self.reach.values().any(|end| self.is_at_last(end))
    }

    /// The end of the period on this branch that cannot be restored.
    fn broken_until(&self) -> Option<DateTime<Utc>> {
        let until = self.until?;
        if !self.is_whole() {
            return Some(until);
        }
        self.continuous_start.filter(|start| self.began.is_none_or(|began| *start > began))
    }

    /// Nothing follows that end, so it covers all the time until the database left the branch.
    #[must_use]
    pub fn is_at_last(&self, end: &ReachEnd) -> bool {
        end.lsn.is_some() && end.lsn == self.last_lsn
    }
}

/// How far WAL leads without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ReachEnd {
    /// Proven up to this time; the last commit may be earlier.
    pub at: DateTime<Utc>,
    /// Whether that is the time of a file, in whole seconds. Otherwise it is the stop of a backup.
    pub is_of_file: bool,
    /// It contains no commits after this time. Later than `at` if the time of the last file is uncertain.
    pub latest: DateTime<Utc>,
    /// PostgreSQL stops with an error there: the next file is neither compressed nor encrypted, and has a wrong size.
    pub is_damage: bool,
    /// Position after the last segment.
    pub lsn: Option<Lsn>,
}

/// Timelines with their existing segments.
pub(super) struct Tree<'a> {
    listing: &'a Listing,
    clock: Clock,
    size: SegmentSize,
    /// Usable segments.
    usable: &'a BTreeMap<u32, Ranges>,
    /// All segments.
    held: &'a BTreeMap<u32, Ranges>,
    /// By last timeline.
    paths: BTreeMap<u32, Path>,
    /// When the last segment of each timeline arrived, by the clock of the PostgreSQL host.
    newest: BTreeMap<u32, DateTime<Utc>>,
    /// The last sign of each timeline.
    activity: BTreeMap<u32, DateTime<Utc>>,
    began: BTreeMap<u32, DateTime<Utc>>,
}

impl<'a> Tree<'a> {
    /// `held` are all existing segments, `usable` those that recovery can use.
    pub(super) fn new(
        listing: &'a Listing,
        backups: &[&Backup],
        held: &'a BTreeMap<u32, Ranges>,
        usable: &'a BTreeMap<u32, Ranges>,
        size: SegmentSize,
    ) -> Self {
        let clock = Clock::of(backups, listing);
        let known: BTreeSet<u32> = held.keys().chain(listing.history_files.keys()).copied().collect();
        let path = |timeline: &u32| Path::to(*timeline, listing.histories.get(timeline), size);
        let paths = known.iter().filter_map(|timeline| Some((*timeline, path(timeline)?))).collect();
        let newest = clock.newest(listing);
        let mut activity = newest.clone();
        let mut began = BTreeMap::new();
        for (timeline, time) in &listing.history_files {
            let Some(time) = time.and_then(|time| clock.correct(time)) else { continue };
            let last = activity.entry(*timeline).or_insert(time);
            *last = time.max(*last);
            if clock.is_reliable {
                began.insert(*timeline, time);
            }
        }
        // A timeline is older than its backups.
        for backup in backups {
            let Some(start) = backup.wal_start.filter(|start| start.timeline > 1) else { continue };
            let first = began.entry(start.timeline).or_insert(backup.start);
            *first = backup.start.min(*first);
        }
        Self { listing, clock, size, usable, held, paths, newest, activity, began }
    }

    /// The timeline that the database is on: the one that was archived last, or if the times of files cannot be trusted, the
    /// newest one that continues from the newest backup.
    pub(super) fn live(&self, backups: &[&Backup]) -> Option<u32> {
        let known = || self.usable.keys().chain(self.listing.history_files.keys()).copied();
        let by_time = || {
            let last = self.activity.iter().max_by_key(|(timeline, time)| (**time, **timeline));
            last.map(|(timeline, _)| *timeline)
        };
        let by_backup = || {
            let newest = backups.iter().filter(|backup| backup.wal_stop.is_some());
            let newest = newest.max_by_key(|backup| backup.stop)?;
            let stop = newest.wal_stop?;
            let goes_on = |path: &&Path| path.holds_backup(stop, newest.lsn_stop, self.size);
            self.paths.values().rev().find(goes_on).and_then(Path::timeline)
        };
        let found = if self.clock.is_reliable { by_time() } else { by_backup().or_else(by_time) };
        found.or_else(|| known().max())
    }

    /// Another timeline that received WAL in the same second as the live one, and does not lead to it: file times do not show which
    /// of the two is live.
    pub(super) fn tied_with(&self, live: u32) -> Option<u32> {
        let (path, last) = (self.paths.get(&live)?, self.activity.get(&live)?);
        let is_tied = |(timeline, time): &(&u32, &DateTime<Utc>)| {
            **timeline != live && *time == last && !path.goes_through(**timeline, self.usable.get(*timeline))
        };
        let tied = || self.activity.iter().rev().find(is_tied).map(|(timeline, _)| *timeline);
        self.clock.is_reliable.then(tied)?
    }

    /// Usable segments by timeline.
    pub(super) const fn usable(&self) -> &BTreeMap<u32, Ranges> {
        self.usable
    }

    /// The path to a timeline.
    pub(super) fn path(&self, timeline: u32) -> Option<&Path> {
        self.paths.get(&timeline)
    }

    /// When the database began each of its timelines; None if unknown.
    pub(super) fn began(&self, branches: &[Branch]) -> BTreeMap<u32, Option<DateTime<Utc>>> {
        let own = branches.iter().filter(|branch| branch.state != BranchState::Foreign);
        own.flat_map(|branch| &branch.timelines).map(|t| (*t, self.began.get(t).copied())).collect()
    }

    /// When the last segment of each timeline arrived, by the clock of the PostgreSQL host.
    pub(super) const fn newest(&self) -> &BTreeMap<u32, DateTime<Utc>> {
        &self.newest
    }

    /// The clock of the repository.
    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    /// The branches, live first, then the newest.
    pub(super) fn branches(&self, backups: &[(&Backup, Files)], live: Option<u32>) -> Vec<Branch> {
        let live = live.and_then(|live| self.paths.get(&live));
        let is_foreign = |path: &Path| {
            path.timeline().is_some_and(|timeline| self.state(timeline, live) == BranchState::Foreign)
        };
        let own: Vec<&Path> = self.paths.values().filter(|path| !is_foreign(path)).collect();
        let is_other = |path: &&Path| {
            let Some(timeline) = path.timeline() else { return false };
            let held = self.usable.get(&timeline);
            // A timeline that another one of the database continues completely is not a separate branch.
            live.and_then(Path::timeline) != Some(timeline)
                && !own.iter().any(|other| other.goes_through(timeline, held))
        };
        let others = self.paths.values().rev().filter(is_other).take(MAX_BRANCHES);
        let branches = live.into_iter().chain(others);
        let mut branches: Vec<Branch> =
            branches.filter_map(|path| self.branch(path, backups, live)).collect();
        let began = self.began(&branches);
        for branch in branches.iter_mut().filter(|branch| branch.state == BranchState::Abandoned) {
            let next = branch.timeline.checked_add(1).and_then(|next| began.range(next..).next());
            branch.until = next.and_then(|(_, began)| *began);
        }
        // The live window includes branches that the database was on before: it begins after the part of them that cannot be
        // restored.
        let broken = branches.iter().filter_map(Branch::broken_until).max();
        if let Some(live) = branches.first_mut().filter(|branch| branch.state == BranchState::Live) {
            let end = live.end.map(|end| end.at);
            let first = live.continuous_start.map(|start| broken.map_or(start, |broken| broken.max(start)));
            live.continuous_start = first.map(|first| end.map_or(first, |end| end.min(first)));
        }
        branches
    }

    fn branch(&self, path: &Path, backups: &[(&Backup, Files)], live: Option<&Path>) -> Option<Branch> {
        let timeline = path.timeline()?;
        let segments = Segments::new(self.usable, Some(path));
        let (_, held) = segments.on_path.as_ref()?;
        let mut starts = Vec::new();
        for (backup, files) in backups {
            let is_dated = backup.stop <= self.listing.listed_at + CLOCK_TOLERANCE;
            if let Wal::OnPath { first, complete_on_path: true, .. } =
                wal(backup, &segments, self.listing, self.size)
                && files.are_there()
                && is_dated
            {
                starts.push((*backup, first));
            }
        }
        let runs: BTreeMap<u64, ReachEnd> = {
            let mut stops: BTreeMap<u64, DateTime<Utc>> = BTreeMap::new();
            for (backup, first) in &starts {
                let Some((_, last)) = held.range_of(*first) else { continue };
                let stop = stops.entry(last).or_insert(backup.stop);
                *stop = backup.stop.max(*stop);
            }
            stops.into_iter().map(|(last, stop)| (last, self.end(path, last, stop))).collect()
        };
        let end = |first: u64| held.range_of(first).and_then(|(_, last)| runs.get(&last)).copied();
        let newest = starts.iter().map(|(_, first)| *first).max();
        let run = newest.and_then(|newest| held.range_of(newest));
        let in_run = |first: u64| run.is_some_and(|(begin, last)| (begin..=last).contains(&first));
        Some(Branch {
            timeline,
            timelines: path.timelines().collect(),
            continues: path.timelines().filter(|t| path.goes_through(*t, self.usable.get(t))).collect(),
            fork: path.fork(),
            state: self.state(timeline, live),
            began: self.began.get(&timeline).copied(),
            last_archived: self.newest.get(&timeline).copied(),
            reach: starts.iter().filter_map(|(b, first)| Some((b.label.clone(), end(*first)?))).collect(),
            continuous_start: starts.iter().filter(|(_, first)| in_run(*first)).map(|(b, _)| b.stop).min(),
            end: newest.and_then(end),
            last_lsn: path.held(self.held).last().and_then(|last| self.end_lsn(timeline, last)),
            until: None,
        })
    }

    /// The end of a run of segments in which a backup stops.
    fn end(&self, path: &Path, last: u64, stop: DateTime<Utc>) -> ReachEnd {
        let is_damage = path.stops_after(last, self.listing, self.size);
        let bounds = path.modified(last, self.listing, self.size).map(|time| self.clock.bounds(time));
        let time = bounds.and_then(|bounds| bounds.earliest).filter(|time| *time >= stop && !is_damage);
        ReachEnd {
            at: time.unwrap_or(stop),
            is_of_file: time.is_some(),
            is_damage,
            // A copied file is newer than its contents, so its time is still a limit.
            latest: bounds.map_or(stop, |bounds| bounds.latest.max(stop)),
            lsn: path.timeline().and_then(|timeline| self.end_lsn(timeline, last)),
        }
    }

    fn end_lsn(&self, timeline: u32, number: u64) -> Option<Lsn> {
        WalSegment::from_number(timeline, number, self.size)?.end_lsn(self.size)
    }

    fn state(&self, timeline: u32, live: Option<&Path>) -> BranchState {
        let Some(live) = live else { return BranchState::Abandoned };
        if live.timeline() == Some(timeline) {
            return BranchState::Live;
        }
        let last = self.activity.get(&timeline);
        let mut older = live.timelines().filter(|older| *older < timeline);
        // If both arrived in the same second, the database is on the one that left the parent later.
        let fork = self.paths.get(&timeline).and_then(Path::fork);
        let left_later = |older: u32| {
            fork.is_some_and(|fork| {
                fork.timeline == older && live.leaves(older).is_none_or(|left| fork.lsn < left)
            })
        };
        let goes_on = |older: u32| {
            let on_older = self.activity.get(&older);
            self.clock.is_reliable && (on_older > last || (on_older == last && left_later(older)))
        };
        let is_newer = !self.clock.is_reliable && live.timeline().is_some_and(|live| live < timeline);
        if older.any(goes_on) || is_newer { BranchState::Foreign } else { BranchState::Abandoned }
    }
}
