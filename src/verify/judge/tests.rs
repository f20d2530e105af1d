//! Judgements of made-up outputs. `host::verify` has pgBackRest print real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::*;
use crate::pgbackrest::verify::Log;
use crate::pgbackrest::version;
use crate::state::examples::{backup, day, offline};
use crate::state::snapshot::{Backup, ByteCount};
use crate::verify::evidence::Listed;

const FULL: &str = "20260101-000000F";
const NEXT: &str = "20260108-000000F";
/// Both backups need the WAL segment of their number.
const RUN: &str =
    "P00 DETAIL: archiveId: 15-1, wal start: 000000010000000000000001, wal stop: 000000010000000000000020\n";
const WHOLE: &str = "  archiveId: 15-1, total WAL checked: 32, total valid WAL: 32\n";

struct Case {
    stanza: &'static str,
    status: &'static str,
    result: String,
    log: String,
    before: BTreeMap<String, Listed>,
    after: Option<BTreeSet<String>>,
    version: &'static str,
}

fn both() -> Vec<Backup> {
    vec![backup(FULL, day(0), 2), backup(NEXT, day(7), 5)]
}

fn line(label: &str, status: &str, faults: &str) -> String {
    let head = format!("  backup: {label}, status: {status}, total files checked: 9, total valid files: 9\n");
    if faults.is_empty() { head } else { format!("{head}    {faults}\n") }
}

impl Case {
    fn new(status: &'static str, lines: &[String]) -> Self {
        let labels = both().into_iter().map(|backup| backup.label.to_string());
        Self {
            stanza: "demo",
            status,
            result: format!("{WHOLE}{}", lines.concat()),
            log: RUN.to_owned(),
            before: both().iter().map(|backup| (backup.label.to_string(), Listed::of(backup))).collect(),
            after: Some(labels.collect()),
            version: "pgBackRest 2.60.0",
        }
    }

    fn judge(&self) -> Judgement {
        let text = format!("stanza: {}\nstatus: {}\n{}", self.stanza, self.status, self.result);
        let report = Report::parse(text.as_bytes());
        let log = Log::parse(self.log.as_bytes());
        judge(&Evidence {
            report: report.as_ref().filter(|_| !self.result.is_empty()),
            log: &log,
            is_log_whole: true,
            failure: None,
            stanza: "demo",
            before: &self.before,
            after: self.after.as_ref(),
            version: version::parse(self.version),
        })
    }

    fn class(&self) -> Option<ReasonClass> {
        self.judge().reason.map(|reason| reason.class)
    }

    fn without(mut self, label: &str) -> Self {
        self.after.as_mut().unwrap().remove(label);
        self
    }
}

fn valid() -> [String; 2] {
    [FULL, NEXT].map(|label| line(label, "valid", ""))
}

fn faulty(status: &str, faults: &str) -> Case {
    Case::new("error", &[line(FULL, "valid", ""), line(NEXT, status, faults)])
}

#[test]
fn everything_is_valid() {
    let judgement = Case::new("ok", &valid()).judge();
    assert_eq!((judgement.outcome, judgement.reason), (Outcome::Passed, None));
    let totals = judgement.totals.unwrap();
    assert_eq!(
        (totals.backups, totals.valid_backups, totals.files.checked, totals.wal.valid),
        (2, 2, 18, 32)
    );
    assert_eq!((judgement.backups.len(), judgement.archives[0].gaps), (0, Some(0)));
}

#[test]
fn a_fault_of_a_listed_backup_is_a_failure() {
    let table = [
        ("invalid", "missing: 1", ReasonClass::MissingBackup),
        ("invalid", "missing: 1, checksum invalid: 1", ReasonClass::DamagedBackup),
        ("invalid", "size invalid: 1", ReasonClass::DamagedBackup),
        ("invalid", "", ReasonClass::DamagedBackup),
        ("manifest missing", "", ReasonClass::MissingBackup),
    ];
    for (status, faults, class) in table {
        let judgement = faulty(status, faults).judge();
        let reason = judgement.reason.unwrap();
        assert_eq!((judgement.outcome, reason.class), (Outcome::Failed, class), "{status} {faults}");
        assert!(reason.message.starts_with("1 backup cannot be restored completely: 20260108"), "{reason:?}");
        let totals = judgement.totals.unwrap();
        assert_eq!((totals.backups, totals.valid_backups), (2, 1));
    }
    // To pgBackRest before 2.59, a backup without a directory does not exist.
    let unreported = Case::new("ok", &[line(FULL, "valid", "")]);
    assert_eq!(unreported.class(), Some(ReasonClass::MissingBackup));
    let is_done = Case::new("ok", &[line(FULL, "valid", ""), line(NEXT, "in-progress", "")]);
    assert_eq!(is_done.class(), Some(ReasonClass::MissingBackup));
}

