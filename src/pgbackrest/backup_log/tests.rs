//! Logs as pgBackRest 2.45 and 2.60 write them, mixed, cut and without times.

use proptest::prelude::*;

use super::*;

const START: &str = "-------------------PROCESS START-------------------";

fn written_at() -> DateTime<Utc> {
    at("14:59:59")
}

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-11-29T{time}Z").parse().unwrap()
}

fn read(log: &mut BackupLog, text: &str) {
    let clock = &|local: NaiveDateTime| Some(local.and_utc());
    log.read(text, &Reading { read_at: written_at(), written_at: written_at(), clock });
}

fn log(text: &str) -> BackupLog {
    let mut log = BackupLog::default();
    read(&mut log, text);
    log
}

fn info(time: &str, text: &str) -> String {
    format!("2026-11-29 {time}.000 P00   INFO: {text}\n")
}

fn began(time: &str, version: &str, options: &str) -> String {
    let head = "--exec-id=301-2f5bd5f9 --log-path=/var/log --pg1-path=/pg";
    format!(
        "\n{START}\n{}",
        info(
            time,
            &format!("backup command begin {version}: {head} --repo1-path=/r1 --repo2-path=/r2 {options}")
        )
    )
}

fn completed(time: &str, after: u32) -> String {
    info(time, &format!("backup command end: completed successfully ({after}ms)"))
}

fn aborted(time: &str, code: u32, message: &str) -> String {
    format!("2026-11-29 {time}.000 P00  ERROR: [{code:03}]: {message}\n")
        + &info(time, &format!("backup command end: aborted with exception [{code:03}]"))
}

/// When an attempt ended, and with which code and error if it failed.
type Reported = (Option<DateTime<Utc>>, Option<(Option<i32>, Option<String>)>);

fn reported(log: &BackupLog, repo: u32) -> Option<Reported> {
    let ended = log.ended(repo, false)?;
    Some((ended.at, ended.failure.clone().map(|failure| (failure.code, failure.message))))
}

fn is_failed(log: &BackupLog, repo: u32, time: &str, code: i32, message: &str) -> bool {
    reported(log, repo) == Some((Some(at(time)), Some((Some(code), Some(message.to_owned())))))
}

fn is_good(log: &BackupLog, repo: u32, time: &str) -> bool {
    reported(log, repo) == Some((Some(at(time)), None))
}

/// A message of pgBackRest.
const GONE: &str = "archive_mode must be enabled";

#[test]
fn attempts_end_well_or_not() {
    let success = began("14:00:00", "2.45", "--repo=1 --stanza=demo --type=full")
        + &info(
            "14:00:01",
            "execute non-exclusive backup start: backup begins after the next checkpoint completes",
        )
        + &info("14:00:09", "new backup label = 20261129-140000F")
        + &completed("14:00:09", 9004);
    let all = log(&success);
    assert!(is_good(&all, 1, "14:00:09") && reported(&all, 2).is_none());
    let ended = all.ended(1, false).unwrap();
    assert_eq!((ended.backup_type, ended.began), (Some(BackupType::Full), Some(at("14:00:00"))));
    assert!(!all.is_any_running());
    assert!(all.has_made("20261129-140000F") && !all.has_made("20261128-140000F"));

    let error = "unable to find primary cluster - cannot proceed\n                                    HINT: are all available clusters in recovery?";
    let all = log(&(success + &began("14:10:00", "2.45", "--stanza=demo") + &aborted("14:10:01", 56, error)));
    let message =
        "unable to find primary cluster - cannot proceed HINT: are all available clusters in recovery?";
    // The first repository is the default, and incr.
    assert!(is_failed(&all, 1, "14:10:01", 56, message), "{all:?}");
    let ended = all.ended(1, false).unwrap();
    assert_eq!(
        (ended.backup_type, ended.failure.as_ref().unwrap().reason()),
        (Some(BackupType::Incr), Some(Reason::Database))
    );
}

#[test]
fn signals_are_reported_in_two_ways() {
    let old = info("14:00:03", "backup command end: terminated on signal [SIGTERM]");
    let all = log(&(began("14:00:00", "2.45", "--repo=2") + &old));
    assert_eq!(reported(&all, 2), Some((Some(at("14:00:03")), Some((Some(63), None)))));
    // The last line without a time was written when the file was.
    let all = log(&(began("14:00:00", "2.60.0", "--repo=2") + "terminated on signal SIGTERM\n"));
    assert_eq!(reported(&all, 2), Some((Some(written_at()), Some((Some(63), None)))));
}

