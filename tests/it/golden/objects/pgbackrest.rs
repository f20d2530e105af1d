//! The recorded configuration, given to the real pgBackRest.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::recorded;
use crate::support::machine::{self, Pgbackrest};

const KEY: &str = "pgbackrest_instance.conf";

/// pgBackRest reads all options before it does anything. Archiving a file of a data directory that does not exist ends
/// right after that, on PostgreSQL's side at the directory, and on the repo host because it is one.
#[test]
fn every_version_reads_every_recorded_configuration() {
    /// 2.45 refuses a shorter protocol-timeout without it.
    const NO_LONGER_NEEDED: &str = "'db-timeout' invalid for section 'global:archive-push'";
    const TEST: &str = "every_version_reads_every_recorded_configuration";
    for version in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let version = match version {
            Ok(version) => version,
            Err(missing) => return machine::skip(TEST, missing),
        };
        let mut read = [0, 0];
        for path in recorded() {
            let object = parsed(&path);
            if object["kind"] != "ConfigMap" {
                continue;
            }
            let text = object["data"][KEY].as_str().unwrap();
            let directory = configuration(text);
            fs::write(directory.path().join("secret.conf"), secret_for(text)).unwrap();
            let output = run(pgbackrest(directory.path(), &version).args([
                "--stanza=db",
                "--no-archive-async",
                "--log-level-file=off",
                "--log-level-console=warn",
                "--pg1-path=/nonexistent",
                "archive-push",
                "/nonexistent/000000010000000000000001",
            ]));
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            let on_repo_host = path.to_str().unwrap().contains("repohost");
            let expected = if on_repo_host {
                (72, "must be run on the PostgreSQL host")
            } else {
                (55, "/nonexistent/global/pg_control")
            };
            let place = format!("{} {}", version.version, path.display());
            assert_eq!(output.status.code(), Some(expected.0), "{place}: {said}");
            let warns = said.lines().any(|line| line.contains("WARN") && !line.contains(NO_LONGER_NEEDED));
            assert!(said.contains(expected.1) && !warns, "{place}: {said}");
            read[usize::from(on_repo_host)] += 1;
        }
        assert!(read[0] > 30 && read[1] > 15, "only {read:?} configurations");
    }
}

/// A directory as the pod's volume is, with the one file.
fn configuration(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(KEY), text).unwrap();
    directory
}

/// What a person would have put into the Secret.
fn secret_for(configuration: &str) -> String {
    let mut secret = String::from("[global]\n");
    for number in 1..=4 {
        let has = |option: &str| configuration.contains(&format!("\nrepo{number}-{option}"));
        let needed = [
            (has("type=s3"), "s3-key=id"),
            (has("type=s3"), "s3-key-secret=secret"),
            (has("type=azure"), "azure-key=c2VjcmV0"),
            (has("type=azure") && !has("azure-account="), "azure-account=account"),
            (has("gcs-key-type=token"), "gcs-key=token"),
            (has("gcs-key-type=service") && !has("gcs-key="), "gcs-key=/mounted/key.json"),
            (has("cipher-type=aes-256-cbc"), "cipher-pass=secret"),
        ];
        for (_, option) in needed.iter().filter(|(needed, _)| *needed) {
            writeln!(secret, "repo{number}-{option}").unwrap();
        }
    }
    secret
}

/// A pgBackRest with the files of a directory and nothing else of this machine.
fn pgbackrest(include: &Path, version: &Pgbackrest) -> Command {
    let mut command = Command::new(&version.program);
    let scratch = include.display();
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--no-config");
    command.args([format!("--config-include-path={scratch}"), format!("--log-path={scratch}")]);
    // From 2.59 on root must be allowed.
    command.args((version.minor() >= 59 && nix::unistd::geteuid().is_root()).then_some("--allow-root"));
    command
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn parsed(path: &PathBuf) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