#[test]
fn what_depends_on_a_faulty_backup_is_not_valid() {
    let incr = "20260108-000000F_20260109-000000I";
    let mut case = Case::new(
        "error",
        &[line(FULL, "valid", ""), line(NEXT, "invalid", "missing: 1"), line(incr, "valid", "")],
    );
    case.before.insert(incr.to_owned(), Listed::of(&backup(incr, day(8), 7)));
    case.after.as_mut().unwrap().insert(incr.to_owned());
    let judgement = case.judge();
    let states: Vec<_> = judgement.backups.iter().map(|backup| (&*backup.label, backup.state)).collect();
    assert_eq!(states, [(NEXT, BackupState::Invalid), (incr, BackupState::Dependent)]);
    let totals = judgement.totals.unwrap();
    assert_eq!((totals.backups, totals.valid_backups), (3, 1));
    let message = judgement.reason.unwrap().message;
    assert!(message.contains(", and 1 backup that depends on them;"), "{message}");
}

#[test]
fn what_expire_removes_is_no_fault() {
    for (status, faults) in [("invalid", "missing: 9"), ("invalid", ""), ("manifest missing", "")] {
        let judgement = faulty(status, faults).without(NEXT).judge();
        assert_eq!(judgement.outcome, Outcome::Passed, "{status} {faults}");
        assert_eq!(judgement.backups[0].state, BackupState::Expired);
        let totals = judgement.totals.unwrap();
        assert_eq!((totals.backups, totals.valid_backups), (1, 1));
    }
    let mut unknown = faulty("invalid", "missing: 9");
    unknown.after = None;
    assert_eq!(unknown.class(), Some(ReasonClass::Repository));
    let none_left = faulty("invalid", "missing: 9").without(NEXT).without(FULL);
    let mut none_left =
        Case { result: format!("{WHOLE}{}", line(NEXT, "invalid", "missing: 9")), ..none_left };
    assert_eq!(none_left.class(), Some(ReasonClass::Expired));
    none_left.log.clear();
    assert_eq!(none_left.class(), Some(ReasonClass::Expired));
}

#[test]
fn backups_that_are_not_listed_do_not_count_until_they_are() {
    let other = "20260109-000000F";
    let lines = |status: &str| {
        let mut lines = valid().to_vec();
        lines.push(line(other, status, ""));
        lines
    };
    assert_eq!(Case::new("error", &lines("invalid")).class(), None, "a remainder");
    assert_eq!(Case::new("ok", &lines("in-progress")).class(), None);
    let completed = |status| {
        let mut case = Case::new("error", &lines(status));
        case.after.as_mut().unwrap().insert(other.to_owned());
        case.class()
    };
    assert_eq!(completed("invalid"), Some(ReasonClass::DamagedBackup));
    assert_eq!(completed("manifest missing"), Some(ReasonClass::Unclassified));
}

#[test]
fn wal_that_backups_need_must_be_there() {
    let mut gap = Case::new("ok", &valid());
    gap.log = "P00 DETAIL: archiveId: 15-1, wal start: 000000010000000000000001, wal stop: 000000010000000000000004\n\
               P00 DETAIL: archiveId: 15-1, wal start: 000000010000000000000006, wal stop: 000000010000000000000020\n"
        .to_owned();
    let judgement = gap.judge();
    let reason = judgement.reason.unwrap();
    assert_eq!(reason.class, ReasonClass::MissingWal);
    assert!(reason.message.contains("20260108-000000F;"), "{reason:?}");
    assert_eq!(judgement.archives[0].gaps, Some(1));
    assert_eq!(gap.without(NEXT).class(), None, "the backup was removed");
    let mut elsewhere = Case::new("ok", &valid());
    elsewhere.log = RUN.replace("15-1", "15-2");
    assert_eq!(elsewhere.class(), Some(ReasonClass::MissingWal));
    let mut beyond = Case::new("ok", &valid());
    beyond.log = format!("{}{}", RUN.replace("0020", "0008"), RUN.replace("0001,", "0010,"));
    assert_eq!((beyond.class(), beyond.judge().archives[0].gaps), (None, Some(1)), "no backup needs it");
    let mut offline_backup = Case::new("ok", &[line(FULL, "valid", "")]);
    offline_backup.before = [(FULL.to_owned(), Listed::of(&offline(FULL, day(0))))].into();
    offline_backup.log.clear();
    assert_eq!(offline_backup.class(), None);
}

