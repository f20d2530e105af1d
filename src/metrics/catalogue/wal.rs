//! Layer (b2): WAL and recovery, from `info` alone and from listings of the WAL archives.

use super::{Kind, Layer, Metric, Unit, catalogue};

/// Labels of everything that exists once per repository of a stanza.
const REPO: &[&str] = &["repo_key", "stanza"];
/// Labels of a WAL range.
const DATABASE: &[&str] = &["database_id", "repo_key", "stanza"];

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
        "WAL position at which the newest segment in the archive ends.",
        "(number of archive max + 1) * segment size; subtract from the position of PostgreSQL for the lag";
    WAL_SEGMENT_SIZE_BYTES: Gauge, "pgbackrest_wal_segment_size_bytes", Bytes, &["source", "stanza"],
        "Size of a WAL segment.", "source is config, inferred (from backups) or default (16 MiB)";
    WAL_ARCHIVED_SEGMENTS_TOTAL: Counter, "pgbackrest_wal_archived_segments_total", Plain, REPO,
        "WAL segments by which the archive has grown.",
        "increases of pgbackrest_wal_max_segment since this process first saw it",
        at_scrape;
    WAL_SEGMENTS: Gauge, "pgbackrest_wal_segments", Plain, REPO,
        "WAL segments in the archive of the current database.",
        "listing: whole segments on all timelines, each counted once";
    WAL_STORED_BYTES: Gauge, "pgbackrest_wal_stored_bytes", Bytes, REPO,
        "Bytes of the WAL segments in the repository.", "listing: sizes as stored, compressed and encrypted";
    WAL_MISSING_SEGMENTS: Gauge, "pgbackrest_wal_missing_segments", Plain, &["class", "repo_key", "stanza"],
        "WAL segments that are missing in the archive.",
        "listing: class is backup (a backup needs it to become consistent), pitr_new (after the newest backup), pitr_old (between \
         backups) or expired (removed by archive retention); all but backup are absent where the timelines are not known";
    WAL_GAPS: Gauge, "pgbackrest_wal_gaps", Plain, REPO,
        "Separate holes in the WAL archive.", "listing: without what is expired";
    WAL_DUPLICATE_SEGMENTS: Gauge, "pgbackrest_wal_duplicate_segments", Plain, REPO,
        "WAL segments that are in the archive more than once.",
        "listing: one name with several checksums, which pgBackRest refuses to restore";
    WAL_ORPHAN_TIMELINES: Gauge, "pgbackrest_wal_orphan_timelines", Plain, REPO,
        "Timelines that do not lead to the newest one.", "listing: histories and segments; never a gap";
    WAL_MISSING_HISTORY_FILES: Gauge, "pgbackrest_wal_missing_history_files", Plain, REPO,
        "Timelines whose history is missing or cannot be read.",
        "listing: without it nothing is proven of the way to the newest timeline";
    WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_wal_last_archived_timestamp_seconds", Timestamp, REPO,
        "When the repository got the newest WAL segment.",
        "listing: time of the file; a database that is idle archives nothing";
    WAL_LISTED_TIMESTAMP_SECONDS: Gauge, "pgbackrest_wal_listed_timestamp_seconds", Timestamp, REPO,
        "When the WAL archive was listed.", "begin of the listing that the other metrics rest upon";
    BACKUP_UNRESTORABLE: Gauge, "pgbackrest_backup_unrestorable", Plain, &["reason", "repo_key", "stanza"],
        "Kept backups that cannot be restored.",
        "listing: reason is wal (missing inside the backup), directory (the backup's files are gone), reference (so are those \
         of a backup that it builds on) or unknown (it cannot be told); a backup can count for several";
    RECOVERY_EARLIEST_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_recovery_earliest_timestamp_seconds", Timestamp, REPO,
        "Earliest instant to which the cluster can be restored.",
        "stop of the oldest backup that can be restored; unverified: whose chain is listed and whose WAL lies between archive \
         min and max";
    RECOVERY_CONTINUOUS_START_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_recovery_continuous_start_timestamp_seconds", Timestamp, REPO,
        "Instant from which on every later one can be restored.",
        "listing: stop of the oldest backup from which no WAL is missing up to the latest instant";
    RECOVERY_LATEST_TIMESTAMP_SECONDS: Gauge, "pgbackrest_recovery_latest_timestamp_seconds", Timestamp, REPO,
        "Latest instant that is known to be restorable.",
        "time of the last segment that can be reached without a hole, an upper bound of the last commit; unverified: stop of \
         the newest backup, as info does not date the WAL archived since";
    RECOVERY_WINDOW_SECONDS: Gauge, "pgbackrest_recovery_window_seconds", Seconds, REPO,
        "Length of the recovery window.",
        "latest - continuous start, 0 where a listing proves that there is none; unverified: latest - earliest";
    RECOVERY_WINDOW_VERIFIED: Gauge, "pgbackrest_recovery_window_verified", Plain, REPO,
        "Whether the recovery window is proven by a listing of the WAL.",
        "1: proven; 0: derived from info alone, which does not notice missing WAL";
}
