//! A real Prometheus scrapes real backups, in both text formats.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::exporter::{CLASSIC, OPENMETRICS};
use crate::support::lab::{Lab, STANZA};
use crate::support::machine::{Pgbackrest, program};
use crate::support::stack::{self, JOB, Stack, stack};

#[test]
fn prometheus_scrapes_both_formats() {
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
    let checked = promtool_check(&program("promtool").unwrap(), classic.text());
    assert!(checked.is_empty(), "promtool says:\n{checked}");

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
    for target in prometheus.targets() {
        assert_eq!(target["health"], "up", "{target}");
        assert_eq!(target["lastError"], "", "{target}");
    }
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
