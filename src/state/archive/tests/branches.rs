//! Branches of history: which one is live, which one held a time, and where a plain restore ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};

use crate::pgbackrest::archive::{ArchiveId, DirectoryName, Parent, TimelineHistory};
use crate::pgbackrest::wal::{Lsn, SegmentSize, WalSegment};

use super::oracle::{facts, file, mib, needs};
use crate::state::archive::*;
use crate::state::backup::Backup;
use crate::state::examples::{day, repo, stanza};
use crate::state::health::of_repo;
use crate::state::recovery::window;
use crate::state::restore::{Doubt, RestoreTarget, start};

/// A timeline, its parents with the segments in which they were left, and when it began.
type History = (u32, Vec<(u32, u64)>, DateTime<Utc>);

/// An archive that is written minute by minute.
struct Made {
    size: SegmentSize,
    files: Vec<(u32, u64, DateTime<Utc>)>,
    histories: Vec<History>,
    backups: Vec<Backup>,
}

fn at(minute: i64) -> DateTime<Utc> {
    day(0) + Duration::minutes(minute)
}

impl Made {
    fn new() -> Self {
        Self { size: mib(16), files: Vec::new(), histories: Vec::new(), backups: Vec::new() }
    }

    /// Segments, one a minute from `minute` on.
    fn wal(mut self, timeline: u32, numbers: std::ops::RangeInclusive<u64>, minute: i64) -> Self {
        self.files.extend(numbers.zip(minute..).map(|(number, minute)| (timeline, number, at(minute))));
        self
    }

    /// A timeline that begins in the middle of a segment of its parent.
    fn fork(mut self, timeline: u32, parents: &[(u32, u64)], minute: i64) -> Self {
        self.histories.push((timeline, parents.to_vec(), at(minute)));
        self
    }

    /// A full backup that needs one segment and ends in that minute.
    fn backup(mut self, timeline: u32, number: u64, minute: i64) -> Self {
        let serial = self.backups.len() as u64;
        let made = needs(serial, timeline, number, number, self.size);
        self.backups.push(Backup { start: at(minute - 1), stop: at(minute), ..made });
        self
    }

    fn judged_with(&self, change: impl FnOnce(&mut Listing)) -> Continuity {
        let mut listing = Listing::new(ArchiveId::parse("15-1").unwrap(), day(9));
        let names: Vec<(String, DateTime<Utc>)> =
            self.files.iter().map(|(t, number, time)| (file(*t, *number, self.size), *time)).collect();
        let mut by_directory: BTreeMap<DirectoryName, Vec<ListedFile<'_>>> = BTreeMap::new();
        for (name, modified) in &names {
            let listed = ListedFile { name, size: 1 << 20, modified: *modified };
            by_directory.entry(DirectoryName::parse(&name[..16]).unwrap()).or_default().push(listed);
        }
        let timed = self.backups.iter().filter_map(|backup| backup.wal_stop).map(|stop| stop.low).collect();
        let expected = Expected { timed, ..Expected::default() };
        for (directory, files) in by_directory {
            listing.replace_directory(directory, DirectoryFacts::of(directory, files, day(9), &expected));
        }
        for (timeline, parents, time) in &self.histories {
            let parent = |(timeline, segment): &(u32, u64)| Parent {
                timeline: *timeline,
                switch: Lsn(segment * self.size.bytes() + 0x100_000),
            };
            let parents = parents.iter().map(parent).collect();
            listing.histories.insert(*timeline, TimelineHistory { timeline: *timeline, parents });
            listing.history_files.insert(*timeline, Some(*time));
        }
        listing.backup_directories =
            Some(self.backups.iter().map(|backup| backup.label.to_string()).collect());
        change(&mut listing);
        judge(&listing, &self.backups, facts(self.size, ArchiveRetention::All))
    }

    fn judged(&self) -> Continuity {
        self.judged_with(|_| ())
    }
}

fn states(found: &Continuity) -> Vec<(u32, BranchState)> {
    found.branches.iter().map(|branch| (branch.timeline, branch.state)).collect()
}

