//! Verifications of each repository in short, from their records.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::pgbackrest::archive::ArchiveId;
use crate::pgbackrest::label::BackupLabel;
use crate::text;

use super::proofs::{MAX_TEXT, Outcome, ReasonClass, Source};
use super::records::History;
use super::verification::{MAX_ARCHIVES, MAX_BACKUPS, MAX_FILES, Verification};

/// The verifications of one repository, oldest first, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerificationHistory {
    /// The newest verification.
    pub last: Verification,
    /// End of the newest verification of everything that passed.
    pub last_success: Option<DateTime<Utc>>,
    /// Start of the oldest verification on record.
    pub oldest_start: DateTime<Utc>,
    /// Verifications that failed since the last one of everything that passed.
    pub consecutive_failures: u64,
    /// The newest verifications in a row that had no result: inconclusive, or timed out.
    pub consecutive_inconclusive: u64,
    /// The newest verification of each outcome since the last one of everything that passed.
    pub not_passed: BTreeMap<Outcome, NotVerified>,
}

/// Why a verification did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotVerified {
    pub start: DateTime<Utc>,
    pub class: ReasonClass,
    /// On one line, without secrets.
    pub message: String,
}

impl History for VerificationHistory {
    type Record = Verification;

    fn of(first: Verification) -> Self {
        let mut history = Self {
            last: first.clone(),
            last_success: None,
            oldest_start: first.start,
            consecutive_failures: 0,
            consecutive_inconclusive: 0,
            not_passed: BTreeMap::new(),
        };
        history.add(first);
        history
    }

    fn add(&mut self, next: Verification) {
        let next = bounded(next);
        match next.outcome {
            Outcome::Passed if next.is_whole() => {
                self.last_success = Some(next.stop);
                (self.consecutive_failures, self.consecutive_inconclusive) = (0, 0);
                self.not_passed.clear();
            }
            // The fault may be in another backup.
            Outcome::Passed => self.consecutive_inconclusive = 0,
            Outcome::Failed => {
                self.consecutive_failures += 1;
                self.consecutive_inconclusive = 0;
            }
            Outcome::Inconclusive | Outcome::TimedOut => self.consecutive_inconclusive += 1,
        }
        if next.outcome != Outcome::Passed {
            self.not_passed.insert(next.outcome, NotVerified::of(&next));
        }
        self.last = next;
    }
}

impl NotVerified {
    fn of(verification: &Verification) -> Self {
        let reason = verification.reason.as_ref();
        Self {
            start: verification.start,
            class: reason.map_or(ReasonClass::Unclassified, |reason| reason.class),
            message: reason.map_or_else(String::new, |reason| reason.message.clone()),
        }
    }
}

/// A verification whose lists are not too long, and whose texts are on one line. Any file can be a record.
fn bounded(mut verification: Verification) -> Verification {
    let short = |text: &mut String| *text = text::one_line(text, MAX_TEXT);
    short(&mut verification.versions.keeper);
    verification.versions.pgbackrest.iter_mut().for_each(short);
    verification.versions.postgres.iter_mut().for_each(short);
    let is_label = |label: &String| BackupLabel::parse(label).is_some();
    verification.set = verification.set.take().filter(is_label);
    verification.backups.retain(|backup| is_label(&backup.label));
    verification.backups.truncate(MAX_BACKUPS);
    verification.archives.retain(|archive| ArchiveId::parse(&archive.id).is_some());
    verification.archives.truncate(MAX_ARCHIVES);
    verification.files.truncate(MAX_FILES);
    verification.files.iter_mut().for_each(|file| short(&mut file.path));
    verification.reason.iter_mut().for_each(|reason| short(&mut reason.message));
    if let Source::Cluster { namespace, pg_cluster } = &mut verification.source {
        short(namespace);
        short(pg_cluster);
    }
    verification
}

#[cfg(test)]
mod tests {
    use super::super::examples::{day, verification};
    use super::*;

    fn history(outcomes: &[(Outcome, bool)]) -> VerificationHistory {
        let mut records = outcomes.iter().zip(10..).map(|((outcome, is_whole), at)| {
            let set = (!is_whole).then(|| "20260101-000000F".to_owned());
            Verification { set, ..verification(day(at), *outcome) }
        });
        let mut history = VerificationHistory::of(records.next().unwrap());
        records.for_each(|record| history.add(record));
        history
    }

    #[test]
    fn results_are_counted_since_the_last_one_of_everything_that_passed() {
        use Outcome::{Failed, Inconclusive, Passed, TimedOut};

        let counts = |outcomes: &[(Outcome, bool)]| {
            let history = history(outcomes);
            let not_passed: Vec<Outcome> = history.not_passed.keys().copied().collect();
            (history.consecutive_failures, history.consecutive_inconclusive, not_passed)
        };
        assert_eq!(counts(&[(Passed, true)]), (0, 0, vec![]));
        assert_eq!(counts(&[(Failed, true), (Failed, false)]), (2, 0, vec![Failed]));
        assert_eq!(counts(&[(Failed, true), (Passed, false)]), (1, 0, vec![Failed]));
        assert_eq!(counts(&[(Failed, true), (TimedOut, true)]), (1, 1, vec![Failed, TimedOut]));
        assert_eq!(counts(&[(Inconclusive, true), (Passed, true)]), (0, 0, vec![]));
        let passed = history(&[(Passed, true), (Passed, false)]);
        assert_eq!(passed.last_success, Some(day(10) + chrono::TimeDelta::minutes(20)));
        assert_eq!((passed.oldest_start, passed.last.start), (day(10), day(11)));
        assert_eq!(history(&[(Passed, false)]).last_success, None);
    }

    #[test]
    fn texts_of_records_are_bounded() {
        let mut record = verification(day(1), Outcome::Failed);
        record.backups[0].label = "no label".to_owned();
        record.files = vec![record.files[0].clone(); 2 * MAX_FILES];
        record.files[0].path = "\u{1b}[31m".repeat(200);
        record.reason.as_mut().unwrap().message = "a\nb".repeat(500);
        let history = VerificationHistory::of(record);
        assert_eq!((history.last.backups.len(), history.last.files.len()), (0, MAX_FILES));
        for text in [&history.last.files[0].path, &history.not_passed[&Outcome::Failed].message] {
            assert!(text.len() <= MAX_TEXT && !text.contains(char::is_control), "{text}");
        }
    }
}
