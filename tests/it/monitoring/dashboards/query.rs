//! Expressions from the constants of the catalogue: a metric that is renamed does not compile.

use pgbackrest_keeper::metrics::catalogue::{Metric, backups, exporter, jobs, operator};

use super::frame::{Annotation, Variable};

/// The same as the rules do where no schedule is known; a test compares them.
pub(crate) const FULL_AGE: &str = "8 * 86400";
/// The same for a backup of any type.
pub(crate) const ANY_AGE: &str = "26 * 3600";

/// The same for a restore test that passed.
pub(crate) const SUCCESS_AGE: &str = "15 * 86400";

/// What tells one cluster from another.
pub(crate) const STANZA: &str = "namespace, pg_cluster, host, stanza";
/// The legend for [`STANZA`].
pub(crate) const STANZA_NAME: &str = "{{namespace}} {{pg_cluster}}{{host}} {{stanza}}";
/// What tells one repository of one cluster from another. `host` is there where `pg_cluster` is not.
pub(crate) const REPO: &str = "namespace, pg_cluster, host, stanza, repo_key";
/// The same and the backup type.
pub(crate) const TYPE: &str = "namespace, pg_cluster, host, stanza, repo_key, backup_type";
/// What schedules and jobs know: no stanza, and always in Kubernetes.
pub(crate) const SLOT: &str = "namespace, pg_cluster, repo_key, backup_type";
/// The legend for [`REPO`].
pub(crate) const REPO_NAME: &str = "{{namespace}} {{pg_cluster}}{{host}} {{stanza}} repo{{repo_key}}";
/// The legend for [`TYPE`].
pub(crate) const TYPE_NAME: &str =
    "{{namespace}} {{pg_cluster}}{{host}} {{stanza}} repo{{repo_key}} {{backup_type}}";
/// The legend for [`SLOT`].
pub(crate) const SLOT_NAME: &str = "{{namespace}} {{pg_cluster}} repo{{repo_key}} {{backup_type}}";

/// Which variables a dashboard selects by, where the metric has the label.
#[derive(Clone, Copy)]
pub(crate) struct Scope(&'static [&'static str]);

pub(crate) const FLEET: Scope = Scope(&["job", "namespace", "pg_cluster", "stanza"]);
pub(crate) const CLUSTER: Scope =
    Scope(&["job", "instance", "namespace", "pg_cluster", "stanza", "repo_key", "backup_type"]);
pub(crate) const PROCESS: Scope = Scope(&["job", "instance"]);

impl Scope {
    /// The selector of a metric.
    pub(crate) fn of(self, metric: &Metric) -> String {
        self.with(metric, "")
    }

    /// The selector of a metric, with further matchers.
    pub(crate) fn with(self, metric: &Metric, more: &str) -> String {
        self.named(metric, metric.name, more)
    }

    /// The buckets of a histogram.
    pub(crate) fn buckets(self, metric: &Metric) -> String {
        self.named(metric, &format!("{}_bucket", metric.name), "")
    }

    fn named(self, metric: &Metric, name: &str, more: &str) -> String {
        // What is told of each cluster carries the cluster's labels in the operator, and the target's elsewhere.
        let of_cluster = metric.labels.iter().any(|label| ["namespace", "stanza"].contains(label));
        let has = |label: &str| match label {
            "job" | "instance" => true,
            "namespace" | "pg_cluster" => of_cluster,
            label => metric.labels.contains(&label),
        };
        let mut matchers: Vec<String> = Vec::new();
        for label in self.0.iter().filter(|label| has(label)) {
            matchers.push(format!("{label}=~\"${label}\""));
        }
        if !more.is_empty() {
            matchers.push(more.to_owned());
        }
        format!("{name}{{{}}}", matchers.join(","))
    }

    /// Whether Prometheus reaches the targets.
    pub(crate) fn up(self) -> String {
        let instance = if self.0.contains(&"instance") { ",instance=~\"$instance\"" } else { "" };
        format!("up{{job=~\"$job\"{instance}}}")
    }

    /// The largest value for each repository, or what else `by` names.
    pub(crate) fn max(self, by: &str, metric: &Metric) -> String {
        self.max_with(by, metric, "")
    }

    pub(crate) fn max_with(self, by: &str, metric: &Metric, more: &str) -> String {
        format!("max by ({by}) ({})", host(&self.with(metric, more)))
    }

    pub(crate) fn min_with(self, by: &str, metric: &Metric, more: &str) -> String {
        format!("min by ({by}) ({})", host(&self.with(metric, more)))
    }

    /// Seconds since the newest backup that is as strong as the type.
    pub(crate) fn age(self, by: &str, more: &str) -> String {
        let chain = &backups::BACKUP_CHAIN_LAST_COMPLETION_TIMESTAMP_SECONDS;
        format!("time() - {}", self.max_with(by, chain, more))
    }

