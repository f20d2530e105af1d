//! Records of restore tests for the scene with everything.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::pgbackrest::wal::Lsn;
use pgbackrest_keeper::state::chain::{Digest, Link};
use pgbackrest_keeper::state::proofs::{
    Check, CheckKind, FORMAT, Outcome, Phase, PhaseRun, Position, Reason, ReasonClass, RestoreTest, Source,
    Target, TargetKind, TestedBackup, Verdict, Versions,
};
use pgbackrest_keeper::state::records::Records;
use pgbackrest_keeper::state::restore_tests::judge_into;
use pgbackrest_keeper::state::snapshot::{Backup, Snapshot};
use pgbackrest_keeper::state::speeds::Estimate;

/// Of the first repository: tests that passed, then one that failed, and one without a result.
pub(crate) fn add(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let stanza = &snapshot.stanzas[0];
    let backups = &stanza.repos[0].backups;
    let full = backups.iter().find(|backup| backup.backup_type == BackupType::Full).unwrap();
    let mut records = Records::default();
    for (days, outcome, target) in [
        (9, Outcome::Passed, TargetKind::Latest),
        (8, Outcome::Passed, TargetKind::Latest),
        (2, Outcome::Failed, TargetKind::Latest),
        (1, Outcome::Inconclusive, TargetKind::Time),
    ] {
        records.add(test(&stanza.name, full, now - TimeDelta::days(days), outcome, target), now);
    }
    records
        .reject("/var/lib/pgbackrest-keeper/restore-tests/demo: Permission denied (os error 13)".to_owned());
    judge_into(snapshot, &records);
    // Of a repository with more WAL than the scene has.
    let estimate = |median: f64| Some(Estimate { median, worst: median * 1.25 });
    let tests = snapshot.stanzas[0].repos[0].restore_tests.as_mut().unwrap();
    let time = Arc::make_mut(tests).recovery_time.as_mut().unwrap();
    (time.latest, time.worst_point) = (estimate(2460.5), estimate(3725.0));
}

fn test(
    stanza: &str,
    backup: &Backup,
    start: DateTime<Utc>,
    outcome: Outcome,
    kind: TargetKind,
) -> RestoreTest {
    let phase = |phase, seconds| PhaseRun {
        phase,
        duration: Duration::from_secs(seconds),
        deadline: Duration::from_hours(2),
    };
    let check = |kind, verdict| Check { kind, name: None, verdict, message: None };
    let reason = match outcome {
        Outcome::Passed => None,
        Outcome::Failed => Some((ReasonClass::DamagedPages, Phase::Pages, "3 pages have wrong checksums")),
        Outcome::Inconclusive => {
            Some((ReasonClass::Permission, Phase::Check, "the socket is not accessible"))
        }
        Outcome::TimedOut => Some((ReasonClass::Deadline, Phase::Replay, "replay took longer than 2 h")),
    };
    RestoreTest {
        format: FORMAT,
        source: Source::Host,
        stanza: stanza.to_owned(),
        repo: 1,
        versions: Versions::default(),
        start,
        stop: start + TimeDelta::seconds(342),
        target: Target { kind, time: (kind == TargetKind::Time).then_some(start), random: true },
        backup: Some(TestedBackup {
            label: backup.label.to_string(),
            backup_type: backup.backup_type,
            start: backup.start,
            stop: backup.stop,
            lsn_start: backup.lsn_start,
            lsn_stop: backup.lsn_stop,
            size: None,
            repo_size: None,
        }),
        databases: Vec::new(),
        reached: Some(Position {
            lsn: Lsn(0x500_0110),
            timeline: Some(1),
            last_commit: Some(start - TimeDelta::minutes(3)),
        }),
        phases: vec![
            phase(Phase::Plan, 2),
            phase(Phase::Restore, 200),
            phase(Phase::Replay, 100),
            phase(Phase::Check, 30),
            phase(Phase::Stop, 3),
            phase(Phase::Pages, 5),
            phase(Phase::Clean, 2),
        ],
        checks: vec![
            check(CheckKind::Target, Verdict::Passed),
            check(CheckKind::Relations, Verdict::Passed),
            check(CheckKind::Amcheck, Verdict::NotChecked),
            check(CheckKind::Assertion, Verdict::Passed),
            check(CheckKind::Assertion, Verdict::Failed),
        ],
        restored_bytes: Some(20 << 30),
        wal_segments: Some(64),
        wal_bytes: Some(1 << 30),
        outcome,
        reason: reason.map(|(class, phase, message)| Reason { class, phase, message: message.to_owned() }),
        chain: Some(Link { sequence: 7, previous: Some(Digest::of(b"the record before")) }),
    }
}
