//! A record as the termination message of a pod, which Kubernetes limits to 4096 bytes. It is a record like any other; what does not
//! fit is left out, the least important first.

use serde_json::Value;

use super::{Check, CheckKind, Record, RestoreTest, Verdict};
use crate::text;

/// Bytes of a message.
pub const MAX_MESSAGE: usize = 4096;

/// Characters of a remark, if there is not enough space for all.
const SHORT: usize = 80;

impl RestoreTest {
    /// The record in at most [`MAX_MESSAGE`] bytes. Left out are remarks of checks, then assertions that hold, all databases but one, and
    /// then other checks.
    pub fn message(&self) -> serde_json::Result<String> {
        fitted(
            self,
            &[without_remarks, shortened, without_passed_assertions, with_one_database, without_checks],
        )
    }
}

/// The record after as few of the steps as it takes to fit. All texts that they leave are bounded.
pub(in crate::state) fn fitted<R: Record + Clone>(
    record: &R,
    steps: &[fn(&mut R)],
) -> serde_json::Result<String> {
    let mut record = record.clone();
    let mut message = compact(&record)?;
    for step in steps {
        if message.len() <= MAX_MESSAGE {
            break;
        }
        step(&mut record);
        message = compact(&record)?;
    }
    Ok(message)
}

/// On one line, without members that say nothing.
fn compact<R: Record>(record: &R) -> serde_json::Result<String> {
    let mut document = serde_json::to_value(record)?;
    if let Value::Object(members) = &mut document {
        members.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    }
    Ok(text::escaped_json(&document.to_string()).into_owned())
}

fn without_remarks(test: &mut RestoreTest) {
    for check in test.checks.iter_mut().filter(|check| check.verdict == Verdict::Passed) {
        check.message = None;
    }
}

fn shortened(test: &mut RestoreTest) {
    for check in &mut test.checks {
        check.message = check.message.as_deref().map(|message| text::one_line(message, SHORT));
        check.name = check.name.as_deref().map(|name| text::one_line(name, SHORT));
    }
}

fn without_passed_assertions(test: &mut RestoreTest) {
    test.checks.retain(|check| check.kind != CheckKind::Assertion || check.verdict != Verdict::Passed);
}

/// One tells that not all were restored.
fn with_one_database(test: &mut RestoreTest) {
    test.databases.truncate(1);
    for name in &mut test.databases {
        *name = text::one_line(name, SHORT);
    }
}

/// Only the first that did not pass stays: that of the reason.
fn without_checks(test: &mut RestoreTest) {
    let first = test.checks.iter().position(|check: &Check| check.verdict == Verdict::Failed);
    let kept = first.map(|place| test.checks.swap_remove(place));
    test.checks = kept.into_iter().collect();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{
        FORMAT, MAX_CHECKS, MAX_DATABASES, MAX_TEXT, Outcome, Phase, PhaseRun, Position, Reason, ReasonClass,
        Source, Target, TargetKind, TestedBackup, Versions,
    };
    use super::*;
    use crate::pgbackrest::label::BackupType;
    use crate::pgbackrest::wal::Lsn;

    fn test(checks: Vec<Check>) -> RestoreTest {
        let at = |second: i64| chrono::DateTime::from_timestamp(1_795_000_000 + second, 123_456_789).unwrap();
        let phases = Phase::ALL.map(|phase| PhaseRun {
            phase,
            duration: Duration::from_millis(86_399_999),
            deadline: Duration::from_hours(24),
        });
        let longest = |letter: &str| letter.repeat(MAX_TEXT);
        RestoreTest {
            format: FORMAT,
            source: Source::Cluster { namespace: "n".repeat(63), pg_cluster: "c".repeat(51) },
            stanza: "db".to_owned(),
            repo: 4,
            versions: Versions {
                keeper: "0.1.0".to_owned(),
                pgbackrest: Some("pgBackRest 2.60.0".to_owned()),
                postgres: Some("17.6".to_owned()),
            },
            start: at(0),
            stop: at(7200),
            target: Target { kind: TargetKind::Time, time: Some(at(-60)), random: true },
            backup: Some(TestedBackup {
                label: "20261122-092719F_20261122-092732I".to_owned(),
                backup_type: BackupType::Incr,
                start: at(-7200),
                stop: at(-3600),
                lsn_start: Some(Lsn(u64::MAX)),
                lsn_stop: Some(Lsn(u64::MAX)),
                size: Some(u64::MAX),
                repo_size: Some(u64::MAX),
            }),
            databases: Vec::new(),
            reached: Some(Position {
                lsn: Lsn(u64::MAX),
                timeline: Some(u32::MAX),
                last_commit: Some(at(-61)),
            }),
            phases: phases.to_vec(),
            checks,
            restored_bytes: Some(u64::MAX),
            wal_segments: Some(u64::MAX),
            wal_bytes: Some(u64::MAX),
            outcome: Outcome::Failed,
            reason: Some(Reason {
                class: ReasonClass::UnreadableRelation,
                phase: Phase::Check,
                message: longest("é"),
            }),
            chain: None,
        }
    }

    fn check(kind: CheckKind, verdict: Verdict, number: usize) -> Check {
        let name = (kind == CheckKind::Assertion).then(|| format!("{number} {}", "ü".repeat(MAX_TEXT - 4)));
        Check { kind, name, verdict, message: Some("\u{1d11e}".repeat(MAX_TEXT)) }
    }

    #[test]
    fn a_usual_record_is_whole() {
        let checks = [CheckKind::Target, CheckKind::Relations, CheckKind::Pages].map(|kind| Check {
            kind,
            name: None,
            verdict: Verdict::Passed,
            message: Some("a remark".to_owned()),
        });
        let test = test(checks.to_vec());
        let message = test.message().unwrap();
        assert!(message.len() < MAX_MESSAGE && !message.contains('\n'), "{message}");
        assert_eq!(RestoreTest::parse(message.as_bytes()), Ok(test));
    }

    #[test]
    fn the_longest_record_fits_and_keeps_what_failed() {
        let mut checks: Vec<Check> =
            (0..MAX_CHECKS).map(|number| check(CheckKind::Assertion, Verdict::Passed, number)).collect();
        checks[200] = check(CheckKind::Assertion, Verdict::Failed, 200);
        checks[0] = check(CheckKind::Relations, Verdict::Passed, 0);
        let mut longest = test(checks);
        longest.databases = vec!["ü".repeat(MAX_TEXT); MAX_DATABASES];
        let message = longest.message().unwrap();
        assert!(message.len() <= MAX_MESSAGE, "{}", message.len());
        let read = RestoreTest::parse(message.as_bytes()).unwrap();
        let kept: Vec<(CheckKind, Verdict)> =
            read.checks.iter().map(|check| (check.kind, check.verdict)).collect();
        assert_eq!(kept, [(CheckKind::Relations, Verdict::Passed), (CheckKind::Assertion, Verdict::Failed)]);

        let all_failed = (0..MAX_CHECKS).map(|number| check(CheckKind::Assertion, Verdict::Failed, number));
        let message = test(all_failed.collect()).message().unwrap();
        assert!(message.len() <= MAX_MESSAGE, "{}", message.len());
        let read = RestoreTest::parse(message.as_bytes()).unwrap();
        assert_eq!(read.checks.len(), 1);
        assert!(read.checks[0].name.as_deref().unwrap().starts_with("0 "));
    }
}
