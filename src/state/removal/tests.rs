//! What is removed, as `expire --dry-run` of pgBackRest answers; `host::expire` compares random histories.

use super::super::examples::{backup, day, offline};
use super::*;

const FULL: BackupType = BackupType::Full;

fn rules(full: Option<Retention>, diff: Option<u32>, archive: ArchiveRetention) -> Rules {
    Rules {
        full,
        diff,
        archive,
        is_refused_for_errors: true,
        wal_goes_with_full: false,
        database_id: Some(1),
    }
}

fn archive(backup_type: BackupType, count: usize) -> ArchiveRetention {
    ArchiveRetention::Backups { backup_type, count }
}

/// `FDI`: backups of one day each, each against the one before that it needs. They start in the segment of their number.
fn made(types: &str) -> Vec<Backup> {
    let (mut all, mut full, mut newest): (Vec<Backup>, String, String) = Default::default();
    for (at, letter) in types.chars().enumerate() {
        let own = format!("202601{:02}-000000{letter}", at + 1);
        let (label, prior) = match letter {
            'F' => (own, None),
            'D' => (format!("{full}_{own}"), Some(full.clone())),
            _ => (format!("{full}_{own}"), Some(newest.clone())),
        };
        if letter == 'F' {
            full.clone_from(&label);
        }
        newest.clone_from(&label);
        let number = i64::try_from(at).unwrap();
        let segment = u32::try_from(at).unwrap() + 1;
        let prior = prior.map(Arc::from);
        all.push(Backup { prior, ..backup(&label, day(number), segment) });
    }
    all
}

/// The places of the backups that are removed, and the numbers of the segments that are kept: those of a backup, and all from one
/// on.
fn removed(backups: &[Backup], rules: &Rules, at: i64) -> (Vec<usize>, Option<Vec<u32>>) {
    let kept: Vec<Kept<'_>> = backups.iter().map(Kept::of).collect();
    let removal = removal(&kept, rules, day(at));
    let place = |label: &Arc<str>| backups.iter().position(|backup| backup.label == *label).unwrap();
    let starts = |wal: KeptWal| wal.ranges.iter().map(|range| range.start.low).collect();
    (removal.backups.iter().map(place).collect(), removal.wal_kept.map(starts))
}

#[test]
fn full_backups_go_with_what_depends_on_them() {
    let count =
        |kept: u32| rules(Some(Retention::Count(kept)), None, archive(FULL, usize::try_from(kept).unwrap()));
    let backups = made("FIDIFIF");
    assert_eq!(removed(&backups, &count(1), 9), (vec![0, 1, 2, 3, 4, 5], Some(vec![7])));
    assert_eq!(removed(&backups, &count(2), 9), (vec![0, 1, 2, 3], Some(vec![5])));
    assert_eq!(removed(&backups, &count(3), 9), (vec![], Some(vec![1])));
    assert_eq!(removed(&backups, &count(4), 9), (vec![], None));
    assert_eq!(removed(&[], &count(1), 9), (vec![], None));
}

#[test]
fn full_backups_count_as_differential_ones() {
    let diff = |kept| rules(None, Some(kept), ArchiveRetention::Forever);
    let backups = made("FDIDFD");
    assert_eq!(removed(&backups, &diff(2), 9), (vec![1, 2, 3], None));
    assert_eq!(removed(&backups, &diff(3), 9), (vec![1, 2], None));
    assert_eq!(removed(&backups, &diff(9), 9), (vec![], None));
    // What goes with a full backup does not count.
    let both = rules(Some(Retention::Count(1)), Some(1), archive(BackupType::Diff, 1));
    assert_eq!(removed(&made("FDFDD"), &both, 9), (vec![0, 1, 3], Some(vec![3, 5])));
}

