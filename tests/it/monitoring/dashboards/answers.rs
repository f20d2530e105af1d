//! A real Prometheus with a healthy and a bad week answers all queries of the dashboards.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::sync::LazyLock;

use chrono::Utc;
use regex::{Captures, Regex};
use serde_json::Value;

use super::{Query, QueryKind, all, queries};
use crate::support::machine::skip;
use crate::support::prometheus::Prometheus;
use crate::support::week::{WEEK, Week, openmetrics};

const STEP: i64 = 1800;
/// Noon of a day, so that the weeks are the same whenever the test runs.
const END: i64 = 1_795_262_400;

/// What a dashboard has selected, of which time in Unix seconds.
pub(super) struct Selection {
    pub(super) job: &'static str,
    pub(super) namespace: &'static str,
    pub(super) pg_cluster: &'static str,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: u32,
}

const EVERYTHING: Selection =
    Selection { job: ".*", namespace: ".*", pg_cluster: ".*", start: END - WEEK, end: END, step: 3600 };
const PLAIN: Selection =
    Selection { job: "pgbackrest-exporter", namespace: "", pg_cluster: "", ..EVERYTHING };

/// Whether a query is about what only an operator or a kubelet tells.
pub(super) fn is_of_kubernetes(query: &Query) -> bool {
    ["pgbackrest_schedule_", "pgbackrest_job_", "pgbackrest_operator_", "pgbackrest_certificate_", "kubelet_"]
        .iter()
        .any(|name| query.text.contains(name))
}

/// What Grafana makes of an expression.
fn filled(query: &str, selection: &Selection) -> String {
    static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$([a-z_]+)").unwrap());
    let value = |found: &Captures<'_>| match &found[1] {
        "__rate_interval" => "1h",
        "job" => selection.job,
        "namespace" => selection.namespace,
        "pg_cluster" => selection.pg_cluster,
        _ => ".*",
    };
    VARIABLE.replace_all(query, value).into_owned()
}

/// How many series or values there are.
pub(super) fn answers(prometheus: &Prometheus, query: &Query, selection: &Selection) -> usize {
    let (start, end, step) =
        (selection.start.to_string(), selection.end.to_string(), selection.step.to_string());
    let text = filled(&query.text, selection);
    let range = [("start", start.as_str()), ("end", end.as_str()), ("step", step.as_str())];
    let data = match query.kind {
        QueryKind::Instant => prometheus.ask("query", &[("query", &text), ("time", &end)]),
        QueryKind::Range | QueryKind::Annotation => {
            prometheus.ask("query_range", &[[("query", text.as_str())].as_slice(), &range].concat())
        }
        QueryKind::Variable => {
            let form = Regex::new(r"^label_values\((.*), ([a-z_]+)\)$").unwrap();
            let parts = form.captures(&text).unwrap_or_else(|| panic!("{}: {text}", query.place));
            let values = format!("label/{}/values", &parts[2]);
            prometheus.ask(&values, &[("match[]", &parts[1]), range[0], range[1]])
        }
    };
    data.as_array().or_else(|| data["result"].as_array()).map_or(0, Vec::len)
}

/// The names that dashboards ask for.
fn asked(dashboards: &[Value]) -> BTreeSet<String> {
    let names = Regex::new(r"\b([A-Za-z_]+)(?:\{|, [a-z_]+\))").unwrap();
    let all = dashboards.iter().flat_map(queries).flat_map(|query| {
        names
            .captures_iter(&query.text)
            .map(|found| found[1].trim_end_matches("_bucket").to_owned())
            .collect::<Vec<_>>()
    });
    all.collect()
}

fn start(week: Week, dashboards: &[Value]) -> Result<Prometheus, String> {
    let asked = asked(dashboards);
    Prometheus::with_past(&openmetrics(week, END, STEP, |name| asked.contains(name)), STEP)
}

#[test]
fn prometheus_answers_every_query() {
    if let Err(missing) = answer_every_query() {
        skip("prometheus_answers_every_query", missing);
    }
}

