//! What Jobs and CronJobs come to, over the days.

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::pgbackrest::label::BackupType;
use crate::state::health::Health;

const FULL: Slot = Slot { repo_key: 1, backup_type: BackupType::Full };
const INCR: Slot = Slot { repo_key: 1, backup_type: BackupType::Incr };
const LOCKED: JobFailure = JobFailure { reason: "lock_conflict", exit_code: Some(50) };

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn key() -> ClusterKey {
    ClusterKey::new("shop", "ledger")
}

fn place(slot: Slot) -> (ClusterKey, Slot) {
    (key(), slot)
}

/// Made on the first of November 2026, a Sunday.
fn cron_job(slot: Slot, expression: &str) -> CronFact {
    CronFact {
        cluster: key(),
        slot,
        uid: slot.backup_type.as_str().into(),
        name: "pgbackrest-ledger".into(),
        expression: expression.into(),
        time_zone: None,
        suspension: Suspension::None,
        created: at("2026-11-01T12:00:00Z"),
        deadline: None,
        last_success: None,
    }
}

fn runs(uid: &str, started: &str) -> JobFact {
    JobFact {
        cluster: key(),
        slot: FULL,
        uid: uid.into(),
        trigger: Trigger::Schedule,
        started: Some(at(started)),
        failed_pods: 0,
        succeeded_pods: 0,
        end: None,
    }
}

fn ended(uid: &str, started: &str, ended: &str, failure: Option<JobFailure>) -> JobFact {
    let (failed_pods, succeeded_pods) = if failure.is_some() { (6, 0) } else { (0, 1) };
    let end = Some(JobEnd { at: at(ended), failure });
    JobFact { failed_pods, succeeded_pods, end, ..runs(uid, started) }
}

/// An index with one schedule for full backups, as it stands at `now`.
fn scheduled(expression: &str, now: &str) -> JobIndex {
    let mut index = JobIndex::default();
    index.cron_jobs(vec![cron_job(FULL, expression)], at(now));
    index
}

fn history(index: &JobIndex, slot: Slot, now: &str) -> RunHistoryView {
    let cluster = &index.clusters()[&key()];
    let (_, history) = cluster.histories().find(|(known, _)| *known == slot).unwrap();
    history.view(at(now))
}

fn schedule(index: &JobIndex, now: &str) -> ScheduleView {
    history(index, FULL, now).schedule.unwrap()
}

fn missed(index: &JobIndex, now: &str) -> (Option<u64>, Option<i64>) {
    let view = schedule(index, now);
    (view.missed, view.overdue.map(|overdue| overdue.num_seconds()))
}

fn concerns(index: &JobIndex, now: &str) -> Vec<(Health, String)> {
    let concerns = index.clusters()[&key()].concerns(at(now));
    concerns.into_iter().map(|concern| (concern.health, concern.text)).collect()
}

#[test]
fn what_never_ran_is_missed_from_its_first_minute_on() {
    let index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    let table = [
        ("2026-11-01T12:00:00Z", 0, 0),
        ("2026-11-02T02:14:59Z", 0, 0),
        ("2026-11-02T02:15:00Z", 1, 0),
        ("2026-11-02T03:15:00Z", 1, 3600),
        ("2026-11-03T02:15:00Z", 2, 86_400),
        ("2027-11-03T02:15:00Z", 100, 366 * 86_400),
    ];
    for (now, runs, overdue) in table {
        assert_eq!(missed(&index, now), (Some(runs), Some(overdue)), "{now}");
    }
    assert_eq!(history(&index, FULL, "2026-11-02T03:00:00Z").consecutive_failures, None);
    assert_eq!(history(&index, FULL, "2026-11-02T03:00:00Z").last_success, None);
}

#[test]
fn a_success_of_the_same_kind_is_what_counts() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    index.cron_jobs(vec![cron_job(INCR, "0 3 * * *")], at("2026-11-01T12:00:00Z"));
    let full = ended("a", "2026-11-02T02:00:01Z", "2026-11-02T02:10:01Z", None);
    index.job(&full, at("2026-11-02T02:10:02Z"));
    assert_eq!(missed(&index, "2026-11-02T12:00:00Z"), (Some(0), Some(0)));
    let incr = history(&index, INCR, "2026-11-02T12:00:00Z").schedule.unwrap();
    assert_eq!(incr.missed, Some(1), "the full backup is stronger, and was not asked for by this schedule");

    // By hand is as good as by the clock.
    let by_hand = JobFact {
        trigger: Trigger::Manual,
        ..ended("b", "2026-11-03T06:00:00Z", "2026-11-03T06:10:00Z", None)
    };
    assert_eq!(missed(&index, "2026-11-03T06:00:00Z").0, Some(1));
    index.job(&by_hand, at("2026-11-03T06:10:00Z"));
    assert_eq!(missed(&index, "2026-11-03T07:00:00Z"), (Some(0), Some(0)));
}

