//! An exporter with a fake pgBackRest, whose newest backup is as old as the test wants.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::host::fake::script;
use crate::support::exposition::Samples;
use crate::support::http;
use crate::support::process::{Running, command, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");
pub(super) const DAY: u64 = 86_400;
/// In URLs.
pub(super) const TOKEN: &str = "hunter2-token";
/// What signs.
pub(super) const KEY: &str = "hunter2-0123456789abcdef0123456789abcdef";

pub(super) struct Trial {
    directory: TempDir,
    exporter: Option<(Running, String)>,
}

impl Trial {
    /// With a fresh backup, and nothing that runs.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let trial = Self { directory, exporter: None };
        let info = trial.path("info.json");
        let body = format!(
            "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) exec cat {} ;; esac",
            info.display()
        );
        script(trial.directory.path(), "pgbackrest", &body);
        trial.write("key", &format!("{KEY}\n"));
        trial.set_age(0);
        trial
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let draft = self.path("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    /// From the next collection on, the newest backup has this age in seconds.
    pub(super) fn set_age(&self, age: u64) {
        let stop = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - age;
        let backup = serde_json::json!({
            "archive": {"start": "000000010000000000000003", "stop": "000000010000000000000003"},
            "backrest": {"format": 5, "version": "2.60.0"}, "database": {"id": 1, "repo-key": 1}, "error": false,
            "info": {"delta": 1, "repository": {"delta": 1, "size": 1}, "size": 1}, "label": "20261122-093812F",
            "lsn": {"start": "0/3000028", "stop": "0/3000100"}, "prior": null, "reference": null,
            "timestamp": {"start": stop - 5, "stop": stop}, "type": "full",
        });
        let info = serde_json::json!([{
            "archive": [{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": "000000010000000000000007", "min": "000000010000000000000001"}],
            "backup": [backup], "cipher": "none", "name": "demo",
            "db": [{"id": 1, "repo-key": 1, "system-id": 7_710_927_829_094_209_392_u64, "version": "15"}],
            "repo": [{"cipher": "none", "key": 1, "status": {"code": 0, "message": "ok"}}],
            "status": {"code": 0, "lock": {"backup": {"held": false}, "restore": {"held": false}}, "message": "ok"},
        }]);
        self.write("info.json", &info.to_string());
    }

    /// From the next collection on, there is another stanza that is like the first one.
    pub(super) fn add_stanza(&self, name: &str) {
        let info = fs::read(self.path("info.json")).unwrap();
        let mut info: Vec<serde_json::Value> = serde_json::from_slice(&info).unwrap();
        let mut other = info[0].clone();
        other["name"] = name.into();
        info.push(other);
        self.write("info.json", &serde_json::json!(info).to_string());
    }

    /// From the next collection on, pgBackRest fails.
    pub(super) fn fail(&self) {
        fs::remove_file(self.path("info.json")).unwrap();
    }

    pub(super) fn start(&mut self, config: &str) {
        self.write("notify.yml", config);
        let mut program = command(None, PROGRAM);
        program
            .args([
                "exporter",
                "--web.listen-address=127.0.0.1:0",
                "--collect.interval=1s",
                "--log.format=json",
            ])
            .args(["--collector.wal=false", "--collect.timeout=60s", "--log.level=trace"])
            .arg(format!("--backrest.binary={}", self.path("pgbackrest").display()))
            .arg(format!("--state-directory={}", self.path("state").display()))
            .arg(format!("--notify.config.file={}", self.path("notify.yml").display()));
        let mut process = Running::start("keeper", program, &self.path("log"), Signal::SIGTERM);
        let address = process.wait_in_log("the address", |log| {
            let mut lines =
                log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
        });
        self.exporter = Some((process, address));
    }

    pub(super) fn reload(&self, config: &str) {
        self.write("notify.yml", config);
        self.process().signal_group(Signal::SIGHUP);
    }

    pub(super) fn end(&mut self, signal: Signal) {
        let (mut process, _) = self.exporter.take().unwrap();
        process.signal_group(signal);
        process.wait();
    }

    fn process(&self) -> &Running {
        &self.exporter.as_ref().unwrap().0
    }

    pub(super) fn log(&self) -> String {
        self.process().log()
    }

    pub(super) fn get(&self, path: &str) -> String {
        let (_, address) = self.exporter.as_ref().unwrap();
        http::get(&format!("http://{address}{path}"), &[]).unwrap().text().to_owned()
    }

    pub(super) fn samples(&self) -> Samples {
        Samples::parse(&self.get("/metrics"))
    }

    /// Waits for a metric of a target.
    pub(super) fn wait(&self, metric: &str, labels: &[(&str, &str)], is_met: impl Fn(f64) -> bool) {
        wait_for(&format!("{metric}{labels:?}"), || {
            self.samples().find(metric, labels).filter(|value| is_met(*value))
        });
    }

    /// Waits until the conditions were judged several times from now on; the heartbeat `clock` must be configured.
    pub(super) fn wait_for_judgements(&self) {
        let clock = ("pgbackrest_notification_deliveries_total", [("target", "clock")]);
        // Right after the start, there are no metrics yet.
        let before = self.samples().find(clock.0, &clock.1).unwrap_or(0.0);
        self.wait(clock.0, &clock.1, |calls| calls >= before + 3.0);
    }

    /// Neither logs, pages and metrics nor what others see of the process contain secrets.
    pub(super) fn assert_no_secret(&self) {
        let of_process = |name: &str| {
            String::from_utf8_lossy(&fs::read(format!("/proc/{}/{name}", self.process().id())).unwrap())
                .into_owned()
        };
        for (what, text) in [
            ("the log", self.log()),
            ("metrics", self.get("/metrics")),
            ("the page", self.get("/")),
            ("the command line", of_process("cmdline")),
            ("the environment", of_process("environ")),
        ] {
            assert!(!text.contains("hunter2"), "{what}: {text}");
        }
    }
}
