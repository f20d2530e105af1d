//! Layer (b2): the archiver of a PostgreSQL cluster on this host, from `archive_status` and the spool.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// There is one archiver for each stanza.
const STANZA: [&str; 1] = ["stanza"];

catalogue! { ALL of Wal:
    ARCHIVER_UP: Gauge, "pgbackrest_archiver_up", Plain, STANZA,
        "Whether it is known what waits to be archived on this host.",
        "1 if pg_wal/archive_status below pg1-path, and archive/STANZA/out below spool-path if it exists, could be read; absent if the \
         PostgreSQL cluster is not on this host, or if the configuration is not known";
    ARCHIVER_COLLECTED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_collected_timestamp_seconds", Timestamp, STANZA,
        "When it was last read what waits to be archived.", "compare the other timestamps with it: it may be read less often than WAL is archived";
    ARCHIVER_WAITING_FILES: Gauge, "pgbackrest_archiver_waiting_files", Plain, STANZA,
        "WAL files that PostgreSQL waits to archive.",
        "number of .ready files: segments, and seldom histories and backup labels; at most 500000 are counted; absent on a standby that \
         does not archive";
    ARCHIVER_WAITING_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_waiting_since_timestamp_seconds", Timestamp, STANZA,
        "Since when the next WAL file waits to be archived.",
        "time of the .ready file of the oldest segment; absent if none waits";
    ARCHIVER_QUEUED_BYTES: Gauge, "pgbackrest_archiver_queued_bytes", Bytes, STANZA,
        "Bytes of the WAL files that wait to be archived.",
        "waiting files * size of the first, as archive-push-queue-max is compared with; absent if the first cannot be read";
    ARCHIVER_QUEUE_LIMIT_BYTES: Gauge, "pgbackrest_archiver_queue_limit_bytes", Bytes, STANZA,
        "Bytes of waiting WAL above which pgBackRest drops WAL.",
        "archive-push-queue-max; absent if it is not configured";
    ARCHIVER_QUEUE_GROWTH_BYTES_PER_SECOND: Gauge,
        "pgbackrest_archiver_queue_growth_bytes_per_second", BytesPerSecond, STANZA,
        "How fast the waiting WAL grows.",
        "over at most half an hour, since the queue became shorter last; absent if it does not grow";
    ARCHIVER_DROP_EXPECTED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_drop_expected_timestamp_seconds", Timestamp, STANZA,
        "When pgBackRest will begin to drop WAL if the queue goes on growing.",
        "from limit, waiting WAL and growth; in the past if more than the limit waits; absent if the queue does not grow, or without a \
         limit";
    ARCHIVER_DROPPED_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_dropped_since_timestamp_seconds", Timestamp, STANZA,
        "When pgBackRest dropped WAL that no later backup has made dispensable. The recovery window ends there.",
        "from the spool, or a file that left a full queue while no repository has it; absent if none is known, and after a backup that \
         began later";
    ARCHIVER_REJECTED_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_rejected_since_timestamp_seconds", Timestamp, ["reason", "stanza"],
        "Since when the next WAL file waits although pgBackRest will always reject it.",
        "reason is mismatch (of another cluster than the stanza: an error in the spool, or the system identifier in the segment) or \
         archive_duplicate (an error in the spool, or all repositories hold a segment of this name and it waits for 5 min)";
    ARCHIVER_ERRORS: Gauge, "pgbackrest_archiver_errors", Plain, ["error", "stanza"],
        "Errors of asynchronous archive-push about WAL that waits.",
        "number of .error files in the spool by pgBackRest's error class, for up to 15 min after they were written";
    ARCHIVER_PUSHED_FILES: Gauge, "pgbackrest_archiver_pushed_files", Plain, STANZA,
        "WAL files that asynchronous archive-push is done with.",
        "number of .ok files in the spool, which the next run removes";
}