#[test]
fn the_grace_is_as_long_as_the_last_run_took_and_no_longer_than_an_interval() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    index.job(&ended("a", "2026-11-02T02:00:00Z", "2026-11-02T05:00:00Z", None), at("2026-11-02T05:00:00Z"));
    assert_eq!(missed(&index, "2026-11-03T04:59:59Z").0, Some(0));
    assert_eq!(missed(&index, "2026-11-03T05:00:00Z").0, Some(1));

    let mut hourly = scheduled("0 * * * *", "2026-11-01T12:00:00Z");
    hourly.job(&ended("a", "2026-11-02T02:00:00Z", "2026-11-02T05:00:00Z", None), at("2026-11-02T05:00:00Z"));
    assert_eq!(missed(&hourly, "2026-11-02T06:59:59Z").0, Some(0));
    assert_eq!(missed(&hourly, "2026-11-02T07:00:00Z").0, Some(1));
}

#[test]
fn a_run_that_goes_on_is_not_missed_and_those_before_and_after_it_are() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    index.job(&runs("a", "2026-11-03T02:00:01Z"), at("2026-11-03T02:00:02Z"));
    let view = history(&index, FULL, "2026-11-03T12:00:00Z");
    assert_eq!((view.active, view.active_since), (1, Some(at("2026-11-03T02:00:01Z"))));
    let of_schedule = view.schedule.unwrap();
    assert_eq!((of_schedule.missed, of_schedule.missed_since), (Some(1), Some(at("2026-11-02T02:00:00Z"))));
    // It hinders the ones that follow.
    assert_eq!(missed(&index, "2026-11-04T12:00:00Z").0, Some(2));
    assert_eq!(
        concerns(&index, "2026-11-04T12:00:00Z"),
        [
            (
                Health::Warning,
                "repo1 full overdue since 2026-11-02 02:00:00 UTC: 2 runs without a backup".to_owned()
            ),
            (Health::Warning, "repo1 full has been running for 1 d 9 h".to_owned())
        ]
    );
}

#[test]
fn what_is_suspended_misses_nothing_and_nothing_afterwards_for_the_time_before() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    assert_eq!(missed(&index, "2026-11-05T12:00:00Z").0, Some(4));
    let suspended = CronFact { suspension: Suspension::Others, ..cron_job(FULL, "0 2 * * *") };
    index.cron_jobs(vec![suspended.clone()], at("2026-11-05T12:00:00Z"));
    let view = schedule(&index, "2026-11-09T12:00:00Z");
    assert!(view.suspended && view.next.is_none());
    assert_eq!((view.missed, view.overdue), (Some(0), Some(TimeDelta::zero())));
    assert_eq!(
        concerns(&index, "2026-11-09T12:00:00Z"),
        [(Health::Warning, "repo1 full is suspended".to_owned())]
    );
    index.cron_jobs(vec![CronFact { suspension: Suspension::Ours, ..suspended }], at("2026-11-09T12:00:00Z"));
    assert_eq!(concerns(&index, "2026-11-09T12:00:00Z"), [], "why we have done it is told elsewhere");

    index.cron_jobs(vec![cron_job(FULL, "0 2 * * *")], at("2026-11-09T12:00:00Z"));
    assert_eq!(missed(&index, "2026-11-09T18:00:00Z").0, Some(0));
    assert_eq!(missed(&index, "2026-11-10T18:00:00Z").0, Some(1));
}

#[test]
fn times_follow_the_clock_on_the_wall() {
    let vienna =
        |expression| CronFact { time_zone: Some("Europe/Vienna".into()), ..cron_job(FULL, expression) };
    let mut index = JobIndex::default();
    // On 28 March 2027 the clock goes from 02:00 to 03:00, and 02:30 is not there.
    index.cron_jobs(vec![vienna("30 2 * * *")], at("2027-03-27T12:00:00Z"));
    let view = schedule(&index, "2027-03-28T12:00:00Z");
    assert_eq!(view.previous, Some(at("2027-03-27T01:30:00Z")));
    assert_eq!(view.next, Some(at("2027-03-29T00:30:00Z")));
    assert_eq!(view.interval, Some(TimeDelta::hours(47)), "over the night without 02:30");
    // On 31 October it goes back from 03:00 to 02:00.
    assert_eq!(schedule(&index, "2027-10-31T01:00:00Z").previous, Some(at("2027-10-31T00:30:00Z")));
    assert_eq!(schedule(&index, "2027-10-31T01:30:00Z").previous, Some(at("2027-10-31T01:30:00Z")));

    index.cron_jobs(vec![vienna("@every 12h")], at("2027-03-27T12:00:00Z"));
    let every = schedule(&index, "2027-03-27T12:00:00Z");
    assert_eq!((every.previous, every.next, every.interval), (None, None, Some(TimeDelta::hours(12))));

    index.cron_jobs(vec![vienna("0 0 30 2 *")], at("2027-03-27T12:00:00Z"));
    let never = schedule(&index, "2027-03-27T12:00:00Z");
    assert_eq!((never.next, never.interval, never.missed), (None, None, None));
}

