//! Recovery times of made-up repositories.

use std::time::Duration;

use chrono::TimeDelta;

use super::super::examples::{backup, day, listed, repo, restore_test, stanza};
use super::super::proofs::{Outcome, Phase, PhaseRun};
use super::super::snapshot::ByteCount;
use super::*;

const GIB: u64 = 1 << 30;

fn is_near(found: Option<f64>, expected: f64) {
    let found = found.expect("an estimate");
    assert!((found - expected).abs() <= expected * 0.05, "{found}, not {expected}");
}

/// Restores 1 GiB in 100 s, and replays WAL at 1 MiB/s.
fn measured() -> Measurement {
    let mut test = restore_test(day(30), Outcome::Passed);
    let phase =
        |phase, seconds| PhaseRun { phase, duration: Duration::from_secs(seconds), deadline: Duration::MAX };
    test.phases = vec![phase(Phase::Restore, 100), phase(Phase::Replay, 128)];
    test.backup.as_mut().unwrap().size = Some(GIB);
    (test.restored_bytes, test.wal_bytes) = (Some(GIB), Some(128 << 20));
    Measurement::of(&test).unwrap()
}

fn sized(label: &str, at: i64, segment: u32) -> Backup {
    Backup { size: ByteCount::new(GIB), ..backup(label, day(at), segment) }
}

#[test]
fn the_worst_point_is_before_the_end_of_the_next_backup() {
    let backups = || vec![sized("20260103-000000F", 2, 2), sized("20260119-000000F", 18, 0x12)];
    let of = |repo: &Repo| super::of(&stanza(vec![repo.clone()]), repo, &[measured()]).unwrap();
    // Of 16 MiB each: 16 segments from the first backup to the second, and 15 to the end of the archive.
    let unlisted = of(&repo(1, backups()));
    is_near(unlisted.latest.map(|estimate| estimate.median), 100.0 + 15.0 * 16.0);
    is_near(unlisted.worst_point.map(|estimate| estimate.median), 100.0 + 16.0 * 16.0);
    let whole = of(&listed(repo(1, backups()), 1..=0x14));
    is_near(whole.latest.map(|estimate| estimate.median), 100.0 + 3.0 * 16.0);
    is_near(whole.worst_point.map(|estimate| estimate.median), 100.0 + 16.0 * 16.0);
    // The WAL ends after the fourth segment.
    let holed = of(&listed(repo(1, backups()), (1..=4).chain(0x12..=0x14)));
    is_near(holed.worst_point.map(|estimate| estimate.median), 100.0 + 3.0 * 16.0);
    let unknown = Repo {
        backups: vec![Backup { size: None, ..sized("20260103-000000F", 2, 2) }].into(),
        ..repo(1, vec![])
    };
    assert_eq!((of(&unknown).latest, of(&unknown).worst_point), (None, None));
    assert_eq!((of(&repo(1, vec![])).latest, of(&repo(1, vec![])).worst_point), (None, None));
}

#[test]
fn a_point_in_time_takes_the_wal_up_to_it() {
    let backups = vec![sized("20260103-000000F", 2, 2), sized("20260119-000000F", 18, 0x12)];
    let repo = repo(1, backups.clone());
    let stanza = stanza(vec![repo.clone()]);
    let speeds = Speeds::of(&[measured()]).unwrap();
    let to = |backup: &Backup, at| {
        super::to(at, backup, (&stanza, &repo), &speeds).map(|estimate| estimate.median)
    };
    // Half of the WAL between the backups.
    is_near(to(&backups[0], day(10)), 100.0 + 8.0 * 16.0);
    is_near(to(&backups[0], day(2)), 100.0);
    // After the last backup, the times of the WAL are unknown.
    is_near(to(&backups[1], day(18) + TimeDelta::seconds(1)), 100.0 + 15.0 * 16.0);
    let other = sized("20260105-000000F", 4, 4);
    assert_eq!(to(&other, day(10)), None, "it is not in the repository");
}
