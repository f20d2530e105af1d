//! Small example stanzas for the unit tests of `state`.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};

use crate::pgbackrest::archive::{ArchiveId, DirectoryName};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::wal::{Lsn, SegmentSize, WalSegment};

use super::archive::{ArchiveRetention, DatabaseFacts, DirectoryFacts, Expected, ListedFile, Listing, judge};
use super::proofs::{
    Check, CheckKind, FORMAT, Outcome, Phase, PhaseRun, Position, Reason, ReasonClass, RestoreTest, Source,
    Target, TargetKind, TestedBackup, Verdict, Versions,
};
use super::snapshot::{Activity, Archive, Backup, ByteCount, Database, Repo, RepoState, Stanza};
use super::verification::{
    self, BackupResult, BackupState, Cause, FileFault, FileResult, Files, Totals, Verification,
};

/// Midnight of a day, counted from 2026-01-01.
pub(crate) fn day(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() + Duration::days(number)
}

/// An online backup that stops at `stop` and needs exactly the WAL segment of that number (16 MiB, timeline 1).
pub(crate) fn backup(label: &str, stop: DateTime<Utc>, segment: u32) -> Backup {
    let wal = WalSegment { timeline: 1, high: 0, low: segment };
    let position = Lsn(u64::from(segment) << 24 | 0x28);
    Backup {
        label: label.into(),
        backup_type: BackupType::of_label(label).unwrap(),
        start: stop - Duration::minutes(10),
        stop,
        database_id: 1,
        backrest_version: Arc::from("2.45"),
        wal_start: Some(wal),
        wal_stop: Some(wal),
        lsn_start: Some(position),
        lsn_stop: Some(Lsn(position.0 + 0xD8)),
        size: ByteCount::new(1000),
        delta: ByteCount::new(1000),
        repo_size: ByteCount::new(500),
        repo_delta: ByteCount::new(500),
        repo_size_map: None,
        repo_delta_map: None,
        prior: label.rsplit_once('_').map(|(full, _)| full.into()),
        references: [0; 3],
        error: Some(false),
        annotations: 0,
        databases: None,
    }
}

/// A backup made while PostgreSQL was down.
pub(crate) fn offline(label: &str, stop: DateTime<Utc>) -> Backup {
    Backup { wal_start: None, wal_stop: None, lsn_start: None, lsn_stop: None, ..backup(label, stop, 0) }
}

pub(crate) fn archive(database_id: u64, min: &str, max: &str) -> Archive {
    let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Archive { database_id, id: format!("15-{database_id}"), min: name(min), max: name(max) }
}

pub(crate) fn database(id: u64, system_id: u64) -> Database {
    Database { id, system_id: Some(system_id), version: "15".to_owned() }
}

/// A repository that holds these backups of one cluster, and WAL 1 to 0x20 of timeline 1.
pub(crate) fn repo(key: u32, backups: Vec<Backup>) -> Repo {
    Repo {
        key,
        state: RepoState::Ok,
        status_code: Some(0),
        status_message: "ok".to_owned(),
        error: None,
        collected_at: day(1000),
        cipher: Some("none".to_owned()),
        printed_cipher: Some("none".to_owned()),
        databases: vec![database(1, 77)],
        archives: vec![archive(1, "000000010000000000000001", "000000010000000000000020")],
        backups: backups.into(),
        progress: None,
        in_progress_since: None,
        settings: None,
        expiry: None,
        expiry_blocked: None,
        last_attempt: None,
        watched: None,
        wal: None,
        leftovers: None,
        restore_tests: None,
        verifications: None,
        archived_segments: 0,
    }
}

/// The same after a listing that found these segments of timeline 1, each archived on the day of its number, and the
/// directory of every backup.
pub(crate) fn listed(mut repo: Repo, segments: impl IntoIterator<Item = u32>) -> Repo {
    let directory = DirectoryName { timeline: 1, high: 0 };
    let name = |low: u32| format!("{directory}{low:08X}-{}.gz", "a".repeat(40));
    let names: Vec<(String, i64)> = segments.into_iter().map(|low| (name(low), i64::from(low))).collect();
    let files = names.iter().map(|(name, at)| ListedFile { name, size: 1 << 20, modified: day(*at) });
    let mut listing = Listing::new(ArchiveId { version: "15".to_owned(), database_id: 1 }, day(99));
    let ends = repo.backups.iter().flat_map(|backup| [backup.wal_start, backup.wal_stop]).flatten();
    let expected = Expected { marked: ends.map(|segment| segment.low).collect(), ..Expected::default() };
    listing.replace_directory(directory, DirectoryFacts::of(directory, files, day(99), &expected));
    listing.backup_directories = Some(repo.backups.iter().map(|backup| backup.label.to_string()).collect());
    let database = DatabaseFacts {
        size: SegmentSize::DEFAULT,
        retention: ArchiveRetention::All,
        postgres_version: Some(15),
    };
    let wal = judge(&listing, &repo.backups, database);
    repo.wal = Some(Arc::new(wal));
    repo
}

