//! Secrets in the wrong place, which nothing may print.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::exporter::Context;
use super::program::{limited, run};
use super::{Elsewhere, Group, Row};
use crate::host::fake::script;

/// Prepares a command of ours in a directory with a fake pgBackRest. Its output must have the second, and never the secret.
pub(crate) struct Planted(fn(&Path, &mut Command), &'static str);

/// Nothing that a message could contain otherwise.
const SECRET: &str = "Hunter2+not/harmless==";

const HIDDEN: &str = "the message says where, and not what";

static ROWS: [Row<Planted>; 10] = [
    row(
        "A password in place of its hash in the web configuration",
        "web.yml:2: basic_auth_users",
        |at, it| {
            web(at, it, &format!("basic_auth_users:\n  alice: {SECRET}\n"));
        },
    ),
    row("A part of a hash that is taken for a user", "web.yml:1: basic_auth_users", |at, it| {
        web(at, it, &format!("basic_auth_users: {{alice: a, {SECRET}}}\n"));
    }),
    row(
        "A private key in place of the name of its file",
        "web.yml:3: tls_server_config.key_file",
        |at, it| {
            fs::write(at.join("server.crt"), "").unwrap();
            web(at, it, &format!("tls_server_config:\n  cert_file: server.crt\n  key_file: {SECRET}\n"));
        },
    ),
    row("A password as the only entry of a list of users", "web.yml", |at, it| {
        web(at, it, &format!("basic_auth_users:\n  - {SECRET}\n"));
    }),
    row("A private key that is cut off in the web configuration", "tls_server_config", |at, it| {
        web(
            at,
            it,
            &format!("tls_server_config:\n  key: |\n    -----BEGIN PRIVATE KEY-----\n    {SECRET}\n"),
        );
    }),
    row("A quote too many behind a password in the web configuration", "web.yml", |at, it| {
        web(at, it, &format!("basic_auth_users:\n  alice: \"{SECRET}\"\"\n"));
    }),
    row("A kubeconfig with a token that is no YAML behind it", "kubeconfig", |at, it| {
        kubeconfig(at, it, &format!("users:\n- name: a\n  user:\n    token: {SECRET}\n  }}"));
    }),
    row("A kubeconfig with a token as its only key", "kubeconfig", |at, it| {
        kubeconfig(at, it, &format!("{SECRET}\n"));
    }),
    row("A passphrase in an environment variable that is not listed", "[]", |_, it| {
        it.args(["info", "--output=json"]).env("PGBACKREST_REPO1_CIPHER_PASS", SECRET).env("SECRET", SECRET);
    }),
    row("A line of `pgbackrest.conf` that is nothing but a passphrase", "stanza", |at, it| {
        let file = at.join("pgbackrest.conf");
        fs::write(&file, format!("[global]\n{SECRET}\nrepo1-retention-full={SECRET}\n")).unwrap();
        it.args(["info", "--output=json"]).arg(format!("--backrest.config={}", file.display()));
    }),
];

const fn row(fault: &'static str, told: &'static str, prepare: fn(&Path, &mut Command)) -> Row<Planted> {
    Row { fault, holds: HIDDEN, inject: Planted(prepare, told) }
}

fn web(directory: &Path, command: &mut Command, text: &str) {
    let file = directory.join("web.yml");
    fs::write(&file, text).unwrap();
    command
        .args(["exporter", "--web.listen-address=127.0.0.1:0"])
        .arg(format!("--web.config.file={}", file.display()));
}

fn kubeconfig(directory: &Path, command: &mut Command, text: &str) {
    let file = directory.join("kubeconfig");
    fs::write(&file, text).unwrap();
    command.args(["info", "--namespaces=shop"]).arg(format!("--kubeconfig={}", file.display()));
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "URLs and keys in the wrong places of the configuration of notifications",
        HIDDEN,
        "host::notifications::refused::what_cannot_be_used_is_refused_without_its_secrets",
    ),
    Elsewhere(
        "Secrets in more than fifty places of pgBackRest's configuration, with the newest version",
        "no output has one",
        "host::secrets::the_newest_version_gives_no_secret_away",
    ),
    Elsewhere(
        "The same with the installed version",
        "no output has one",
        "host::secrets::the_installed_version_gives_no_secret_away",
    ),
    Elsewhere(
        "The same with a version in between",
        "no output has one",
        "host::secrets::a_version_in_between_gives_no_secret_away",
    ),
    Elsewhere(
        "The same in the pod of a job",
        "no log and message has one",
        "jobs::pgbackrest::a_job_gives_no_secret_away",
    ),
    Elsewhere(
        "Secrets in each field of a manifest",
        "`lint` prints none",
        "golden::lint::no_secret_of_a_manifest_is_printed",
    ),
    Elsewhere(
        "A Secret beside a manifest",
        "`render` neither takes nor makes one",
        "golden::render::secrets_are_neither_taken_nor_made",
    ),
    Elsewhere(
        "An API server quotes a Secret",
        "it is not told",
        "kubernetes::apply_faults::what_is_said_about_a_secret_is_not_told",
    ),
    Elsewhere(
        "A password of a proxy",
        "it is not told",
        "kubernetes::client::the_password_of_a_proxy_is_not_told",
    ),
    Elsewhere(
        "A credential plugin prints a token and fails",
        "it is not told",
        "kubernetes::client::what_a_credential_plugin_printed_is_not_told",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Secrets", &ROWS, ELSEWHERE)
}

#[test]
fn nothing_prints_a_secret() {
    for row in &ROWS {
        let _context = Context(row.fault);
        let Some(mut command) = limited("nothing_prints_a_secret") else { return };
        let directory = tempfile::tempdir().unwrap();
        // It tells its environment where nobody can oversee it.
        let told = "case \"$*\" in *version*) echo pgBackRest 2.60.0 ;; *) env >&2; echo '[]' ;; esac";
        let fake = script(directory.path(), "pgbackrest", told);
        let Planted(prepare, told) = &row.inject;
        command.env("KEEPER_BACKREST_BINARY", &fake).env("KEEPER_LOG_LEVEL", "debug");
        prepare(directory.path(), &mut command);
        let ended = run(&mut command);
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert!(all.contains(told), "{}: {told:?} is not in {all}", row.fault);
        assert!(!all.contains("Hunter2") && !all.contains("harmless"), "{}: {all}", row.fault);
    }
}
