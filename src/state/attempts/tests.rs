//! Attempts in logs and locks, collection by collection.

use chrono::{NaiveDateTime, TimeDelta};

use super::super::examples::{backup, repo, stanza};
use super::super::snapshot::{Activity, Progress};
use super::*;
use crate::pgbackrest::backup_log::Reading;
use crate::pgbackrest::label::BackupType;

const START: i64 = 1_800_000_000;
const FIRST: &str = "20261231-000000F";

fn second(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(START + second, 0).unwrap()
}

/// What happens at one repository, collection by collection.
#[derive(Default)]
struct Story {
    snapshot: Snapshot,
    log: BackupLog,
    has_log: bool,
}

impl Story {
    fn logged() -> Self {
        Self { has_log: true, ..Self::default() }
    }

    fn writes(&mut self, at: i64, text: &str) {
        let line = format!("{} P00   INFO: {text}\n", second(at).format("%Y-%m-%d %H:%M:%S.000"));
        let clock = &|local: NaiveDateTime| Some(local.and_utc());
        let reading = Reading { read_at: second(at), written_at: second(at), clock };
        self.log.read(&line, &reading);
    }

    fn begins(&mut self, at: i64) {
        self.writes(at, "backup command begin 2.60.0: --repo=1 --type=full");
    }

    /// A collection that reads the log at this second, and gets an answer a second later.
    fn collects(&mut self, at: i64, held: bool, ends_of_backups: &[i64]) -> Option<BackupAttempt> {
        let backups = ends_of_backups.iter().zip(0..).map(|(end, number)| {
            let label = if number == 0 { FIRST.to_owned() } else { format!("2027010{number}-000000F") };
            Backup { start: second(end - 5), stop: second(*end), ..backup(&label, second(*end), 1) }
        });
        let progress = held.then_some(Progress { complete: 1, total: 2 });
        let lock = Activity { held: Some(held), since: held.then(|| second(at)), progress };
        let repo = Repo { collected_at: second(at + 1), progress, ..repo(1, backups.collect()) };
        let stanza = Stanza { backup_lock: lock, ..stanza(vec![repo]) };
        self.judges(at, stanza)
    }

    fn judges(&mut self, at: i64, stanza: Stanza) -> Option<BackupAttempt> {
        let mut snapshot = Snapshot { stanzas: vec![stanza], ..Snapshot::default() };
        let log = self.has_log.then(|| (Arc::from("demo"), Arc::new(self.log.clone())));
        let logs = BackupLogs { logs: log.into_iter().collect(), read_at: Some(second(at)) };
        judge_into(&mut snapshot, &self.snapshot, &logs, second(at + 2));
        self.snapshot = snapshot;
        self.snapshot.stanzas[0].repos[0].last_attempt.clone()
    }
}

fn failure(attempt: Option<&BackupAttempt>) -> Option<(AttemptEvidence, Option<Reason>, Option<i32>)> {
    let attempt = attempt?;
    let failure = attempt.failure.as_ref()?;
    Some((attempt.evidence, failure.reason, failure.exit_code))
}

#[test]
fn the_log_shows_each_attempt_that_has_ended() {
    let mut story = Story::logged();
    assert_eq!(story.collects(0, false, &[-100]), None, "the log does not tell of that one");
    story.begins(10);
    assert_eq!(story.collects(20, true, &[-100]), None);
    story.writes(30, "backup command end: completed successfully (20000ms)");
    let attempt = story.collects(40, false, &[-100, 29]).unwrap();
    assert_eq!((attempt.evidence, attempt.backup_type), (AttemptEvidence::Log, Some(BackupType::Full)));
    assert_eq!((attempt.began, attempt.ended, &attempt.failure), (Some(second(10)), Some(second(30)), &None));

    story.begins(50);
    assert_eq!(story.collects(60, true, &[-100, 29]), Some(attempt), "the next one runs");
    story.writes(70, "backup command end: aborted with exception [082]");
    let failed = story.collects(80, false, &[-100, 29]);
    let expected = Some((AttemptEvidence::Log, Some(Reason::ArchiveTimeout), Some(82)));
    assert_eq!(failure(failed.as_ref()), expected);
    assert_eq!(story.collects(90, false, &[-100, 29]), failed, "there is one proof, not two");
    // One that another host has made, or that this log was not told of.
    let made = story.collects(100, false, &[-100, 29, 95]).unwrap();
    assert_eq!((made.evidence, made.ended, made.failure), (AttemptEvidence::Backup, Some(second(95)), None));
    // A backup that the log tells of is older than its last attempt, whatever the times say.
    story.writes(105, "new backup label = 20270102-000000F");
    assert_eq!(story.collects(107, false, &[-100, 29, 95]), failed);
    // The clock was ahead.
    story.begins(50_000);
    story.writes(50_001, "backup command end: aborted with exception [055]");
    let ahead = story.collects(110, false, &[-100, 29]).unwrap();
    assert_eq!((ahead.began, ahead.ended, ahead.failure.unwrap().exit_code), (None, None, Some(55)));
}