#[test]
fn by_time_the_newest_that_is_old_enough_stays() {
    let days = |archive| rules(Some(Retention::Days(3)), None, archive);
    let backups = made("FIFFF");
    assert_eq!(removed(&backups, &days(ArchiveRetention::All), 3), (vec![], None));
    // The first one is older than three days, and none is older than it.
    assert_eq!(removed(&backups, &days(ArchiveRetention::All), 4), (vec![], Some(vec![1])));
    assert_eq!(removed(&backups, &days(ArchiveRetention::All), 6), (vec![0, 1], Some(vec![3])));
    assert_eq!(removed(&backups, &days(archive(FULL, 1)), 6), (vec![0, 1], Some(vec![3, 4, 5])));
    let old = Rules { wal_goes_with_full: true, ..days(ArchiveRetention::All) };
    assert_eq!(removed(&backups, &old, 4), (vec![], None));
    assert_eq!(removed(&backups, &old, 6), (vec![0, 1], Some(vec![3])));
    assert_eq!(
        removed(&backups, &rules(Some(Retention::Days(u32::MAX)), None, archive(FULL, 1)), 99).0,
        Vec::<usize>::new()
    );
}

#[test]
fn wal_stays_from_the_oldest_of_so_many_backups_on() {
    let keep = |backup_type, count| rules(None, None, archive(backup_type, count));
    let backups = made("FDIFDI");
    for (backup_type, count, expected) in [
        (FULL, 1, Some(vec![1, 2, 3, 4])),
        (FULL, 2, Some(vec![1])),
        (FULL, 3, None),
        (BackupType::Diff, 1, Some(vec![1, 2, 3, 4, 5])),
        (BackupType::Diff, 3, Some(vec![1, 2])),
        (BackupType::Incr, 2, Some(vec![1, 2, 3, 4, 5])),
        (BackupType::Incr, 6, Some(vec![1])),
        (BackupType::Incr, 7, None),
    ] {
        assert_eq!(removed(&backups, &keep(backup_type, count), 9).1, expected, "{backup_type:?} {count}");
    }
    // An offline backup has no WAL to keep from.
    let mut offline_newest = made("FF");
    offline_newest.push(offline("20260103-000000F", day(2)));
    assert_eq!(removed(&offline_newest, &keep(FULL, 1), 9).1, None);
    assert_eq!(removed(&offline_newest, &keep(FULL, 2), 9).1, Some(vec![1, 2]));
    // Backups of a former database keep none of the current one.
    let mut upgraded = made("FF");
    upgraded[0].database_id = 7;
    assert_eq!(removed(&upgraded, &keep(FULL, 2), 9).1, Some(vec![2]));
    upgraded[1].database_id = 7;
    assert_eq!(removed(&upgraded, &keep(FULL, 2), 9).1, None);
}

#[test]
fn the_next_backup_is_counted_before_it_is_made() {
    let backups = made("FIF");
    let rules = rules(Some(Retention::Count(2)), None, archive(FULL, 1));
    let with = |backup_type| {
        let next = Kept::next(backup_type, &backups, day(5)).unwrap();
        let all: Vec<Kept<'_>> = backups.iter().map(Kept::of).chain([next]).collect();
        let removal = removal(&all, &rules, day(5));
        let ranges = removal.wal_kept.unwrap().ranges;
        (removal.backups.len(), ranges.len(), ranges.iter().any(|range| range.stop.is_none()))
    };
    // WAL stays from a start on that is not known yet.
    assert_eq!(with(FULL), (2, 1, false));
    assert_eq!(with(BackupType::Incr), (0, 3, true));
    assert_eq!(Kept::next(BackupType::Incr, &[], day(5)).map(|next| next.backup_type), None);
}

#[test]
fn page_checksum_errors_stop_a_run_that_would_remove_a_full_backup() {
    let mut backups = made("FF");
    backups[1].error = Some(true);
    let refusing = rules(Some(Retention::Count(1)), None, archive(FULL, 1));
    let run = |rules: &Rules| removal(&backups.iter().map(Kept::of).collect::<Vec<_>>(), rules, day(9));
    let refused = run(&refusing);
    assert_eq!((refused.refused_by.as_deref(), refused.backups.len()), (Some("20260102-000000F"), 0));
    assert!(refused.is_empty() && refused.wal_kept.is_none());
    assert_eq!(run(&Rules { is_refused_for_errors: false, ..refusing }).backups.len(), 1);
    let enough = Rules { full: Some(Retention::Count(2)), ..refusing };
    assert_eq!(run(&enough).refused_by, None);
}