fn then(found: &Continuity, minute: i64) -> u32 {
    let (branch, is_certain) = found.branch_at(at(minute)).unwrap();
    assert!(is_certain);
    branch.timeline
}

use BranchState::{Abandoned, Foreign, Live};

/// Full backup in minute 2, commits until 10, then back to segment 5; timeline 2 begins in minute 20.
fn gone_back() -> Made {
    Made::new().wal(1, 1..=10, 1).backup(1, 2, 2).fork(2, &[(1, 5)], 20).wal(2, 5..=8, 21)
}

#[test]
fn a_time_belongs_to_the_branch_that_was_live_then() {
    let found = gone_back().judged();
    assert_eq!(states(&found), [(2, Live), (1, Abandoned)]);
    assert_eq!((then(&found, 8), then(&found, 19), then(&found, 21), then(&found, 23)), (1, 1, 2, 2));
    // The history is archived a little after the timeline began, and its time is cut off to a second.
    for (milliseconds, timeline) in [(-2_000, 1), (500, 2)] {
        let (branch, is_certain) = found.branch_at(at(20) + Duration::milliseconds(milliseconds)).unwrap();
        assert_eq!((branch.timeline, is_certain), (timeline, false));
    }
    let ends: Vec<_> = found.branches.iter().map(|branch| branch.end.unwrap()).collect();
    let lsn = |segment: u64| Some(Lsn(segment * mib(16).bytes()));
    let of_file = |minute, segment| {
        let at = at(minute);
        ReachEnd { at, is_of_file: true, latest: at, is_damage: false, lsn: lsn(segment) }
    };
    assert_eq!(ends, [of_file(24, 9), of_file(10, 11)]);
    assert_eq!((found.branches[0].until, found.branches[1].until), (None, Some(at(20))));
    assert_eq!(found.branches[0].fork, Some(Fork { timeline: 1, lsn: Lsn(5 * mib(16).bytes() + 0x100_000) }));
    assert_eq!(found.default_restore, Some(DefaultRestore::Live));
}

#[test]
fn a_backup_that_was_left_behind_makes_a_plain_restore_fail_until_the_next() {
    let left = gone_back().backup(1, 9, 9);
    let found = left.judged();
    assert_eq!(found.default_restore, Some(DefaultRestore::Fails { latest: 2 }));
    // It leads to the end of its own branch alone.
    let leads = |timeline: u32| {
        let branch = found.branches.iter().find(|branch| branch.timeline == timeline).unwrap();
        branch.reach.len()
    };
    assert_eq!((leads(2), leads(1)), (1, 2));
    assert_eq!(left.backup(2, 7, 24).judged().default_restore, Some(DefaultRestore::Live));
}

#[test]
fn a_copy_that_archives_is_foreign_as_soon_as_the_database_goes_on() {
    let copied = Made::new().wal(1, 1..=10, 1).backup(1, 2, 2).fork(2, &[(1, 10)], 12).wal(2, 10..=11, 13);
    // Until then nothing tells it from a standby that was promoted.
    assert_eq!(states(&copied.judged())[0], (2, Live));
    let found = copied.wal(1, 11..=20, 20).backup(1, 15, 24).judged();
    assert_eq!(states(&found), [(1, Live), (2, Foreign)]);
    assert_eq!(found.default_restore, Some(DefaultRestore::Fails { latest: 2 }));
    assert_eq!((then(&found, 13), then(&found, 25)), (1, 1));
    let path = found.path.unwrap();
    assert_eq!((path.timeline, path.latest_at_most, path.gaps), (1, Some(at(29)), 0));
}

#[test]
fn a_foreign_timeline_takes_nothing_over() {
    // A copy left timeline 1 where its archive ends, and then the database went back to an earlier point.
    let made = Made::new().wal(1, 1..=9, 1).backup(1, 2, 2).fork(2, &[(1, 10)], 8);
    let found = made.fork(3, &[(1, 5)], 30).wal(3, 5..=8, 31).judged();
    assert_eq!(states(&found), [(3, Live), (2, Foreign), (1, Abandoned)]);
    assert_eq!((then(&found, 15), then(&found, 32)), (1, 3));
}

