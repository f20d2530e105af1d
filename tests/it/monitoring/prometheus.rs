//! A real Prometheus scrapes real backups, in both text formats, and Prometheus 3 in all the ways that it knows.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::exporter::{CLASSIC, OPENMETRICS};
use crate::support::lab::{Lab, STANZA};
use crate::support::machine::{Pgbackrest, monitoring, program, skip};
use crate::support::process::wait_for;
use crate::support::prometheus::Prometheus;
use crate::support::stack::{self, JOB, Stack, stack};

#[test]
fn prometheus_scrapes_both_formats() {
    if let Err(missing) = monitoring("prometheus") {
        return skip("prometheus_scrapes_both_formats", missing);
    }
    let Some(site) = stack::site("prometheus_scrapes_both_formats", Pgbackrest::installed()) else { return };
    let lab = Lab::start(&site, 16);
    let full = lab.back_up(1, "full");
    let incr = lab.back_up(1, "incr");
    lab.back_up(2, "full");
    // Two jobs: one straight, and one through a relay that lets nothing but the classic format through.
    let flags = ["--collect.interval=1", "--backrest.reference-count"];
    let Stack { prometheus, exporter, .. } = &stack(&lab, &flags).in_both_formats().start();
    exporter
        .wait("the backups", |samples| (samples.all("pgbackrest_backup_info", &[]).len() == 3).then_some(()));

    // Prometheus 2.42 asks for OpenMetrics by default. Its parser refuses a scrape that is not exactly that.
    let openmetrics = exporter.get("/metrics", &[("accept", OPENMETRICS)]);
    assert!(openmetrics.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(openmetrics.text().ends_with("# EOF\n"));
    let classic = exporter.get("/metrics", &[("accept", CLASSIC)]);
    assert!(classic.header("content-type").starts_with("text/plain; version=0.0.4"));
    for promtool in [program("promtool"), monitoring("promtool")] {
        let checked = promtool_check(&promtool.unwrap(), classic.text());
        assert!(checked.is_empty(), "promtool says:\n{checked}");
    }

    let info = site.info(&lab.both, &[]);
    for job in [JOB, "classic"] {
        let value = |query: &str| prometheus.wait_for_value(&query.replace("JOB", job));
        value("up{job='JOB'} == 1");
        for backup in info[0]["backup"].as_array().unwrap() {
            let label = backup["label"].as_str().unwrap();
            let bytes = value(&format!("pgbackrest_backup_size_bytes{{job='JOB',backup_name='{label}'}}"));
            assert_eq!(Some(bytes), backup["info"]["size"].as_f64(), "{job}: {label}");
            let start = backup["timestamp"]["start"].as_f64().unwrap();
            let stop = backup["timestamp"]["stop"].as_f64().unwrap();
            let duration =
                value(&format!("pgbackrest_backup_duration_seconds{{job='JOB',backup_name='{label}'}}"));
            assert_eq!(duration, stop - start, "{job}: {label}");
        }
        assert_eq!(
            value(&format!(
                "pgbackrest_backup_info{{job='JOB',backup_name='{incr}',prior='{full}',stanza='{STANZA}'}}"
            )),
            1.0
        );
        assert_eq!(value("count(pgbackrest_backup_info{job='JOB'})"), 3.0);
        assert_eq!(value("sum(pgbackrest_backups{job='JOB'})"), 3.0);
        // A counter and a histogram come through as what they are.
        value("increase(pgbackrest_collector_runs_total{job='JOB',collector='info'}[20s]) > 0");
        value(
            "histogram_quantile(0.9, pgbackrest_collector_duration_seconds_bucket{job='JOB',collector='info'})",
        );
        // The age grows with the clock, not with the collections.
        let age = value(
            "abs(timestamp(pgbackrest_backup_last_completion_timestamp_seconds{job='JOB',repo_key='2',backup_type='full'}) \
             - pgbackrest_backup_last_completion_timestamp_seconds{job='JOB',repo_key='2',backup_type='full'} \
             - on () pgbackrest_backup_since_last_completion_seconds{job='JOB',backup_type='full'})",
        );
        assert!(age < 2.0, "{job}: the age is {age} s off");
    }
    all_targets_are_up(prometheus);
    version_3_has_the_same_series(prometheus, &exporter.address);
}

fn all_targets_are_up(prometheus: &Prometheus) {
    for target in prometheus.targets() {
        assert_eq!(target["health"], "up", "{target}");
        assert_eq!(target["lastError"], "", "{target}");
    }
}

/// What Prometheus 3 can ask for, and whether it gets OpenMetrics then.
fn jobs_of_version_3() -> [(&'static str, Value, bool); 6] {
    [
        // Native histograms make it prefer protobuf, which is not served.
        ("default", json!({}), true),
        (
            "legacy-names",
            json!({"metric_name_validation_scheme": "legacy", "metric_name_escaping_scheme": "underscores"}),
            true,
        ),
        (
            "without-protobuf",
            json!({"scrape_protocols": ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1"]}),
            true,
        ),
        ("only-protobuf", json!({"scrape_protocols": ["PrometheusProto"]}), false),
        ("text-1", json!({"scrape_protocols": ["PrometheusText1.0.0"]}), false),
        ("text-0", json!({"scrape_protocols": ["PrometheusText0.0.4"]}), false),
    ]
}

fn version_3_has_the_same_series(version_2: &Prometheus, exporter: &str) {
    let job = |name: &str, settings: &Value| {
        let mut job = json!({"job_name": name, "static_configs": [{"targets": [exporter]}]});
        job.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        job
    };
    let mut jobs: Vec<Value> =
        jobs_of_version_3().iter().map(|(name, settings, _)| job(name, settings)).collect();
    let native = |keeps_classic: bool| json!({"convert_classic_histograms_to_nhcb": true, "always_scrape_classic_histograms": keeps_classic});
    jobs.extend([job("native", &native(false)), job("both", &native(true))]);
    let version_3 = Prometheus::start_version_3(&jobs).unwrap();
    let facts = r#"{job="JOB",__name__=~"pgbackrest_(backup|repo|stanza|wal)_.+",__name__!~".+_(since|collected)_.+"}"#;
    for (name, _, is_openmetrics) in jobs_of_version_3() {
        wait_for(&format!("the series of {name}"), || {
            let [old, new] = [(version_2, JOB), (&version_3, name)].map(|(prometheus, job)| {
                // All series, and the values of those that do not depend on the time of the scrape.
                let all = series(
                    prometheus,
                    &r#"{job="JOB",__name__=~"pgbackrest_.+"}"#.replace("JOB", job),
                    false,
                );
                [all, series(prometheus, &facts.replace("JOB", job), true)]
            });
            (old == new && old.iter().all(|series| series.len() > 20)).then_some(())
        });
        // In OpenMetrics the name of a counter is without its ending.
        let counter =
            if is_openmetrics { "pgbackrest_collector_runs" } else { "pgbackrest_collector_runs_total" };
        let target = format!("{{job=\"{name}\"}}");
        let told = version_3.ask("targets/metadata", &[("match_target", &target), ("metric", counter)]);
        assert_eq!(told[0]["type"], "counter", "{name}: {told}");
    }
    // Prometheus 3 makes native histograms of ours.
    let durations = "pgbackrest_collector_duration_seconds";
    for (job, has_classic) in [("native", false), ("both", true)] {
        version_3
            .wait_for_value(&format!("histogram_quantile(0.9, {durations}{{job='{job}',collector='info'}})"));
        let classic = version_3.query(&format!("{durations}_bucket{{job='{job}'}}"));
        assert_eq!(!classic.is_empty(), has_classic, "{job}: {classic:?}");
    }
    all_targets_are_up(&version_3);
}

/// What a query gives for a job, without the name of the job.
fn series(prometheus: &Prometheus, query: &str, has_values: bool) -> BTreeSet<String> {
    let found = prometheus.query(query).into_iter().map(|(mut labels, value)| {
        labels.remove("job");
        if has_values { format!("{labels:?} {value}") } else { format!("{labels:?}") }
    });
    found.collect()
}

/// What `promtool check metrics` has to say: nothing where all is well.
fn promtool_check(promtool: &Path, exposition: &str) -> String {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads all before it says anything.
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        said += &output.status.to_string();
    }
    said
}
