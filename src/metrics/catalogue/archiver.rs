//! Layer (b2): the archiver of a PostgreSQL cluster, on this host or in the pod of the primary, from `archive_status` and the spool.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// There is one archiver for each stanza.
const STANZA: [&str; 1] = ["stanza"];

catalogue! { ALL of Wal:
    ARCHIVER_UP: Gauge, "pgbackrest_archiver_up", Plain, STANZA,
        "Whether the state of the archiver, on this host or in the pod of the primary, could be read.",
        "1 if pg_wal/archive_status below pg1-path, and archive/STANZA/out below spool-path if it exists, could be read; 0 in Kubernetes \
         without a primary; absent if the PostgreSQL cluster is not on this host, or if the configuration is unknown";
    ARCHIVER_COLLECTED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_collected_timestamp_seconds", Timestamp, STANZA,
        "When the state of the archiver was last read.",
        "compare the other timestamps with this one, because WAL may be archived more often than the state is read";
    ARCHIVER_WAITING_FILES: Gauge, "pgbackrest_archiver_waiting_files", Plain, STANZA,
        "WAL files that are waiting to be archived.",
        "number of .ready files: segments, rarely history files and backup labels; counts at most 500000 on a host; absent on a standby that does \
         not archive";
    ARCHIVER_WAITING_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_waiting_since_timestamp_seconds", Timestamp, STANZA,
        "When the next WAL file started waiting to be archived.",
        "time of the .ready file of the oldest segment; absent if none is waiting";
    ARCHIVER_QUEUED_BYTES: Gauge, "pgbackrest_archiver_queued_bytes", Bytes, STANZA,
        "Bytes of the WAL files that are waiting to be archived.",
        "waiting files * size of the first one, which is what pgBackRest compares with archive-push-queue-max; absent if the first one cannot \
         be read";
    ARCHIVER_QUEUE_LIMIT_BYTES: Gauge, "pgbackrest_archiver_queue_limit_bytes", Bytes, STANZA,
        "Bytes of waiting WAL above which pgBackRest drops WAL.",
        "archive-push-queue-max; absent if it is not configured";
    ARCHIVER_QUEUE_GROWTH_BYTES_PER_SECOND: Gauge,
        "pgbackrest_archiver_queue_growth_bytes_per_second", BytesPerSecond, STANZA,
        "Rate at which the waiting WAL grows.",
        "over at most half an hour, starting when the queue last became shorter; absent if it does not grow";
    ARCHIVER_DROP_EXPECTED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_drop_expected_timestamp_seconds", Timestamp, STANZA,
        "When pgBackRest will start to drop WAL if the queue keeps growing.",
        "from the limit, the waiting WAL and its growth; in the past if the limit is already exceeded; absent without a limit, or if the \
         queue does not grow";
    ARCHIVER_DROPPED_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_dropped_since_timestamp_seconds", Timestamp, STANZA,
        "When pgBackRest dropped WAL, until there is a later backup. The recovery window ends there.",
        "from the spool, or because a file left a full queue but is in no repository; absent if no WAL is known to be dropped, and after a \
         backup that started later";
    ARCHIVER_REJECTED_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_archiver_rejected_since_timestamp_seconds", Timestamp, ["reason", "stanza"],
        "When the next WAL file started waiting, if pgBackRest will always reject it.",
        "reason is mismatch (it belongs to another cluster than the stanza, according to the spool or the system identifier in the segment) \
         or archive_duplicate (according to the spool, or it has been waiting for 5 min although all repositories contain a segment of \
         this name)";
    ARCHIVER_ERRORS: Gauge, "pgbackrest_archiver_errors", Plain, ["error", "stanza"],
        "Errors of the asynchronous archive-push for waiting WAL.",
        "number of .error files in the spool by pgBackRest's error class; counted for up to 15 min after they were written";
    ARCHIVER_PUSHED_FILES: Gauge, "pgbackrest_archiver_pushed_files", Plain, STANZA,
        "WAL files that the asynchronous archive-push has processed.",
        "number of .ok files in the spool, which the next run removes";
}
