//! A stop file on the repo host, and the WAL that waits in the primary's pod because of it.

use super::operator::{Operator, of};
use crate::support::example::Example;
use crate::support::exposition::Samples;
use crate::support::process::{call, successful};

const REPO_HOST: (&str, &str) = ("cluster-pgbackrest-repo-host-0", "pgbackrest");
const STOPPED: &str = "pgbackrest_stanza_stopped";
const WAITING: &str = "pgbackrest_archiver_waiting_files";

pub(super) fn a_stop_file_keeps_wal_waiting(cluster: &Example<'_>, operator: &Operator<'_>) {
    let stanza = of(&[("stanza", "db")]);
    let is = |samples: &Samples, name, value| (samples.find(name, &stanza) == Some(value)).then_some(());
    operator.wait("nothing to be stopped", |samples| is(samples, STOPPED, 0.0));
    operator.wait("nothing to wait", |samples| is(samples, WAITING, 0.0));
    cluster.said(REPO_HOST.0, REPO_HOST.1, &["pgbackrest", "--stanza=db", "stop"]);
    cluster.psql_all(&["create table stopped (line int)", "select from pg_switch_wal()"]);
    operator.wait("the stop file", |samples| is(samples, STOPPED, 1.0));
    let since = operator.wait("WAL to wait", |samples| {
        samples.find("pgbackrest_archiver_waiting_since_timestamp_seconds", &stanza)
    });
    operator.wait("a later look at it", |samples| {
        samples.assert(
            "pgbackrest_archiver_queued_bytes",
            &stanza,
            samples.value(WAITING, &stanza) * 16_777_216.0,
        );
        let is_up = samples.find("pgbackrest_archiver_up", &stanza)? == 1.0;
        let newer = samples.find("pgbackrest_archiver_collected_timestamp_seconds", &stanza)? > since;
        (is_up && newer).then_some(())
    });
    let told = info(cluster);
    for part in ["archiver: ", " to be archived, the first for ", REPO_HOST.0, "pgbackrest --stanza=db start"]
    {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
    cluster.said(REPO_HOST.0, REPO_HOST.1, &["pgbackrest", "--stanza=db", "start"]);
    // It wakes the archiver, which waits a minute after three attempts.
    cluster.archive();
    operator.wait("the end of the stop", |samples| is(samples, STOPPED, 0.0));
    operator.wait("an empty queue", |samples| is(samples, WAITING, 0.0));
}

fn info(cluster: &Example<'_>) -> String {
    let kubeconfig = format!("--kubeconfig={}", cluster.node.plane().kubeconfig().display());
    let text = cluster.node.in_network(|| {
        let mut command = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        successful(command.args(["info", &kubeconfig, "--namespaces=fleet"]))
    });
    // Where a cell breaks its lines depends on their length.
    let is_word = |word: &&str| word.contains(char::is_alphanumeric);
    text.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ")
}