pub(crate) fn stanza(repos: Vec<Repo>) -> Stanza {
    Stanza {
        name: Arc::from("demo"),
        status_code: 0,
        status_message: "ok".to_owned(),
        backup_lock: Activity::default(),
        restore_lock: Activity::default(),
        repos,
        other_program: None,
        stop_files: None,
    }
}

/// A restore test of the backup of 2026-01-01 that took 10 s, with one check that passed and one that was not made.
pub(crate) fn restore_test(start: DateTime<Utc>, outcome: Outcome) -> RestoreTest {
    let phase = |phase, milliseconds| PhaseRun {
        phase,
        duration: std::time::Duration::from_millis(milliseconds),
        deadline: std::time::Duration::from_hours(1),
    };
    let check = |kind, verdict| Check { kind, name: None, verdict, message: None };
    let class = match outcome {
        Outcome::Passed => None,
        Outcome::Failed => Some(ReasonClass::MissingWal),
        Outcome::Inconclusive => Some(ReasonClass::NoSpace),
        Outcome::TimedOut => Some(ReasonClass::Deadline),
    };
    let message = "WAL segment 000000010000000000000003 is missing: check the archive".to_owned();
    RestoreTest {
        format: FORMAT,
        source: Source::Host,
        stanza: "demo".to_owned(),
        repo: 1,
        versions: Versions { keeper: "0.1.0".to_owned(), pgbackrest: None, postgres: None },
        start,
        stop: start + Duration::seconds(10),
        target: Target { kind: TargetKind::Latest, time: None, random: false },
        backup: Some(TestedBackup {
            label: "20260101-000000F".to_owned(),
            backup_type: BackupType::Full,
            start: day(0) - Duration::minutes(10),
            stop: day(0),
            lsn_start: Lsn::parse("0/2000028"),
            lsn_stop: Lsn::parse("0/2000100"),
            size: Some(30_000_000),
            repo_size: None,
        }),
        databases: Vec::new(),
        reached: Some(Position { lsn: Lsn(0x300_0110), timeline: Some(1), last_commit: Some(start) }),
        phases: vec![phase(Phase::Restore, 1234), phase(Phase::Replay, 2500)],
        checks: vec![
            check(CheckKind::Target, Verdict::Passed),
            check(CheckKind::Amcheck, Verdict::NotChecked),
        ],
        restored_bytes: Some(31_000_000),
        wal_segments: Some(2),
        wal_bytes: Some(16_777_448),
        outcome,
        reason: class.map(|class| Reason { class, phase: Phase::Replay, message }),
        chain: None,
    }
}

/// A verification of one backup and 32 WAL segments that took 20 min. If it failed, a file of the backup is damaged.
pub(crate) fn verification(start: DateTime<Utc>, outcome: Outcome) -> Verification {
    let is_faulty = outcome == Outcome::Failed;
    let faults = u64::from(is_faulty);
    let label = "20260101-000000F".to_owned();
    let class = match outcome {
        Outcome::Passed => None,
        Outcome::Failed => Some(ReasonClass::DamagedBackup),
        Outcome::Inconclusive => Some(ReasonClass::Repository),
        Outcome::TimedOut => Some(ReasonClass::Deadline),
    };
    let files = Files { checked: 970, valid: 970 - faults, checksum: faults, ..Files::default() };
    let has_result = matches!(outcome, Outcome::Passed | Outcome::Failed);
    Verification {
        format: verification::FORMAT,
        source: Source::Host,
        stanza: "demo".to_owned(),
        repo: 1,
        versions: Versions { keeper: "0.1.0".to_owned(), pgbackrest: None, postgres: None },
        start,
        stop: start + Duration::minutes(20),
        timeout: std::time::Duration::from_hours(24),
        set: None,
        totals: has_result.then_some(Totals {
            backups: 1,
            valid_backups: 1 - faults,
            files,
            wal: Files { checked: 32, valid: 32, ..Files::default() },
        }),
        backups: is_faulty
            .then(|| BackupResult { label: label.clone(), state: BackupState::Invalid, files })
            .into_iter()
            .collect(),
        archives: Vec::new(),
        files: is_faulty
            .then(|| FileResult {
                path: format!("{label}/pg_data/PG_VERSION.gz"),
                fault: FileFault::Checksum,
            })
            .into_iter()
            .collect(),
        more_faults: 0,
        outcome,
        reason: class.map(|class| Cause { class, message: "1 of 1 backup has faults".to_owned() }),
        chain: None,
    }
}
