//! Layer (b2), as far as `info` alone tells it: the WAL range and an unproven recovery window.

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
    RECOVERY_EARLIEST_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_recovery_earliest_timestamp_seconds", Timestamp, REPO,
        "Earliest instant to which the cluster can be restored.",
        "stop of the oldest backup of the current database whose chain is listed and whose WAL lies between archive min and max";
    RECOVERY_LATEST_TIMESTAMP_SECONDS: Gauge, "pgbackrest_recovery_latest_timestamp_seconds", Timestamp, REPO,
        "Latest instant that is known to be restorable.",
        "stop of the newest such backup; WAL archived since reaches further, but info does not date it";
    RECOVERY_WINDOW_SECONDS: Gauge, "pgbackrest_recovery_window_seconds", Seconds, REPO,
        "Length of the recovery window.", "latest - earliest";
    RECOVERY_WINDOW_VERIFIED: Gauge, "pgbackrest_recovery_window_verified", Plain, REPO,
        "Whether the recovery window is proven by a listing of the WAL.",
        "0: derived from info alone, which does not notice missing WAL";
}
