//! Layer (b4): collection and the process.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of what is counted per collector.
const COLLECTOR: [&str; 1] = ["collector"];
/// Labels of what is counted per target of notifications.
const NOTIFICATION: [&str; 2] = ["kind", "target"];
/// Labels of the health of one scope.
const SCOPE: [&str; 2] = ["collector", "stanza"];

catalogue! { ALL of Exporter:
    COLLECTOR_UP: Gauge, "pgbackrest_collector_up", Plain, SCOPE, "Whether the last run succeeded.",
        "for the scope of a call (such as all-stanzas) and for each stanza; remains when values are dropped";
    COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_collector_last_success_timestamp_seconds", Timestamp, SCOPE,
        "End time of the last successful run.", "absent until a run succeeds";
    COLLECTOR_LAST_RUN_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_collector_last_run_timestamp_seconds", Timestamp, SCOPE, "End time of the last run.",
        "whether or not it succeeded";
    COLLECTOR_DURATION_SECONDS: Histogram, "pgbackrest_collector_duration_seconds", Seconds, COLLECTOR,
        "Duration of pgBackRest commands.", "classic histogram", at_scrape;
    COLLECTOR_RUNS_TOTAL: Counter, "pgbackrest_collector_runs_total", Plain, COLLECTOR,
        "Completed runs of pgBackRest commands.", "starts at 0 with the process", at_scrape;
    COLLECTOR_FAILURES_TOTAL: Counter, "pgbackrest_collector_failures_total", Plain, ["collector", "reason"],
        "Failed runs of pgBackRest commands.",
        "reason is timeout, exit, parse, spawn, root_refused, output_too_large or no_memory, on a host also killed, in pods also no_pod or lost; starts at 0", at_scrape;
    COLLECTOR_IN_PROGRESS_SINCE_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_collector_in_progress_since_timestamp_seconds", Timestamp, COLLECTOR,
        "Start time of the current run.", "absent when idle", at_scrape;
    COLLECTOR_OUTPUT_BYTES: Gauge, "pgbackrest_collector_output_bytes", Bytes, COLLECTOR,
        "Size of the output of the last run.", "bytes on standard output; absent before the first run", at_scrape;
    COLLECTOR_SANITIZED_OUTPUTS_TOTAL: Counter, "pgbackrest_collector_sanitized_outputs_total", Plain, COLLECTOR,
        "Outputs that were valid JSON only after sanitizing.",
        "invalid UTF-8 or control characters in strings", at_scrape;
    COLLECTOR_INTERVAL_SECONDS: Gauge, "pgbackrest_collector_interval_seconds", Seconds, COLLECTOR,
        "Configured interval between runs.", "configuration", at_scrape;
    COLLECTOR_TIMEOUT_SECONDS: Gauge, "pgbackrest_collector_timeout_seconds", Seconds, COLLECTOR,
        "Configured timeout of a run.", "configuration", at_scrape;
    PROGRAM_INFO: Gauge, "pgbackrest_program_info", Plain, ["product", "version"],
        "The program that is queried.",
        "1; product is pgBackRest, pgxbackup or pgBunker, which have their own version numbers; absent while unknown";
    EXPORTER_SERIES: Gauge, "pgbackrest_exporter_series", Plain, [], "Number of series in this response.",
        "lines with a value, including this one", at_scrape;
    EXPORTER_SERIES_DROPPED: Gauge, "pgbackrest_exporter_series_dropped", Plain, [],
        "Number of series omitted due to the limit of backups per stanza.",
        "omitted backups * series per backup; 0 without a limit";
    EXPORTER_CONFIG_RELOAD_SUCCESS: Gauge, "pgbackrest_exporter_config_reload_success", Plain, [],
        "Whether the last configuration reload succeeded.", "1 after startup", at_scrape;
    EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_exporter_config_last_reload_success_timestamp_seconds", Timestamp, [],
        "When the configuration was last loaded successfully.", "at startup or reload", at_scrape;
    CONFIGURATION_READ_SUCCESS: Gauge, "pgbackrest_configuration_read_success", Plain, [],
        "Whether pgBackRest's configuration could be read.",
        "0 if a file cannot be read, is invalid, or exceeds a limit (100,000 files, 64 MiB); absent if no configuration is known \
         to be the one that pgBackRest uses";
    NOTIFICATION_DELIVERIES_TOTAL: Counter, "pgbackrest_notification_deliveries_total", Plain, NOTIFICATION,
        "Calls of heartbeats and webhooks that succeeded.",
        "a status of 200 to 299; kind is heartbeat or webhook, target its name in --notify.config.file; starts at 0", at_scrape;
    NOTIFICATION_FAILURES_TOTAL: Counter, "pgbackrest_notification_failures_total", Plain, ["kind", "reason", "target"],
        "Calls of heartbeats and webhooks that failed.",
        "reason is connect, tls, timeout, status, redirect (not followed) or response (not HTTP); starts at 0", at_scrape;
    NOTIFICATION_UP: Gauge, "pgbackrest_notification_up", Plain, NOTIFICATION,
        "Whether the last call of a heartbeat or webhook succeeded.", "absent before the first call", at_scrape;
    NOTIFICATION_LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_notification_last_success_timestamp_seconds", Timestamp, NOTIFICATION,
        "When a call of a heartbeat or webhook last succeeded.", "absent until one succeeds", at_scrape;
    NOTIFICATION_QUEUE_LENGTH: Gauge, "pgbackrest_notification_queue_length", Plain, ["target"],
        "Messages that wait for a webhook.", "including the one that is being delivered", at_scrape;
    HEARTBEAT_CONDITIONS_MET: Gauge, "pgbackrest_heartbeat_conditions_met", Plain, ["target"],
        "Whether the conditions of a heartbeat hold, so that it is called.", "absent before the first collection", at_scrape;
    EXPORTER_RUST_INFO: Gauge, "pgbackrest_exporter_rust_info", Plain, ["revision", "rustc", "version"],
        "A metric with a constant '1' value labeled by version, revision and compiler.", "1";
}

