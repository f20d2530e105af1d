//! Limits of the system, and outputs that take nothing.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use super::exporter::Context;
use super::program::{limited, run};
use super::{Elsewhere, Group, Row};
use crate::host::fake::script;

/// Changes a command of ours that is given a fake pgBackRest; then its end must be one of these codes.
pub(crate) struct Limited(fn(&mut Command), &'static [i32]);

const INFO: [&str; 1] = ["info"];

static ROWS: [Row<Limited>; 9] = [
    row("The disk of standard output is full", "it ends with an error", &[1], |it| {
        it.args(INFO).stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    }),
    row("The disk of the JSON is full", "it ends with an error", &[1], |it| {
        it.args(["info", "--output=json"]).stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    }),
    row("The disk of standard error is full", "it does its work", &[0, 1], |it| {
        it.args(INFO).stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
    }),
    row("The pipe of standard output is not read", "it ends, and does not panic", &[0, 1], |it| {
        let (reader, writer) = std::io::pipe().unwrap();
        it.args(INFO).stdout(writer);
        drop(reader);
    }),
    row("`TMPDIR` does not exist", "it does its work", &[0, 1], |it| {
        it.args(INFO).env("TMPDIR", "/nonexistent").stdout(Stdio::piped());
    }),
    row("No environment at all", "it does its work", &[0, 1], |it| {
        it.args(INFO).env_clear().env("PATH", "/usr/bin:/bin");
    }),
    row("The time zone does not exist", "it does its work", &[0, 1], |it| {
        it.args(INFO).env("TZ", "../../../etc/passwd").env("LANG", "\u{7f}");
    }),
    row("A variable of ours has a value that is none", "it ends and names the variable", &[2], |it| {
        it.args(INFO).env("KEEPER_COLLECT_TIMEOUT", "soon");
    }),
    row("A flag has a megabyte", "it ends with an error", &[0, 1, 2], |it| {
        it.args(INFO).arg(format!("--backrest.stanza-include={}", "x".repeat(100_000)));
    }),
];

const fn row(
    fault: &'static str,
    holds: &'static str,
    codes: &'static [i32],
    change: fn(&mut Command),
) -> Row<Limited> {
    Row { fault, holds, inject: Limited(change, codes) }
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "No more file descriptors",
        "connections wait, and nothing ends",
        "web::http_limits::running_out_of_file_descriptors_ends_nothing",
    ),
    Elsewhere(
        "A limit of processes that is too low",
        "it ends with the reason",
        "host::hangs::a_limit_of_processes_that_is_too_low_is_the_reason_for_the_end",
    ),
    Elsewhere(
        "The log is not read",
        "lines are dropped and counted, and nothing waits",
        "host::hangs::a_log_that_nobody_reads_stops_nothing",
    ),
    Elsewhere(
        "The last log line is not read",
        "the program ends",
        "host::hangs::a_last_line_that_nobody_reads_is_not_waited_for",
    ),
    Elsewhere(
        "The address is taken, and other reasons not to start",
        "exit code and reason",
        "host::exporter::what_cannot_start_says_why",
    ),
    Elsewhere(
        "A directory that takes no file",
        "nothing half done is left",
        "host::install::nothing_is_left_where_it_cannot_be_copied",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Limits", &ROWS, ELSEWHERE)
}

#[test]
fn limits_are_told_or_do_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let fake = script(
        directory.path(),
        "pgbackrest",
        "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) echo '[]' ;; esac",
    );
    for row in &ROWS {
        let _context = Context(row.fault);
        let Some(mut command) = limited("limits_are_told_or_do_not_matter") else { return };
        let Limited(change, codes) = &row.inject;
        command.env("KEEPER_BACKREST_BINARY", &fake);
        change(&mut command);
        command.arg(format!("--backrest.binary={}", fake.display()));
        let ended = run(&mut command);
        assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{ended:?}");
        assert!(codes != &[2] || ended.stderr.contains("soon"), "{ended:?}");
    }
}