#[test]
fn failures_are_counted_up_to_a_success_and_stay_reported_when_jobs_go() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    let failed = |day: u32| {
        let (start, end) = (format!("2026-11-0{day}T02:00:00Z"), format!("2026-11-0{day}T02:30:00Z"));
        ended(&format!("f{day}"), &start, &end, Some(LOCKED))
    };
    let first = index.job(&failed(2), at("2026-11-02T02:30:00Z"));
    assert_eq!(first, Tally { failed_pods: 6, succeeded_pods: 0, ended: true });
    let again = index.job(&failed(2), at("2026-11-02T02:31:00Z"));
    assert_eq!(again, Tally::default(), "each Job counts once");
    index.job_gone(&place(FULL), "f2");
    for day in [3, 4] {
        index.job(&failed(day), at("2026-11-04T02:30:00Z"));
    }
    let view = history(&index, FULL, "2026-11-04T02:40:00Z");
    assert_eq!((view.consecutive_failures, view.failing), (Some(3), Some(LOCKED)));
    assert_eq!(view.last_failure, Some(at("2026-11-04T02:30:00Z")));
    assert_eq!(view.last_duration, Some(TimeDelta::minutes(30)));
    assert_eq!(
        concerns(&index, "2026-11-04T02:40:00Z")[0],
        (
            Health::Failed,
            "repo1 full failed 3 times in a row, last 10 min ago: lock_conflict (50)".to_owned()
        )
    );

    index.job(&ended("s", "2026-11-05T02:00:00Z", "2026-11-05T02:10:00Z", None), at("2026-11-05T02:10:00Z"));
    index.job_gone(&place(FULL), "s");
    let view = history(&index, FULL, "2026-11-05T03:00:00Z");
    assert_eq!((view.consecutive_failures, view.failing), (Some(0), None));
    assert_eq!(view.last_success, Some(at("2026-11-05T02:10:00Z")), "its Job is gone");
    assert_eq!(concerns(&index, "2026-11-05T03:00:00Z"), []);
}

#[test]
fn jobs_that_are_reported_in_the_wrong_order_lead_to_the_same() {
    let success = ended("s", "2026-11-03T02:00:00Z", "2026-11-03T02:10:00Z", None);
    let failure = ended("f", "2026-11-02T02:00:00Z", "2026-11-02T02:30:00Z", Some(LOCKED));
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    for fact in [&success, &failure] {
        index.job(fact, at("2026-11-03T03:00:00Z"));
    }
    let view = history(&index, FULL, "2026-11-03T03:00:00Z");
    assert_eq!((view.consecutive_failures, view.failing), (Some(0), None));
    assert_eq!(view.last_failure, Some(at("2026-11-02T02:30:00Z")));
    assert_eq!(view.last_duration, Some(TimeDelta::minutes(10)));
}

#[test]
fn kubernetes_remembers_a_success_whose_job_is_gone() {
    let remembered = |day| CronFact { last_success: Some(at(day)), ..cron_job(FULL, "0 2 * * *") };
    let mut index = JobIndex::default();
    index.cron_jobs(vec![remembered("2026-11-08T02:10:00Z")], at("2026-11-08T12:00:00Z"));
    assert_eq!(missed(&index, "2026-11-08T12:00:00Z").0, Some(0));
    assert_eq!(history(&index, FULL, "2026-11-08T12:00:00Z").last_success, Some(at("2026-11-08T02:10:00Z")));
    assert_eq!(missed(&index, "2026-11-09T12:00:00Z").0, Some(1));
    index.cron_jobs(vec![remembered("2026-11-09T02:10:00Z")], at("2026-11-09T02:10:00Z"));
    assert_eq!(missed(&index, "2026-11-09T12:00:00Z").0, Some(0));
}

