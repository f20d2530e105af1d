//! Layer (b3), the part about the operator and the objects of each cluster.

use super::{Labels, Layer, Metric, MetricKind, Unit, catalogue, count};

/// Labels of one cluster of a fleet. `cluster` alone would be a Kubernetes cluster to Prometheus.
pub(in crate::metrics) const CLUSTER: [&str; 2] = ["namespace", "pg_cluster"];
/// Labels of a `RestoreTest` resource.
const RESTORE_TEST: [&str; 2] = ["namespace", "restore_test"];

catalogue! { ALL of Operator:
    RECONCILE_TOTAL: Counter, "pgbackrest_operator_reconcile_total", Plain, [],
        "Completed reconciles.", "starts at 0 with the process", at_scrape;
    RECONCILE_ERRORS_TOTAL: Counter, "pgbackrest_operator_reconcile_errors_total", Plain, ["reason"],
        "Failed reconciles, which are retried.",
        "a reconcile that completes with findings has not failed; starts at 0", at_scrape;
    RECONCILE_DURATION_SECONDS: Histogram, "pgbackrest_operator_reconcile_duration_seconds", Seconds,
        ["outcome"], "Duration of reconciles.", "classic histogram; outcome is success or error", at_scrape;
    LAST_RECONCILE_SUCCESS_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_operator_last_reconcile_success_timestamp_seconds", Timestamp, CLUSTER,
        "End time of the last successful reconcile of the cluster.", "absent until one succeeds", at_scrape;
    CLUSTER_OK: Gauge, "pgbackrest_operator_cluster_ok", Plain, CLUSTER,
        "Whether the backups of the cluster are set up as its resource specifies.",
        "0 if a finding is an error or the last reconcile failed", at_scrape;
    FINDINGS: Gauge, "pgbackrest_operator_findings", Plain, ["code", "namespace", "pg_cluster", "severity"],
        "Number of findings about the cluster.",
        "codes and severities as in lint; checks that could not run are not counted", at_scrape;
    RESOURCE_OK: Gauge, "pgbackrest_operator_resource_ok", Plain, ["namespace", "pg_cluster", "resource"],
        "Whether all objects of the kind exist as desired.", "resource is a Kubernetes kind", at_scrape;
    DRIFT_CORRECTED_TOTAL: Counter, "pgbackrest_operator_drift_corrected_total", Plain,
        ["namespace", "resource"], "Objects corrected after another client changed their fields.",
        "no series before the first", at_scrape;
    LEADER: Gauge, "pgbackrest_operator_leader", Plain, [], "Whether this process holds the lease.",
        "0 on a standby", at_scrape;
    SHARD_INFO: Gauge, "pgbackrest_operator_shard_info", Plain, ["shard", "total_shards"],
        "The shard of the fleet that this process looks after.", "1; shards are counted from 0; without shards 0 of 1", at_scrape;
    TOTAL_SHARDS: Gauge, "pgbackrest_operator_total_shards", Plain, [],
        "Number of shards that the fleet is divided into.", "1 without shards", at_scrape;
    QUEUE_DEPTH: Gauge, "pgbackrest_operator_queue_depth", Plain, [], "Clusters waiting for a reconcile.",
        "without those scheduled for a later time", at_scrape;
    WATCH_RESTARTS_TOTAL: Counter, "pgbackrest_operator_watch_restarts_total", Plain, ["resource"],
        "Watches that failed and were restarted.", "no series before the first", at_scrape;
    REPORT_ERRORS_TOTAL: Counter, "pgbackrest_operator_tell_errors_total", Plain, ["reason", "what"],
        "Events and statuses that could not be written.",
        "the label what is event or status; reason is the kind of API failure; no series before the first", at_scrape;
    POLICY_OK: Gauge, "pgbackrest_policy_ok", Plain, ["namespace", "pg_cluster", "policy"],
        "Whether the backups of the cluster comply with the policy.",
        "from the resource and the names of options in its secret; policy is encryption, retention, offsite_repo or schedule_full; absent if unknown",
        at_scrape;
    CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS: Gauge, "pgbackrest_certificate_expiry_timestamp_seconds", Timestamp,
        ["certificate", "namespace", "pg_cluster"], "When a certificate of the cluster expires.",
        "certificate is authority, database or repo-host, or the key of the resource's secret that contains one",
        at_scrape;
    RESTORE_TEST_CLUSTER_SELECTED_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_operator_restore_test_cluster_selected_timestamp_seconds", Timestamp,
        ["namespace", "pg_cluster", "restore_test"], "Since when a RestoreTest resource has selected the cluster.",
        "creation of the cluster or of the RestoreTest, whichever is later; absent for clusters that cannot be tested", at_scrape;
    RESTORE_TEST_CLUSTERS_LEFT_OUT: Gauge, "pgbackrest_operator_restore_test_clusters_left_out", Plain,
        RESTORE_TEST, "Number of selected clusters that cannot be tested.",
        "the condition Ready of the resource names them; absent if the resource has errors", at_scrape;
    RESTORE_TEST_READY: Gauge, "pgbackrest_operator_restore_test_ready", Plain, RESTORE_TEST,
        "Whether restore tests are set up as the resource describes.", "its condition Ready", at_scrape;
    RESTORE_TEST_CREATED_TIMESTAMP_SECONDS: Gauge, "pgbackrest_operator_restore_test_created_timestamp_seconds",
        Timestamp, RESTORE_TEST, "When the RestoreTest resource was created.", "creationTimestamp", at_scrape;
    RESTORE_TEST_LAST_START_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_operator_restore_test_last_start_timestamp_seconds", Timestamp, RESTORE_TEST,
        "Start time of the newest test of the resource.", "also while it runs, and without a result; absent if there was none",
        at_scrape;
    RESTORE_TEST_SCHEDULE_INTERVAL_SECONDS: Gauge,
        "pgbackrest_operator_restore_test_schedule_interval_seconds", Seconds, RESTORE_TEST,
        "Longest time between two runs of the schedule of the resource.",
        "over the next 400 days, including daylight saving; with errors in the resource, as before them", at_scrape;
}
