//! A real Prometheus that scrapes the targets of a test.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::machine;
use super::process::{Running, call, command, successful, wait_for};

/// Where it keeps what it knows, in its directory.
const DATA: &str = "data";

pub(crate) struct Prometheus {
    /// Ended before its directory goes.
    _process: Running,
    address: String,
    _directory: TempDir,
}

impl Prometheus {
    /// Scrapes every second, a job for each name and address. An error tells what the machine lacks.
    pub(crate) fn start(jobs: &[(&str, &str)]) -> Result<Self, String> {
        Self::start_with(jobs, "", None, None)
    }

    /// The same, and evaluates a file of rules every second, sends alerts to the Alertmanager at an address, and remembers
    /// what an OpenMetrics text tells.
    pub(crate) fn start_alerting(
        jobs: &[(&str, &str)],
        rules: &str,
        alertmanager: &str,
        past: Option<&str>,
    ) -> Result<Self, String> {
        Self::start_with(jobs, &alerting(alertmanager), Some(rules), past)
    }

    /// Scrapes every second, by these jobs of its configuration.
    pub(crate) fn start_with_jobs(jobs: &[Value]) -> Result<Self, String> {
        Ok(Self::start_program(machine::program("prometheus")?, jobs, &[]))
    }

    /// The same with Prometheus 3, which also takes in native histograms.
    pub(crate) fn start_version_3(jobs: &[Value]) -> Result<Self, String> {
        let options = ["--enable-feature=native-histograms".to_owned()];
        Ok(Self::start_program(machine::monitoring("prometheus")?, jobs, &options))
    }

    fn start_program(program: PathBuf, jobs: &[Value], options: &[String]) -> Self {
        let directory = tempfile::Builder::new().prefix("prometheus-").tempdir().unwrap();
        let config = serde_json::json!({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": jobs});
        Self::run(program, directory, &config.to_string(), options)
    }

    fn start_with(
        jobs: &[(&str, &str)],
        more: &str,
        rules: Option<&str>,
        past: Option<&str>,
    ) -> Result<Self, String> {
        let program = machine::program("prometheus")?;
        let directory = tempfile::Builder::new().prefix("prometheus-").tempdir().unwrap();
        let mut config =
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n".to_owned();
        config.push_str(more);
        config.push_str("scrape_configs:\n");
        for (name, address) in jobs {
            writeln!(config, "- {{job_name: {name}, static_configs: [{{targets: ['{address}']}}]}}").unwrap();
        }
        if let Some(rules) = rules {
            fs::write(directory.path().join("rules.yml"), rules).unwrap();
        }
        if let Some(past) = past {
            remember(&directory, past)?;
        }
        Ok(Self::run(program, directory, &config, &[]))
    }

    /// Scrapes nothing, and knows what an OpenMetrics text tells, whose samples are at most `step` seconds apart.
    pub(crate) fn with_past(text: &str, step: i64) -> Result<Self, String> {
        let program = machine::program("prometheus")?;
        let directory = tempfile::Builder::new().prefix("prometheus-").tempdir().unwrap();
        remember(&directory, text)?;
        // What is backfilled is older than what Prometheus keeps by default.
        let options = [
            format!("--query.lookback-delta={}s", 2 * step),
            "--storage.tsdb.retention.time=100y".to_owned(),
        ];
        Ok(Self::run(program, directory, "scrape_configs: []\n", &options))
    }

    fn run(program: PathBuf, directory: TempDir, config: &str, options: &[String]) -> Self {
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = command(None, program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join(DATA).display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(options);
        let log = directory.path().join("log");
        let mut process = Running::start("prometheus", command, &log, Signal::SIGTERM);
        let address = process.wait_in_log("Prometheus to listen", |log| {
            let line = log.lines().find(|line| line.contains("msg=\"Listening on\""))?;
            line.split("address=").nth(1).map(|address| address.trim().to_owned())
        });
        process.wait_in_log("Prometheus to be ready", |log| {
            log.contains("Server is ready to receive web requests").then_some(())
        });
        Self { _process: process, address, _directory: directory }
    }

    /// What an instant query gives: labels and value of each series.
    pub(crate) fn query(&self, expression: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let answer = self.api(&format!("query?query={}", encode(expression)));
        answer["data"]["result"].as_array().unwrap().iter().map(series).collect()
    }

    /// Asks until the query gives one series, and gives its value.
    pub(crate) fn wait_for_value(&self, expression: &str) -> f64 {
        let what = format!("Prometheus to have {expression}");
        wait_for(&what, || match self.query(expression).as_slice() {
            [] => None,
            [(_, value)] => Some(*value),
            several => panic!("several series of {expression}: {several:?}"),
        })
    }

    /// The targets as Prometheus sees them.
    pub(crate) fn targets(&self) -> Vec<Value> {
        self.api("targets?state=active")["data"]["activeTargets"].as_array().unwrap().clone()
    }

    /// Any call of the HTTP API: its path and its parameters. The answer's data.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let encoded: Vec<String> =
            parameters.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        self.api(&format!("{path}?{}", encoded.join("&")))["data"].clone()
    }

    fn api(&self, path: &str) -> Value {
        let answer = http::get(&format!("http://{}/api/v1/{path}", self.address), &[]).unwrap();
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        serde_json::from_slice(&answer.body).unwrap()
    }
}

fn alerting(alertmanager: &str) -> String {
    format!(
        "rule_files: [rules.yml]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n"
    )
}

/// Makes blocks of an OpenMetrics text, before Prometheus starts.
fn remember(directory: &TempDir, past: &str) -> Result<(), String> {
    let (input, data) = (directory.path().join("past.om"), directory.path().join(DATA));
    fs::write(&input, past).unwrap();
    let mut create = call(None, machine::program("promtool")?);
    // A block of the usual two hours each would have the text read again for each.
    create
        .args(["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=8760h"])
        .args([&input, &data]);
    successful(&mut create);
    fs::remove_file(&input).unwrap();
    Ok(())
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

fn series(result: &Value) -> (BTreeMap<String, String>, f64) {
    let labels = result["metric"].as_object().unwrap();
    let labels =
        labels.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    (labels, result["value"][1].as_str().unwrap().parse().unwrap())
}
