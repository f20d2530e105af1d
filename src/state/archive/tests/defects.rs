//! Answers that other checks of WAL archives get wrong, each with the right one.

use crate::pgbackrest::archive::{Parent, TimelineHistory};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::{Lsn, SegmentSize, infer_segment_size};

use super::oracle::{facts, file, listing, mib, needs};
use crate::state::archive::*;
use crate::state::backup::Backup;
use crate::state::examples::{backup, day, offline};

const ALL: ArchiveRetention = ArchiveRetention::All;

fn history(timeline: u32, parents: &[(u32, u64)]) -> TimelineHistory {
    let parent = |(timeline, switch): &(u32, u64)| Parent { timeline: *timeline, switch: Lsn(*switch) };
    TimelineHistory { timeline, parents: parents.iter().map(parent).collect() }
}

fn files(ranges: &[(u32, u64, u64)], size: SegmentSize) -> Vec<String> {
    let of = |(timeline, first, last): &(u32, u64, u64)| {
        let timeline = *timeline;
        (*first..=*last).map(move |number| file(timeline, number, size))
    };
    ranges.iter().flat_map(of).collect()
}

/// Judges with backup directories that are all there.
fn judged(
    files: &[String],
    histories: Vec<TimelineHistory>,
    backups: &[Backup],
    size: SegmentSize,
) -> Continuity {
    let mut listing = listing(files, histories, size);
    listing.backup_directories = Some(backups.iter().map(|backup| backup.label.to_string()).collect());
    judge(&listing, backups, facts(size, ALL))
}

fn on_path(found: &Continuity) -> PathContinuity {
    found.path.expect("a path")
}

#[test]
fn a_partial_and_backup_files_do_not_hide_a_gap() {
    let size = mib(16);
    let mut names = files(&[(1, 1, 0x1C), (1, 0x1E, 0x1F)], size);
    let missing = file(1, 0x1D, size);
    names.push(missing.replace('-', ".partial-"));
    names.push(format!("{}.00000028.backup", &missing[..24]));
    let found = judged(&names, vec![], &[needs(1, 1, 2, 3, size)], size);
    assert_eq!((on_path(&found).missing_new, on_path(&found).gaps), (1, 1));
    assert_eq!(
        on_path(&found).latest_at_most,
        judged(&files(&[(1, 1, 0x1C)], size), vec![], &[needs(1, 1, 2, 3, size)], size)
            .path
            .unwrap()
            .latest_at_most
    );
}

#[test]
fn b_an_offline_backup_needs_no_wal() {
    let found = judged(&[], vec![], &[offline("20260101-000000F", day(1))], mib(16));
    assert_eq!((found.missing_backup, found.unrestorable.wal), (0, 0));
    assert_eq!((found.earliest, found.path), (Some(day(1)), None));
}

#[test]
fn c_timelines_are_a_tree() {
    let size = mib(16);
    let names = files(&[(1, 1, 5), (2, 4, 6), (3, 5, 9)], size);
    let histories = vec![history(2, &[(1, 4 << 24)]), history(3, &[(1, (5 << 24) + 100)])];
    let found = judged(&names, histories, &[needs(1, 1, 2, 2, size)], size);
    let path = on_path(&found);
    assert_eq!((path.timeline, path.orphan_timelines, path.gaps), (3, 1, 0));
    assert_eq!(path.continuous_start, Some(needs(1, 1, 2, 2, size).stop));
}

#[test]
fn d_and_e_every_segment_size_is_right_by_itself() {
    for size in SegmentSize::all() {
        let one = needs(1, 1, 2, 3, size);
        let pair = (one.lsn_start.unwrap(), one.wal_start.unwrap());
        assert!(infer_segment_size([pair]).is_none_or(|inferred| inferred == size));
        // The switch lies in segment 7, whatever the size.
        let names = files(&[(1, 1, 6), (2, 7, 9)], size);
        let found = judged(&names, vec![history(2, &[(1, 7 * size.bytes() + 0xD8)])], &[one], size);
        assert_eq!((on_path(&found).gaps, found.segments), (0, 9), "{size:?}");
    }
}

#[test]
fn f_each_repo_is_judged_alone() {
    let size = mib(16);
    let backups = [needs(1, 1, 2, 3, size)];
    let whole = judged(&files(&[(1, 1, 9)], size), vec![], &backups, size);
    let holed = judged(&files(&[(1, 1, 5), (1, 7, 9)], size), vec![], &backups, size);
    assert_eq!((on_path(&whole).gaps, on_path(&holed).gaps), (0, 1));
}