    /// The age in intervals of the schedule.
    pub(crate) fn age_of_schedule(self) -> String {
        let interval = format!("max by ({SLOT}) ({} > 0)", self.of(&jobs::SCHEDULE_INTERVAL_SECONDS));
        format!("({}) / on ({SLOT}) group_left () {interval}", self.age(TYPE, ""))
    }

    /// What failed, or has been due: each of them one series.
    pub(crate) fn overdue(self) -> String {
        let old = format!("({}) > {FULL_AGE}", self.age(TYPE, "backup_type=\"full\""));
        let scheduled = self.of(&jobs::SCHEDULE_INTERVAL_SECONDS);
        let missed = self.of(&jobs::SCHEDULE_MISSED_RUNS);
        format!("({old} unless on ({SLOT}) {scheduled}) or {missed} > 0")
    }

    /// Collections that have succeeded of late: within three intervals and a timeout, as the alert has it.
    pub(crate) fn fresh(self) -> String {
        let success = self.of(&exporter::COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS);
        let (interval, timeout) =
            (self.of(&exporter::COLLECTOR_INTERVAL_SECONDS), self.of(&exporter::COLLECTOR_TIMEOUT_SECONDS));
        let limit = format!("3 * {interval} + on (job, instance, collector) {timeout}");
        format!("time() - {success} <= on (job, instance, collector) group_left () ({limit})")
    }

    /// How many collections are not fresh, those included that never succeeded.
    pub(crate) fn stale(self) -> String {
        let all = self.of(&exporter::COLLECTOR_UP);
        format!("count({all}) - (count({}) or 0 * count({all}))", self.fresh())
    }

    /// How many series a condition leaves of those that there are. Where there are none, nothing: not 0.
    pub(crate) fn count(condition: &str, all: &str) -> String {
        format!("count({condition}) or 0 * count({all})")
    }

    pub(crate) fn annotations(self) -> Vec<Annotation> {
        let at = |metric: &Metric, by: &str| format!("1000 * {}", self.max(by, metric));
        vec![
            Annotation {
                name: "Finished backups",
                colour: "green",
                expr: at(&backups::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS, TYPE),
                title: "{{backup_type}} backup of {{pg_cluster}}{{host}} {{stanza}} in repo{{repo_key}}",
                at_value: true,
            },
            Annotation {
                name: "Failed jobs",
                colour: "red",
                expr: at(&jobs::LAST_FAILURE_TIMESTAMP_SECONDS, SLOT),
                title: "{{backup_type}} backup of {{pg_cluster}} to repo{{repo_key}} failed",
                at_value: true,
            },
            alerts(),
        ]
    }
}

pub(crate) fn alerts() -> Annotation {
    Annotation {
        name: "Alerts",
        colour: "orange",
        expr: firing(),
        title: "{{alertname}} {{pg_cluster}} {{stanza}}",
        at_value: false,
    }
}

/// Alerts of this project that fire.
pub(crate) fn firing() -> String {
    "ALERTS{component=\"pgbackrest\",alertstate=\"firing\"}".to_owned()
}

/// Tells plain hosts apart by a label `host`, which series with `pg_cluster` do not get: those stay the same series
/// when another replica of the operator tells them.
fn host(selector: &str) -> String {
    let joined = format!("label_join({selector}, \"host\", \"/\", \"pg_cluster\", \"instance\")");
    format!("label_replace({joined}, \"host\", \"$1\", \"host\", \"/(.*)|.+\")")
}

fn values(name: &'static str, label: &'static str, multi: bool, selector: &str) -> Variable {
    Variable { name, label, query: format!("label_values({selector}, {name})"), multi }
}

/// The drop-down lists of a dashboard, each narrowed by those before it.
pub(crate) fn variables(scope: Scope, multi: bool) -> Vec<Variable> {
    let up = exporter::COLLECTOR_UP.name;
    let mut list = vec![values("job", "Job", true, exporter::EXPORTER_RUST_INFO.name)];
    let mut before = "job=~\"$job\"".to_owned();
    for name in &scope.0[1..] {
        let (label, metric, multi) = match *name {
            "instance" => ("Instance", exporter::EXPORTER_RUST_INFO.name, multi),
            "namespace" => ("Namespace", up, multi),
            "pg_cluster" => ("Cluster", up, multi),
            "stanza" => ("Stanza", backups::REPO_UP.name, multi),
            "repo_key" => ("Repository", backups::REPO_UP.name, true),
            _ => ("Backup type", backups::BACKUPS.name, true),
        };
        list.push(values(name, label, multi, &format!("{metric}{{{before}}}")));
        before = format!("{before},{name}=~\"${name}\"");
    }
    list
}

/// Clusters that the operator could not set up, and what else it finds wrong.
pub(crate) fn not_ok(scope: Scope) -> String {
    let ok = scope.of(&operator::CLUSTER_OK);
    Scope::count(&format!("{ok} == 0"), &ok)
}
