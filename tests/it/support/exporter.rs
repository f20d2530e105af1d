//! The exporter as a real process.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::exposition::Samples;
use super::http::{self, Response};
use super::lab::Site;
use super::machine::Account;
use super::process::{Running, command, copy_program, wait_for};

/// What Prometheus 2.42 asks for.
pub(crate) const OPENMETRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
/// What asks for the older format alone.
pub(crate) const CLASSIC: &str = "text/plain;version=0.0.4";

/// Our program in the site's directory: the account may not be able to look into the one where cargo has built it.
pub(crate) fn our_program(site: &Site) -> PathBuf {
    let program = site.path("pgbackrest-keeper");
    if !program.exists() {
        copy_program(Path::new(env!("CARGO_BIN_EXE_pgbackrest-keeper")), &program);
    }
    program
}

pub(crate) struct Exporter {
    process: Running,
    pub(crate) address: String,
}

impl Exporter {
    /// Starts `pgbackrest-keeper exporter` on a free port, as the site's account, with the site's pgBackRest and
    /// a configuration of pgBackRest. Without `--collect.timeout` in the arguments calls have a minute, not a quarter of the
    /// tests' short intervals.
    pub(crate) fn start(site: &Site, config: &Path, arguments: &[&str]) -> Self {
        Self::start_as(site.account.as_ref(), site, &site.pgbackrest.program, config, arguments)
    }

    /// The same as somebody else, or with another program in pgBackRest's place.
    pub(crate) fn start_as(
        account: Option<&Account>,
        site: &Site,
        pgbackrest: &Path,
        config: &Path,
        arguments: &[&str],
    ) -> Self {
        let mut command = command(account, our_program(site));
        command
            .args(["exporter", "--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .arg(format!("--backrest.binary={}", pgbackrest.display()))
            .arg(format!("--backrest.config={}", config.display()))
            .args(arguments);
        if !arguments.iter().any(|argument| argument.starts_with("--collect.timeout=")) {
            command.arg("--collect.timeout=60s");
        }
        Self::run(site, command)
    }

    /// Whatever starts an exporter that logs as JSON.
    pub(crate) fn run(site: &Site, command: Command) -> Self {
        let log = tempfile::Builder::new().prefix("exporter-").tempfile_in(site.path("log")).unwrap();
        let log = log.into_temp_path().keep().unwrap();
        let mut process = Running::start("pgbackrest-keeper", command, &log, Signal::SIGTERM);
        let address = process.wait_in_log("the exporter's address", |log| {
            let mut lines =
                log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
        });
        Self { process, address }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        http::get(&format!("http://{}{path}", self.address), headers).unwrap()
    }

    /// A scrape in the classic format.
    pub(crate) fn samples(&self) -> Samples {
        Samples::parse(self.get("/metrics", &[("accept", CLASSIC)]).text())
    }

    /// Scrapes until it has what is looked for.
    pub(crate) fn wait<T>(&self, what: &str, mut find: impl FnMut(&Samples) -> Option<T>) -> T {
        wait_for(what, || find(&self.samples()))
    }

    /// Lets it read its configuration again, as an init system does.
    pub(crate) fn reload(&self) {
        self.process.signal_group(Signal::SIGHUP);
    }

    /// Ends it as an init system does and gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.process.signal_group(Signal::SIGTERM);
        self.process.wait().code()
    }
}
