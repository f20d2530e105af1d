//! Layer (b1): backups and repositories, from `info` and the configuration alone.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of everything that exists once per stanza.
const STANZA: [&str; 1] = ["stanza"];
/// Labels of everything that exists once per repository of a stanza.
const REPO: [&str; 2] = ["repo_key", "stanza"];
/// Labels of what `expire` removes.
const AFTER: [&str; 3] = ["after", "repo_key", "stanza"];
/// Labels of everything that exists once per backup type in a repository.
const TYPE: [&str; 3] = ["backup_type", "repo_key", "stanza"];

catalogue! { ALL of Backups:
    BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_backup_last_completion_timestamp_seconds", Timestamp, TYPE,
        "Completion time of the newest backup of exactly this type.", "timestamp.stop; absent without such a backup";
    BACKUP_LAST_START_TIMESTAMP_SECONDS: Gauge, "pgbackrest_backup_last_start_timestamp_seconds", Timestamp, TYPE,
        "Start time of the newest backup of exactly this type.", "timestamp.start of the same backup";
    BACKUP_CHAIN_LAST_COMPLETION_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_backup_chain_last_completion_timestamp_seconds", Timestamp, TYPE,
        "Completion time of the newest backup of this type or a stronger one.",
        "a full backup counts for diff and incr, a diff for incr";
    BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_backup_oldest_completion_timestamp_seconds", Timestamp, TYPE,
        "Completion time of the oldest backup of exactly this type.", "smallest timestamp.stop";
    BACKUPS: Gauge, "pgbackrest_backups", Plain, TYPE, "Number of backups in the repository.",
        "count; 0 if there are none, so that alerts have a series";
    BACKUPS_WITH_ERRORS: Gauge, "pgbackrest_backups_with_errors", Plain, REPO,
        "Number of backups with page checksum errors.",
        "count of error; absent if no backup reports it (before 2.36)";
    REPO_BACKUP_LAST_DURATION_SECONDS: Gauge, "pgbackrest_repo_backup_last_duration_seconds", Seconds, TYPE,
        "Duration of the newest backup of exactly this type.", "timestamp.stop - timestamp.start";
    REPO_BACKUP_LAST_DATABASE_BYTES: Gauge, "pgbackrest_repo_backup_last_database_bytes", Bytes, TYPE,
        "Size of the database in the newest backup of exactly this type.", "info.size";
    REPO_BACKUP_LAST_COPIED_BYTES: Gauge, "pgbackrest_repo_backup_last_copied_bytes", Bytes, TYPE,
        "Bytes that the newest backup of exactly this type copied from the database.", "info.delta";
    REPO_BACKUP_LAST_STORED_BYTES: Gauge, "pgbackrest_repo_backup_last_stored_bytes", Bytes, TYPE,
        "Bytes that the newest backup of exactly this type stored in the repository.",
        "info.repository.delta";
    BACKUP_LAST_THROUGHPUT_BYTES_PER_SECOND: Gauge,
        "pgbackrest_backup_last_throughput_bytes_per_second", BytesPerSecond, TYPE,
        "Rate at which the newest backup of exactly this type copied data from the database.",
        "info.delta / duration; absent if the duration is below one second";
    BACKUP_LAST_COMPRESSION_RATIO: Gauge, "pgbackrest_backup_last_compression_ratio", Ratio, TYPE,
        "Copied bytes per stored byte in the newest backup of exactly this type.",
        "info.delta / info.repository.delta; absent if nothing was stored";
    BACKUP_SIZE_DEVIATION_RATIO: Gauge, "pgbackrest_backup_size_deviation_ratio", Ratio,
        ["backup_type", "repo_key", "stanza", "what"],
        "Size of the newest backup relative to the median of its predecessors of the same type.",
        "newest / median of up to 5 predecessors; the label what is database or stored; absent with fewer than 2 predecessors";
    REPO_STORED_BYTES: Gauge, "pgbackrest_repo_stored_bytes", Bytes, ["kind", "repo_key", "stanza"],
        "Bytes that the stanza occupies in the repository.", "kind=backup: sum of info.repository.delta; absent if the backups are unknown";
    REPO_UP: Gauge, "pgbackrest_repo_up", Plain, REPO,
        "Whether the repository is readable and ready for backups.", "1 for codes 0 and 2, else 0";
    REPO_STATE: Gauge, "pgbackrest_repo_state", Plain, ["repo_key", "stanza", "state"],
        "State of the repository.",
        "1 for the current state, 0 for the others; state is ok, missing_stanza_path, no_valid_backups, missing_stanza_data, backup_not_found, other or timeout";
    REPO_COLLECTED_TIMESTAMP_SECONDS: Gauge, "pgbackrest_repo_collected_timestamp_seconds", Timestamp, REPO,
        "When the state of the repository was last read.",
        "does not advance while the repository does not answer and its last known values are served";
    REPO_ERROR_INFO: Gauge, "pgbackrest_repo_error_info", Plain, ["error", "repo_key", "stanza"],
        "Error class that pgBackRest reports for the repository.",
        "1; error is one of pgBackRest's error classes, such as CryptoError; the message is only in the log";
    REPO_INFO: Gauge, "pgbackrest_repo_info", Plain, ["cipher", "pg_version", "repo_key", "stanza", "type"],
        "Properties of the repository.",
        "1; type is from the configuration, empty if that is unknown; cipher is empty before 2.32 and if the repository was never \
         readable";
    REPO_ENCRYPTED: Gauge, "pgbackrest_repo_encrypted", Plain, REPO,
        "Whether pgBackRest encrypts the repository.",
        "cipher is not none, as of the last time that the repository was readable; absent before that, and before 2.32";
    STANZA_CLUSTER_INFO: Gauge, "pgbackrest_stanza_cluster_info", Plain,
        ["database_id", "pg_version", "repo_key", "stanza", "system_id"],
        "PostgreSQL cluster that currently uses the stanza.", "1; the highest id in db";
    STANZA_REPO_SYSTEM_ID_MATCH: Gauge, "pgbackrest_stanza_repo_system_id_match", Plain, STANZA,
        "Whether all repositories hold the same PostgreSQL cluster.",
        "system id and version of the current databases agree; absent if fewer than two repositories report them";
    STANZA_REPO_BACKUP_SKEW_SECONDS: Gauge, "pgbackrest_stanza_repo_backup_skew_seconds", Seconds, STANZA,
        "How far the newest backup of one repository lags behind that of another.",
        "newest stop over the repositories - oldest of the newest stops";
    STANZA_REPO_WAL_SKEW_SEGMENTS: Gauge, "pgbackrest_stanza_repo_wal_skew_segments", Plain, STANZA,
        "How many segments the newest WAL of one repository lags behind that of another.",
        "largest archive max over the repositories - smallest";
    OTHER_PROGRAM_SEEN_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_other_program_seen_timestamp_seconds", Timestamp, ["evidence", "product", "stanza"],
        "When a program other than the queried one was last seen working on the stanza.",
        "from the last 7 days: lock files in the default directory of another program on this host, and versions in backups; evidence is \
         lock or backup; product is empty if unknown";
    BACKUP_LAST_ATTEMPT_SUCCESS: Gauge, "pgbackrest_backup_last_attempt_success", Plain, REPO,
        "Whether the last completed backup attempt succeeded.",
        "1 or 0 according to pgBackRest's log file of backup, or 0 if a running backup released its lock without making a backup; absent if \
         unknown, and in Kubernetes (see the pgbackrest_job_ metrics)";
    BACKUP_LAST_ATTEMPT_START_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_backup_last_attempt_start_timestamp_seconds", Timestamp, REPO,
        "Start time of the last backup attempt.",
        "without a log, when it was first seen running; absent if unknown";
    BACKUP_LAST_ATTEMPT_END_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_backup_last_attempt_end_timestamp_seconds", Timestamp, REPO,
        "End time of the last backup attempt.",
        "without a log, when its lock was first seen released; absent if unknown, for example if the process was killed";
    BACKUP_LAST_ATTEMPT_FAILURE_INFO: Gauge, "pgbackrest_backup_last_attempt_failure_info", Plain,
        ["backup_type", "exit_code", "reason", "repo_key", "stanza"],
        "Reason for the failure of the last backup attempt.",
        "1 if the last attempt failed; reason as in pgbackrest_job_last_failure_info; backup_type is the requested type; labels are empty if \
         unknown";
    STANZA_STOPPED: Gauge, "pgbackrest_stanza_stopped", Plain, STANZA,
        "Whether pgbackrest stop disables commands for the stanza, on this host or in a pod of the cluster.",
        "1 if lock-path contains a stop file for the stanza or for all stanzas, else 0; absent if the configuration is unknown or the \
         directory cannot be read; in Kubernetes, 1 if the primary or the repo host has a stop file, 0 if both have none";
    STANZA_STOPPED_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_stanza_stopped_since_timestamp_seconds", Timestamp, ["scope", "stanza"],
        "When pgbackrest stop was run.",
        "modification time of the stop file, the earliest if several pods have one; scope is stanza or all; absent if nothing is stopped, or if the time is in the future";
    BACKUP_IN_PROGRESS: Gauge, "pgbackrest_backup_in_progress", Plain, REPO,
        "Whether a backup to the repository is running.",
        "lock held with sizes; absent if the lock is held but pgBackRest does not report for which repository, and if it could not \
         check the lock because the repository is unreadable";
    BACKUP_IN_PROGRESS_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_backup_in_progress_since_timestamp_seconds", Timestamp, REPO,
        "When the running backup was first seen.", "absent if none is running; an upper bound of its start time";
    RESTORE_SIZE_BYTES: Gauge, "pgbackrest_restore_size_bytes", Bytes, REPO,
        "Bytes that a restore of the newest backup writes.", "info.size of the newest backup of any type";
    RETENTION_BACKUPS_REQUIRED: Gauge, "pgbackrest_retention_backups_required", Plain, TYPE,
        "Number of backups that the configured retention requires.",
        "repoN-retention-full and -diff; absent if the configuration is unknown", at_scrape;
    RETENTION_SATISFIED: Gauge, "pgbackrest_retention_satisfied", Plain, TYPE,
        "Whether as many backups exist as the configured retention requires.",
        "1 or 0; absent if the configuration is unknown", at_scrape;
    RETENTION_WINDOW_SECONDS: Gauge, "pgbackrest_retention_window_seconds", Seconds, REPO,
        "How long the configured retention keeps full backups.",
        "repoN-retention-full with type time; absent with type count";
    EXPIRY_BLOCKED_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_expiry_blocked_since_timestamp_seconds", Timestamp, REPO,
        "Since when pgBackRest refuses to expire backups and WAL, because the backup that would become the oldest is damaged.",
        "from retention and page checksum errors of full backups; absent if expiry is not blocked, before 2.60, or if the configuration is \
         unknown";
    EXPIRY_BACKUPS: Gauge, "pgbackrest_expiry_backups", Plain, AFTER,
        "Backups that expire will remove.",
        "from retention; after is now (if expire ran now), full, diff or incr (after the next backup of that type) or age (once the \
         next backup is old enough); each value includes what could be removed now; absent if the backups, the retention or the version \
         are unknown";
    EXPIRY_BYTES: Gauge, "pgbackrest_expiry_bytes", Bytes, ["after", "kind", "repo_key", "stanza"],
        "Bytes that expire will remove.",
        "kind is backup (sum of info.repository.delta) or wal (from a listing; absent without one); after as in pgbackrest_expiry_backups";
    EXPIRY_AGE_TIMESTAMP_SECONDS: Gauge, "pgbackrest_expiry_age_timestamp_seconds", Timestamp, REPO,
        "When the next backup will be old enough for expire to remove other backups or WAL.",
        "timestamp.stop + repoN-retention-full with type time; absent with type count";
    RETENTION_REACHED: Gauge, "pgbackrest_retention_reached", Plain, REPO,
        "Whether the repository contains as many full backups, or one as old, as retention keeps.",
        "1 or 0; before that, expire usually removes no WAL; absent without repoN-retention-full";
    EXPIRY_OVERDUE_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_expiry_overdue_since_timestamp_seconds", Timestamp, REPO,
        "Since when the repository contains backups that expire should have removed after the newest backup.",
        "timestamp.stop of the newest backup; absent if nothing is overdue, in the first hour, and while the lock is held";
    REPO_CREDENTIAL_EXPIRY_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_repo_credential_expiry_timestamp_seconds", Timestamp, ["kind", "repo_key", "stanza"],
        "When a credential of the repository expires.",
        "kind is tls_client, tls_ca or azure_sas; absent if the configuration is unknown or the file cannot be read";
}
