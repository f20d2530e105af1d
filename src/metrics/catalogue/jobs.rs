//! Layer (b3), the part about backups: Jobs and CronJobs of each cluster.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// One repo and backup type of a cluster.
const SLOT: [&str; 4] = ["backup_type", "namespace", "pg_cluster", "repo_key"];

catalogue! { ALL of Jobs:
    RUNS_TOTAL: Counter, "pgbackrest_job_runs_total", Plain,
        ["backup_type", "namespace", "outcome", "pg_cluster", "reason", "repo_key", "trigger"],
        "Completed backup jobs.",
        "counts each Job once if it ends while this process leads; outcome is success or failure, trigger is schedule or manual, reason is empty on success; no series before the first",
        at_scrape;
    ATTEMPTS_TOTAL: Counter, "pgbackrest_job_attempts_total", Plain,
        ["backup_type", "namespace", "outcome", "pg_cluster", "repo_key"],
        "Completed pods of backup jobs.",
        "from status.failed and status.succeeded of Jobs; evicted pods are not counted; no series before the first", at_scrape;
    DURATION_SECONDS: Histogram, "pgbackrest_job_duration_seconds", Seconds,
        ["backup_type", "namespace", "outcome", "pg_cluster"],
        "Duration of backup jobs.", "classic histogram; the same Jobs as in runs_total",
        at_scrape;
    LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge, "pgbackrest_job_last_success_timestamp_seconds", Timestamp, SLOT,
        "End time of the last successful backup job.",
        "completionTime of Jobs, lastSuccessfulTime of the CronJob; remains after the Job is deleted", at_scrape;
    LAST_FAILURE_TIMESTAMP_SECONDS: Gauge, "pgbackrest_job_last_failure_timestamp_seconds", Timestamp, SLOT,
        "End time of the last failed backup job.", "condition Failed of Jobs; remains after the Job is deleted", at_scrape;
    LAST_DURATION_SECONDS: Gauge, "pgbackrest_job_last_duration_seconds", Seconds, SLOT,
        "Duration of the last completed backup job.", "whether or not it succeeded", at_scrape;
    CONSECUTIVE_FAILURES: Gauge, "pgbackrest_job_consecutive_failures", Plain, SLOT,
        "Failed backup jobs since the last successful one.",
        "after a restart, counts the Jobs that still exist; absent until a Job has ended", at_scrape;
    LAST_FAILURE_INFO: Gauge, "pgbackrest_job_last_failure_info", Plain,
        ["backup_type", "exit_code", "namespace", "pg_cluster", "reason", "repo_key"],
        "Reason for the failure of the last backup job.",
        "1 if the newest run failed; exit_code is that of the last pod, empty if unknown", at_scrape;
    ACTIVE: Gauge, "pgbackrest_job_active", Plain, SLOT, "Running backup jobs.", "0 if none is running", at_scrape;
    ACTIVE_SINCE_TIMESTAMP_SECONDS: Gauge, "pgbackrest_job_active_since_timestamp_seconds", Timestamp, SLOT,
        "Start time of the oldest running backup job.", "absent if none is running", at_scrape;
    DEADLINE_SECONDS: Gauge, "pgbackrest_job_deadline_seconds", Seconds, SLOT,
        "Maximum duration of a backup job.",
        "activeDeadlineSeconds of the CronJob; absent if not set", at_scrape;
    SCHEDULE_INFO: Gauge, "pgbackrest_schedule_info", Plain,
        ["backup_type", "cronjob", "namespace", "pg_cluster", "repo_key", "schedule", "timezone"],
        "Schedule of the CronJob.", "1; timezone is empty if that of Kubernetes applies, which is assumed to be UTC",
        at_scrape;
    SCHEDULE_CREATED_TIMESTAMP_SECONDS: Gauge, "pgbackrest_schedule_created_timestamp_seconds", Timestamp, SLOT,
        "When the CronJob was created.", "creationTimestamp", at_scrape;
    SCHEDULE_INTERVAL_SECONDS: Gauge, "pgbackrest_schedule_interval_seconds", Seconds, SLOT,
        "Longest time between two runs of the schedule.", "over the next 400 days, including daylight saving",
        at_scrape;
    SCHEDULE_NEXT_TIMESTAMP_SECONDS: Gauge, "pgbackrest_schedule_next_timestamp_seconds", Timestamp, SLOT,
        "Time of the next scheduled run.", "from the expression; absent while suspended and for @every", at_scrape;
    SCHEDULE_PREVIOUS_TIMESTAMP_SECONDS: Gauge, "pgbackrest_schedule_previous_timestamp_seconds", Timestamp, SLOT,
        "Time of the last scheduled run.", "from the expression, whether or not a Job was created; absent for @every",
        at_scrape;
    SCHEDULE_MISSED_RUNS: Gauge, "pgbackrest_schedule_missed_runs", Plain, SLOT,
        "Scheduled runs that should have succeeded by now but did not.",
        "since the last success of the same repo and type, the creation of the CronJob, or the observed end of a suspension; grace period: 15 min or the duration of the last success, whichever is longer, at most one interval; a run in progress is not missed; capped at 100; 0 while suspended",
        at_scrape;
    SCHEDULE_OVERDUE_SECONDS: Gauge, "pgbackrest_schedule_overdue_seconds", Seconds, SLOT,
        "How long the first missed run is overdue.", "beyond its grace period; 0 if none is missed", at_scrape;
    SCHEDULE_SUSPENDED: Gauge, "pgbackrest_schedule_suspended", Plain, SLOT,
        "Whether the CronJob is suspended.", "no matter who suspended it", at_scrape;
    SCHEDULE_CONFLICT: Gauge, "pgbackrest_schedule_conflict", Plain, SLOT,
        "Whether another schedule of the cluster fires in the same minute and needs the same lock.",
        "within 400 days, without suspended ones; schedules of different repos need the same lock before pgBackRest 2.53, or if the version is not known",
        at_scrape;
}