#[test]
fn the_live_window_begins_after_a_branch_that_is_not_whole() {
    let start = |made: Made| made.judged().path.unwrap().continuous_start;
    assert_eq!(start(gone_back()), Some(at(2)));
    let mut holed = gone_back();
    holed.files.retain(|(timeline, number, _)| (*timeline, *number) != (1, 8));
    assert_eq!(
        start(holed),
        Some(at(20)),
        "what was committed on timeline 1 from then on cannot be restored"
    );
}

#[test]
fn a_promotion_that_lost_nothing_leaves_one_branch() {
    let found =
        Made::new().wal(1, 1..=9, 1).backup(1, 2, 2).fork(2, &[(1, 10)], 12).wal(2, 10..=12, 13).judged();
    assert_eq!(states(&found), [(2, Live)]);
    assert_eq!((then(&found, 5), then(&found, 20)), (2, 2));
}

#[test]
fn recovery_falls_back_where_the_first_segment_of_a_timeline_is_missing() {
    let made = Made::new().wal(1, 1..=10, 1).backup(1, 2, 2).fork(2, &[(1, 5)], 20);
    // Nothing of the new timeline has been archived, and the old one has the segment in which it was left.
    let found = made.judged();
    assert_eq!(states(&found), [(2, Live), (1, Abandoned)]);
    assert_eq!(found.default_restore, Some(DefaultRestore::Other { timeline: 1 }));
    let end = found.branches[0].end.unwrap();
    assert_eq!(
        (end.at, end.lsn),
        (at(2), Some(Lsn(5 * mib(16).bytes()))),
        "the time of segment 4 is not known"
    );
    assert_eq!(made.wal(2, 5..=5, 21).judged().default_restore, Some(DefaultRestore::Live));
}

#[test]
fn an_older_postgresql_stays_on_the_timeline_of_the_backup() {
    let made = gone_back();
    let mut listing = None;
    made.judged_with(|made| listing = Some(made.clone()));
    let old = DatabaseFacts { postgres_version: Some(11), ..facts(made.size, ArchiveRetention::All) };
    let found = judge(&listing.unwrap(), &made.backups, old);
    assert_eq!(found.default_restore, Some(DefaultRestore::Other { timeline: 1 }));
}

#[test]
fn a_history_that_is_lost_in_between_hides_what_follows() {
    let made = gone_back().fork(3, &[(1, 5), (2, 7)], 30).wal(3, 7..=9, 31);
    assert_eq!(made.judged().default_restore, Some(DefaultRestore::Live));
    let found = made.judged_with(|listing| _ = listing.history_files.remove(&2));
    assert_eq!(found.default_restore, Some(DefaultRestore::Other { timeline: 1 }));
}

#[test]
fn a_clock_that_is_behind_is_corrected_by_the_backups() {
    let mut made = Made::new().wal(1, 1..=10, 1).backup(1, 10, 10);
    made.files.iter_mut().for_each(|(.., time)| *time -= Duration::hours(2));
    let found = made.judged();
    // The backup takes a minute, in which its segment came.
    assert_eq!((found.clock_behind_seconds, found.has_unreliable_times), (Some(119 * 60), false));
    assert_eq!(found.path.unwrap().latest_at_most, Some(at(10)));
}

/// Within the second in which the timeline began, a time can belong to either branch.
#[test]
fn a_command_for_the_time_of_a_switch_is_not_proven() {
    let made = gone_back();
    let mut repo = repo(1, made.backups.clone());
    repo.wal = Some(Arc::new(made.judged()));
    let stanza = stanza(vec![repo]);
    let proof = |time| {
        let target = RestoreTarget { time, timeline: None };
        start(&stanza, target, day(9)).unwrap().proof.err()
    };
    let milliseconds = Duration::milliseconds;
    let found = [-9_000, -500, 500, 1_500].map(|after| proof(at(20) + milliseconds(after)));
    assert_eq!(found, [None, Some(Doubt::Branch), Some(Doubt::Branch), None]);
}

