//! Outputs of pgBackRest 2.45 to 2.60, shortened.

use super::*;
use crate::pgbackrest::wal::WalSegment;

const FULL: &str = "20260101-000000F";

fn archive(id: &str, files: FileCounts) -> ArchiveReport {
    ArchiveReport { id: ArchiveId::parse(id).unwrap(), files }
}

fn counts(checked: u64, valid: u64) -> FileCounts {
    FileCounts { checked, valid, ..FileCounts::default() }
}

#[test]
fn a_result_is_read() {
    let text = "stanza: demo\n\
                status: error\n\
                \x20 archiveId: 14-1, total WAL checked: 0, total valid WAL: 0\n\
                \x20 archiveId: 15-2, total WAL checked: 9, total valid WAL: 6\n\
                \x20   missing: 1, checksum invalid: 1, size invalid: 1, other: 0\n\
                \x20 backup: 20260101-000000F, status: valid, total files checked: 970, total valid files: 970\n\
                \x20   missing: 0, checksum invalid: 0, size invalid: 0, other: 0\n\
                \x20 backup: 20260101-000000F_20260102-000000D, status: manifest missing, total files checked: 0, total valid files: 0\n\
                \x20 backup: 20260101-000000F_20260103-000000I, status: invalid, total files checked: 970, total valid files: 968\n\
                \x20   missing: 1, other: 1\n\
                \x20 backup: 20260104-000000F, status: in-progress, total files checked: 0, total valid files: 0\n";
    let report = Report::parse(text.as_bytes()).unwrap();
    let wal = FileCounts { missing: 1, checksum: 1, size: 1, ..counts(9, 6) };
    assert_eq!(report.archives, [archive("14-1", counts(0, 0)), archive("15-2", wal)]);
    let backups: Vec<_> =
        report.backups.iter().map(|backup| (&*backup.label, backup.status, backup.files)).collect();
    assert_eq!(
        backups,
        [
            (FULL, BackupStatus::Valid, counts(970, 970)),
            ("20260101-000000F_20260102-000000D", BackupStatus::ManifestMissing, counts(0, 0)),
            (
                "20260101-000000F_20260103-000000I",
                BackupStatus::Invalid,
                FileCounts { missing: 1, other: 1, ..counts(970, 968) }
            ),
            ("20260104-000000F", BackupStatus::InProgress, counts(0, 0)),
        ]
    );
    assert_eq!((&*report.stanza, report.status, report.obstacle), ("demo", Some(Status::Error), None));
    assert!(report.is_understood());
    assert_eq!(wal.faulty(), 3);
}

#[test]
fn warnings_before_the_result_are_no_part_of_it() {
    let text = "P00   WARN: configuration file contains invalid option 'x'\n\
                stanza: demo\nstatus: ok\n  archiveId: none found\n  backup: none found\n";
    let report = Report::parse(text.as_bytes()).unwrap();
    assert!(report.is_understood() && report.status == Some(Status::Ok));
    for nothing in ["", "\n", "status: ok\n", "P00  ERROR: [055]: x"] {
        assert_eq!(Report::parse(nothing.as_bytes()), None, "{nothing}");
    }
}

#[test]
fn what_prevented_it_is_read() {
    let mismatch = "backup info file and archive info file do not match\n\
                    archive: id = 1, version = 15, system-id = 1\n\
                    backup : id = 2, version = 15, system-id = 2\n\
                    HINT: this may be a symptom of repository corruption!";
    for (rest, obstacle) in [
        ("  No usable backup.info file\n  No usable archive.info file", Obstacle::BackupInfo),
        ("  No usable archive.info file", Obstacle::ArchiveInfo),
        (mismatch, Obstacle::Mismatch),
        ("archive and backup history lists do not match", Obstacle::Mismatch),
        ("    no archives or backups exist in the repo", Obstacle::Empty),
        ("  backup set 20200102-000000F is not valid", Obstacle::Set),
        ("  'x' is not a valid backup label format", Obstacle::Set),
    ] {
        let report = Report::parse(format!("stanza: demo\nstatus: error\n{rest}\n").as_bytes()).unwrap();
        assert_eq!(report.obstacle, Some(obstacle), "{rest}");
        assert!(report.is_understood(), "{rest}");
    }
}