#[test]
fn g_database_ids_are_numbers() {
    let size = mib(16);
    let of = |database_id| Backup { database_id, ..needs(database_id, 1, 2, 3, size) };
    let mut tenth = listing(&files(&[(1, 2, 3)], size), vec![], size);
    tenth.archive.database_id = 10;
    let found = judge(&tenth, &[Backup { stop: day(-1), ..of(9) }, of(10)], facts(size, ALL));
    assert_eq!(found.earliest, Some(of(10).stop));
}

#[test]
fn h_a_directory_without_holes_is_one_run() {
    let size = mib(1);
    let listing = listing(&files(&[(1, 0, 4095)], size), vec![], size);
    assert_eq!(listing.directories().map(|(_, facts)| facts.runs.len()).collect::<Vec<_>>(), [1]);
}

#[test]
fn i_what_expire_removed_is_not_missing() {
    let size = mib(16);
    let backups = [needs(1, 1, 2, 3, size), needs(2, 1, 8, 8, size)];
    let listing = listing(&files(&[(1, 2, 3), (1, 8, 12)], size), vec![], size);
    let of = |retention| on_path(&judge(&listing, &backups, facts(size, retention)));
    let one = ArchiveRetention::Backups { backup_type: BackupType::Full, count: 1 };
    for retention in [one, ArchiveRetention::Unknown] {
        let path = of(retention);
        assert_eq!((path.missing_expired, path.missing_old, path.gaps), (4, 0, 0));
        assert_eq!(path.continuous_start, Some(backups[1].stop));
    }
    assert_eq!((of(ALL).missing_expired, of(ALL).missing_old, of(ALL).gaps), (0, 4, 1));
}

#[test]
fn j_a_segment_with_two_checksums_is_reported() {
    let size = mib(16);
    let mut names = files(&[(1, 1, 4)], size);
    names.push(names[2].replace("-0", "-f"));
    let found = judged(&names, vec![], &[needs(1, 1, 1, 2, size), needs(2, 1, 2, 3, size)], size);
    assert_eq!((found.duplicates, found.segments, found.missing()), (1, 4, 0));
    // It is there, but recovery cannot have it.
    assert_eq!((found.unrestorable.wal, found.restorable.len()), (1, 1));
    let whole = judged(&files(&[(1, 1, 2)], size), vec![], &[needs(1, 1, 1, 2, size)], size);
    assert_eq!(on_path(&found).latest_at_most, on_path(&whole).latest_at_most);
}

#[test]
fn k_an_idle_database_has_no_gap() {
    let size = mib(16);
    let found = judged(&files(&[(1, 1, 3)], size), vec![], &[needs(1, 1, 2, 3, size)], size);
    assert_eq!((on_path(&found).gaps, on_path(&found).missing_new), (0, 0));
    assert_eq!(found.listed_at, day(9));
}

#[test]
fn nothing_is_proven_without_the_history_or_the_directories() {
    let size = mib(16);
    let backups = [needs(1, 1, 2, 3, size)];
    let names = files(&[(1, 1, 4), (2, 5, 9)], size);
    let found = judged(&names, vec![], &backups, size);
    assert_eq!((found.path, found.missing_histories, found.is_proven()), (None, 1, false));
    let unlisted = listing(&files(&[(1, 1, 4)], size), vec![], size);
    let found = judge(&unlisted, &backups, facts(size, ALL));
    assert_eq!((found.unrestorable.directory, found.is_proven()), (None, false));
}

#[test]
fn files_that_are_gone_make_backups_unrestorable() {
    let size = mib(16);
    let full = needs(1, 1, 2, 3, size);
    let label = format!("{}_20260102-000000I", full.label);
    let incr = Backup { prior: Some(full.label.clone()), ..backup(&label, day(1), 5) };
    let mut listing = listing(&files(&[(1, 1, 9)], size), vec![], size);
    listing.backup_directories = Some([label].into());
    let found = judge(&listing, &[full, incr], facts(size, ALL));
    assert_eq!((found.unrestorable.directory, found.unrestorable.reference), (Some(1), 1));
    assert_eq!((found.earliest, on_path(&found).continuous_start), (None, None));
}
