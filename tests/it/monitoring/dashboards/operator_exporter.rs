//! Operator & Exporter: does the program itself work?

use pgbackrest_keeper::metrics::catalogue::{Metric, compat, exporter, operator};

use super::frame::Dashboard;
use super::model::{NONE_IS_GOOD, Panel, Step, says};
use super::query::{PROCESS as S, Scope, alerts, not_ok, variables};

const INSTANCE: &str = "{{instance}}";
const GOOD_IS_ONE: &[Step] = &[(0.0, "red"), (1.0, "green")];

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        file: "operator-exporter",
        uid: "pgbackrest-operator",
        title: "pgBackRest / Operator & Exporter",
        description: "Are the exporters and the operator working, so that you can rely on the other dashboards?",
        from: "now-24h",
        variables: variables(S, true),
        annotations: vec![alerts()],
        rows: vec![
            ("Collection", collection()),
            ("Heartbeats and webhooks", notifications()),
            ("Operator", reconciling()),
            ("Process", process()),
        ],
    }
}

fn rate(metric: &Metric) -> String {
    format!("rate({}[$__rate_interval])", S.of(metric))
}

fn collection() -> Vec<Panel> {
    let dropped = S.of(&exporter::EXPORTER_SERIES_DROPPED);
    let reload = S.of(&exporter::EXPORTER_CONFIG_RELOAD_SUCCESS);
    // Where nothing was measured, a quantile is no number and no line, rather than NaN.
    let took = |quantile: &str| {
        format!(
            "histogram_quantile({quantile}, sum by (instance, collector, le) (rate({}[1h]))) >= 0",
            S.buckets(&exporter::COLLECTOR_DURATION_SECONDS)
        )
    };
    vec![
        Panel::stat(
            "Targets down",
            "Does Prometheus reach every exporter and operator?",
            "short",
            Scope::count(&format!("{} == 0", S.up()), &S.up()),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Stale data",
            "Collections that have not succeeded within three intervals plus one timeout.",
            "short",
            S.stale(),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Failing collections",
            "Collections whose most recent run failed.",
            "short",
            Scope::count(&format!("{} == 0", S.of(&exporter::COLLECTOR_UP)), &S.of(&exporter::COLLECTOR_UP)),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Hidden series",
            "Series omitted because of the limit of backups per stanza.",
            "short",
            format!("sum({dropped})"),
        )
        .steps(&[(0.0, "green"), (1.0, "orange")]),
        Panel::stat(
            "Configuration reloaded",
            "Did the last configuration reload succeed on every exporter? Reported only by exporters.",
            "none",
            format!("min({reload})"),
        )
        .steps(GOOD_IS_ONE)
        .maps(says(&[("0", "no", "red"), ("1", "yes", "green")])),
        Panel::stat(
            "Versions of pgBackRest",
            "How many versions of pgBackRest are in use?",
            "short",
            format!("count(count_values(\"version\", {} > 0))", S.of(&compat::VERSION_INFO)),
        ),
        Panel::lines("Time since the last success", "How old is the data of each collector?", "s").query(
            format!(
                "time() - min by (instance, namespace, pg_cluster, collector) ({})",
                S.of(&exporter::COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS)
            ),
            "{{namespace}} {{pg_cluster}} {{instance}} {{collector}}",
        ),
        Panel::lines("Duration of pgBackRest commands", "How long does pgBackRest take to answer?", "s")
            .query(took("0.5"), "median {{instance}} {{collector}}")
            .query(took("0.99"), "99 % {{instance}} {{collector}}"),
        Panel::lines("Failures by reason", "Why do collections fail? Failures within an hour.", "short")
            .query(
                format!(
                    "sum by (instance, reason) (increase({}[1h]))",
                    S.of(&exporter::COLLECTOR_FAILURES_TOTAL)
                ),
                "{{instance}} {{reason}}",
            ),
        Panel::lines("Series", "How many series does each target expose?", "short")
            .query(S.of(&exporter::EXPORTER_SERIES), INSTANCE),
        Panel::lines("Scrape duration", "Is a scrape close to its timeout?", "s")
            .query("scrape_duration_seconds{job=~\"$job\",instance=~\"$instance\"}".to_owned(), INSTANCE),
        Panel::lines(
            "Output of info",
            "How much output does pgBackRest produce? The memory use of the exporter depends on it.",
            "bytes",
        )
        .query(S.of(&exporter::COLLECTOR_OUTPUT_BYTES), "{{instance}} {{collector}}"),
    ]
}

