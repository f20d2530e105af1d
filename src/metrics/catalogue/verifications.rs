//! Layer (b6): verifications, from their records.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of everything that exists once per repository of a stanza.
const REPO: [&str; 2] = ["repo_key", "stanza"];

catalogue! { ALL of Verifications:
    LAST_START_TIMESTAMP_SECONDS: Gauge, "pgbackrest_verify_last_start_timestamp_seconds", Timestamp, REPO,
        "Start time of the newest verification.", "record";
    OLDEST_START_TIMESTAMP_SECONDS: Gauge, "pgbackrest_verify_oldest_start_timestamp_seconds", Timestamp, REPO,
        "Start time of the oldest verification on record.", "the last fifty records of a host are kept, and the last ten results of a cluster";
    LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge, "pgbackrest_verify_last_success_timestamp_seconds", Timestamp, REPO,
        "End time of the newest verification of a whole repository that passed.",
        "absent if none of the records is of one that passed";
    LAST_OUTCOME: Gauge, "pgbackrest_verify_last_outcome", Plain, ["outcome", "repo_key", "stanza"],
        "Result of the newest verification.",
        "1 for the current one, 0 for the others; outcome is passed, failed (a backup or WAL is missing or damaged), inconclusive \
         (something else prevented it) or timed_out";
    NOT_PASSED_INFO: Gauge, "pgbackrest_verify_not_passed_info", Plain, ["outcome", "reason", "repo_key", "stanza"],
        "Why verifications have not passed since the last one of the whole repository that did.",
        "1 for the newest one of each outcome; the message is on the status page and in info";
    CONSECUTIVE_FAILURES: Gauge, "pgbackrest_verify_consecutive_failures", Plain, REPO,
        "Verifications that failed since the last one of the whole repository that passed.",
        "one without a result, or of a single backup that passed, changes nothing";
    CONSECUTIVE_INCONCLUSIVE: Gauge, "pgbackrest_verify_consecutive_inconclusive", Plain, REPO,
        "Newest verifications in a row that had no result.", "inconclusive, or timed out";
    LAST_DURATION_SECONDS: Gauge, "pgbackrest_verify_last_duration_seconds", Seconds, REPO,
        "Duration of the newest verification.", "stop - start";
    LAST_BACKUPS: Gauge, "pgbackrest_verify_last_backups", Plain, ["repo_key", "result", "stanza"],
        "Backups in the newest verification.",
        "result is valid or not_valid; backups that expire removed in the meantime do not count; absent if it had no result";
    LAST_FILES: Gauge, "pgbackrest_verify_last_files", Plain, ["kind", "repo_key", "result", "stanza"],
        "Files in the newest verification.",
        "kind is backup or wal; result is valid, missing, checksum, size or other (could not be read to the end); a file that several \
         backups share counts for each; WAL is missing if it was removed in the meantime; absent if it had no result";
    LAST_WAL_GAPS: Gauge, "pgbackrest_verify_last_wal_gaps", Plain, REPO,
        "Gaps between WAL segments that the newest verification found.",
        "within a timeline, in the archives of all databases; they may be older than what is kept; absent if unknown";
    RECORD_SEQUENCE: Gauge, "pgbackrest_verify_record_sequence", Plain, REPO,
        "Number of the newest record of a verification.",
        "each record has the next number; a decrease means that records were removed; absent for records of versions without numbers";
    RECORDS_UNUSABLE: Gauge, "pgbackrest_verify_records_unusable", Plain, [],
        "Records of verifications that cannot be used.",
        "files and directories that cannot be read, verifications that are dated in the future, and records that were changed, removed or added; \
         absent without records";
}
