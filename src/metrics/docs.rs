//! docs/metrics.md, from the catalogue.

use std::fmt::Write;

use super::catalogue::{self, Condition, Layer, Metric};

const HEAD: &str = "\
# Metrics

This page is generated from `src/metrics/catalogue`; a test compares them. `UPDATE_GOLDEN=1 cargo test metric_docs` regenerates it.

`GET /metrics` returns OpenMetrics 1.0.0 if the client accepts it, otherwise the classic text format 0.0.4.
The header lines of OpenMetrics name counters without `_total`; the samples are the same.

Rules for all metrics:
- Unknown values have no series. Only the metrics of the Go exporter are 0 instead, and only with compatibility on (the default of `exporter`).
- Timestamps are Unix seconds. Compare them with `time()` in rules; the few ages are computed at scrape time.
- `operator` encodes the metrics of clusters, jobs and schedules after every change and every 10 s, not at scrape time. After
  a change they are up to one second old, in a large fleet up to twenty times the duration of the encoding.
- Labels never contain free text. `--label name=value` adds a label to every series.
- `--metrics.disable` accepts any name on this page.
- `operator` serves the same metrics for each cluster that it manages. All series about a stanza, a repository, a backup or its
  collection, and `pgbackrest_version_info`, have the labels `namespace` and `pg_cluster` in addition to those listed here.
  Compatibility is off, and retention is evaluated when the snapshot is published.

Columns: *labels* without those of `--label`; *when* is the condition under which a metric is exposed, empty for always; *source*
is where the value comes from, with field names of `pgbackrest info --output=json`. `unverified`: name, labels and help follow the
Go exporter 0.24 but have not been compared with it.
";

/// The whole page.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for (layer, title, introduction) in SECTIONS {
        let rows = catalogue::all().filter(|metric| metric.layer == layer).map(row).collect::<String>();
        // Writing to a String does not fail.
        let _ = write!(
            page,
            "\n## {title}\n\n{introduction}\n\n\
             | name | type | unit | labels | when | help | source |\n|---|---|---|---|---|---|---|\n{rows}"
        );
    }
    page
}

const SECTIONS: [(Layer, &str, &str); 9] = [
    (
        Layer::DropIn,
        "Drop-in set",
        "Names, labels, help and values of the Go exporter `pgbackrest_exporter` 0.23. \
         `per backup`: one series per backup (three with `ref_backup`), limited by `--metrics.backup-detail` \
         and `--metrics.max-backups-per-stanza`.",
    ),
    (
        Layer::Backups,
        "Backups and repositories",
        "Per repository and exact backup type, from `info` and the configuration.",
    ),
    (
        Layer::Wal,
        "WAL and recovery",
        "From `info`, which reports the first and the last WAL segment but does not detect gaps between them, and from listings \
         of the WAL archive (*listing*), which prove what can be restored. Without a recent listing, the metrics based on it are \
         absent and the recovery window is unverified. `pgbackrest_archiver_*` are from files of PostgreSQL and pgBackRest on the host \
         of the cluster, or in the pod of its primary, see [The archiver](exporter.md#the-archiver).",
    ),
    (
        Layer::RestoreTests,
        "Restore tests",
        "From `exporter`, about the records of restore tests in `--state-directory`, and from `operator`, about `RestoreTest` resources, see \
         [Restore tests](exporter.md#restore-tests). Both are kept, so all values survive a restart. Absent for repositories without a \
         record.",
    ),
    (
        Layer::Verifications,
        "Verifications",
        "From `exporter`, from the records of `verify` in `--state-directory`, see [Verifications](exporter.md#verifications), and from \
         `operator`, from the verifications of [its clusters](verify.md#in-kubernetes). Both are kept, so all values survive a restart. \
         Absent for repositories without a record.",
    ),
    (Layer::Operator, "The operator", "Only from `operator`. A standby serves no metrics of clusters."),
    (
        Layer::Jobs,
        "Jobs and schedules",
        "Only from `operator`, based on the Jobs and CronJobs in Kubernetes; one series per repo and backup type. \
         Gauges reflect the existing objects, also after a restart. Counters start with the process, and the first \
         series of a `reason` starts at 1, so rules about failures should use the gauges. `reason` is \
         `lock_conflict`, `archive_timeout`, `database`, `repo_host`, `access`, `service`, `crypto`, `stopped`, \
         `terminated`, `missing_file`, `io`, `archive_duplicate`, `mismatch`, `config`, `completed_with_errors`, \
         `oom_or_kill` (all by pgBackRest's exit code), `no_target`, `not_started`, `unproven`, `connection_lost`, `expire_failed`, \
         `deadline`, `evicted`, `image_pull`, `unschedulable` or `other`.",
    ),
    (
        Layer::Exporter,
        "The exporter itself",
        "`pgbackrest_collector_up`, `_last_success_` and `_last_run_` have one series for the scope of a call and one per stanza, \
         in a fleet one per cluster. Counters cover all clusters together. \
         Counters and the histogram start at 0 with the process.",
    ),
    (Layer::Process, "The process", "Standard names; absent without `/proc`."),
];

fn row(metric: &Metric) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let mut when = vec![];
    when.extend(metric.per_backup.then_some("per backup"));
    when.extend(match metric.condition {
        Condition::Always => None,
        Condition::Compat => Some("compatibility on"),
        Condition::Legacy => Some("legacy names on"),
        Condition::ReferenceCount => Some("reference count on"),
        Condition::DatabaseCount => Some("database count on"),
        Condition::DatabaseCountLatest => Some("compatibility and latest database count on"),
    });
    when.extend(metric.unverified.then_some("unverified"));
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} |\n",
        metric.name,
        metric.kind,
        metric.unit,
        labels.join(", "),
        when.join("; "),
        metric.help,
        metric.computed
    )
}