fn notifications() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Failed calls by reason",
            "Why do calls of heartbeats and webhooks fail? Failures within an hour.",
            "short",
        )
        .query(
            format!(
                "sum by (instance, kind, target, reason) (increase({}[1h]))",
                S.of(&exporter::NOTIFICATION_FAILURES_TOTAL)
            ),
            "{{instance}} {{kind}} {{target}} {{reason}}",
        ),
        Panel::lines(
            "Messages waiting",
            "How many messages wait for each webhook? They stay until it accepts them.",
            "short",
        )
        .query(S.of(&exporter::NOTIFICATION_QUEUE_LENGTH), "{{instance}} {{target}}"),
    ]
}

fn reconciling() -> Vec<Panel> {
    let resource = S.of(&operator::RESOURCE_OK);
    let cluster = S.of(&operator::CLUSTER_OK);
    let certificates = S.of(&operator::CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS);
    vec![
        Panel::stat(
            "Leaders per shard",
            "Does exactly one replica hold the Lease, or one of each shard?",
            "short",
            format!("sum({}) / max({})", S.of(&operator::LEADER), S.of(&operator::TOTAL_SHARDS)),
        )
        .steps(&[(0.0, "red"), (1.0, "green"), (2.0, "red")]),
        Panel::stat(
            "Managed clusters",
            "How many clusters does the operator manage?",
            "short",
            format!("count({cluster})"),
        ),
        Panel::stat(
            "Clusters not set up",
            "Clusters whose backups are not set up as requested.",
            "short",
            not_ok(S),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Objects not as desired",
            "Kinds of objects, per cluster, that do not match the desired state.",
            "short",
            Scope::count(&format!("{resource} == 0"), &resource),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Clusters waiting",
            "Clusters that are waiting for a reconcile.",
            "short",
            format!("sum({})", S.of(&operator::QUEUE_DEPTH)),
        ),
        Panel::stat(
            "Next certificate expiry",
            "When does the first certificate of a cluster expire?",
            "s",
            format!("min({certificates} - time())"),
        )
        .steps(&[(-1e12, "red"), (0.0, "orange"), (1_209_600.0, "green")]),
        Panel::lines("Reconciles", "How often does the operator reconcile?", "ops")
            .query(format!("sum by (instance) ({})", rate(&operator::RECONCILE_TOTAL)), INSTANCE),
        Panel::lines(
            "Reconcile errors by reason",
            "Why do reconciles fail? Failures within an hour.",
            "short",
        )
        .query(
            format!("sum by (reason) (increase({}[1h]))", S.of(&operator::RECONCILE_ERRORS_TOTAL)),
            "{{reason}}",
        ),
        Panel::lines("Reconcile duration, 99th percentile", "How long does a reconcile take?", "s").query(
            format!(
                "histogram_quantile(0.99, sum by (outcome, le) (rate({}[1h]))) >= 0",
                S.buckets(&operator::RECONCILE_DURATION_SECONDS)
            ),
            "{{outcome}}",
        ),
        Panel::lines("Queue", "Is the queue growing?", "short").query(S.of(&operator::QUEUE_DEPTH), INSTANCE),
        Panel::lines("Restarted watches", "Does the API server close watches?", "short").query(
            format!("sum by (resource) (increase({}[1h]))", S.of(&operator::WATCH_RESTARTS_TOTAL)),
            "{{resource}}",
        ),
        Panel::lines("Drift corrected", "Is something else changing the operator's objects?", "short").query(
            format!("sum by (resource) (increase({}[1h]))", S.of(&operator::DRIFT_CORRECTED_TOTAL)),
            "{{resource}}",
        ),
    ]
}

fn process() -> Vec<Panel> {
    let of = |title, description, unit, metric: &Metric| {
        Panel::lines(title, description, unit).size(8, 7).query(S.of(metric), INSTANCE)
    };
    vec![
        Panel::lines("CPU", "How much CPU does the program use?", "percentunit")
            .size(8, 7)
            .query(rate(&exporter::PROCESS_CPU_SECONDS_TOTAL), INSTANCE),
        of("Memory", "Does memory usage grow?", "bytes", &exporter::PROCESS_RESIDENT_MEMORY_BYTES),
        of("Open files", "Does the number of open files grow?", "short", &exporter::PROCESS_OPEN_FDS),
        Panel::table("Builds", "Which builds are running, where, and since when?")
            .size(24, 6)
            .label("job", "Job")
            .label("instance", "Instance")
            .label("version", "Version")
            .label("revision", "Revision")
            .label("rustc", "Compiler")
            .value(
                "Running",
                "s",
                format!(
                    "(time() - {}) * on (job, instance) group_left (version, revision, rustc) {}",
                    S.of(&exporter::PROCESS_START_TIME_SECONDS),
                    S.of(&exporter::EXPORTER_RUST_INFO)
                ),
            ),
    ]
}
