//! Layer (b2): WAL and recovery, from `info` alone and from listings of the WAL archives.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of everything that exists once per repository of a stanza.
const REPO: [&str; 2] = ["repo_key", "stanza"];
/// Labels of a WAL range.
const DATABASE: [&str; 3] = ["database_id", "repo_key", "stanza"];

catalogue! { ALL of Wal:
    WAL_MIN_SEGMENT: Gauge, "pgbackrest_wal_min_segment", Plain, DATABASE,
        "Number of the oldest WAL segment in the archive.", "LSN / segment size of archive min";
    WAL_MAX_SEGMENT: Gauge, "pgbackrest_wal_max_segment", Plain, DATABASE,
        "Number of the newest WAL segment in the archive.", "LSN / segment size of archive max";
    WAL_MIN_TIMELINE: Gauge, "pgbackrest_wal_min_timeline", Plain, DATABASE,
        "Timeline of the oldest WAL segment in the archive.", "first 8 digits of archive min";
    WAL_MAX_TIMELINE: Gauge, "pgbackrest_wal_max_timeline", Plain, DATABASE,
        "Timeline of the newest WAL segment in the archive.", "first 8 digits of archive max";
    WAL_MAX_LSN_BYTES: Gauge, "pgbackrest_wal_max_lsn_bytes", Bytes, DATABASE,
        "WAL position of the end of the newest segment in the archive.",
        "(number of archive max + 1) * segment size; subtract it from the current position of PostgreSQL to get the lag";
    WAL_SEGMENT_SIZE_BYTES: Gauge, "pgbackrest_wal_segment_size_bytes", Bytes, ["source", "stanza"],
        "Size of a WAL segment.", "source is config, inferred (from backups) or default (16 MiB)";
    WAL_ARCHIVED_SEGMENTS_TOTAL: Counter, "pgbackrest_wal_archived_segments_total", Plain, REPO,
        "WAL segments added to the archive.",
        "increases of pgbackrest_wal_max_segment since this process first saw it",
        at_scrape;
    WAL_SEGMENTS: Gauge, "pgbackrest_wal_segments", Plain, REPO,
        "Number of WAL segments in the archive of the current database.",
        "listing: complete segments on all timelines, each counted once";
    WAL_STORED_BYTES: Gauge, "pgbackrest_wal_stored_bytes", Bytes, REPO,
        "Bytes that the WAL segments occupy in the repository.", "listing: sizes as stored, compressed and encrypted";
    WAL_UNNEEDED_BYTES: Gauge, "pgbackrest_wal_unneeded_bytes", Bytes, REPO,
        "Bytes of the WAL that no backup in the repository needs.",
        "listing: segments on timelines older than those of all backups, or before the start of all backups that can lead to their \
         timeline; absent without a backup, and with offline backups";
    BACKUP_WAL_STORED_BYTES: Gauge, "pgbackrest_backup_wal_stored_bytes", Bytes,
        ["backup_name", "backup_type", "repo_key", "stanza"],
        "Bytes of WAL from the start of the backup to the start of the next one.",
        "listing: by the names of segments; absent for offline backups", per_backup;
    REPO_LEFTOVER_BACKUPS: Gauge, "pgbackrest_repo_leftover_backups", Plain, ["repo_key", "stanza", "state"],
        "Directories of incomplete backups.",
        "listing: labels that are not in backup.info; state is unfinished (newer than every backup, so the next one resumes or \
         removes it; not counted while the lock is held) or abandoned (expire removes it)";
    REPO_LEFTOVER_BYTES: Gauge, "pgbackrest_repo_leftover_bytes", Bytes, ["repo_key", "stanza", "state"],
        "Bytes in directories of incomplete backups.",
        "listing: sizes as stored; absent if the size of a directory is unknown";
    WAL_MISSING_SEGMENTS: Gauge, "pgbackrest_wal_missing_segments", Plain, ["class", "repo_key", "stanza"],
        "WAL segments missing from the archive.",
        "listing: class is backup (needed to make a backup consistent), pitr_new (after the newest backup), pitr_old (between \
         backups), expired (removed by archive retention) or wrong_size (exists, but its size shows that it is incomplete); only \
         backup and wrong_size are exposed if the timelines are unknown";
    WAL_GAPS: Gauge, "pgbackrest_wal_gaps", Plain, REPO,
        "Separate gaps in the WAL archive.", "listing: without expired segments";
    WAL_DUPLICATE_SEGMENTS: Gauge, "pgbackrest_wal_duplicate_segments", Plain, REPO,
        "WAL segments that exist more than once in the archive.",
        "listing: same name with different checksums, which pgBackRest refuses to restore";
    WAL_ORPHAN_TIMELINES: Gauge, "pgbackrest_wal_orphan_timelines", Plain, REPO,
        "Timelines that do not lead to the live one.", "listing: from history files and segments; never counted as a gap";
    WAL_LIVE_TIMELINE: Gauge, "pgbackrest_wal_live_timeline", Plain, REPO,
        "Timeline that the database is on.",
        "listing: the timeline that was archived last; if the times of files contradict the backups, the newest one that \
         continues from the newest backup";
    WAL_BRANCHES: Gauge, "pgbackrest_wal_branches", Plain, ["repo_key", "stanza", "state"],
        "Branches of history in the archive.",
        "listing: state is live, abandoned (the database continued on another timeline) or foreign (another server archived it); a \
         timeline that another one continues does not count; at most 32 besides the live one";
    RECOVERY_DEFAULT_RESTORE_OK: Gauge, "pgbackrest_recovery_default_restore_ok", Plain, REPO,
        "Whether pgbackrest restore without options leads to the live timeline.",
        "listing: 0 if the newest backup does not lead to the latest timeline in the archive, if that is not the live one, or if the \
         newest backup is offline and WAL was archived since; absent if a history file is missing, or if it is uncertain which \
         timeline is live";
    WAL_MISSING_HISTORY_FILES: Gauge, "pgbackrest_wal_missing_history_files", Plain, REPO,
        "Timelines whose history file is missing or unreadable.",
        "listing: without it, the path to that timeline cannot be proven";
    WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_wal_last_archived_timestamp_seconds", Timestamp, REPO,
        "When the newest WAL segment was stored in the repository.",
        "listing: time of the file; an idle database archives nothing";
    WAL_LISTED_TIMESTAMP_SECONDS: Gauge, "pgbackrest_wal_listed_timestamp_seconds", Timestamp, REPO,
        "When the WAL archive was last listed.", "start of the listing that the other metrics are based on";
    REPO_FUTURE_TIMESTAMPS: Gauge, "pgbackrest_repo_future_timestamps", Plain, ["kind", "repo_key", "stanza"],
        "Backups and WAL files that are dated in the future.",
        "kind is backup (info) or wal (listing); more than 5 min ahead; such a time is never used as the newest; \
         absent if the backups are unknown, or the WAL was not listed";
    REPO_CLOCK_BEHIND_SECONDS: Gauge, "pgbackrest_repo_clock_behind_seconds", Seconds, REPO,
        "How far the repository's clock is behind that of the PostgreSQL host. Negative if it is ahead.",
        "listing: start of the newest backup - time of its last WAL segment, 0 if that is during the backup or within a \
         minute of it; absent without such a backup";
    BACKUP_UNRESTORABLE: Gauge, "pgbackrest_backup_unrestorable", Plain, ["reason", "repo_key", "stanza"],
        "Backups that cannot be restored.",
        "listing: reason is wal (missing within the backup), directory (the backup's files are missing), reference (the files of a \
         backup that it depends on are missing) or unknown (cannot be determined); a backup can count for several";
    RECOVERY_EARLIEST_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_recovery_earliest_timestamp_seconds", Timestamp, REPO,
        "Earliest point in time to which the cluster can be restored.",
        "stop of the oldest restorable backup; unverified: of the oldest one whose chain is listed and whose WAL lies between \
         archive min and max";
    RECOVERY_CONTINUOUS_START_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_recovery_continuous_start_timestamp_seconds", Timestamp, REPO,
        "Point in time from which every later one can be restored.",
        "listing: stop of the oldest backup from which no WAL is missing up to the latest point in time";
    RECOVERY_LATEST_TIMESTAMP_SECONDS: Gauge, "pgbackrest_recovery_latest_timestamp_seconds", Timestamp, REPO,
        "Latest point in time known to be restorable.",
        "time of the last segment reachable without a gap, an upper bound of the last commit; unverified: stop of \
         the newest backup, because info does not date the WAL archived since";
    RECOVERY_LATEST_LSN_BYTES: Gauge, "pgbackrest_recovery_latest_lsn_bytes", Bytes, REPO,
        "WAL position up to which the cluster can be restored.",
        "listing: end of the last segment that can be reached without a gap";
    RECOVERY_WINDOW_SECONDS: Gauge, "pgbackrest_recovery_window_seconds", Seconds, REPO,
        "Length of the recovery window.",
        "latest - continuous start, 0 if a listing proves that there is none; unverified: latest - earliest";
    RECOVERY_WINDOW_VERIFIED: Gauge, "pgbackrest_recovery_window_verified", Plain, REPO,
        "Whether a listing of the WAL proves the recovery window.",
        "1: proven; 0: derived from info alone, which does not detect missing WAL";
}
