//! Layer (a): the metrics of the Go exporter 0.23, and four of 0.24 that are marked unverified.
//!
//! Names, labels and help are a contract with existing dashboards and rules.

use super::{Condition, Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of everything that exists once per stanza.
const STANZA: [&str; 1] = ["stanza"];
/// Labels of everything that exists once per repository of a stanza.
const REPO: [&str; 2] = ["repo_key", "stanza"];
/// Labels of everything that exists once per backup.
const BACKUP: [&str; 6] = ["backup_name", "backup_type", "block_incr", "database_id", "repo_key", "stanza"];
/// Labels of everything about the last backup that satisfies a type.
const LAST: [&str; 3] = ["backup_type", "block_incr", "stanza"];
/// The same per repository.
const REPO_LAST: [&str; 4] = ["backup_type", "block_incr", "repo_key", "stanza"];

catalogue! { ALL of DropIn:
    STANZA_STATUS: Gauge, "pgbackrest_stanza_status", Plain, STANZA, "Current stanza status.",
        "status.code: 0 ok, 1 missing stanza path, 2 no valid backups, 3 missing stanza data, 4 different across repos, 5 database mismatch across repos, 6 requested backup not found, 99 other";
    STANZA_BACKUP_LOCK_STATUS: Gauge, "pgbackrest_stanza_backup_lock_status", Plain, STANZA,
        "Current stanza backup lock status.",
        "1 while a backup, expire or stanza command holds the lock on the queried host; 0 if unknown";
    STANZA_BACKUP_COMPLETE_BYTES: Gauge, "pgbackrest_stanza_backup_complete_bytes", Bytes, STANZA,
        "Completed size for backup in progress.", "lock.backup.size-cplt (2.48 and later); 0 when idle";
    STANZA_BACKUP_TOTAL_BYTES: Gauge, "pgbackrest_stanza_backup_total_bytes", Bytes, STANZA,
        "Total size for backup in progress.", "lock.backup.size (2.48 and later); 0 when idle";
    STANZA_BACKUP_REPO_COMPLETE_BYTES: Gauge, "pgbackrest_stanza_backup_repo_complete_bytes", Bytes, REPO,
        "Completed size for backup in progress per repository.",
        "lock.backup.repo[].size-cplt (2.59 and later); 0 when idle", unverified;
    STANZA_BACKUP_REPO_TOTAL_BYTES: Gauge, "pgbackrest_stanza_backup_repo_total_bytes", Bytes, REPO,
        "Total size for backup in progress per repository.",
        "lock.backup.repo[].size (2.59 and later); 0 when idle", unverified;
    STANZA_RESTORE_LOCK_STATUS: Gauge, "pgbackrest_stanza_restore_lock_status", Plain, STANZA,
        "Current stanza restore lock status.", "1 while a restore holds its lock (2.56 and later); 0 if unknown";
    STANZA_RESTORE_COMPLETE_BYTES: Gauge, "pgbackrest_stanza_restore_complete_bytes", Bytes, STANZA,
        "Completed size for restore in progress.", "lock.restore.size-cplt (2.56 and later); 0 when idle";
    STANZA_RESTORE_TOTAL_BYTES: Gauge, "pgbackrest_stanza_restore_total_bytes", Bytes, STANZA,
        "Total size for restore in progress.", "lock.restore.size (2.56 and later); 0 when idle";
    REPO_STATUS: Gauge, "pgbackrest_repo_status", Plain, ["cipher", "repo_key", "stanza"],
        "Current repository status.",
        "repo[].status.code, same codes as the stanza's; cipher is that of the configuration; absent if the last call gave no code; before 2.32 repo_key is 0, cipher none and the value 0";
    BACKUP_INFO: Gauge, "pgbackrest_backup_info", Plain,
        ["backrest_ver", "backup_name", "backup_type", "block_incr", "database_id", "lsn_start", "lsn_stop",
          "pg_version", "prior", "repo_key", "stanza", "wal_start", "wal_stop"],
        "Backup info.", "1; lsn_* is - and wal_* empty for offline backups", per_backup;
    BACKUP_DURATION_SECONDS: Gauge, "pgbackrest_backup_duration_seconds", Seconds,
        ["backup_name", "backup_type", "block_incr", "database_id", "repo_key", "stanza", "start_time", "stop_time"],
        "Backup duration.",
        "stop - start; start_time and stop_time are local time, empty when backup time labels are off",
        per_backup;
    BACKUP_SIZE_BYTES: Gauge, "pgbackrest_backup_size_bytes", Bytes, BACKUP,
        "Full uncompressed size of the database.", "info.size; 0 if pgBackRest does not report it", per_backup;
    BACKUP_DELTA_BYTES: Gauge, "pgbackrest_backup_delta_bytes", Bytes, BACKUP,
        "Amount of data in the database to actually backup.",
        "info.delta; 0 if pgBackRest does not report it", per_backup;
    BACKUP_REPO_SIZE_BYTES: Gauge, "pgbackrest_backup_repo_size_bytes", Bytes, BACKUP,
        "Full compressed files size to restore the database from backup.",
        "info.repository.size; 0 if pgBackRest does not report it (block incremental)", per_backup;
    BACKUP_REPO_DELTA_BYTES: Gauge, "pgbackrest_backup_repo_delta_bytes", Bytes, BACKUP,
        "Compressed files size in backup.",
        "info.repository.delta; 0 if pgBackRest does not report it", per_backup;
    BACKUP_REPO_SIZE_MAP_BYTES: Gauge, "pgbackrest_backup_repo_size_map_bytes", Bytes, BACKUP,
        "Size of block incremental map.", "info.repository.size-map; 0 without block incremental", per_backup;
    BACKUP_REPO_DELTA_MAP_BYTES: Gauge, "pgbackrest_backup_repo_delta_map_bytes", Bytes, BACKUP,
        "Size of block incremental delta map.",
        "info.repository.delta-map; 0 without block incremental", per_backup;
    BACKUP_ERROR_STATUS: Gauge, "pgbackrest_backup_error_status", Plain, BACKUP, "Backup error status.",
        "1 if pages with a wrong checksum were found (not: the backup failed); absent before 2.36", per_backup;
    BACKUP_ANNOTATIONS: Gauge, "pgbackrest_backup_annotations", Plain, BACKUP,
        "Number of annotations in backup.", "number of keys in annotation", per_backup;
    BACKUP_REFERENCES: Gauge, "pgbackrest_backup_references", Plain,
        ["backup_name", "backup_type", "block_incr", "database_id", "ref_backup", "repo_key", "stanza"],
        "Number of references to other backups (backup reference list).",
        "labels in reference by the type in ref_backup, three series per backup",
        per_backup, only(ReferenceCount);
    BACKUP_DATABASES: Gauge, "pgbackrest_backup_databases", Plain, BACKUP,
        "Number of databases in backup.", "entries in database-ref of info --set; 0 if that failed",
        per_backup, only(DatabaseCount);
    BACKUP_SINCE_LAST_COMPLETION_SECONDS: Gauge, "pgbackrest_backup_since_last_completion_seconds", Seconds, LAST,
        "Seconds since the last completed full, differential or incremental backup.",
        "time of the scrape - newest stop over all repositories; a full backup counts for diff, a full or diff for incr",
        at_scrape, only(Compat);
    BACKUP_REPO_SINCE_LAST_COMPLETION_SECONDS: Gauge,
        "pgbackrest_backup_repo_since_last_completion_seconds", Seconds, REPO_LAST,
        "Seconds since the last completed full, differential or incremental backup per repository.",
        "the same within one repository", at_scrape, unverified, only(Compat);
    BACKUP_REPO_LAST_DURATION_SECONDS: Gauge, "pgbackrest_backup_repo_last_duration_seconds", Seconds, REPO_LAST,
        "Backup duration for the last full, differential or incremental backup per repository.",
        "stop - start of that backup", unverified, only(Compat);
    BACKUP_LAST_DURATION_SECONDS: Gauge, "pgbackrest_backup_last_duration_seconds", Seconds, LAST,
        "Backup duration for the last full, differential or incremental backup.",
        "of the newest backup over all repositories that satisfies the type, as for the age", only(Compat);
    BACKUP_LAST_SIZE_BYTES: Gauge, "pgbackrest_backup_last_size_bytes", Bytes, LAST,
        "Full uncompressed size of the database in the last full, differential or incremental backup.",
        "info.size of that backup", only(Compat);
    BACKUP_LAST_DELTA_BYTES: Gauge, "pgbackrest_backup_last_delta_bytes", Bytes, LAST,
        "Amount of data in the database to actually backup in the last full, differential or incremental backup.",
        "info.delta of that backup", only(Compat);
    BACKUP_LAST_REPO_SIZE_BYTES: Gauge, "pgbackrest_backup_last_repo_size_bytes", Bytes, LAST,
        "Full compressed files size to restore the database from the last full, differential or incremental backup.",
        "info.repository.size of that backup, or 0", only(Compat);
    BACKUP_LAST_REPO_DELTA_BYTES: Gauge, "pgbackrest_backup_last_repo_delta_bytes", Bytes, LAST,
        "Compressed files size in the last full, differential or incremental backup.",
        "info.repository.delta of that backup", only(Compat);
    BACKUP_LAST_REPO_SIZE_MAP_BYTES: Gauge, "pgbackrest_backup_last_repo_size_map_bytes", Bytes, LAST,
        "Size of block incremental map in the last full, differential or incremental backup.",
        "info.repository.size-map of that backup, or 0", only(Compat);
    BACKUP_LAST_REPO_DELTA_MAP_BYTES: Gauge, "pgbackrest_backup_last_repo_delta_map_bytes", Bytes, LAST,
        "Size of block incremental delta map in the last full, differential or incremental backup.",
        "info.repository.delta-map of that backup, or 0", only(Compat);
    BACKUP_LAST_ERROR_STATUS: Gauge, "pgbackrest_backup_last_error_status", Plain, LAST,
        "Error status in the last full, differential or incremental backup.",
        "1 if pages with a wrong checksum were found in that backup; absent before 2.36", only(Compat);
    BACKUP_LAST_ANNOTATIONS: Gauge, "pgbackrest_backup_last_annotations", Plain, LAST,
        "Number of annotations in the last full, differential or incremental backup.",
        "number of keys in annotation of that backup", only(Compat);
    BACKUP_LAST_REFERENCES: Gauge, "pgbackrest_backup_last_references", Plain,
        ["backup_type", "block_incr", "ref_backup", "stanza"],
        "Number of references to other backups (backup reference list) in the last full, differential or incremental backup.",
        "labels in reference of that backup by the type in ref_backup", only(Compat);
    BACKUP_LAST_DATABASES: Gauge, "pgbackrest_backup_last_databases", Plain, LAST,
        "Number of databases in the last full, differential or incremental backup.",
        "entries in database-ref of info --set for that backup; 0 if that failed", only(DatabaseCountLatest);
    WAL_ARCHIVE_STATUS: Gauge, "pgbackrest_wal_archive_status", Plain,
        ["database_id", "pg_version", "repo_key", "stanza", "wal_max", "wal_min"],
        "Current WAL archive status.",
        "1 if archive min and max are known, else 0 (so 1 is the good state); wal_* are empty unless verbose WAL is on";
    VERSION_INFO: Gauge, "pgbackrest_version_info", Plain, [], "Information about pgBackRest version.",
        "major * 1000000 + minor * 1000 + patch; 0 while unknown";
    EXPORTER_STATUS: Gauge, "pgbackrest_exporter_status", Plain, STANZA,
        "pgBackRest exporter get data status.",
        "1 if the last call answered; stanza is all-stanzas, all-stanzas-except-excluded or the included name";
    EXPORTER_BUILD_INFO: Gauge, "pgbackrest_exporter_build_info", Plain,
        ["branch", "goarch", "goos", "goversion", "revision", "tags", "version"],
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which pgbackrest_exporter was built, and the goos and goarch for the build.",
        "1; goversion is empty, pgbackrest_exporter_rust_info names the compiler";
    LEGACY_STANZA_LOCK_STATUS: Gauge, "pgbackrest_stanza_lock_status", Plain, STANZA,
        "Current stanza lock status.", "pgbackrest_stanza_backup_lock_status as it was called up to 0.22",
        only(Legacy);
    LEGACY_STANZA_BACKUP_COMPETE_BYTES: Gauge, "pgbackrest_stanza_backup_compete_bytes", Bytes, STANZA,
        "Completed size for backup in progress.",
        "pgbackrest_stanza_backup_complete_bytes as it was spelt up to 0.22", only(Legacy);
    LEGACY_EXPORTER_INFO: Gauge, "pgbackrest_exporter_info", Plain, ["version"],
        "Information about pgBackRest exporter.",
        "1; pgbackrest_exporter_build_info as it was called up to 0.19", only(Legacy);
}
