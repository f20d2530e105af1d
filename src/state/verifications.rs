//! What the records of verifications show about each repository, in the snapshot and in words.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::filter::UNLISTED;
use super::human;
use super::proofs::Outcome;
use super::records::Records;
use super::restore_tests::outcome_words;
use super::snapshot::Snapshot;
use super::verification::{Files, Verification};
use super::verification_history::VerificationHistory;

/// Maximum length of a label.
const LABEL_LIMIT: usize = 60;

/// Writes into the snapshot what the records show about its repositories.
pub fn judge_into(snapshot: &mut Snapshot, records: &Records<VerificationHistory>) {
    snapshot.collection.verifications = records.health().cloned();
    for stanza in snapshot.stanzas.iter_mut().filter(|stanza| *stanza.name != *UNLISTED) {
        for repo in &mut stanza.repos {
            // Versions before 2.32 have one repository without a number.
            repo.verifications = records.of_repo(&stanza.name, repo.key.max(1)).map(Arc::clone);
        }
    }
}

/// `3 of 4 backups valid; 12,345 files, 2 missing; 678 WAL segments`; what the newest verification read.
#[must_use]
pub fn read_words(verification: &Verification) -> Option<String> {
    let totals = verification.totals?;
    let of = verification.set.as_deref().map(|label| format!("only {}: ", human::line(label, LABEL_LIMIT)));
    Some(format!(
        "{}{} of {} valid; {}; {}",
        of.unwrap_or_default(),
        totals.valid_backups,
        human::count(totals.backups, "backup"),
        files_words(totals.files, "file"),
        files_words(totals.wal, "WAL segment"),
    ))
}

/// `970 files, 1 missing, 2 damaged`
fn files_words(files: Files, unit: &str) -> String {
    let damaged = files.checksum.saturating_add(files.size).saturating_add(files.other);
    let faults = [(files.missing, "missing"), (damaged, "damaged")];
    let faults = faults.into_iter().filter(|(count, _)| *count > 0);
    let total = human::count(files.checked, unit);
    faults.fold(total, |words, (count, fault)| format!("{words}, {count} {fault}"))
}

/// `2 gaps in the WAL of 15-1`; none without a gap.
#[must_use]
pub fn gaps_words(verification: &Verification) -> Option<String> {
    let gaps = verification.archives.iter().filter(|archive| archive.gaps.is_some_and(|gaps| gaps > 0));
    let words: Vec<String> = gaps
        .map(|archive| {
            format!("{} in the WAL of {}", human::count(archive.gaps.unwrap_or(0), "gap"), archive.id)
        })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// One line for each fact, for the notes in the terminal.
#[must_use]
pub fn lines(history: &VerificationHistory, now: DateTime<Utc>) -> Vec<String> {
    let last = &history.last;
    let read = read_words(last).map_or_else(String::new, |words| format!(": {words}"));
    let mut lines =
        vec![format!("verification {} {}{read}", outcome_words(last.outcome), human::age(last.stop, now))];
    if last.outcome != Outcome::Passed {
        let success = history.last_success.map_or_else(|| "never".to_owned(), |at| human::age(at, now));
        lines.push(format!("last verification that passed: {success}"));
    }
    lines.extend(gaps_words(last).map(|gaps| format!("verification: {gaps}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::examples::{backup, day, repo, stanza, verification};
    use super::super::records::RecordsHealth;
    use super::super::verification::ArchiveResult;
    use super::*;

    #[test]
    fn each_repository_has_its_own() {
        let backups = vec![backup("20260101-000000F", day(0), 2)];
        let stanzas = vec![stanza(vec![repo(1, backups), repo(2, vec![])])];
        let mut snapshot = Snapshot { stanzas, ..Snapshot::default() };
        let mut records = Records::default();
        judge_into(&mut snapshot, &records);
        assert_eq!(
            (&snapshot.collection.verifications, &snapshot.stanzas[0].repos[0].verifications),
            (&None, &None)
        );
        records.add(verification(day(1), Outcome::Passed), day(2));
        judge_into(&mut snapshot, &records);
        assert_eq!(snapshot.collection.verifications, Some(RecordsHealth::default()));
        let repos = &snapshot.stanzas[0].repos;
        assert!(repos[0].verifications.is_some() && repos[1].verifications.is_none());
    }

    #[test]
    fn a_verification_is_told_in_a_sentence() {
        let lines = |record: Verification| {
            let mut records = Records::default();
            records.add(record, day(100));
            super::lines(records.of_repo("demo", 1).unwrap(), day(3))
        };
        let mut record = verification(day(2), Outcome::Passed);
        record.archives = vec![ArchiveResult {
            id: "15-1".to_owned(),
            files: Files::default(),
            duplicates: 0,
            gaps: Some(2),
        }];
        assert_eq!(
            lines(record),
            [
                "verification passed 23 h 40 min ago: 1 of 1 backup valid; 970 files; 32 WAL segments",
                "verification: 2 gaps in the WAL of 15-1"
            ]
        );
        assert_eq!(
            lines(verification(day(2), Outcome::Failed))[0],
            "verification failed 23 h 40 min ago: 0 of 1 backup valid; 970 files, 1 damaged; 32 WAL segments"
        );
        let timed_out = Verification {
            set: Some("20260101-000000F".to_owned()),
            ..verification(day(2), Outcome::TimedOut)
        };
        assert_eq!(
            lines(timed_out),
            ["verification timed out 23 h 40 min ago", "last verification that passed: never"]
        );
    }
}