#[test]
fn a_clock_that_is_ahead_is_corrected_by_the_backups() {
    let mut made = gone_back().backup(2, 7, 24);
    let ahead = Duration::hours(2);
    made.files.iter_mut().for_each(|(.., time)| *time += ahead);
    made.histories.iter_mut().for_each(|(.., time)| *time += ahead);
    // Listed before the last files' times have come.
    let found = made.judged_with(|listing| listing.listed_at = at(40));
    assert_eq!((found.clock_behind_seconds, found.has_unreliable_times), (Some(-7200), false), "{found:?}");
    assert_eq!(states(&found)[0], (2, Live));
}

#[test]
fn a_clock_that_was_set_back_since_the_newest_backup_proves_no_time() {
    let mut made = gone_back().backup(2, 7, 24);
    let ahead = Duration::hours(2);
    // Only the last segment, which came after the backup, has its true time.
    made.files.iter_mut().rev().skip(1).for_each(|(.., time)| *time += ahead);
    let found = made.judged_with(|listing| listing.listed_at = at(40));
    assert!(found.has_unreliable_times);
    assert_eq!(states(&found)[0], (2, Live));
    // Nor that nothing was committed later.
    let end = found.branches[0].end.unwrap();
    assert!(end.at == at(24) && end.latest >= at(40), "{end:?}");
    assert_eq!(found.path.unwrap().latest_at_most, Some(at(24)));
}

#[test]
fn times_that_contradict_the_backups_choose_no_branch() {
    // Everything was copied in minute 5000, in the order of names.
    let mut made = gone_back().backup(1, 9, 9);
    made.files.iter_mut().for_each(|(.., time)| *time = at(5000));
    made.histories.iter_mut().for_each(|(.., time)| *time = at(5000));
    let found = made.judged();
    assert!(found.has_unreliable_times);
    // The newest backup is of timeline 1, which timeline 2 left before.
    assert_eq!(states(&found), [(1, Live), (2, Foreign)]);
    assert_eq!(found.path.unwrap().latest_at_most, Some(at(9)), "no time of a file proves more");
    assert_eq!(found.branches[0].end.unwrap().latest, at(5000));
    assert!(!found.branch_at(at(9)).unwrap().1, "which branch was live then is not certain");
    let found = made.backup(2, 7, 24).judged();
    assert_eq!(states(&found)[0], (2, Live));
    assert_eq!(found.began.get(&2), Some(&Some(at(23))), "it is older than its backup");
}

#[test]
fn of_two_timelines_archived_in_the_same_second_neither_is_known_to_be_live() {
    let tied = gone_back().wal(1, 11..=11, 24);
    let found = tied.judged();
    assert_eq!(found.tied_timeline, Some(1));
    assert_eq!(found.default_restore, None);
    assert!(!found.branch_at(at(24)).unwrap().1);
    assert_eq!(then(&found, 9), 1, "timeline 2 had not begun");
    let mut repo = repo(1, tied.backups);
    repo.wal = Some(Arc::new(found));
    assert!(!window(&repo).is_some_and(|window| window.verified));
    let findings = of_repo(&repo, day(9), None).findings;
    assert!(findings.iter().any(|one| one.text.contains("timelines 1 and 2")), "{findings:?}");
    // The next WAL tells.
    let found = gone_back().wal(1, 11..=12, 24).judged();
    assert_eq!((found.tied_timeline, states(&found)[0]), (None, (1, Live)));
    // What leads to the live timeline does not compete with it.
    let promoted = Made::new().wal(1, 1..=4, 1).backup(1, 2, 2).fork(2, &[(1, 5)], 4).judged();
    assert_eq!((promoted.tied_timeline, states(&promoted)), (None, vec![(2, Live)]));
}