#[test]
fn a_beginning_without_a_lock_is_one_that_was_killed_once_that_is_certain() {
    let mut story = Story::logged();
    story.begins(10);
    story.writes(12, "backup command end: aborted with exception [055]");
    assert!(story.collects(15, false, &[]).is_some());
    story.begins(20);
    assert_eq!(failure(story.collects(30, true, &[]).as_ref()).unwrap().2, Some(55), "it runs");
    assert_eq!(story.collects(40, false, &[]), None, "it can have ended since the log was read");
    let killed = story.collects(50, false, &[]);
    assert_eq!(failure(killed.as_ref()), Some((AttemptEvidence::Log, Some(Reason::OomOrKill), None)));
    assert_eq!(killed.as_ref().unwrap().began, Some(second(20)));
    let mut silent = story.snapshot.stanzas[0].clone();
    silent.repos[0].state = RepoState::Timeout;
    assert_eq!(story.judges(60, silent), killed);
    assert_eq!(
        story.collects(70, true, &[]).and_then(|attempt| attempt.failure).unwrap().exit_code,
        Some(55)
    );
    story.writes(80, "backup command end: completed successfully (60000ms)");
    assert_eq!(story.collects(90, false, &[79]).unwrap().failure, None);

    // A part of the log in which its end may be was not read.
    story.begins(100);
    story.log.skip();
    for at in [110, 120, 130] {
        assert_eq!(story.collects(at, false, &[79]), None);
    }
    let made = story.collects(140, false, &[79, 105]).unwrap();
    assert_eq!((made.evidence, made.ended, made.failure), (AttemptEvidence::Backup, Some(second(105)), None));
}

#[test]
fn without_a_log_a_released_lock_without_a_new_backup_is_a_failure() {
    let mut story = Story::default();
    assert_eq!(story.collects(0, false, &[-100]), None);
    assert_eq!(story.collects(10, true, &[-100]), None);
    assert_eq!(story.collects(20, false, &[-100]), None, "an answer after that has to confirm it");
    let failed = story.collects(30, false, &[-100]);
    assert_eq!(failure(failed.as_ref()), Some((AttemptEvidence::Lock, None, None)));
    let times = failed.as_ref().map(|failed| (failed.began, failed.ended));
    assert_eq!(times, Some((Some(second(11)), Some(second(21)))));
    assert_eq!(story.collects(40, true, &[-100]), failed, "the next one runs");
    assert_eq!(story.collects(50, false, &[-100, 49]), None, "later failures may go unseen");
    // One after the other.
    for (at, held, expected) in
        [(60, true, false), (70, false, false), (80, true, true), (90, false, true), (100, false, true)]
    {
        assert_eq!(story.collects(at, held, &[-100, 49]).is_some(), expected, "{at}");
    }
    // The newest backup was removed meanwhile: who can say what happened?
    let mut story = Story::default();
    for (at, held, backups) in [(0, true, &[-200, -100][..]), (10, false, &[-200]), (20, false, &[-200])] {
        assert_eq!(story.collects(at, held, backups), None, "{at}");
    }
}

#[test]
fn an_unreadable_repository_proves_nothing() {
    let mut story = Story::default();
    story.collects(0, true, &[-100]);
    for at in [10, 20, 30] {
        let mut stanza = story.snapshot.stanzas[0].clone();
        stanza.backup_lock = Activity { held: Some(false), ..Activity::default() };
        (stanza.repos[0].state, stanza.repos[0].progress) = (RepoState::Other, None);
        stanza.repos[0].collected_at = second(at) + TimeDelta::seconds(1);
        assert_eq!(story.judges(at, stanza), None);
    }
    story.collects(40, false, &[-100]);
    assert!(story.collects(50, false, &[-100]).is_some());
}
