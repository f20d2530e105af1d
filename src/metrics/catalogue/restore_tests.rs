//! Layer (b5): restore tests, from their records.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of everything that exists once per repository of a stanza.
const REPO: [&str; 2] = ["repo_key", "stanza"];

catalogue! { ALL of RestoreTests:
    LAST_START_TIMESTAMP_SECONDS: Gauge, "pgbackrest_restore_test_last_start_timestamp_seconds", Timestamp, REPO,
        "Start time of the newest restore test.", "record";
    OLDEST_START_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_restore_test_oldest_start_timestamp_seconds", Timestamp, REPO,
        "Start time of the oldest restore test on record.", "the last fifty records of a host are kept, and the last ten results of a cluster";
    LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_restore_test_last_success_timestamp_seconds", Timestamp, REPO,
        "End time of the newest restore test that passed.", "absent if none of the records is of a test that passed";
    LAST_OUTCOME: Gauge, "pgbackrest_restore_test_last_outcome", Plain, ["outcome", "repo_key", "stanza"],
        "Result of the newest restore test.",
        "1 for the current one, 0 for the others; outcome is passed, failed (the backup or the WAL is bad), inconclusive (something else \
         prevented the test) or timed_out";
    NOT_PASSED_INFO: Gauge, "pgbackrest_restore_test_not_passed_info", Plain,
        ["outcome", "phase", "reason", "repo_key", "stanza"],
        "Why restore tests have not passed since the last one that did.",
        "1 for the newest test of each outcome; phase is plan, restore, replay, check, stop, pages, clean or unknown; the message is on the \
         status page and in info";
    CONSECUTIVE_FAILURES: Gauge, "pgbackrest_restore_test_consecutive_failures", Plain, REPO,
        "Restore tests that failed since the last one that passed.", "a test without a result changes nothing";
    CONSECUTIVE_INCONCLUSIVE: Gauge, "pgbackrest_restore_test_consecutive_inconclusive", Plain, REPO,
        "Newest restore tests in a row that had no result.", "inconclusive, or timed out";
    LAST_INFO: Gauge, "pgbackrest_restore_test_last_info", Plain,
        ["backup_name", "backup_type", "repo_key", "stanza", "target"],
        "What the newest restore test restored, and to where.",
        "1; target is latest, immediate (the end of the backup), time or unknown; the labels of the backup are empty if none was chosen";
    LAST_DURATION_SECONDS: Gauge, "pgbackrest_restore_test_last_duration_seconds", Seconds, REPO,
        "Duration of the newest restore test.", "stop - start";
    LAST_PHASE_DURATION_SECONDS: Gauge,
        "pgbackrest_restore_test_last_phase_duration_seconds", Seconds, ["phase", "repo_key", "stanza"],
        "Duration of each phase of the newest restore test.", "absent for phases that did not run";
    LAST_RESTORED_BYTES: Gauge, "pgbackrest_restore_test_last_restored_bytes", Bytes, REPO,
        "Bytes that the newest restore test restored.", "data directory and tablespaces";
    LAST_REPLAYED_BYTES: Gauge, "pgbackrest_restore_test_last_replayed_bytes", Bytes, REPO,
        "Bytes of WAL that the newest restore test replayed.", "from the start of the backup to the reached position, not compressed";
    LAST_CHECKS: Gauge, "pgbackrest_restore_test_last_checks", Plain, ["check", "repo_key", "stanza", "verdict"],
        "Checks of the newest restore test.",
        "check is target, relations, amcheck, assertion, hook, pages or unknown; verdict is passed, failed, not_checked or unknown";
    LAST_TARGET_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_restore_test_last_target_timestamp_seconds", Timestamp, REPO,
        "Point in time that the newest restore test was to reach.", "absent for other targets";
    LAST_REACHED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_restore_test_last_reached_timestamp_seconds", Timestamp, REPO,
        "Time of the last commit that the newest restore test replayed.", "absent if none was replayed";
    LAST_REACHED_LSN_BYTES: Gauge, "pgbackrest_restore_test_last_reached_lsn_bytes", Bytes, REPO,
        "WAL position that the newest restore test reached.", "absent if PostgreSQL did not become consistent";
    NEWEST_BACKUP_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_restore_test_newest_backup_timestamp_seconds", Timestamp, REPO,
        "Completion time of the newest backup that was restored in a test that passed.",
        "backups that still exist, restored with all databases";
    OLDEST_BACKUP_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_restore_test_oldest_backup_timestamp_seconds", Timestamp, REPO,
        "Completion time of the oldest backup that was restored in a test that passed.",
        "backups that still exist, restored with all databases";
    FULL_BACKUPS_RATIO: Gauge, "pgbackrest_restore_test_full_backups_ratio", Ratio, REPO,
        "Share of the full backups in the repository that were restored in a test that passed.",
        "restored themselves, with all databases, not as a part of a later backup; absent without a full backup";
    RECORD_SEQUENCE: Gauge, "pgbackrest_restore_test_record_sequence", Plain, REPO,
        "Number of the newest record of a restore test.",
        "each record has the next number; a decrease means that records were removed, or in Kubernetes that several RestoreTests test the \
         repository; absent for records of versions without numbers";
    RECORDS_UNUSABLE: Gauge, "pgbackrest_restore_test_records_unusable", Plain, [],
        "Records of restore tests that cannot be used.",
        "files and directories that cannot be read, tests that are dated in the future, and records that were changed, removed or added; absent \
         without records";
    RECOVERY_TIME_ESTIMATE_SECONDS: Gauge, "pgbackrest_recovery_time_estimate_seconds", Seconds,
        ["point", "repo_key", "speed", "stanza"],
        "Estimated duration of a recovery.",
        "fixed part + bytes / restore speed + WAL / replay speed; point is latest (newest backup and all WAL since) or worst (the point \
         in time that takes longest); speed is median or worst of up to 10 newest restore tests that passed; absent until both speeds \
         were measured";
    RECOVERY_TIME_MEASURED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_recovery_time_measured_timestamp_seconds", Timestamp, REPO,
        "When the speeds for the estimate were last measured.", "end of the newest restore test that passed";
}
