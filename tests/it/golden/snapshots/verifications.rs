//! Records of verifications for the scene with everything.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use pgbackrest_keeper::state::chain::{Digest, Link};
use pgbackrest_keeper::state::proofs::{Outcome, ReasonClass, Source, Versions};
use pgbackrest_keeper::state::records::Records;
use pgbackrest_keeper::state::snapshot::Snapshot;
use pgbackrest_keeper::state::verification::{
    ArchiveResult, BackupResult, BackupState, Cause, FORMAT, FileFault, FileResult, Files, Totals,
    Verification,
};
use pgbackrest_keeper::state::verifications::judge_into;

/// Of the first repository: one that passed, one without a result, and one that failed.
pub(crate) fn add(snapshot: &mut Snapshot, now: DateTime<Utc>) {
    let stanza = &snapshot.stanzas[0];
    let label = stanza.repos[0].backups[0].label.clone();
    let mut records = Records::default();
    for (days, outcome) in [(15, Outcome::Passed), (8, Outcome::TimedOut), (1, Outcome::Failed)] {
        records.add(verification(&stanza.name, &label, now - TimeDelta::days(days), outcome), now);
    }
    records
        .reject("/var/lib/pgbackrest-keeper/verifications/demo: Permission denied (os error 13)".to_owned());
    judge_into(snapshot, &records);
}

fn verification(stanza: &str, label: &str, start: DateTime<Utc>, outcome: Outcome) -> Verification {
    let faults = u64::from(outcome == Outcome::Failed);
    let files = Files {
        checked: 12_345,
        valid: 12_345 - 2 * faults,
        missing: faults,
        checksum: faults,
        ..Files::default()
    };
    let wal = Files { checked: 678, valid: 678, ..Files::default() };
    let reason = match outcome {
        Outcome::Failed => Some((ReasonClass::DamagedBackup, "1 backup cannot be restored completely")),
        Outcome::TimedOut => Some((ReasonClass::Deadline, "pgbackrest verify did not end within 12h")),
        Outcome::Passed | Outcome::Inconclusive => None,
    };
    let is_faulty = outcome == Outcome::Failed;
    let file = |name: &str, fault| FileResult { path: format!("{label}/pg_data/{name}.gz"), fault };
    Verification {
        format: FORMAT,
        source: Source::Host,
        stanza: stanza.to_owned(),
        repo: 1,
        versions: Versions::default(),
        start,
        stop: start + TimeDelta::seconds(5025),
        timeout: Duration::from_hours(12),
        set: None,
        totals: (outcome != Outcome::TimedOut).then_some(Totals {
            backups: 5,
            valid_backups: 5 - faults,
            files,
            wal,
        }),
        backups: is_faulty
            .then(|| BackupResult { label: label.to_owned(), state: BackupState::Invalid, files })
            .into_iter()
            .collect(),
        archives: vec![ArchiveResult { id: "15-1".to_owned(), files: wal, duplicates: 0, gaps: Some(2) }],
        files: if is_faulty {
            vec![file("base/5/1259", FileFault::Checksum), file("PG_VERSION", FileFault::Missing)]
        } else {
            Vec::new()
        },
        more_faults: 0,
        outcome,
        reason: reason.map(|(class, message)| Cause { class, message: message.to_owned() }),
        chain: Some(Link { sequence: 7, previous: Some(Digest::of(b"the record before")) }),
    }
}
