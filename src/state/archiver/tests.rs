//! Archivers over made-up readings.

use super::super::examples::day;
use super::*;

const GIB: u64 = 1 << 30;

fn name(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

fn at(minutes: i64) -> DateTime<Utc> {
    day(100) + TimeDelta::minutes(minutes)
}

/// A queue of 16 MiB segments from `first` on, since the time of day 100.
fn observed(minutes: u32, first: u32, files: u64) -> Observation {
    let next = (files > 0).then(|| Next { file: name(first), since: Some(day(100)) });
    Observation {
        at: at(minutes.into()),
        pod: None,
        uptime: Duration::from_mins(minutes.into()),
        queue_limit: Some(GIB),
        queue: Ok(Queue { files, next, file_bytes: Some(16 << 20), system_id: Some(77), ..Queue::default() }),
        spool: Ok(Spool { pushed_files: Some(0), ..Spool::default() }),
    }
}

fn repo(range: (u32, u32)) -> RepoArchive {
    let segment = |number| WalSegment::parse(&name(number)).unwrap();
    RepoArchive {
        is_current: true,
        system_id: Some(77),
        range: Some((segment(range.0), segment(range.1))),
        newest_backup: Some(day(99)),
    }
}

/// The last of several readings, with one repository that holds segments 1 to 9.
fn after(observations: &[Observation]) -> Archiver {
    reported(observations, &[repo((1, 9))])
}

fn reported(observations: &[Observation], repos: &[RepoArchive]) -> Archiver {
    let next = |before: Option<Archiver>, observed| Some(Archiver::of(observed, before.as_ref(), repos));
    observations.iter().fold(None, next).unwrap()
}

#[test]
fn a_growing_queue_is_full_at_a_time() {
    let growing: Vec<Observation> =
        (0..5).map(|minute| observed(minute, 10, 8 * u64::from(minute))).collect();
    assert_eq!(after(&growing[..1]).growth_bytes_per_second, None, "one reading is no rate");
    let archiver = after(&growing);
    // 8 segments a minute, of 64 that fit.
    let expected = 8.0 * f64::from(16 << 20) / 60.0;
    assert!((archiver.growth_bytes_per_second.unwrap() - expected).abs() < 1.0);
    assert_eq!(archiver.drop_expected_at, Some(at(8)));
    assert_eq!((archiver.queued_bytes(), archiver.queue_limit_bytes), (Some(512 << 20), Some(GIB)));
    // Reading the same again changes nothing: a collection may judge several times.
    assert_eq!(Archiver::of(&growing[4], Some(&archiver), &[repo((1, 9))]), archiver);
    let unlimited = Observation { queue_limit: None, ..growing[4].clone() };
    assert_eq!(Archiver::of(&unlimited, Some(&archiver), &[]).drop_expected_at, None);
}

#[test]
fn a_queue_that_does_not_grow_is_never_full() {
    let same = [observed(0, 10, 8), observed(1, 10, 8)];
    assert_eq!((after(&same).growth_bytes_per_second, after(&same).drop_expected_at), (None, None));
    let shorter = [observed(0, 10, 4), observed(1, 10, 8), observed(2, 14, 6)];
    assert_eq!(after(&shorter).drop_expected_at, None);
    let again = [shorter.as_slice(), &[observed(4, 14, 10)]].concat();
    let expected = 4.0 * f64::from(16 << 20) / 120.0;
    assert!((after(&again).growth_bytes_per_second.unwrap() - expected).abs() < 1.0, "since it was shortest");
    let slow = [observed(0, 10, 8), Observation { uptime: Duration::from_secs(10), ..observed(0, 10, 9) }];
    assert_eq!(after(&slow).growth_bytes_per_second, None, "too short a time");
}

#[test]
fn a_clock_that_is_set_does_not_change_the_rate() {
    let mut readings = [observed(0, 10, 0), observed(1, 10, 8)];
    readings[1].at = at(-600);
    let archiver = after(&readings);
    assert!((archiver.growth_bytes_per_second.unwrap() - 8.0 * f64::from(16 << 20) / 60.0).abs() < 1.0);
    assert_eq!(archiver.drop_expected_at, Some(at(-593)));
}

#[test]
fn old_growth_is_forgotten() {
    let mut readings = vec![observed(0, 10, 1)];
    readings.extend(
        (1..=90).map(|minute| observed(minute, 10, if minute < 60 { 1 } else { 1 + u64::from(minute - 60) })),
    );
    let archiver = after(&readings);
    assert!((archiver.growth_bytes_per_second.unwrap() - f64::from(16 << 20) / 60.0).abs() < 1.0);
    assert!(archiver.samples.len() <= 31, "{}", archiver.samples.len());
}

#[test]
fn more_than_the_limit_is_dropped_now() {
    assert_eq!(after(&[observed(3, 10, 65)]).drop_expected_at, Some(at(3)));
    assert_eq!(after(&[observed(3, 10, 64)]).drop_expected_at, None, "as much as the limit may wait");
}

#[test]
fn unknown_is_absent() {
    let mut unread = observed(1, 10, 8);
    unread.queue = Err("cannot read it".to_owned());
    let archiver = after(&[observed(0, 10, 4), unread]);
    assert_eq!(archiver.problem.as_deref(), Some("cannot read it"));
    assert!(!archiver.is_known());
    let facts =
        (archiver.waiting_files(), archiver.queued_bytes(), archiver.drop_expected_at, archiver.rejected);
    assert_eq!(facts, (None, None, None, None));
    let mut standby = observed(1, 10, 80);
    standby.queue.as_mut().unwrap().is_idle = true;
    let archiver = after(&[standby]);
    assert!(archiver.is_known() && archiver.next().is_none() && archiver.drop_expected_at.is_none());
    assert_eq!((archiver.waiting_files(), archiver.rejected), (None, None));
}

#[test]
fn another_server_has_a_queue_of_its_own() {
    let in_pod = |pod: &str, observed| Observation { pod: Some(Arc::from(pod)), ..observed };
    let queues = |later: &str| [in_pod("a-0", observed(0, 10, 4)), in_pod(later, observed(2, 10, 8))];
    assert!(after(&queues("a-0")).growth_bytes_per_second.is_some());
    let archiver = after(&queues("a-1"));
    assert_eq!((archiver.growth_bytes_per_second, archiver.pod.as_deref()), (None, Some("a-1")));
    // A full queue whose first file is gone was dropped from, unless it is another server's.
    let full = |later: &str| [in_pod("a-0", observed(0, 10, 64)), in_pod(later, observed(1, 11, 64))];
    let dropped = after(&full("a-0")).dropped.unwrap();
    assert_eq!(after(&full("a-1")).dropped, None);
    // What is lost is lost.
    let after_failover = [full("a-0").as_slice(), &[in_pod("a-1", observed(2, 20, 0))]].concat();
    assert_eq!(after(&after_failover).dropped, Some(dropped));
}

fn error(file: Option<u32>, class: &'static str, minutes: i64) -> PushError {
    PushError { file: file.map(name), class, message: "said".to_owned(), seen_at: at(minutes) }
}

fn failing(minutes: u32, first: u32, errors: Vec<PushError>) -> Observation {
    let spool = Ok(Spool { pushed_files: Some(0), errors, ..Spool::default() });
    Observation { spool, ..observed(minutes, first, 4) }
}

#[test]
fn an_error_lasts_while_its_file_waits() {
    let first = failing(1, 10, vec![error(Some(10), "FileWriteError", 1)]);
    assert_eq!(after(std::slice::from_ref(&first)).errors.len(), 1);
    // pgBackRest has removed it and tries again.
    assert_eq!(after(&[first.clone(), failing(3, 10, vec![])]).errors.len(), 1);
    assert_eq!(after(&[first.clone(), failing(17, 10, vec![])]).errors.len(), 0, "too long ago");
    assert_eq!(after(&[first.clone(), failing(3, 11, vec![])]).errors.len(), 0, "it was archived");
    assert_eq!(after(&[first, observed(3, 10, 0)]).errors.len(), 0, "nothing waits");
    let newer = failing(3, 10, vec![error(Some(10), "HostConnectError", 3)]);
    let errors = after(&[failing(1, 10, vec![error(Some(10), "FileWriteError", 1)]), newer]).errors;
    assert_eq!(errors.iter().map(|error| error.class).collect::<Vec<_>>(), ["HostConnectError"]);
}

#[test]
fn a_rejected_file_is_named_with_its_reason() {
    let reason = |archiver: Archiver| archiver.rejected.map(|rejected| (rejected.file, rejected.reason));
    let rejected = |reason| Some((name(10), reason));
    let by = |file, class| after(&[failing(1, 10, vec![error(file, class, 1)])]);
    assert_eq!(reason(by(Some(10), "ArchiveDuplicateError")), rejected(Reason::ArchiveDuplicate));
    assert_eq!(reason(by(None, "ArchiveMismatchError")), rejected(Reason::Mismatch));
    assert_eq!(reason(by(Some(12), "ArchiveDuplicateError")), None, "it is not its turn yet");
    assert_eq!(reason(by(Some(10), "HostConnectError")), None);
    let of_another = RepoArchive { system_id: Some(78), ..repo((1, 9)) };
    assert_eq!(
        reason(reported(&[observed(1, 10, 1)], &[repo((1, 9)), of_another])),
        rejected(Reason::Mismatch)
    );
    let old = RepoArchive { is_current: false, ..of_another };
    assert_eq!(reason(reported(&[observed(1, 10, 1)], &[old])), None, "it may have changed since");
}

#[test]
fn a_file_that_every_repository_holds_is_rejected() {
    let reason = |observation: Observation, repos: &[RepoArchive]| {
        reported(&[observation], repos).rejected.map(|rejected| rejected.reason)
    };
    let holding = repo((1, 12));
    assert_eq!(reason(observed(6, 10, 3), &[holding, holding]), Some(Reason::ArchiveDuplicate));
    assert_eq!(reason(observed(4, 10, 3), &[holding]), None, "it may just have been pushed");
    assert_eq!(reason(observed(6, 10, 3), &[holding, repo((1, 9))]), None);
    let down = RepoArchive { is_current: false, ..holding };
    assert_eq!(reason(observed(6, 10, 3), &[holding, down]), None, "the other one is why it waits");
    assert_eq!(reason(observed(6, 10, 3), &[]), None);
}

#[test]
fn what_the_spool_dropped_is_lost_until_a_backup() {
    let mut dropping = observed(1, 14, 0);
    let files = DroppedFiles { first: name(10), first_at: at(1), last_at: at(2) };
    dropping.spool = Ok(Spool { dropped: Some(files), ..Spool::default() });
    let known = after(&[dropping.clone(), observed(9, 15, 0)]).dropped.unwrap();
    assert_eq!((known.first.as_str(), known.since, known.last_at), (name(10).as_str(), at(1), at(2)));
    let backed_up = RepoArchive { newest_backup: Some(at(3)), ..repo((1, 30)) };
    assert_eq!(reported(&[dropping.clone(), observed(9, 15, 0)], &[backed_up]).dropped, None);
    let began_before = RepoArchive { newest_backup: Some(at(2)), ..repo((1, 30)) };
    assert!(reported(&[dropping], &[began_before]).dropped.is_some());
}

#[test]
fn what_leaves_a_full_queue_for_no_repository_is_lost() {
    let down = RepoArchive { is_current: false, ..repo((1, 9)) };
    let full = [observed(1, 10, 64), observed(2, 11, 64)];
    let dropped = |readings: &[Observation], repos: &[RepoArchive]| {
        reported(readings, repos).dropped.map(|dropped| dropped.first)
    };
    assert_eq!(dropped(&full, &[down]), Some(name(10)));
    assert_eq!(dropped(&full, &[repo((1, 9)), down]), Some(name(10)), "it answers and does not have it");
    assert_eq!(dropped(&full, &[repo((1, 11)), down]), None, "it came to a repository");
    assert_eq!(dropped(&full[..1], &[down]), None);
    assert_eq!(dropped(&[observed(1, 10, 20), observed(2, 11, 20)], &[down]), None, "there was room");
    assert_eq!(dropped(&full, &[]), None);
    let more = [full.as_slice(), &[observed(3, 12, 64)]].concat();
    let known = reported(&more, &[down]).dropped.unwrap();
    assert_eq!((known.first, known.since, known.last_at), (name(10), at(2), at(3)));
}
