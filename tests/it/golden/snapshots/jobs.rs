//! Jobs and schedules of a fleet: one that is healthy, one that fails, one that is suspended, one that is running.

use chrono::{DateTime, TimeDelta, Utc};
use pgbackrest_keeper::metrics::OperatorMetrics;
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::state::jobs::{
    ClusterKey, CronFact, JobEnd, JobFact, JobFailure, Slot, Suspension, Trigger,
};

fn cron_job(cluster: &str, slot: Slot, expression: &str, now: DateTime<Utc>) -> CronFact {
    let name = format!("pgbackrest-{cluster}-repo{}-{}", slot.repo_key, slot.backup_type.as_str());
    CronFact {
        cluster: ClusterKey::new("shop", cluster),
        slot,
        uid: name.as_str().into(),
        name: name.as_str().into(),
        expression: expression.into(),
        time_zone: None,
        suspension: Suspension::None,
        created: now - TimeDelta::days(30),
        deadline: None,
        last_success: None,
    }
}

fn job(cluster: &str, slot: Slot, started: DateTime<Utc>) -> JobFact {
    JobFact {
        cluster: ClusterKey::new("shop", cluster),
        slot,
        uid: started.to_string().as_str().into(),
        trigger: Trigger::Schedule,
        started: Some(started),
        failed_pods: 0,
        succeeded_pods: 0,
        end: None,
    }
}

/// Fills in what the operator would have seen by `now`.
pub(super) fn happen(metrics: &OperatorMetrics, now: DateTime<Utc>) {
    let full = Slot { repo_key: 1, backup_type: BackupType::Full };
    let incr = Slot { repo_key: 2, backup_type: BackupType::Incr };
    let zoned = CronFact {
        time_zone: Some("Europe/Vienna".into()),
        deadline: Some(TimeDelta::hours(6)),
        ..cron_job("ledger", full, "30 2 * * 0", now)
    };
    let suspended =
        CronFact { suspension: Suspension::Others, ..cron_job("orders", full, "15 3 * * *", now) };
    metrics.jobs.with_index(|index| {
        let others =
            [cron_job("ledger", incr, "30 1 * * *", now), cron_job("orders", incr, "*/30 * * * *", now)];
        index.cron_jobs([zoned, suspended].into_iter().chain(others).collect(), now);
    });
    let succeeded = |fact: JobFact, minutes| {
        let at = fact.started.unwrap() + TimeDelta::minutes(minutes);
        JobFact { succeeded_pods: 1, end: Some(JobEnd { at, failure: None }), ..fact }
    };
    let before = succeeded(job("ledger", full, now - TimeDelta::days(1)), 50);
    metrics.jobs.job(&before, false, now);
    let by_hand = JobFact { trigger: Trigger::Manual, ..job("ledger", full, now - TimeDelta::hours(2)) };
    metrics.jobs.job(&succeeded(by_hand, 42), true, now);
    let failure = JobFailure { reason: "archive_timeout", exit_code: Some(82) };
    for hours in [26, 2] {
        let fact = job("ledger", incr, now - TimeDelta::hours(hours));
        let at = fact.started.unwrap() + TimeDelta::minutes(30);
        metrics.jobs.job(
            &JobFact { failed_pods: 6, end: Some(JobEnd { at, failure: Some(failure) }), ..fact },
            true,
            now,
        );
    }
    metrics.jobs.job(&job("orders", incr, now - TimeDelta::minutes(3)), true, now);
}
