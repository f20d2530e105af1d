//! No output controls a terminal or reorders text, no matter what pgBackRest prints or manifests contain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use pgbackrest_keeper::text;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::fake::script;
use crate::support::process::{Running, command, output, wait_for};

/// Clears a screen, names a window, does both in eight bits, turns text around, hides it and begins a line.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{90}q\u{202e}\u{2066}\u{200b}\u{feff}\rOK";

#[test]
fn info_prints_nothing_that_steers_a_terminal() {
    let directory = TempDir::new().unwrap();
    let (program, last_backup) = pgbackrest(directory.path());
    for arguments in [&[][..], &["--output=json"], &["--restore-command", "--target", &last_backup]] {
        let told = info(&program, directory.path(), arguments);
        let printed = shown(&told.stdout);
        assert!(shown(&told.stderr).contains("pgBackRest reported"), "{told:?}");
        assert!(printed.contains("demo"), "{arguments:?}: {told:?}");
        match arguments {
            ["--output=json"] => {
                let document: Value = serde_json::from_str(&printed).unwrap();
                assert_eq!(document["stanzas"][0]["name"], name());
            }
            ["--restore-command", ..] => {
                // What a shell makes of the printed word is the name.
                let word = printed.split("--set=").next().unwrap().split("pgbackrest ").last().unwrap();
                let said = output(Command::new("sh").args(["-c", &format!("printf %s {word}")])).stdout;
                assert_eq!(String::from_utf8(said).unwrap(), format!("--stanza={}--repo=1", name()));
            }
            _ => {}
        }
    }
}

#[test]
fn logs_contain_nothing_that_steers_a_terminal() {
    let directory = TempDir::new().unwrap();
    let (program, _) = pgbackrest(directory.path());
    for format in ["text", "logfmt", "json"] {
        let log = directory.path().join(format);
        let mut exporter = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        exporter
            .args(["exporter", "--web.listen-address=127.0.0.1:0", "--log.level=debug"])
            .arg(format!("--log.format={format}"))
            .arg(format!("--backrest.binary={}", program.display()));
        let process = Running::start("exporter", exporter, &log, Signal::SIGTERM);
        let written = wait_for("pgBackRest's words in the log", || {
            let written = fs::read(&log).unwrap();
            String::from_utf8_lossy(&written).contains("environment contains").then_some(written)
        });
        shown(&written);
        drop(process);
    }
}

#[test]
fn manifests_are_shown_without_anything_that_steers_a_terminal() {
    let directory = TempDir::new().unwrap();
    let evil = serde_json::to_string(EVIL).unwrap();
    let manifest = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": "db", "namespace": "shop", "annotations": {"pgbackrest-keeper.io/x": EVIL}},
        "spec": {"backup": {"pgbackrest": {
            "image": "example.com/pgbackrest:1",
            "global": {"repo1-retention-full": "2", "log-level-console": EVIL, EVIL: "y"},
            "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "1Gi"}, "resource": EVIL, EVIL: 1}],
        }}},
    });
    assert!(manifest.to_string().contains(&evil[1..evil.len() - 1]));
    let file = directory.path().join("manifest.json");
    fs::write(&file, manifest.to_string()).unwrap();
    for arguments in [
        &["lint"][..],
        &["lint", "--output=json"],
        &["render"],
        &["render", "--output=json"],
        &["lint", EVIL],
    ] {
        let mut keeper = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        let told = output(keeper.args(arguments).arg(&file));
        let all = shown(&told.stdout) + &shown(&told.stderr);
        assert!(all.len() > 40, "{arguments:?}: {told:?}");
    }
}

fn name() -> String {
    format!("demo{EVIL}")
}

/// Fails on everything that a terminal does not show as it is, and on what is not text.
fn shown(written: &[u8]) -> String {
    let written = std::str::from_utf8(written).unwrap_or_else(|error| panic!("{error}: {written:?}"));
    let odd = written.chars().find(|c| *c != '\n' && !text::is_printable(*c));
    assert_eq!(odd, None, "{}", written.escape_debug());
    written.to_owned()
}

/// A program that answers like pgBackRest, but with odd names and messages; and the time of its last backup.
fn pgbackrest(directory: &Path) -> (PathBuf, String) {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/info/2.60.0/one_repo_full_diff_incr.json");
    let mut document: Value = serde_json::from_slice(&fs::read(fixture).unwrap()).unwrap();
    document[0]["name"] = name().into();
    document[0]["status"]["message"] = EVIL.into();
    document[0]["repo"][0]["status"]["message"] = EVIL.into();
    document[0]["repo"][0]["cipher"] = EVIL.into();
    document[0]["db"][0]["version"] = EVIL.into();
    let stop =
        document[0]["backup"].as_array().unwrap().last().unwrap()["timestamp"]["stop"].as_i64().unwrap();
    fs::write(directory.join("info.json"), document.to_string()).unwrap();
    fs::write(directory.join("stderr"), format!("WARN: environment contains invalid option '{EVIL}'\n"))
        .unwrap();
    let body = format!(
        "case \"$*\" in\n*version*) echo 'pgBackRest 2.60.0';;\n*repo-ls*) echo '{{}}';;\n\
         *) cat {0}/stderr >&2; cat {0}/info.json;;\nesac",
        directory.display()
    );
    let at = chrono::DateTime::from_timestamp(stop, 0).unwrap().to_rfc3339();
    (script(directory, "pgbackrest", &body), at)
}

fn info(program: &Path, directory: &Path, arguments: &[&str]) -> Output {
    let mut info = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    info.arg("info").arg(format!("--backrest.binary={}", program.display()));
    output(info.args(arguments).current_dir(directory))
}
