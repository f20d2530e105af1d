//! The exporter as a process: endpoints, reload, flags and exit codes, with a `pgbackrest` that prints a fixture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::Signal;

use crate::host::fake::script;
use crate::support::http;
use crate::support::process::{Running, command, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");
const FIXTURE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/info/2.60.0/two_repos_one_encrypted.json");

struct Exporter {
    process: Running,
    url: String,
    directory: tempfile::TempDir,
}

impl Exporter {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(&format!("exec cat '{FIXTURE}'"), arguments)
    }

    /// `info` is what the shell does when it is asked for anything but the version.
    fn start_with(info: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fake = pgbackrest(directory.path(), info);
        let mut command = command(None, PROGRAM);
        command
            .args(["exporter", "--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .arg(format!("--backrest.binary={}", fake.display()))
            .args(arguments);
        let log = directory.path().join("log");
        let mut process = Running::start("pgbackrest-keeper", command, &log, Signal::SIGTERM);
        let url = process.wait_in_log("the address", |log| {
            let mut lines =
                log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find_map(|line| Some(format!("http://{}", line.get("address")?.as_str()?)))
        });
        Self { process, url, directory }
    }

    fn ready(arguments: &[&str]) -> Self {
        let exporter = Self::start(arguments);
        wait_for("readiness", || (exporter.status("/readyz") == StatusCode::OK).then_some(()));
        exporter
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> http::Response {
        http::get(&format!("{}{path}", self.url), headers).unwrap()
    }

    fn status(&self, path: &str) -> StatusCode {
        self.get(path, &[]).status
    }

    fn metrics(&self) -> String {
        self.get("/metrics", &[]).text().to_owned()
    }

    fn send(&self, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        runtime.block_on(async {
            let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
    }

    fn stop(mut self) -> Option<i32> {
        self.process.signal_group(Signal::SIGTERM);
        self.process.wait().code()
    }
}

fn pgbackrest(directory: &Path, info: &str) -> PathBuf {
    let body = format!("case \"$*\" in\n*version*) echo 'pgBackRest 2.60.0' ;;\n*) {info} ;;\nesac");
    script(directory, "pgbackrest", &body)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn value<'a>(metrics: &'a str, series: &str) -> &'a str {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no {series} in:\n{metrics}"))
}

#[test]
fn endpoints_answer_and_the_end_is_orderly() {
    let exporter = Exporter::ready(&[]);
    let metrics = exporter.get("/metrics", &[]);
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(metrics.header("content-length"), metrics.body.len().to_string());
    assert_eq!(value(metrics.text(), "pgbackrest_stanza_status{stanza=\"demo\"}"), "0");
    assert!(!metrics.text().contains("# EOF"));

    let accept = ("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let metrics = exporter.get("/metrics", &[accept]);
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.text().ends_with("# EOF\n"));

    let metrics = exporter.get("/metrics", &[("accept-encoding", "gzip")]);
    assert_eq!(metrics.header("content-encoding"), "gzip");
    assert_eq!(metrics.body[..2], [0x1f, 0x8b]);
    assert_eq!(exporter.send(Method::HEAD, "/metrics", "").0, StatusCode::OK);

    let page = exporter.get("/", &[]);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.text().contains("demo is ok"), "{}", page.text());
    assert!(!exporter.get("/?stanza=other", &[]).text().contains("demo is ok"));

    assert_eq!(exporter.status("/healthz"), StatusCode::OK);
    assert_eq!(exporter.status("/nowhere"), StatusCode::NOT_FOUND);
    for (method, path) in [(Method::POST, "/-/reload"), (Method::PUT, "/-/log-filter")] {
        assert_eq!(exporter.send(method, path, "debug").0, StatusCode::NOT_FOUND, "{path} must be asked for");
    }
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn it_is_ready_when_the_first_collection_has_ended() {
    let exporter = Exporter::start_with("while [ ! -e \"${0%/*}/go\" ]; do sleep 0.05; done; echo '[]'", &[]);
    assert_eq!(exporter.status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(exporter.status("/healthz"), StatusCode::OK);
    assert!(exporter.get("/", &[]).text().contains("first collection"));
    fs::write(exporter.directory.path().join("go"), "").unwrap();
    wait_for("readiness", || (exporter.status("/readyz") == StatusCode::OK).then_some(()));
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn a_hung_collection_does_not_delay_the_end() {
    let exporter = Exporter::start_with("exec sleep 600", &[]);
    wait_for("a running collection", || {
        exporter
            .metrics()
            .contains("\npgbackrest_collector_in_progress_since_timestamp_seconds{")
            .then_some(())
    });
    let begun = std::time::Instant::now();
    assert_eq!(exporter.stop(), Some(0));
    // Its timeout is two minutes, and without one it would take ten.
    assert!(begun.elapsed().as_secs() < 110, "{:?}", begun.elapsed());
}

#[test]
fn what_pgbackrest_quotes_of_its_configuration_stays_there() {
    let quoting =
        "echo \"ERROR: [029]: missing '=' in key/value at line 13: repo2-cipher-pass GEHEIM\" >&2; exit 29";
    let exporter = Exporter::start_with(quoting, &["--collect.interval=1", "--collect.timeout=60s"]);
    wait_for("readiness", || (exporter.status("/readyz") == StatusCode::OK).then_some(()));
    let (page, log) = (exporter.get("/", &[]).text().to_owned(), exporter.process.log());
    for text in [&page, &log, &exporter.metrics()] {
        assert!(!text.contains("GEHEIM"), "{text}");
    }
    assert!(page.contains("at line 13") && log.contains("at line 13"), "{page}\n{log}");
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn lifecycle_endpoints_reload_and_change_what_is_logged() {
    let exporter = Exporter::ready(&["--web.enable-lifecycle", "--log.level=info"]);
    let runs =
        |metrics: &str| value(metrics, "pgbackrest_collector_runs_total{collector=\"info\"}").to_owned();
    assert_eq!(runs(&exporter.metrics()), "1");
    assert_eq!(
        exporter.send(Method::POST, "/-/reload", ""),
        (StatusCode::OK, "reloaded; a new collection has started\n".to_owned())
    );
    wait_for("a run that the reload has begun", || (runs(&exporter.metrics()) == "2").then_some(()));
    exporter.process.signal_group(Signal::SIGHUP);
    wait_for("a run that SIGHUP has begun", || (runs(&exporter.metrics()) == "3").then_some(()));

    assert_eq!(exporter.get("/-/log-filter", &[]).text(), "info\n");
    assert_eq!(exporter.send(Method::PUT, "/-/log-filter", "debug").0, StatusCode::OK);
    assert_eq!(exporter.get("/-/log-filter", &[]).text(), "debug\n");
    let (status, reason) = exporter.send(Method::PUT, "/-/log-filter", "a=b=c");
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(reason.contains("\"a=b=c\""), "{reason}");
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn the_log_names_what_starts_and_why_it_stops() {
    let mut exporter = Exporter::ready(&["--collect.interval=42"]);
    exporter.process.signal_group(Signal::SIGTERM);
    assert_eq!(exporter.process.wait().code(), Some(0));
    let log = exporter.process.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let first = lines.first().expect("a line");
    assert_eq!((&first["version"], &first["mode"]), (&env!("CARGO_PKG_VERSION").into(), &"exporter".into()));
    assert!(first["commit"].as_str().is_some_and(|commit| !commit.is_empty()), "{first}");
    assert!(first["flags"].as_str().is_some_and(|flags| flags.contains("--collect.interval=42")), "{first}");
    let stops = |line: &serde_json::Value| line["message"] == "Shutting down" && line["cause"] == "SIGTERM";
    assert!(lines.iter().any(stops), "{log}");
}

#[test]
fn a_wrong_web_configuration_is_told_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yml");
    fs::write(&file, "http_server_config:\n  headers:\n    X-Frame-Options: deny\n").unwrap();
    let option = format!("--web.config.file={}", file.display());
    let exporter = Exporter::ready(&["--web.enable-lifecycle", &option]);
    assert_eq!(value(&exporter.metrics(), "pgbackrest_exporter_config_reload_success"), "1");
    fs::write(&file, "http_server_config:\n  hedaers: {}\n").unwrap();
    let (status, reason) = exporter.send(Method::POST, "/-/reload", "");
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reason.contains("web.yml:2: unknown key"), "{reason}");
    assert_eq!(value(&exporter.metrics(), "pgbackrest_exporter_config_reload_success"), "0");
    assert_eq!(exporter.get("/metrics", &[]).header("x-frame-options"), "deny");
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn flags_of_the_go_exporter_do_what_they_say() {
    let exporter = Exporter::ready(&["--no-collector.pgbackrest", "--web.endpoint=/scrape"]);
    let metrics = exporter.get("/scrape", &[]).text().to_owned();
    assert_eq!(value(&metrics, "pgbackrest_version_info"), "2060000");
    assert!(!metrics.contains("\npgbackrest_stanza_status{"));
    assert_eq!(exporter.stop(), Some(0));

    let exporter = Exporter::ready(&[
        "--backrest.stanza-exclude=demo",
        "--label=site=north",
        "--metrics.backup-detail=none",
    ]);
    let metrics = exporter.metrics();
    let status = "pgbackrest_exporter_status{site=\"north\",stanza=\"all-stanzas-except-excluded\"}";
    assert_eq!(value(&metrics, status), "1");
    assert!(!metrics.contains("\npgbackrest_backup_info{") && !metrics.contains("stanza=\"demo\""));
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn what_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--web.listen-address={}", taken.local_addr().unwrap());
    let cases: [(&[&str], i32, &str); 7] = [
        (&["exporter", &address], 1, "in use"),
        (&["exporter", "--web.listen-address=9854"], 1, "--web.listen-address \"9854\""),
        (&["exporter", "--web.telemetry-path=/healthz"], 1, "--web.telemetry-path /healthz"),
        (&["exporter", "--web.config.file=/nowhere/web.yml"], 1, "/nowhere/web.yml"),
        (&["exporter", "--metrics.disable=pgbackrest_bakups"], 1, "pgbackrest_backups"),
        (&["exporter", "--collect.interval=0"], 2, "--collect.interval"),
        (&["exporter", "--web.systemd-socket"], 1, "systemd passed no socket"),
    ];
    for (arguments, code, reason) in cases {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn info_prints_a_table_or_json_and_tells_failure() {
    let directory = tempfile::tempdir().unwrap();
    let fake = pgbackrest(directory.path(), &format!("exec cat '{FIXTURE}'"));
    let binary = format!("--backrest.binary={}", fake.display());
    let output = run(&["info", &binary]);
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("demo: ok") && table.contains("repo2"), "{table}");
    assert!(!table.contains('\u{1b}'), "colours are for terminals");

    let output = run(&["info", &binary, "--output=json"]);
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(facts["stanzas"][0]["repos"][1]["cipher"], "aes-256-cbc");

    let missing = run(&["info", "--backrest.binary=/nowhere/pgbackrest"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stdout).contains("/nowhere/pgbackrest"));
}

#[test]
fn manual_and_completions_know_the_flags() {
    let directory = tempfile::tempdir().unwrap();
    assert!(run(&["man", directory.path().to_str().unwrap()]).status.success());
    let page = fs::read_to_string(directory.path().join("pgbackrest-keeper-exporter.1")).unwrap();
    assert!(page.contains("\\-\\-web.listen\\-address"), "{page}");
    let completions = run(&["completions", "bash"]);
    assert!(String::from_utf8(completions.stdout).unwrap().contains("--collect.interval"));
}