#[test]
fn what_is_not_known_is_counted() {
    for line in [
        "  backup: 20260101-000000F, status: splendid, total files checked: 1, total valid files: 1",
        "  backup: x, status: valid, total files checked: 1, total valid files: 1",
        "  archiveId: 15-1, total WAL checked: -1, total valid WAL: 1",
        "  archiveId: 15-1, total WAL checked: 99999999999, total valid WAL: 1",
        "    missing: 1",
        "something else",
    ] {
        let report = Report::parse(format!("stanza: demo\nstatus: ok\n{line}\n").as_bytes()).unwrap();
        assert_eq!((report.unknown_lines, report.is_understood()), (1, false), "{line}");
    }
    let report = Report::parse(b"stanza: demo\nstatus: splendid\n").unwrap();
    assert!(!report.is_understood());
}

#[test]
fn the_log_names_files() {
    let text = "P00   INFO: verify command begin 2.45: --stanza=demo\n\
                P01   WARN: file missing '15-1/0000000100000000/000000010000000000000002-6b2c.gz'\n\
                P01   INFO: invalid checksum '20260101-000000F/pg_data/base/1/2619'\n\
                P02   INFO: invalid checksum '20260101-000000F/bundle/1'\n\
                P02   INFO: invalid checksum '20260101-000000F/bundle/1'\n\
                P01   INFO: invalid size '20260101-000000F/pg_data/PG_VERSION'\n\
                P01   INFO: invalid result 15-1/0000000100000000/000000010000000000000003-6b2c.gz: [29] zlib threw error: [-3] data error\n\
                P00   INFO: duplicate WAL '000000010000000000000004' for '15-1' exists, skipping\n\
                P00 DETAIL: archiveId: 15-1, wal start: 000000010000000000000001, wal stop: 000000010000000000000003\n\
                P00 DETAIL: archiveId: 15-1, wal start: 000000010000000000000005, wal stop: 000000010000000000000009\n\
                P00 DETAIL: archiveId: 15-1, wal start: 000000020000000000000009, wal stop: 00000002000000000000000A\n\
                P00  ERROR: [029]: unexpected WAL magic 1\n\
                \x20           HINT: is it supported?\n";
    let log = Log::parse(text.as_bytes());
    let files: Vec<_> = log.files.iter().map(|file| (&*file.path, file.fault)).collect();
    assert_eq!(
        files,
        [
            ("15-1/0000000100000000/000000010000000000000002-6b2c.gz", LogFault::Missing),
            ("20260101-000000F/pg_data/base/1/2619", LogFault::Checksum),
            ("20260101-000000F/bundle/1", LogFault::Checksum),
            ("20260101-000000F/pg_data/PG_VERSION", LogFault::Size),
            ("15-1/0000000100000000/000000010000000000000003-6b2c.gz", LogFault::Other(Some(29))),
        ]
    );
    let places: Vec<_> = log.files.iter().take(2).map(|file| Place::of(&file.path)).collect();
    assert_eq!(places, [Some(Place::Archive), Some(Place::Backup(FULL))]);
    let archive = ArchiveId::parse("15-1").unwrap();
    assert_eq!((log.wal[&archive].gaps(), log.duplicates[&archive], log.more_faults), (Some(1), 1, 0));
    let segment = |low| WalSegment { timeline: 1, high: 0, low };
    let contains = |first, last| log.wal[&archive].contains(segment(first), segment(last));
    assert_eq!([contains(1, 3), contains(5, 5), contains(3, 5)], [Some(true), Some(true), Some(false)]);
    assert!(!log.has_trouble && !log.has_unlisted_archives);
    assert_eq!(log.error.unwrap().code, 29);
}

#[test]
fn files_are_bounded() {
    let line = |number: u32| format!("P01   INFO: file missing '20260101-000000F/pg_data/{number}'\n");
    let log = Log::parse((0..150).map(line).collect::<String>().as_bytes());
    assert_eq!((log.files.len(), log.more_faults), (100, 50));
    let log = Log::parse("P01   INFO: file missing '../etc/passwd'\n".as_bytes());
    assert_eq!((log.files.len(), log.more_faults), (0, 1));
}