#[test]
fn pods_are_counted_as_they_fail() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    let with = |failed_pods| JobFact { failed_pods, ..runs("a", "2026-11-02T02:00:00Z") };
    let mut text_of = |failed| index.job(&with(failed), at("2026-11-02T02:00:00Z")).failed_pods;
    assert_eq!([text_of(0), text_of(1), text_of(1), text_of(3)], [0, 1, 0, 2]);
}

#[test]
fn schedules_of_one_cluster_that_meet_are_reported() {
    let mut index = scheduled("0 2 * * 0", "2026-11-01T12:00:00Z");
    let conflict = |index: &JobIndex| schedule(index, "2026-11-01T12:00:00Z").conflict;
    assert!(!conflict(&index));
    let now = at("2026-11-01T12:00:00Z");
    index.cron_jobs(vec![cron_job(INCR, "0 2 * * *")], now);
    assert!(conflict(&index));
    index.cron_jobs(vec![cron_job(INCR, "0 2 * * 1-6")], now);
    assert!(!conflict(&index));
    index.cron_jobs(vec![cron_job(INCR, "0 2 * * *")], now);
    index.cron_jobs(vec![CronFact { suspension: Suspension::Others, ..cron_job(INCR, "0 2 * * *") }], now);
    assert!(!conflict(&index), "one that is suspended meets nobody");
    index.cron_jobs(vec![cron_job(INCR, "0 2 * * *")], now);
    assert!(conflict(&index));
    index.cron_job_gone(&place(INCR), "incr", now);
    assert!(!conflict(&index));
}

#[test]
fn schedules_of_different_repos_need_the_same_lock_before_2_53() {
    let other_repo = Slot { repo_key: 2, ..FULL };
    let mut index = scheduled("0 2 * * 0", "2026-11-01T12:00:00Z");
    let now = at("2026-11-01T12:00:00Z");
    let conflict = |index: &JobIndex| schedule(index, "2026-11-01T12:00:00Z").conflict;
    index.cron_jobs(vec![CronFact { uid: "other".into(), ..cron_job(other_repo, "0 2 * * *") }], now);
    assert!(conflict(&index), "the version is not known");
    index.locks_each_repo(&key(), true, now);
    assert!(!conflict(&index));
    index.cron_jobs(vec![cron_job(INCR, "0 2 * * *")], now);
    assert!(conflict(&index), "both are for one repo");
    index.cron_jobs(vec![cron_job(INCR, "0 3 * * *")], now);
    index.locks_each_repo(&key(), false, now);
    assert!(conflict(&index));
    index.locks_each_repo(&ClusterKey::new("no", "such"), true, now);
    assert_eq!(index.clusters().len(), 1);
}

#[test]
fn what_nothing_is_left_of_is_forgotten() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    index.job(&runs("a", "2026-11-02T02:00:00Z"), at("2026-11-02T02:00:00Z"));
    index.cron_job_gone(&place(FULL), "full", at("2026-11-02T02:00:00Z"));
    let view = history(&index, FULL, "2026-11-02T03:00:00Z");
    assert!(view.active == 1 && view.schedule.is_none());
    index.job_gone(&place(FULL), "a");
    assert!(index.clusters().is_empty());
}

#[test]
fn the_newest_run_of_each_kind_counts_for_the_result() {
    let mut index = scheduled("0 2 * * *", "2026-11-01T12:00:00Z");
    let results = |index: &JobIndex| index.clusters()[&key()].results();
    assert_eq!((results(&index).has_failed(), results(&index).last_success()), (None, None));
    let first = ended("a", "2026-11-02T02:00:00Z", "2026-11-02T02:10:00Z", Some(LOCKED));
    index.job(&first, at("2026-11-02T02:10:00Z"));
    assert_eq!((results(&index).has_failed(), results(&index).last_success()), (Some(true), None));
    assert_eq!(results(&index).runs[&FULL].failing, Some(LOCKED));
    index.job(&ended("b", "2026-11-03T02:00:00Z", "2026-11-03T02:10:00Z", None), at("2026-11-03T02:10:00Z"));
    let success = Some(at("2026-11-03T02:10:00Z"));
    assert_eq!((results(&index).has_failed(), results(&index).last_success()), (Some(false), success));
    // Another kind fails.
    let other =
        JobFact { slot: INCR, ..ended("c", "2026-11-03T03:00:00Z", "2026-11-03T03:10:00Z", Some(LOCKED)) };
    index.job(&other, at("2026-11-03T03:10:00Z"));
    assert_eq!((results(&index).has_failed(), results(&index).last_success()), (Some(true), success));
}
