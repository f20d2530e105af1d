//! A result that was read and is printed again reads the same, and what the log names is bounded and fit for a terminal.

use std::fmt::Write as _;

use pgbackrest_keeper::pgbackrest::label::BackupLabel;
use pgbackrest_keeper::pgbackrest::verify::{BackupStatus, FileCounts, Log, Place, Report, Span, Status};

pub(crate) fn check(bytes: &[u8]) {
    if let Some(report) = Report::parse(bytes) {
        assert!(report.backups.iter().all(|backup| BackupLabel::parse(&backup.label).is_some()));
        if report.is_understood() && report.obstacle.is_none() {
            assert_eq!(Report::parse(printed(&report).as_bytes()), Some(report));
        }
    }
    let log = Log::parse(bytes);
    assert!(log.files.len() <= 100 && log.wal.len() <= 100);
    for file in &log.files {
        assert!(Place::of(&file.path).is_some());
        assert!(!file.path.contains(char::is_control), "{:?}", file.path);
    }
    let gaps: u64 = log.wal.values().filter_map(Span::gaps).sum();
    assert!(gaps <= bytes.len() as u64);
    let twice = Log::parse(&[bytes, b"\n", bytes].concat());
    assert!(twice.files.len() >= log.files.len() && twice.more_faults >= log.more_faults);
}

fn printed(report: &Report) -> String {
    let status = if report.status == Some(Status::Ok) { "ok" } else { "error" };
    let mut text = format!("stanza: {}\nstatus: {status}\n", report.stanza);
    for archive in &report.archives {
        let FileCounts { checked, valid, .. } = archive.files;
        let _ = writeln!(
            text,
            "  archiveId: {}, total WAL checked: {checked}, total valid WAL: {valid}\n{}",
            archive.id,
            faults(archive.files)
        );
    }
    for backup in &report.backups {
        let status = match backup.status {
            BackupStatus::Valid => "valid",
            BackupStatus::Invalid => "invalid",
            BackupStatus::ManifestMissing => "manifest missing",
            BackupStatus::InProgress => "in-progress",
        };
        let FileCounts { checked, valid, .. } = backup.files;
        let _ = writeln!(
            text,
            "  backup: {}, status: {status}, total files checked: {checked}, total valid files: {valid}\n{}",
            backup.label,
            faults(backup.files)
        );
    }
    text
}

fn faults(files: FileCounts) -> String {
    let FileCounts { missing, checksum, size, other, .. } = files;
    format!("    missing: {missing}, checksum invalid: {checksum}, size invalid: {size}, other: {other}")
}
