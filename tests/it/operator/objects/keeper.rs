//! The real operator for one namespace, with the permissions of its service account.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempPath;

use crate::support::exporter::CLASSIC;
use crate::support::exposition::Samples;
use crate::support::http;
use crate::support::process::{Running, command};

/// Ended when it is dropped.
pub(super) struct Keeper {
    process: Running,
    address: String,
    _log: TempPath,
}

impl Keeper {
    pub(super) fn start(kubeconfig: &Path, namespace: &str) -> Self {
        let mut command = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        command
            .args([
                "operator",
                "--web.listen-address=127.0.0.1:0",
                "--log.format=json",
                "--log.level=info,pgbackrest_keeper=debug",
            ])
            .args(["--leader-election=false", "--keeper-image=registry.example/pgbackrest-keeper:1"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--namespaces={namespace}"));
        let log = tempfile::Builder::new().prefix("operator-").tempfile().unwrap().into_temp_path();
        let mut process = Running::start("pgbackrest-keeper", command, &log, Signal::SIGTERM);
        let address = process.wait_in_log("the operator's address", |log| {
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
        });
        Self { process, address, _log: log }
    }

    fn samples(&self) -> Samples {
        let answer = http::get(&format!("http://{}/metrics", self.address), &[("accept", CLASSIC)]).unwrap();
        Samples::parse(answer.text())
    }

    /// How many findings of a code there are about a cluster.
    pub(super) fn findings(&self, cluster: &str, code: &str) -> usize {
        let labels = [("pg_cluster", cluster), ("code", code)];
        let found = self.samples().find("pgbackrest_operator_findings", &labels).unwrap_or_default();
        found.to_string().parse().unwrap()
    }

    /// The kinds of which objects had to be mended, sorted.
    pub(super) fn drift(&self) -> Vec<String> {
        let samples = self.samples();
        let all = samples.all("pgbackrest_operator_drift_corrected_total", &[]);
        let mut kinds: Vec<String> = all.iter().map(|sample| sample.labels["resource"].clone()).collect();
        kinds.sort();
        kinds
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }
}
