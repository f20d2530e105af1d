//! The commands of the runbooks: those of pgBackRest and PostgreSQL run on a real stanza, others as far as possible without the service
//! that they query.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::CommandFactory;
use pgbackrest_keeper::cli::Cli;
use pgbackrest_keeper::cluster::validated::RepoNumber;
use pgbackrest_keeper::cluster::{labels, names};
use pgbackrest_keeper::metrics::catalogue;
use pgbackrest_keeper::pgbackrest::label::BackupType;

use super::{metrics_in, names_of, root};
use crate::support::kubernetes::programs::Programs;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, skip};
use crate::support::process::output;

/// The different lines of all `console` blocks.
fn commands() -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for name in names_of("docs/runbooks", ".md") {
        let text = fs::read_to_string(root().join(format!("docs/runbooks/{name}.md"))).unwrap();
        let blocks =
            text.split("```console\n").skip(1).map(|block| block.split_once("```").unwrap().0.to_owned());
        for block in blocks {
            commands.extend(block.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        }
    }
    commands
}

#[test]
fn commands_of_runbooks_are_of_known_programs() {
    for line in commands() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // pgBackRest and PostgreSQL are never run as root.
        let (is_postgres, words) = match words.strip_prefix(&["sudo", "-u", "postgres"]) {
            Some(words) => (true, words),
            None => (false, &words[..]),
        };
        match words {
            ["pgbackrest" | "psql" | "pg_amcheck", ..] => assert!(is_postgres, "{line}"),
            ["pgbackrest-keeper", ..] => {
                Cli::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            ["curl", "--silent", "http://localhost:9854/metrics", "|", "grep", word] => {
                assert!(catalogue::all().any(|metric| metric.name.contains(word)), "{line}");
            }
            ["promtool", "query", "instant", ..] => {
                for metric in metrics_in(&line) {
                    assert!(
                        metric == "up" || catalogue::find(metric).is_some(),
                        "{line}: there is no {metric}"
                    );
                }
            }
            ["curl", .., "http://localhost:9854/healthz"]
            | ["openssl", "x509", ..]
            | ["journalctl" | "systemctl" | "kubectl" | "ls" | "ps", ..] => {}
            _ => panic!("{line}: this test does not know such a command"),
        }
    }
}

#[test]
fn commands_of_runbooks_work_on_a_stanza() {
    if let Err(missing) = run_on_a_stanza() {
        skip("commands_of_runbooks_work_on_a_stanza", missing);
    }
}

fn run_on_a_stanza() -> Result<(), String> {
    let site = Site::new(Pgbackrest::installed())?;
    let lab = Lab::start(&site, 16);
    lab.back_up(1, "full");
    let label = lab.labels(1).pop().unwrap();
    let mut run = 0;
    for line in commands() {
        if let Some(statement) = line.strip_prefix("sudo -u postgres psql --command=\"") {
            assert!(!lab.postgres.sql(statement.strip_suffix('"').unwrap()).is_empty(), "{line}");
        } else if let Some((_, arguments)) = line.split_once(" pgbackrest ") {
            let arguments = arguments.replace("--stanza=main", &format!("--stanza={STANZA}"));
            let arguments = arguments.replace("--stanza=db", &format!("--stanza={STANZA}"));
            let arguments =
                ["archive/main", "archive/db", "backup/main"].into_iter().fold(arguments, |all, path| {
                    all.replace(path, &format!("{}/{STANZA}", path.split_once('/').unwrap().0))
                });
            let arguments: Vec<String> = arguments
                .split_whitespace()
                .map(
                    |word| {
                        if word.starts_with("--set=") { format!("--set={label}") } else { word.to_owned() }
                    },
                )
                .collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let done = site.run(&lab.both, &arguments);
            assert!(done.status.success(), "{line}: {done:?}");
        } else {
            continue;
        }
        run += 1;
    }
    assert!(run >= 8, "only {run} commands");
    Ok(())
}

/// Of what is in them, kubectl takes the flags without asking anybody, and the names are those that we give.
#[test]
fn commands_of_runbooks_are_taken_by_kubectl() {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(missing) => return skip("commands_of_runbooks_are_taken_by_kubectl", missing),
    };
    let directory = tempfile::Builder::new().prefix("runbooks-").tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    // Nobody listens there.
    fs::write(
        &kubeconfig,
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], \
         users: [{name: a}], clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]}",
    )
    .unwrap();
    let kubectl = programs.kubernetes("kubectl");
    let cron_job = names::cron_job("ledger", RepoNumber::of_name("repo1").unwrap(), BackupType::Full);
    let known = [
        cron_job.as_str(),
        &format!("--from=cronjob/{cron_job}"),
        "--namespace=shop",
        "--namespace=pgbackrest-keeper",
        &format!("--selector={}=ledger", labels::CLUSTER),
        &format!("--selector={}=nightly", labels::RESTORE_TEST),
        &format!("{}=ledger", labels::TEST_NOW),
        &format!("{}=next", labels::TEST_NOW),
        "--field-selector=involvedObject.name=ledger",
        "ledger",
        &names::database_pod("ledger", 0),
        &names::repo_host_pod("ledger"),
        "deployment/pgbackrest-keeper-operator",
        "pgbackrest-keeper-operator",
        "ledger-full-by-hand",
        &format!("job/{cron_job}-29333280"),
        &format!("{cron_job}-29333280"),
    ]
    .map(str::to_owned);
    let mut run = 0;
    for line in commands().iter().filter(|line| line.starts_with("kubectl ")) {
        let ours = line.split(" -- ").next().unwrap().split_whitespace();
        for word in ours.filter(|word| word.contains("ledger") || word.contains("keeper")) {
            assert!(known.contains(&word.to_owned()), "{line}: nothing of ours is {word}");
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &line.replacen("kubectl", "exec \"$0\" --request-timeout=5s", 1)]).arg(&kubectl);
        let said = output(shell.env("KUBECONFIG", &kubeconfig).env("HOME", directory.path()));
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("127.0.0.1:1 was refused"), "{line}: {said}");
        run += 1;
    }
    assert!(run >= 12, "only {run} commands");
}
