//! Files from outside that are something else, cut off, or not there.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::exporter::{Exporter, Injection, Told, hold, remove};
use super::{Elsewhere, Group, Row};

const REFUSED: &str = "the reload is refused, and the configuration before it stays in effect";
const GOES_ON: &str = "collection goes on, and no setting is made up";
const WEB: &str = "web.yml";
const CONF: &str = "pgbackrest.conf";

static ROWS: [Row<Injection>; 21] = [
    web("The web configuration becomes a FIFO", |it| fifo(it, WEB)),
    web("The web configuration becomes a directory", |it| directory(it, WEB)),
    web("The web configuration becomes an endless device", |it| link(it, WEB, "/dev/zero")),
    web("The web configuration becomes a link to itself", |it| link(it, WEB, WEB)),
    web("The web configuration becomes a link to nowhere", |it| link(it, WEB, "/nonexistent")),
    web("The web configuration disappears", |it| remove(&it.path(WEB))),
    web("The web configuration has two megabytes", |it| it.write(WEB, "#".repeat(2 << 20))),
    web("The web configuration is binary", |it| it.write(WEB, (0..=255).collect::<Vec<u8>>())),
    web("The web configuration is cut in the middle of a key", |it| it.write(WEB, "http_server_con")),
    web("The web configuration is a YAML bomb", |it| it.write(WEB, bomb())),
    web("The web configuration nests a hundred thousand times", |it| it.write(WEB, "[".repeat(100_000))),
    web("The web configuration names a certificate that is a FIFO", |it| {
        fifo(it, "server.crt");
        it.write(WEB, "tls_server_config:\n  cert_file: server.crt\n  key_file: server.crt\n");
    }),
    web("The web configuration turns TLS on while the program runs", |it| {
        it.write(WEB, "tls_server_config:\n  cert_file: none.crt\n  key_file: none.key\n");
    }),
    conf("`pgbackrest.conf` becomes a FIFO", |it| fifo(it, CONF)),
    conf("`pgbackrest.conf` becomes a directory", |it| directory(it, CONF)),
    conf("`pgbackrest.conf` becomes an endless device", |it| link(it, CONF, "/dev/zero")),
    conf("`pgbackrest.conf` becomes a link to itself", |it| link(it, CONF, CONF)),
    conf("`pgbackrest.conf` disappears", |it| remove(&it.path(CONF))),
    conf("`pgbackrest.conf` has twenty megabytes", |it| it.write(CONF, "[global]\n".repeat(20 << 17))),
    conf("`pgbackrest.conf` is binary", |it| {
        it.write(CONF, (0..=255).cycle().take(10_000).collect::<Vec<u8>>());
    }),
    conf("`pgbackrest.conf` has no line breaks but NUL", |it| it.write(CONF, "[global]\0repo1-type=posix\0")),
];

const fn web(fault: &'static str, inject: fn(&Exporter)) -> Row<Injection> {
    Row { fault, holds: REFUSED, inject: Injection(inject, Told::Refused) }
}

const fn conf(fault: &'static str, inject: fn(&Exporter)) -> Row<Injection> {
    Row { fault, holds: GOES_ON, inject: Injection(inject, Told::Known) }
}

/// Nine levels of nine aliases each.
pub(crate) fn bomb() -> Vec<u8> {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", [alias.as_str(); 9].join(", ")).unwrap();
    }
    text.into()
}

fn fifo(exporter: &Exporter, name: &str) {
    remove(&exporter.path(name));
    mkfifo(&exporter.path(name), Mode::S_IRWXU).unwrap();
}

fn directory(exporter: &Exporter, name: &str) {
    remove(&exporter.path(name));
    fs::create_dir(exporter.path(name)).unwrap();
}

fn link(exporter: &Exporter, name: &str, to: &str) {
    remove(&exporter.path(name));
    symlink(to, exporter.path(name)).unwrap();
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "The web configuration is no file at the start, for each command that reads one",
        "it ends with the reason",
        "host::hangs::a_web_configuration_that_is_no_file_is_refused_at_start",
    ),
    Elsewhere(
        "The web configuration is a FIFO, and is reloaded without end",
        "collection goes on, and there is no thread for each reload",
        "host::hangs::a_web_configuration_that_becomes_a_fifo_holds_nothing_up",
    ),
    Elsewhere(
        "Every mistake in a web configuration that we know of",
        "it is refused with file, line and reason",
        "web::config::bad_configurations_are_refused_with_file_line_and_reason",
    ),
    Elsewhere(
        "pgBackRest's configuration cannot be read",
        "the page says so",
        "web::page::a_configuration_that_cannot_be_read_is_said",
    ),
    Elsewhere(
        "A file system that does not answer",
        "it costs one thread, and not one for each attempt",
        "crate::files::tests::work_that_hangs_is_not_begun_again",
    ),
    Elsewhere(
        "Records of restore tests or verifications are removed, changed, copied or added",
        "`verify-records` tells which, the next record does not hide it, and so says another implementation",
        "host::evidence::a_record_that_is_removed_changed_or_added_is_noticed",
    ),
    Elsewhere(
        "A record has been signed with another key, or its signature is that of another record",
        "it is not accepted, and not by another implementation either",
        "host::evidence::signed_records_are_verified_by_another_implementation",
    ),
    Elsewhere(
        "A record is hostile: no envelope, an endless one, or one of something else",
        "it is told, and costs no other record",
        "host::evidence::hostile_files_are_refused_and_cost_no_other",
    ),
    Elsewhere(
        "The program is killed after it wrote a record, and before it noted it as the newest",
        "the chain is whole",
        "crate::source::proof_writer::tests::a_writer_that_was_killed_breaks_no_chain",
    ),
    Elsewhere(
        "Several programs write records at once",
        "they take turns, and the chain of each repository is whole",
        "host::evidence::records_are_numbered_in_turn_by_writers_of_all_kinds_and_stanzas",
    ),
    Elsewhere(
        "The signing key is no key, of another type, or readable for everybody",
        "nothing begins, and the key is not told",
        "host::evidence::keys_that_cannot_be_used_are_refused_before_anything_is_done",
    ),
    Elsewhere(
        "Files of the repository are missing, broken or unreadable",
        "what broke is told, and nothing else is",
        "host::trouble::trouble_of_the_installed_version",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Files", &ROWS, ELSEWHERE)
}

#[test]
fn files_hold_nothing_up() {
    hold(&ROWS, &["--collect.timeout=1m", "--web.config.file=DIR/web.yml"]);
}