catalogue! { PROCESS of Process:
    LOG_LINES_DROPPED_TOTAL: Counter, "pgbackrest_exporter_log_lines_dropped_total", Plain, [],
        "Log lines dropped because standard error was not read in time.", "starts at 0 with the process", at_scrape;
    RESPONSES_REFUSED_TOTAL: Counter, "pgbackrest_exporter_responses_refused_total", Plain, [],
        "Requests answered with 503 because responses that wait for their clients use the memory for responses.",
        "starts at 0 with the process", at_scrape;
    RESPONSES_CUT_TOTAL: Counter, "pgbackrest_exporter_responses_cut_total", Plain, [],
        "Connections closed because their clients did not read a response while others waited for its memory.",
        "starts at 0 with the process", at_scrape;
    MEMORY_LIMIT_BYTES: Gauge, "pgbackrest_exporter_memory_limit_bytes", Bytes, [],
        "Memory that the process may use; the limits on what it reads and keeps are parts of it.",
        "limit of the control group, or half of the machine's memory if that is lower", at_scrape;
    PROCESS_CPU_SECONDS_TOTAL: Counter, "process_cpu_seconds_total", Seconds, [],
        "Total user and system CPU time spent in seconds.", "/proc/self/stat; without child processes",
        at_scrape;
    PROCESS_OPEN_FDS: Gauge, "process_open_fds", Plain, [], "Number of open file descriptors.",
        "/proc/self/fd", at_scrape;
    PROCESS_MAX_FDS: Gauge, "process_max_fds", Plain, [], "Maximum number of open file descriptors.",
        "soft limit", at_scrape;
    PROCESS_THREADS: Gauge, "process_threads", Plain, [], "Number of threads in the process.",
        "/proc/self/stat", at_scrape;
    PROCESS_VIRTUAL_MEMORY_BYTES: Gauge, "process_virtual_memory_bytes", Bytes, [],
        "Virtual memory size in bytes.", "/proc/self/stat", at_scrape;
    PROCESS_VIRTUAL_MEMORY_MAX_BYTES: Gauge, "process_virtual_memory_max_bytes", Bytes, [],
        "Maximum amount of virtual memory available in bytes.", "soft limit; absent without one", at_scrape;
    PROCESS_RESIDENT_MEMORY_BYTES: Gauge, "process_resident_memory_bytes", Bytes, [],
        "Resident memory size in bytes.", "/proc/self/stat", at_scrape;
    PROCESS_START_TIME_SECONDS: Gauge, "process_start_time_seconds", Timestamp, [],
        "Start time of the process since unix epoch in seconds.", "/proc/self/stat and boot time", at_scrape;
}
