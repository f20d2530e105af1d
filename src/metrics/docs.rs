//! docs/metrics.md, from the catalogue.

use std::fmt::Write;

use super::catalogue::{self, Condition, Layer, Metric};

const HEAD: &str = "\
# Metrics

This page is generated from `src/metrics/catalogue`; a test compares them. `UPDATE_GOLDEN=1 cargo test metric_docs` writes it anew.

`GET /metrics` answers in OpenMetrics 1.0.0 where it is asked for, else in the classic text format 0.0.4.
OpenMetrics names a counter in header lines without `_total`; the samples are the same.

Rules that hold for all of them:
- What is not known has no series. Only the metrics of the Go exporter say 0 instead, and only with compatibility on (the default of `exporter`).
- Instants are Unix seconds. Compare them with `time()` in rules; the few ages are computed at the time of the scrape.
- What `operator` tells of a cluster, its jobs and its schedules is encoded when it has changed and every 10 s, not at the
  scrape: it is up to a second old after a change, in a large fleet up to twenty times what encoding takes.
- No label holds free text. `--label name=value` adds a label to every series.
- `--metrics.disable` takes any name of this page.
- `operator` tells the same of each cluster that it looks after, with the labels `namespace` and `pg_cluster` in front of
  those shown on every series of this page that is about a stanza, a repository, a backup or its collection, and on
  `pgbackrest_version_info`. It does so without compatibility, and whether retention is met as of the newest publication.

Columns: *labels* without those of `--label`; *when* is empty for what is always exposed; *source* says how the value comes about,
with field names of `pgbackrest info --output=json`. `unverified`: name, labels and help follow the Go exporter 0.24 and have not been compared with it.
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

const SECTIONS: [(Layer, &str, &str); 7] = [
    (
        Layer::DropIn,
        "Drop-in set",
        "Names, labels, help and values of the Go exporter `pgbackrest_exporter` 0.23. \
         `per backup`: one series for each backup (three with `ref_backup`), subject to `--metrics.backup-detail` \
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
        "From `info`, which knows the first and the last WAL segment and does not notice a gap between them, and from listings \
         of the WAL archive (*listing*), which prove what can be restored. Without one, or when the last is too old, what a \
         listing tells is absent, and the recovery window is unverified.",
    ),
    (Layer::Operator, "The operator", "From `operator` alone. A standby tells of itself, and of no cluster."),
    (
        Layer::Jobs,
        "Jobs and schedules",
        "From `operator` alone: what Kubernetes' Jobs and CronJobs tell, one series for each repo and backup type. \
         Gauges come from the objects that are there, also after a restart; counters start with the process, and a first \
         series of a `reason` begins at 1, so that rules about failures had better use the gauges. `reason` is \
         `lock_conflict`, `archive_timeout`, `database`, `repo_host`, `access`, `service`, `crypto`, `stopped`, \
         `terminated`, `missing_file`, `io`, `archive_duplicate`, `mismatch`, `config`, `completed_with_errors`, \
         `oom_or_kill` (all by pgBackRest's exit code), `no_target`, `not_started`, `unproven`, `connection_lost`, \
         `deadline`, `evicted`, `image_pull`, `unschedulable` or `other`.",
    ),
    (
        Layer::Exporter,
        "The exporter itself",
        "`pgbackrest_collector_up`, `_last_success_` and `_last_run_` have a series for what a call asks for and one for each stanza; \
         in a fleet one for each cluster. What is counted is counted for all clusters together. \
         Counters and the histogram start at 0 with the process.",
    ),
    (Layer::Process, "The process", "Standard names; absent where `/proc` is not there."),
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