#[test]
fn files_and_backups_of_the_future_prove_no_time() {
    let mut made = Made::new().wal(1, 1..=10, 1).backup(1, 2, 2);
    made.files[9].2 = day(9999);
    let found = made.judged();
    let end = found.branches[0].end.unwrap();
    assert!(end.at == at(2) && end.latest >= day(9), "it is unknown when the file arrived: {end:?}");
    assert_eq!((found.future, found.path.unwrap().latest_at_most), (1, Some(at(2))));
    let mut ahead = Made::new().wal(1, 1..=10, 1).backup(1, 2, 2).backup(1, 4, 4);
    ahead.backups[1].stop = day(400);
    let found = ahead.judged_with(|listing| listing.retain_directories(|_| true));
    assert_eq!(found.path.unwrap().latest_at_most, Some(at(10)));
    assert_eq!(found.branches[0].reach.len(), 1);
}

#[test]
fn a_segment_of_a_wrong_size_is_as_good_as_missing() {
    let made = Made::new().wal(1, 1..=10, 1).backup(1, 2, 2);
    let found = made.judged_with(|listing| {
        let directory = DirectoryName { timeline: 1, high: 0 };
        let mut facts = listing.directory(directory).unwrap().clone();
        facts.wrong_sizes = [6].into();
        listing.replace_directory(directory, facts);
    });
    // As it is listed, so that the time of what is before it is known.
    let listed = |size: u64| {
        let names = [5, 6, 7].map(|number| file(1, number, mib(16)));
        let sizes = [1 << 20, size, 1 << 20];
        let files: Vec<ListedFile<'_>> = names
            .iter()
            .zip(sizes)
            .zip(5..)
            .map(|((name, size), minute)| ListedFile { name, size, modified: at(minute) })
            .collect();
        let directory = DirectoryName { timeline: 1, high: 0 };
        DirectoryFacts::of(directory, files, day(9), &Expected::default()).runs
    };
    assert_eq!((listed(1 << 20).len(), listed(0).len()), (1, 3));
    assert_eq!(listed(0)[0].last_modified, at(5));
    let segment = WalSegment { timeline: 1, high: 0, low: 6 };
    assert_eq!(found.path.unwrap().latest_lsn, segment.start_lsn(mib(16)));
    assert_eq!((found.wrong_sizes, found.missing(), found.segments), (1, 1, 10));
}

/// What was made between them and never archived, or expired, belongs to no window.
#[test]
fn a_gap_on_a_branch_that_was_left_is_in_no_window() {
    // Timeline 2 has a gap between its segment 7 and the backup of minute 24; timeline 3 leaves timeline 1 at segment 5.
    let made = gone_back().wal(2, 10..=12, 24).backup(2, 10, 25).fork(3, &[(1, 5)], 30).wal(3, 5..=9, 31);
    let found = made.judged();
    assert_eq!(states(&found), [(3, Live), (2, Abandoned), (1, Abandoned)]);
    assert_eq!(found.branches[0].continuous_start, Some(at(25)));
}

#[test]
fn before_a_plain_file_of_a_wrong_size_nothing_is_proven() {
    let proof = |stopping: &[u32]| {
        let made = Made::new().wal(1, 1..=10, 1).backup(1, 2, 3);
        let found = made.judged_with(|listing| {
            let directory = DirectoryName { timeline: 1, high: 0 };
            let mut facts = listing.directory(directory).unwrap().clone();
            let low = |first, last, at| Run { first, last, last_modified: at };
            facts.runs = [low(1, 5, at(5)), low(6, 6, at(6)), low(7, 10, at(10))].into();
            (facts.wrong_sizes, facts.stopping) = ([6].into(), stopping.into());
            listing.replace_directory(directory, facts);
        });
        let mut repo = repo(1, made.backups);
        repo.wal = Some(Arc::new(found));
        let target = RestoreTarget { time: at(4), timeline: None };
        start(&stanza(vec![repo]), target, day(9)).map(|start| start.proof.err())
    };
    assert_eq!(proof(&[]), Ok(None));
    assert_eq!(proof(&[6]), Ok(Some(Doubt::Damage)));
}
