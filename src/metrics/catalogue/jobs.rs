//! Layer (b3), the part about backups: Jobs and CronJobs of each cluster.

use super::{Kind, Layer, Metric, Unit, catalogue};

/// One repo and backup type of a cluster.
const SLOT: &[&str] = &["backup_type", "namespace", "pg_cluster", "repo_key"];

catalogue! { ALL of Jobs:
    RUNS_TOTAL: Counter, "pgbackrest_job_runs_total", Plain,
        &["backup_type", "namespace", "outcome", "pg_cluster", "reason", "repo_key", "trigger"],
        "Backup jobs that have ended.",
        "each Job once, if it ends while this process leads; outcome is success or failure, trigger schedule or manual; reason is empty on success; starts with the first",
        at_scrape;
    ATTEMPTS_TOTAL: Counter, "pgbackrest_job_attempts_total", Plain,
        &["backup_type", "namespace", "outcome", "pg_cluster", "repo_key"],
        "Pods of backup jobs that have ended.",
        "from status.failed and status.succeeded of Jobs; evicted pods do not count; starts with the first", at_scrape;
    DURATION_SECONDS: Histogram, "pgbackrest_job_duration_seconds", Seconds,
        &["backup_type", "namespace", "outcome", "pg_cluster"],
        "Time from the start of a backup job to its end.", "classic histogram; the same Jobs as in runs_total",
        at_scrape;
    LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge, "pgbackrest_job_last_success_timestamp_seconds", Timestamp, SLOT,
        "End of the last backup job that succeeded.",
        "completionTime of Jobs, lastSuccessfulTime of the CronJob; stays when the Job goes", at_scrape;
    LAST_FAILURE_TIMESTAMP_SECONDS: Gauge, "pgbackrest_job_last_failure_timestamp_seconds", Timestamp, SLOT,
        "End of the last backup job that failed.", "condition Failed of Jobs; stays when the Job goes", at_scrape;
    LAST_DURATION_SECONDS: Gauge, "pgbackrest_job_last_duration_seconds", Seconds, SLOT,
        "How long the last backup job took that has ended.", "whether it succeeded or not", at_scrape;
    CONSECUTIVE_FAILURES: Gauge, "pgbackrest_job_consecutive_failures", Plain, SLOT,
        "Failed backup jobs since the last that succeeded.",
        "after a restart those whose Jobs are still there; absent until a Job has ended", at_scrape;
    LAST_FAILURE_INFO: Gauge, "pgbackrest_job_last_failure_info", Plain,
        &["backup_type", "exit_code", "namespace", "pg_cluster", "reason", "repo_key"],
        "Why the last backup job failed.",
        "1 while the newest run is a failed one; exit_code is that of the last pod, empty where none is known", at_scrape;
    ACTIVE: Gauge, "pgbackrest_job_active", Plain, SLOT, "Backup jobs that run.", "0 is told", at_scrape;
    ACTIVE_SINCE_TIMESTAMP_SECONDS: Gauge, "pgbackrest_job_active_since_timestamp_seconds", Timestamp, SLOT,
        "Start of the oldest backup job that runs.", "absent where none runs", at_scrape;
    DEADLINE_SECONDS: Gauge, "pgbackrest_job_deadline_seconds", Seconds, SLOT,
        "How long a backup job may take.",
        "activeDeadlineSeconds in the CronJob; absent where there is none", at_scrape;
    SCHEDULE_INFO: Gauge, "pgbackrest_schedule_info", Plain,
        &["backup_type", "cronjob", "namespace", "pg_cluster", "repo_key", "schedule", "timezone"],
        "The schedule as the CronJob has it.", "1; timezone is empty where Kubernetes' own holds, taken for UTC here",
        at_scrape;
    SCHEDULE_CREATED_TIMESTAMP_SECONDS: Gauge, "pgbackrest_schedule_created_timestamp_seconds", Timestamp, SLOT,
        "When the CronJob was made.", "creationTimestamp", at_scrape;
    SCHEDULE_INTERVAL_SECONDS: Gauge, "pgbackrest_schedule_interval_seconds", Seconds, SLOT,
        "The longest time between two runs of the schedule.", "over the next 400 days, daylight saving included",
        at_scrape;
    SCHEDULE_NEXT_TIMESTAMP_SECONDS: Gauge, "pgbackrest_schedule_next_timestamp_seconds", Timestamp, SLOT,
        "When the schedule runs next.", "from the expression; absent while suspended and for @every", at_scrape;
    SCHEDULE_PREVIOUS_TIMESTAMP_SECONDS: Gauge, "pgbackrest_schedule_previous_timestamp_seconds", Timestamp, SLOT,
        "When the schedule last had a run.", "from the expression, whether or not a Job was made; absent for @every",
        at_scrape;
    SCHEDULE_MISSED_RUNS: Gauge, "pgbackrest_schedule_missed_runs", Plain, SLOT,
        "Runs that should have succeeded by now and did not.",
        "since the last success of the same repo and type, the creation, or the end of a suspension that was seen; grace: 15 min, or as long as the last success took where that is more, at most an interval; a run that goes on is not missed; counts to 100; 0 while suspended",
        at_scrape;
    SCHEDULE_OVERDUE_SECONDS: Gauge, "pgbackrest_schedule_overdue_seconds", Seconds, SLOT,
        "How long the first missed run is overdue.", "beyond its grace; 0 where none is missed", at_scrape;
    SCHEDULE_SUSPENDED: Gauge, "pgbackrest_schedule_suspended", Plain, SLOT,
        "Whether the CronJob is suspended.", "by whomever", at_scrape;
    SCHEDULE_CONFLICT: Gauge, "pgbackrest_schedule_conflict", Plain, SLOT,
        "Whether another schedule of the cluster runs at the same minute.",
        "within 400 days, suspended ones left out; before pgBackRest 2.53 both take the same lock, whatever their repos",
        at_scrape;
}