fn answer_every_query() -> Result<(), String> {
    let dashboards: Vec<Value> = all().iter().map(super::Dashboard::json).collect();
    let (healthy, bad) = (start(Week::Healthy, &dashboards)?, start(Week::Bad, &dashboards)?);
    let mut silent = Vec::new();
    for query in dashboards.iter().flat_map(queries) {
        let found = answers(&healthy, &query, &EVERYTHING) + answers(&bad, &query, &EVERYTHING);
        if found == 0 {
            silent.push(format!("{}\n  {}", query.place, query.text));
        }
    }
    assert!(silent.is_empty(), "these find nothing in either week:\n{}", silent.join("\n"));

    // Plain hosts have no operator, no kubelet and none of their labels; what backups are about is there all the same.
    let mut silent = BTreeSet::new();
    for query in dashboards[..2].iter().flat_map(queries) {
        let has_label =
            ["variable namespace", "variable pg_cluster"].iter().all(|end| !query.place.ends_with(end));
        if has_label && !is_of_kubernetes(&query) && answers(&bad, &query, &PLAIN) == 0 {
            silent.insert(query.place);
        }
    }
    assert_eq!(silent, BTreeSet::from([]), "these find nothing on a plain host");

    // What is wrong in the bad week is what the numbers say, and nothing is in the healthy one.
    for (dashboard, title, well, ill) in [
        (0, "Exporters down", "0", "0"),
        (0, "Stale data", "0", "2"),
        (0, "Without a full backup", "0", "0"),
        (0, "Failing jobs", "0", "1"),
        (0, "Repositories down", "0", "1"),
        (0, "Backups with page errors", "0", "1"),
        (0, "WAL gaps", "0", "1"),
        (0, "Lost backups", "0", "1"),
        (0, "Firing alerts", "0", "3"),
        // Those of the plain host, which alone has records.
        (0, "Failing tests", "1", "1"),
        (1, "WAL gaps", "0", "1"),
        (1, "Lost backups", "0", "1"),
        (1, "Duplicate segments", "0", "0"),
        // All that are shown have one each.
        (1, "Abandoned timelines", "1", "1"),
    ] {
        for (prometheus, expected) in [(&healthy, well), (&bad, ill)] {
            let found = number(prometheus, &dashboards[dashboard], title);
            assert_eq!(found.as_deref(), Some(expected), "{dashboard} {title}");
        }
    }
    // A Prometheus that knows nothing leaves every number open.
    let empty = Prometheus::with_past("# TYPE other gauge\nother 1 1795262400\n# EOF\n", STEP)?;
    for query in dashboards.iter().flat_map(queries) {
        assert_eq!(answers(&empty, &query, &EVERYTHING), 0, "{} is told from nothing", query.place);
    }
    Ok(())
}

/// The number in a panel of now.
fn number(prometheus: &Prometheus, dashboard: &Value, title: &str) -> Option<String> {
    let place = format!(": {title} A");
    let query = queries(dashboard).into_iter().find(|query| query.place.ends_with(&place)).unwrap();
    let text = filled(&query.text, &EVERYTHING);
    let data = prometheus.ask("query", &[("query", &text), ("time", &END.to_string())]);
    Some(data["result"][0]["value"][1].as_str()?.to_owned())
}

/// Writes the weeks that end now to the directory in `WRITE_WEEKS`, for looking at the dashboards with them.
#[test]
#[ignore = "writes files for a look at the dashboards"]
fn write_weeks() {
    let directory = env::var_os("WRITE_WEEKS").expect("WRITE_WEEKS names a directory");
    let dashboards: Vec<Value> = all().iter().map(super::Dashboard::json).collect();
    let (end, asked) = (Utc::now().timestamp(), asked(&dashboards));
    for (week, name) in [(Week::Healthy, "healthy.om"), (Week::Bad, "bad.om")] {
        let file = std::path::Path::new(&directory).join(name);
        fs::write(file, openmetrics(week, end, 300, |name| asked.contains(name))).unwrap();
    }
}
