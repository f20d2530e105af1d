//! Layer (b3), the part about the operator: how it keeps the objects of each cluster.

use super::{Kind, Layer, Metric, Unit, catalogue};

/// Labels of one cluster of a fleet. `cluster` alone would be a Kubernetes cluster to Prometheus.
pub(in crate::metrics) const CLUSTER: [&str; 2] = ["namespace", "pg_cluster"];

catalogue! { ALL of Operator:
    RECONCILE_TOTAL: Counter, "pgbackrest_operator_reconcile_total", Plain, &[],
        "Reconciles that have ended.", "starts at 0 with the process", at_scrape;
    RECONCILE_ERRORS_TOTAL: Counter, "pgbackrest_operator_reconcile_errors_total", Plain, &["reason"],
        "Reconciles that failed and are tried again.",
        "a reconcile that ends well with findings has not failed; 0 is told", at_scrape;
    RECONCILE_DURATION_SECONDS: Histogram, "pgbackrest_operator_reconcile_duration_seconds", Seconds,
        &["outcome"], "Wall time of reconciles.", "classic histogram; outcome is success or error", at_scrape;
    LAST_RECONCILE_SUCCESS_TIMESTAMP_SECONDS: Gauge,
        "pgbackrest_operator_last_reconcile_success_timestamp_seconds", Timestamp, &CLUSTER,
        "End of the last reconcile of the cluster that did not fail.", "absent until one has ended so", at_scrape;
    CLUSTER_OK: Gauge, "pgbackrest_operator_cluster_ok", Plain, &CLUSTER,
        "Whether the backups of the cluster are set up as its resource asks.",
        "0 with a finding that is an error, or when the last reconcile failed", at_scrape;
    FINDINGS: Gauge, "pgbackrest_operator_findings", Plain, &["code", "namespace", "pg_cluster", "severity"],
        "Number of findings about the cluster.",
        "codes and severities as in lint; not those that could not be checked", at_scrape;
    RESOURCE_OK: Gauge, "pgbackrest_operator_resource_ok", Plain, &["namespace", "pg_cluster", "resource"],
        "Whether every object of the kind is there as desired.", "resource is a kind of Kubernetes", at_scrape;
    DRIFT_CORRECTED_TOTAL: Counter, "pgbackrest_operator_drift_corrected_total", Plain,
        &["namespace", "resource"], "Objects whose fields somebody else had changed, and that were mended.",
        "starts with the first", at_scrape;
    LEADER: Gauge, "pgbackrest_operator_leader", Plain, &[], "Whether this process holds the lease.",
        "0 on a standby", at_scrape;
    QUEUE_DEPTH: Gauge, "pgbackrest_operator_queue_depth", Plain, &[], "Clusters that wait for a reconcile.",
        "without those that wait for a point in time", at_scrape;
    WATCH_RESTARTS_TOTAL: Counter, "pgbackrest_operator_watch_restarts_total", Plain, &["resource"],
        "Watches that failed and were begun again.", "starts with the first", at_scrape;
    TELL_ERRORS_TOTAL: Counter, "pgbackrest_operator_tell_errors_total", Plain, &["reason", "what"],
        "Events and statuses that could not be written.",
        "what is event or status; reason says how the API server failed; starts with the first", at_scrape;
    POLICY_OK: Gauge, "pgbackrest_policy_ok", Plain, &["namespace", "pg_cluster", "policy"],
        "Whether the cluster's backups follow the policy.",
        "from the resource and the names of options in its secret; policy is encryption, retention, offsite_repo or schedule_full; absent when not known",
        at_scrape;
    CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS: Gauge, "pgbackrest_certificate_expiry_timestamp_seconds", Timestamp,
        &["certificate", "namespace", "pg_cluster"], "When a certificate of the cluster ends.",
        "certificate is authority, database or repo-host, or the key of the resource's secret that holds one",
        at_scrape;
}
