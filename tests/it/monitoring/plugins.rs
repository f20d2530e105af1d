//! Definitions for other monitoring systems, run by their real programs: Icinga 2, Nagios and the agent of Zabbix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use pgbackrest_keeper::check::services;
use serde_json::Value;

use crate::host::fake::script;
use crate::support::machine::{program, skip};
use crate::support::process::{Running, call, command, output, successful, wait_for};
use crate::support::stack::root;

mod nagios;
mod zabbix;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");

/// An exporter of a repository whose backups are from 2026-11-22.
struct Exporter {
    _process: Running,
    url: String,
}

impl Exporter {
    fn start(directory: &Path) -> Self {
        let fixture = root().join("fixtures/info/2.60.0/two_repos_one_encrypted.json");
        let fake = script(
            directory,
            "pgbackrest",
            &format!(
                "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) cat '{}' ;; esac",
                fixture.display()
            ),
        );
        let mut exporter = command(None, PROGRAM);
        exporter
            .args([
                "exporter",
                "--web.listen-address=127.0.0.1:0",
                "--log.format=json",
                "--collector.wal=false",
            ])
            .arg(format!("--backrest.binary={}", fake.display()));
        let log = directory.join("exporter.log");
        let mut process = Running::start("pgbackrest-keeper", exporter, &log, Signal::SIGTERM);
        let address = process.wait_in_log("the exporter's address", |log| {
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
        });
        let exporter = Self { _process: process, url: format!("http://{address}/metrics") };
        wait_for("the first collection", || {
            exporter.says("collection").starts_with("PGBACKREST COLLECTION OK").then_some(())
        });
        exporter
    }

    /// Compares what a program tells of a service with what the plugin says when it is run by hand.
    fn assert_told(&self, service: &str, state: &str, output: &str, performance: &str) {
        let by_hand = self.says(service);
        let first = by_hand.lines().next().unwrap();
        let (status, values) = first.split_once(" | ").unwrap_or((first, ""));
        assert!(status.contains(&format!(" {state}: ")), "{state} {output}\n{status}");
        // Ages go on.
        let (prefix, _) = status.split_once(": ").unwrap();
        assert!(output.starts_with(prefix), "{output}\n{status}");
        let labels = |text: &str| -> Vec<String> {
            let words = text.split_whitespace().filter_map(|word| word.split_once('='));
            words.map(|(label, _)| label.trim_matches('\'').to_owned()).collect()
        };
        assert_eq!(labels(performance), labels(values), "{performance}\n{values}");
        // There are neither credentials nor records.
        let is_empty = ["stanza", "restore-test", "verify"].contains(&service);
        assert_eq!(values.is_empty(), is_empty, "{service}: {values}");
    }

    /// What the plugin says when it is run by hand.
    fn says(&self, service: &str) -> String {
        let output = output(call(None, PROGRAM).args(["check", service, "--url", &self.url]));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A definition as it is installed, with the program of these tests.
fn shipped(file: &str) -> String {
    let text = fs::read_to_string(root().join("packaging").join(file)).unwrap();
    assert!(text.contains("/usr/bin/pgbackrest-keeper"), "{file}");
    text.replace("/usr/bin/pgbackrest-keeper", PROGRAM)
}

#[test]
fn icinga_runs_the_check_command() {
    let icinga = match icinga() {
        Ok(icinga) => icinga,
        Err(missing) => return skip("icinga_runs_the_check_command", missing),
    };
    let directory = tempfile::Builder::new().prefix("icinga-").tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["cache", "data", "log", "run", "spool", "perfdata"] {
        fs::create_dir(path(name)).unwrap();
    }
    let exporter = Exporter::start(directory.path());
    fs::write(path("pgbackrest-keeper.conf"), shipped("icinga/pgbackrest-keeper.conf")).unwrap();
    fs::write(path("icinga2.conf"), configuration(directory.path(), &exporter.url)).unwrap();
    let of_icinga = |arguments: &[&str]| {
        let mut command = command(None, &icinga);
        command.args(["daemon", "--config"]).arg(path("icinga2.conf")).args(arguments);
        for (name, directory) in [
            ("CacheDir", "cache"),
            ("DataDir", "data"),
            ("LogDir", "log"),
            ("InitRunDir", "run"),
            ("SpoolDir", "spool"),
        ] {
            command.arg("-D").arg(format!("{name}={}", path(directory).display()));
        }
        let id = |argument: &str| successful(Command::new("id").arg(argument)).trim().to_owned();
        command.args(["-D", &format!("RunAsUser={}", id("-un")), "-D", &format!("RunAsGroup={}", id("-gn"))]);
        command
    };
    successful(&mut of_icinga(&["--validate"]));
    let mut daemon = Running::start("icinga2", of_icinga(&[]), &path("icinga2.log"), Signal::SIGTERM);
    for service in services::ALL {
        let told = wait_for(&format!("the state of {}", service.name), || {
            assert!(daemon.ended().is_none(), "{}", daemon.log());
            let files = fs::read_dir(path("perfdata")).unwrap();
            let texts: String =
                files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default()).collect();
            let start = format!("{}\t", service.name);
            texts.lines().find(|line| line.starts_with(&start)).map(str::to_owned)
        });
        let parts: Vec<&str> = told.split('\t').collect();
        exporter.assert_told(service.name, parts[1], parts[3], parts[2]);
    }
}

/// The wrapper of Debian needs the whole system; this is the program that it runs.
fn icinga() -> Result<PathBuf, String> {
    let found = fs::read_dir("/usr/lib").map_err(|error| error.to_string())?;
    let mut found = found.filter_map(|entry| Some(entry.ok()?.path().join("icinga2/sbin/icinga2")));
    found.find(|path| path.is_file()).map_or_else(|| program("icinga2"), Ok)
}

/// The shipped command for a host, whose results are written to files by Icinga itself.
fn configuration(directory: &Path, url: &str) -> String {
    let names: Vec<String> = services::ALL.iter().map(|service| format!("\"{}\"", service.name)).collect();
    let directory = directory.display();
    format!(
        "include <itl>\n\
         include \"{directory}/pgbackrest-keeper.conf\"\n\
         library \"checker\"\nlibrary \"perfdata\"\n\
         object CheckerComponent \"checker\" {{ }}\n\
         object PerfdataWriter \"perfdata\" {{\n\
           service_perfdata_path = \"{directory}/perfdata/service\"\n\
           service_temp_path = \"{directory}/spool/service\"\n\
           host_perfdata_path = \"{directory}/spool/host-perfdata\"\n\
           host_temp_path = \"{directory}/spool/host\"\n\
           rotation_interval = 1s\n\
           service_format_template = \"$service.name$\\t$service.state$\\t$service.perfdata$\\t$service.output$\"\n\
         }}\n\
         object Host \"db1\" {{ check_command = \"dummy\" }}\n\
         for (name in [{}]) {{\n\
           object Service name use (name) {{\n\
             host_name = \"db1\"\n\
             check_command = \"pgbackrest-keeper\"\n\
             check_interval = 2s\n\
             vars.pgbackrest_keeper_service = name\n\
             vars.pgbackrest_keeper_url = \"{url}\"\n\
             vars.pgbackrest_keeper_warning = [ \"full-age=8d\", \"size=~:\" ]\n\
             vars.pgbackrest_keeper_stanza = [ \"demo\" ]\n\
             vars.pgbackrest_keeper_timeout = \"30s\"\n\
           }}\n\
         }}\n",
        names.join(", ")
    )
}
