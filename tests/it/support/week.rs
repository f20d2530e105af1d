//! A week of metrics, healthy or bad, as text for `promtool tsdb create-blocks-from openmetrics`.
//!
//! Families and labels are those that the program serves (`fixtures/metrics/made`); only the values get a course here:
//! an operator with the clusters ledger and orders, and an exporter on a plain host.

mod course;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use pgbackrest_keeper::metrics::catalogue;

use self::course::Moment;
use super::exposition::{Sample, Samples};

pub(crate) const WEEK: i64 = 7 * 24 * 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Week {
    Healthy,
    /// Repository 2 of ledger is lost for three days, full backups of orders fail for four, and the plain host's
    /// pgBackRest does not answer for one.
    Bad,
}

/// Who tells a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Operator,
    Plain,
    Kubelet,
}

/// The week before `end`, a sample every `step` seconds, of those names that `wanted` takes.
pub(crate) fn openmetrics(week: Week, end: i64, step: i64, wanted: impl Fn(&str) -> bool) -> String {
    let mut families: BTreeMap<String, Vec<(Target, Sample)>> = BTreeMap::new();
    for (target, sample) in templates() {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end));
        let family = match histogram {
            Some(base) if catalogue::find(base).is_some() => base.to_owned(),
            _ => sample.name.clone(),
        };
        if wanted(&family) {
            families.entry(family).or_default().push((target, sample));
        }
    }
    let mut text = String::new();
    for (family, series) in families {
        let kind = match catalogue::find(&family).map(|metric| metric.kind) {
            Some(catalogue::MetricKind::Counter) => "counter",
            Some(catalogue::MetricKind::Histogram) => "histogram",
            _ => "gauge",
        };
        writeln!(text, "# TYPE {} {kind}", family.strip_suffix("_total").unwrap_or(&family)).unwrap();
        for (target, sample) in series {
            let labels = told_by(target, &sample);
            let mut now = end - WEEK;
            while now <= end {
                let moment = Moment { labels: &sample.labels, target, week, start: end - WEEK, end, now };
                if let Some(value) = moment.value(&sample) {
                    writeln!(text, "{}{{{labels}}} {value} {now}", sample.name).unwrap();
                }
                now += step;
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

/// What the program serves, and what Prometheus adds.
fn templates() -> Vec<(Target, Sample)> {
    let read = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/metrics/made").join(file);
        Samples::parse(&fs::read_to_string(path).unwrap()).into_all()
    };
    let of_operator = |name: &str| {
        ["operator_", "job_", "schedule_", "policy_", "certificate_"]
            .iter()
            .any(|part| name.starts_with(&format!("pgbackrest_{part}")))
    };
    let mut all = Vec::new();
    let plain = read("everything.om");
    for sample in &plain {
        let odd = sample.labels.get("stanza").is_some_and(|stanza| stanza.starts_with("gone"));
        if !of_operator(&sample.name) && !odd && !sample.labels.contains_key("namespace") {
            all.push((Target::Plain, sample.clone()));
        }
        if sample.name.starts_with("process_") {
            all.push((Target::Operator, sample.clone()));
        }
    }
    // A cluster that was never reached is told with its name only, and would stay stale all week.
    let reached = |sample: &Sample| sample.labels.get("stanza").is_none_or(|stanza| stanza != "db");
    all.extend(read("fleet.om").into_iter().filter(reached).map(|sample| (Target::Operator, sample)));
    all.retain(|(target, sample)| *target == Target::Plain || !of_operator(&sample.name));
    let operator = read("operator.om").into_iter().filter(|sample| of_operator(&sample.name));
    all.extend(operator.map(|sample| (Target::Operator, sample)));
    for target in [Target::Operator, Target::Plain] {
        for name in ["up", "scrape_duration_seconds"] {
            all.push((target, Sample { name: name.to_owned(), labels: BTreeMap::new(), value: 1.0 }));
        }
    }
    for name in ["kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"] {
        let labels =
            [("namespace", "shop"), ("persistentvolumeclaim", "repo1-ledger-pgbackrest-repo-host-0")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        all.push((Target::Kubelet, Sample { name: name.to_owned(), labels, value: 0.0 }));
    }
    for (name, severity, cluster, repo) in [
        ("PgBackRestRepoDown", "critical", "ledger", "2"),
        ("PgBackRestJobFailingRepeatedly", "critical", "orders", "1"),
        ("PgBackRestCollectionFailing", "warning", "", ""),
    ] {
        let labels = [
            ("alertname", name),
            ("alertstate", "firing"),
            ("component", "pgbackrest"),
            ("severity", severity),
            ("pg_cluster", cluster),
            ("repo_key", repo),
        ];
        let labels = labels.iter().filter(|(_, value)| !value.is_empty());
        let labels = labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let target = if cluster.is_empty() { Target::Plain } else { Target::Operator };
        all.push((target, Sample { name: "ALERTS".to_owned(), labels, value: 1.0 }));
    }
    all
}

/// The labels of a sample once it is scraped, or alerted of.
fn told_by(target: Target, sample: &Sample) -> String {
    let (job, instance) = match target {
        Target::Operator => ("pgbackrest-operator", "10.0.3.17:9854"),
        Target::Plain => ("pgbackrest-exporter", "db7:9854"),
        Target::Kubelet => ("kubelet", "10.0.3.2:10250"),
    };
    let mut labels: BTreeSet<(&str, &str)> =
        sample.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    labels.extend([("job", job), ("instance", instance)]);
    let written: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    written.join(",")
}
