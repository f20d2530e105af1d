//! A `pgbackrest` that misbehaves as a process.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::exporter::{Exporter, Injection, Told, hold, remove};
use super::{Elsewhere, Group, Row};

const STAYS: &str = "the call has failed; what was known stays";
const IN_TIME: &str = "the call ends at its timeout, with all of its processes; what was known stays";

static ROWS: [Row<Injection>; 25] = [
    row("It ends with exit code 0 and prints nothing", STAYS, |it| it.info("exit 0"), Told::Failure("parse")),
    row(
        "It ends with an exit code that pgBackRest does not have",
        STAYS,
        |it| it.info("exit 255"),
        Told::Failure("exit"),
    ),
    row(
        "It prints a whole document and ends with exit code 1",
        STAYS,
        |it| it.info("cat \"${0%/*}/document\"; exit 1"),
        Told::Failure("exit"),
    ),
    row(
        "SIGKILL ends it, as for lack of memory",
        STAYS,
        |it| it.info("kill -KILL $$"),
        Told::Failure("killed"),
    ),
    row("It crashes by SIGSEGV", STAYS, |it| it.info("kill -SEGV $$"), Told::Failure("killed")),
    row("It ends itself by SIGTERM", STAYS, |it| it.info("kill -TERM $$"), Told::Failure("killed")),
    row("It never ends", IN_TIME, |it| it.info("exec sleep 600"), Told::Failure("timeout")),
    row(
        "It closes its outputs and goes on",
        IN_TIME,
        |it| it.info("exec sleep 600 >&- 2>&-"),
        Told::Failure("timeout"),
    ),
    row(
        "It prints a byte now and then",
        IN_TIME,
        |it| it.info("while :; do printf ' '; sleep 0.05; done"),
        Told::Failure("timeout"),
    ),
    row(
        "It ignores SIGTERM",
        "it is killed after a grace period; what was known stays",
        |it| it.info("trap '' TERM HUP INT; while :; do sleep 1; done"),
        Told::Failure("timeout"),
    ),
    row("It stops itself by SIGSTOP", IN_TIME, |it| it.info("kill -STOP $$"), Told::Failure("timeout")),
    row(
        "Its children hang, and it waits for them",
        IN_TIME,
        |it| it.info("for i in 1 2 3 4 5; do sleep 600 & done; wait"),
        Told::Failure("timeout"),
    ),
    row(
        "It floods standard error",
        "it is killed at a limit; what was known stays",
        |it| {
            it.info("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done >&2");
        },
        Told::Failure("output_too_large"),
    ),
    row(
        "It answers, and a child keeps its output open",
        "the answer counts, and the child is ended",
        |it| it.info("cat \"${0%/*}/document\"; sleep 600 &"),
        Told::Usual,
    ),
    row(
        "It answers, and leaves a child in a session of its own",
        "the answer counts, and the child is ended when the exporter stops",
        |it| it.info("setsid sleep 600 >/dev/null 2>&1 & exec cat \"${0%/*}/document\""),
        Told::Usual,
    ),
    row(
        "It leaves a hundred zombies and orphans",
        "the answer counts, and nothing of them is left",
        |it| {
            it.info("i=0; while [ $i -lt 100 ]; do (sleep 0.01 &) ; i=$((i+1)); done; exec cat \"${0%/*}/document\"");
        },
        Told::Usual,
    ),
    row(
        "It writes warnings beyond a pipe's size before it answers",
        "the answer counts",
        |it| {
            it.info("i=0; while [ $i -lt 400 ]; do echo 'WARN: something'; i=$((i+1)); done; exec cat \"${0%/*}/document\"");
        },
        Told::Usual,
    ),
    row("The program is not there", STAYS, |it| remove(&it.path("pgbackrest")), Told::Failure("spawn")),
    row(
        "The program may not be executed",
        STAYS,
        |it| fs::set_permissions(it.path("pgbackrest"), fs::Permissions::from_mode(0o644)).unwrap(),
        Told::Failure("spawn"),
    ),
    row(
        "The program is a directory",
        STAYS,
        |it| {
            remove(&it.path("pgbackrest"));
            fs::create_dir(it.path("pgbackrest")).unwrap();
        },
        Told::Failure("spawn"),
    ),
    row(
        "The program is a link to itself",
        STAYS,
        |it| {
            remove(&it.path("pgbackrest"));
            symlink("pgbackrest", it.path("pgbackrest")).unwrap();
        },
        Told::Failure("spawn"),
    ),
    row(
        "The program is cut off, as by a full disk",
        STAYS,
        |it| {
            remove(&it.path("pgbackrest"));
            fs::write(it.path("pgbackrest"), "\u{7f}ELF\u{2}\u{1}\u{1}").unwrap();
            fs::set_permissions(it.path("pgbackrest"), fs::Permissions::from_mode(0o755)).unwrap();
        },
        Told::Failure("spawn"),
    ),
    row(
        "The program is being written (text file busy)",
        "the call fails or counts, as the kernel has it; what was known stays",
        |it| it.keep_open(OpenOptions::new().append(true).open(it.path("pgbackrest")).unwrap()),
        Told::Known,
    ),
    row(
        "The version is no version",
        "backups are told as always",
        |it| it.write("version", "printf 'pgBackRest \\377\\033[2J two'"),
        Told::Usual,
    ),
    row(
        "The version cannot be asked for",
        "backups are told as always",
        |it| it.write("version", "exit 3"),
        Told::Usual,
    ),
];

const fn row(fault: &'static str, holds: &'static str, inject: fn(&Exporter), told: Told) -> Row<Injection> {
    Row { fault, holds, inject: Injection(inject, told) }
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "Its output has no end",
        "it is killed at a limit",
        "host::process_limits::endless_output_is_cut_at_the_cap",
    ),
    Elsewhere(
        "The exporter ends while pgBackRest hangs",
        "the end comes in time, and takes all processes along",
        "host::exporter::a_hung_collection_does_not_delay_the_end",
    ),
    Elsewhere(
        "Processes have left the group when the exporter ends",
        "they end with it",
        "host::process_limits::what_a_call_left_behind_ends_with_the_program",
    ),
    Elsewhere(
        "One stanza of two hundred hangs",
        "all others are as current as before",
        "host::collection::one_hung_stanza_of_two_hundred_delays_nobody_else",
    ),
    Elsewhere(
        "Everything hangs for longer than facts are kept",
        "facts are dropped, and health is told",
        "host::collection::nothing_but_health_stays_where_everything_hangs_for_too_long",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Hostile processes", &ROWS, ELSEWHERE)
}

#[test]
fn processes_do_no_harm() {
    hold(&ROWS, &["--collect.timeout=1500ms"]);
}
