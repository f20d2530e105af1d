//! A `pgbackrest` that misbehaves as a process.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::process::{is_alive, wait_for};

use super::exporter::{Exporter, Injection, Told, hold, remove};
use super::{Elsewhere, Group, Row};

const STAYS: &str = "the call has failed; what was known stays";
const IN_TIME: &str = "the call ends at its timeout, with all of its processes; what was known stays";

const DAEMON_ENDS: &str = "the answer counts, and the daemon is ended";

const IN_SESSION: &str = "setsid \"$@\"";
const WITHOUT_PARENT: &str = "setsid sh -c '\"$@\" & :' sh \"$@\"";
const WITHOUT_ENVIRONMENT: &str = "env -i \"PATH=$PATH\" setsid \"$@\"";
const WITH_CHILD: &str = "setsid sh -c 'setsid \"$@\" & exec sleep 600' sh \"$@\"";

static ROWS: [Row<Injection>; 28] = [
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
        DAEMON_ENDS,
        |it| it.info(&leave(&[IN_SESSION])),
        Told::Usual,
    ),
    row(
        "It answers, and leaves a daemon whose parent has ended",
        DAEMON_ENDS,
        |it| it.info(&leave(&[WITHOUT_PARENT])),
        Told::Usual,
    ),
    row(
        "It answers, and leaves a daemon that has cleared its environment",
        DAEMON_ENDS,
        |it| it.info(&leave(&[WITHOUT_ENVIRONMENT])),
        Told::Usual,
    ),
    row(
        "It answers, and leaves a daemon with a child in another session",
        DAEMON_ENDS,
        |it| it.info(&leave(&[WITH_CHILD])),
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

/// Starts daemons in these ways, waits for them, and answers.
fn leave(ways: &[&str]) -> String {
    format!("{}\nexec cat \"${{0%/*}}/document\"", start_daemons("$$", ways))
}

fn start_daemons(name: &str, ways: &[&str]) -> String {
    let start = |(index, way): (usize, &&str)| {
        format!(
            "set -- \"${{0%/*}}/daemon\" \"${{0%/*}}/{name}.{index}.daemon\"\n{way} >/dev/null 2>&1 &\n\
             until [ -s \"$2\" ]; do sleep 0.01; done\n"
        )
    };
    ways.iter().enumerate().map(start).collect()
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "A call leaves daemons, and another one that has some is still running",
        "those of the first are ended at once, and those of the other after it",
        "faults::processes::daemons_end_with_their_own_call",
    ),
    Elsewhere(
        "A call leaves daemons, and the exporter is the first process of a container",
        "they are ended",
        "faults::processes::the_first_process_of_a_container_ends_daemons",
    ),
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

#[test]
fn daemons_end_with_their_own_call() {
    const WAYS: [&str; 4] = [IN_SESSION, WITHOUT_PARENT, WITH_CHILD, WITHOUT_ENVIRONMENT];
    let exporter = Exporter::start(&["--backrest.stanza-include=demo,slow", "--collect.timeout=1h"]);
    // Of one collection both calls are as here, or none: its first call is for the version.
    exporter.info(&format!(
        "[ -e \"${{0%/*}}/on\" ] || exec cat \"${{0%/*}}/document\"\n\
         case \"$*\" in\n\
         *stanza=slow*)\n{}until [ -e \"${{0%/*}}/end\" ]; do sleep 0.01; done ;;\n\
         *)\nfor i in 0 1 2 3; do until [ -s \"${{0%/*}}/slow.$i.daemon\" ]; do sleep 0.01; done; done\n{} ;;\n\
         esac\n\
         exec cat \"${{0%/*}}/document\"",
        start_daemons("slow", &WAYS),
        // To whom one without a mark belongs is not known before all calls are over.
        start_daemons("quick", &WAYS[..3]),
    ));
    exporter.print_changed(|document| {
        let stanzas = document.as_array_mut().unwrap();
        let mut slow = stanzas[0].clone();
        slow["name"] = "slow".into();
        stanzas.push(slow);
    });
    exporter.write("version", "touch \"${0%/*}/on\"; echo 'pgBackRest 2.60.0'");
    exporter.until("the end of the daemons of one call", |_| {
        let daemons = exporter.daemons("quick");
        (daemons.len() == 3 && !daemons.into_iter().any(is_alive)).then_some(())
    });
    let others = exporter.daemons("slow");
    assert!(others.len() == 4 && others.iter().all(|daemon| is_alive(*daemon)), "{}", exporter.log());
    exporter.write("info", "exec cat \"${0%/*}/document\"");
    exporter.write("end", "");
    wait_for("the end of all daemons, and no zombies", || {
        (exporter.children().is_empty() && !others.iter().any(|daemon| is_alive(*daemon))).then_some(())
    });
    exporter.until("more collections", |samples| {
        (samples.find("pgbackrest_collector_up", &[("stanza", "slow")]) == Some(1.0)).then_some(())
    });
    exporter.stop();
}

#[test]
fn the_first_process_of_a_container_ends_daemons() {
    let exporter = Exporter::start_in(&["unshare", "--pid", "--fork", "--mount-proc", "--"], &[]);
    exporter.info(&leave(&[IN_SESSION, WITHOUT_PARENT, WITH_CHILD]));
    exporter.until("daemons", |_| (exporter.daemons("").len() >= 3).then_some(()));
    exporter.info("exec cat \"${0%/*}/document\"");
    let container = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let here = container(&exporter.id().to_string()).unwrap();
    wait_for("the first process to be the only one", || {
        let all = procfs::process::all_processes().unwrap().filter_map(Result::ok);
        let inside = all.filter(|process| container(&process.pid.to_string()).as_ref() == Some(&here));
        (inside.count() == 1 && exporter.children().is_empty()).then_some(())
    });
    exporter.stop();
}