#[test]
fn without_an_end_it_is_running() {
    let mut all = log(&began("14:00:00", "2.60.0", "--repo=2 --type=diff"));
    assert_eq!(reported(&all, 2), None);
    assert_eq!(
        all.running(2).map(|one| (one.began, one.may_have_ended)),
        Some((Some(at("14:00:00")), false))
    );
    assert_eq!(all.running(1), None);
    all.skip();
    assert!(all.running(2).unwrap().may_have_ended);
    // One that was killed is forgotten when the next one had the lock.
    read(&mut all, &(began("14:10:00", "2.60.0", "--repo=2") + &completed("14:10:05", 5000)));
    assert!(is_good(&all, 2, "14:10:05") && !all.is_any_running());
}

#[test]
fn a_conflict_of_locks_ends_the_one_that_came_later() {
    let mut all = log(&(began("14:00:00", "2.45", "--repo=1")
        + &began("14:00:15", "2.45", "--repo=2")
        + &aborted("14:00:15", 50, "unable to acquire lock on file '/tmp/pgbackrest/demo-backup.lock'")));
    assert_eq!(reported(&all, 2).unwrap().1.unwrap().0, Some(50));
    assert_eq!(all.running(1).unwrap().began, Some(at("14:00:00")));
    read(&mut all, &completed("14:00:20", 20_003));
    assert!(is_good(&all, 1, "14:00:20") && !all.is_any_running());
}

#[test]
fn of_two_that_begin_at_the_same_time_either_can_have_got_the_lock() {
    let two = began("14:00:00", "2.45", "--repo=1") + &began("14:00:01", "2.45", "--repo=2");
    let conflict = aborted("14:00:01", 50, "unable to acquire lock");
    let mut all = log(&(two.clone() + &conflict));
    assert_eq!((reported(&all, 1), reported(&all, 2)), (None, None));
    read(&mut all, &completed("14:00:20", 19_000));
    assert_eq!((reported(&all, 1), reported(&all, 2)), (None, None), "the backup tells");
    assert!(all.running(1).unwrap().may_have_ended && all.running(2).unwrap().may_have_ended);
    let all = log(&(two.clone() + &conflict + &aborted("14:00:30", 82, "not archived")));
    let unknown = Some((Some(at("14:00:30")), Some((None, None))));
    assert_eq!((reported(&all, 1), reported(&all, 2)), (unknown.clone(), unknown));
    let stopped = aborted("14:00:01", 62, "stop file exists for all stanzas");
    let all = log(&(two + &stopped + &stopped));
    for repo in [1, 2] {
        assert!(is_failed(&all, repo, "14:00:01", 62, "stop file exists for all stanzas"), "{all:?}");
    }
}

#[test]
fn of_mixed_attempts_it_is_reported_which_one_failed_once_that_is_certain() {
    let two = began("14:00:00", "2.53", "--repo=1") + &began("14:00:30", "2.53", "--repo=2");
    let (first, second) = (completed("14:01:40", 100_004), completed("14:01:40", 70_009));
    let error = aborted(
        "14:01:00",
        82,
        "WAL segment 00000001000000000000000A was not archived before the 60000ms timeout",
    );
    let message = "WAL segment 00000001000000000000000A was not archived before the 60000ms timeout";

    let all = log(&(two.clone() + &first + &second));
    assert!(is_good(&all, 1, "14:01:40") && is_good(&all, 2, "14:01:40"));
    let all = log(&(two.clone() + &error));
    assert_eq!((reported(&all, 1), reported(&all, 2)), (None, None), "either can have failed");
    assert!(all.has_unassigned_failure());
    let all = log(&(two.clone() + &error + &first));
    assert!(is_good(&all, 1, "14:01:40") && is_failed(&all, 2, "14:01:00", 82, message));
    let all = log(&(two.clone() + &error + &second));
    assert!(is_failed(&all, 1, "14:01:00", 82, message) && is_good(&all, 2, "14:01:40"));
    let other = aborted("14:01:10", 56, "no primary");
    let all = log(&(two + &error + &other));
    let unknown = Some((Some(at("14:01:10")), Some((None, None))));
    assert_eq!((reported(&all, 1), reported(&all, 2)), (unknown.clone(), unknown));
    // With one lock for the stanza the older one was killed.
    let two = began("14:00:00", "2.52.1", "--repo=1") + &began("14:00:30", "2.52.1", "--repo=2");
    let all = log(&(two + &error));
    assert!(reported(&all, 1).is_none() && is_failed(&all, 2, "14:01:00", 82, message));
}