#[test]
fn damaged_wal_is_a_failure_and_missing_wal_was_expired() {
    let of = |faults: &str, log: &str| {
        let mut case = Case::new("error", &valid());
        case.result = case.result.replace(WHOLE, &format!("{WHOLE}    {faults}\n"));
        case.log.push_str(log);
        case.class()
    };
    let path = "15-1/0000000100000000/000000010000000000000003-6b2c.gz";
    let other = |code: i32| format!("P01   INFO: invalid result {path}: [{code}] x\n");
    assert_eq!(of("checksum invalid: 1", ""), Some(ReasonClass::DamagedWal));
    assert_eq!(of("size invalid: 1", ""), Some(ReasonClass::DamagedWal));
    assert_eq!(of("other: 1", &other(29)), Some(ReasonClass::DamagedWal));
    assert_eq!(of("other: 1", &other(95)), Some(ReasonClass::DamagedWal));
    assert_eq!(of("other: 1", &other(49)), Some(ReasonClass::Repository));
    assert_eq!(of("other: 1", ""), Some(ReasonClass::Unclassified));
    let duplicate = "P00   INFO: duplicate WAL '000000010000000000000004' for '15-1' exists, skipping\n";
    assert_eq!(of("missing: 0", duplicate), Some(ReasonClass::DamagedWal));
    let mut missing = Case::new("ok", &valid());
    missing.result = missing.result.replace(WHOLE, &format!("{WHOLE}    missing: 1\n"));
    assert_eq!(missing.class(), None);
}

#[test]
fn trouble_of_the_storage_is_no_fault() {
    let path = format!("{NEXT}/pg_data/base/1/1.gz");
    let mut unreadable = faulty("invalid", "other: 1");
    writeln!(unreadable.log, "P01   INFO: invalid result {path}: [49] x").unwrap();
    assert_eq!(unreadable.class(), Some(ReasonClass::Repository));
    assert_eq!(unreadable.judge().backups[0].state, BackupState::Doubtful);
    writeln!(unreadable.log, "P01   INFO: invalid result {FULL}/pg_data/x.gz: [29] x").unwrap();
    assert_eq!(unreadable.class(), Some(ReasonClass::DamagedBackup));
    let mut manifest = faulty("invalid", "");
    manifest.log.push_str("P00 DETAIL: unable to open file 'x' for read: [13] Permission denied\n");
    assert_eq!(manifest.class(), Some(ReasonClass::Repository));
}

#[test]
fn old_versions_imagine_faults_of_block_incremental_backups() {
    let mut case = faulty("invalid", "missing: 3");
    let block = Backup { repo_size_map: ByteCount::new(1), ..backup(NEXT, day(7), 5) };
    case.before.insert(NEXT.to_owned(), Listed::of(&block));
    case.version = "pgBackRest 2.46";
    assert_eq!(case.class(), Some(ReasonClass::Configuration));
    case.version = "pgBackRest 2.47";
    assert_eq!(case.class(), Some(ReasonClass::MissingBackup));
}

#[test]
fn what_is_not_understood_never_passes() {
    let unexplained = Case::new("error", &valid());
    assert_eq!(unexplained.class(), Some(ReasonClass::Unclassified));
    let mut unknown = Case::new("ok", &valid());
    unknown.result.push_str("something new\n");
    assert_eq!(unknown.class(), Some(ReasonClass::Unclassified));
    let mut foreign = Case::new("ok", &[]);
    foreign.stanza = "other";
    assert_eq!(foreign.class(), Some(ReasonClass::Unclassified));
    let mut nothing = Case::new("ok", &[]);
    nothing.result = String::new();
    assert_eq!(nothing.class(), Some(ReasonClass::Unclassified));
    for (line, class) in [
        ("  No usable backup.info file\n", ReasonClass::DamagedBackup),
        ("  No usable archive.info file\n", ReasonClass::DamagedWal),
        ("archive and backup history lists do not match\n", ReasonClass::Mismatch),
        ("    no archives or backups exist in the repo\n", ReasonClass::NoBackup),
        ("  backup set 20260108-000000F is not valid\n", ReasonClass::MissingBackup),
    ] {
        let case = Case { result: line.to_owned(), log: String::new(), ..Case::new("error", &[]) };
        assert_eq!(case.class(), Some(class), "{line}");
    }
}

#[test]
fn faults_that_were_found_before_it_was_ended_count() {
    let mut case = Case::new("ok", &[]);
    case.result = String::new();
    case.log = format!("P01   INFO: invalid checksum '{NEXT}/pg_data/base/1/1.gz'\n");
    let judgement = case.judge();
    assert_eq!((judgement.outcome, judgement.totals), (Outcome::Failed, None));
    assert_eq!((judgement.backups.len(), judgement.backups[0].state), (1, BackupState::Invalid));
    assert_eq!(case.without(NEXT).class(), Some(ReasonClass::Unclassified));
}