#[test]
fn an_end_without_a_beginning_counts_for_the_only_repository() {
    let all = log(&completed("14:00:20", 20_000));
    assert_eq!(all.ended(1, false), None);
    let ended = all.ended(1, true).unwrap();
    assert_eq!(
        (ended.began, ended.at, ended.backup_type),
        (Some(at("14:00:00")), Some(at("14:00:20")), None)
    );
    let all = log(&(completed("14:00:20", 20_000)
        + &began("14:01:00", "2.60.0", "--repo=1")
        + &aborted("14:01:01", 55, "x")));
    assert!(all.ended(1, true).unwrap().failure.is_some());
    // It is not the one that runs.
    let all = log(&(began("14:00:00", "2.60.0", "--repo=1") + &completed("14:30:00", 4000)));
    assert!(all.running(1).is_some());
}

#[test]
fn without_times_the_order_counts() {
    let timeless = |text: String| {
        text.lines()
            .map(|line| line.get(24..).filter(|_| line.starts_with("2026")).unwrap_or(line).to_owned() + "\n")
            .collect::<String>()
    };
    let end = "P00   INFO: backup command end: completed successfully\n";
    let all = log(&(timeless(began("14:00:00", "2.45", "--repo=1")) + end));
    assert_eq!(reported(&all, 1), Some((Some(written_at()), None)));
    let all = log(&timeless(began("14:00:00", "2.45", "") + &aborted("14:00:01", 55, GONE)));
    assert_eq!(reported(&all, 1), Some((Some(written_at()), Some((Some(55), Some(GONE.to_owned()))))));
    let two = began("14:00:00", "2.60.0", "--repo=1") + &began("14:00:30", "2.60.0", "--repo=2");
    let all = log(&(timeless(two) + end));
    assert_eq!((reported(&all, 1), reported(&all, 2)), (None, None));
    assert!(all.running(1).unwrap().may_have_ended && all.running(2).unwrap().may_have_ended);
}

#[test]
fn options_are_reported_from_values() {
    let repo = |options: &str| {
        let text = format!("backup command begin 2.45: {options}");
        let all = log(&info("14:00:00", &text));
        all.running.first().map(|one| (one.repo, one.backup_type))
    };
    assert_eq!(repo("--stanza=demo"), Some((1, BackupType::Incr)));
    assert_eq!(repo("--repo3-type=s3 --repo2-path=/r --type=full"), Some((2, BackupType::Full)));
    assert_eq!(
        repo("--annotation=\"a=x --repo=7 y\" --repo=4 --annotation=\"b= --type=full\""),
        Some((4, BackupType::Incr))
    );
    assert_eq!(repo("--repo1-cipher-pass=<redacted> --repo=x"), Some((1, BackupType::Incr)));
    assert_eq!(repo("--type=unknown"), None);
}

#[test]
fn errors_are_redacted_and_bounded() {
    let hints = "\nHINT: Is this a standby?".repeat(200);
    let message = format!("'secret' is not allowed for 'type' option{hints}");
    let all = log(&(began("14:00:00", "2.45", "") + &aborted("14:00:01", 32, &message)));
    let message = reported(&all, 1).unwrap().1.unwrap().1.unwrap();
    assert!(
        message.starts_with("'…' is not allowed for 'type' option HINT: Is this a standby? HINT: "),
        "{message}"
    );
    assert_eq!(message.chars().count(), LONGEST_ERROR);
    let rule = "-".repeat(50);
    let detailed = format!("{GONE}\n{rule}\nversion: 2.45\noptions: --repo1-path=/r");
    let all = log(&(began("14:00:00", "2.45", "") + &aborted("14:00:01", 55, &detailed)));
    assert!(is_failed(&all, 1, "14:00:01", 55, GONE), "{all:?}");
    // Of a retried step, and not of the end.
    let other = "2026-11-29 14:00:01.000 P00  ERROR: [042]: another\n".to_owned();
    let end = info("14:00:02", "backup command end: aborted with exception [055]");
    let all = log(&(began("14:00:00", "2.45", "") + &other + &end));
    assert_eq!(reported(&all, 1), Some((Some(at("14:00:02")), Some((Some(55), None)))));
}

proptest! {
    /// Whatever is in the file, and wherever it is cut.
    #[test]
    fn anything_can_be_read(text in "(?s).{0,200}", cut in 0_usize..400, repo in 1_u32..4) {
        let line = began("14:00:00", "2.60.0", &format!("--repo={repo}"));
        let all = line.clone() + &text + &aborted("14:00:01", 55, &text) + &line + &completed("14:10:00", 9);
        let cut = all.floor_char_boundary(cut.min(all.len()));
        let mut split = log(&all[..cut]);
        read(&mut split, &all[cut..]);
        prop_assert!(split.running.len() <= MAX_RUNNING);
        for _ in 0..70 {
            read(&mut split, &(line.clone() + &info("14:00:00", &format!("new backup label = {text}"))));
        }
        prop_assert!(split.running.len() <= MAX_RUNNING && split.made.len() <= MAX_MADE);
    }
}
