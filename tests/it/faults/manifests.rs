//! Manifests that are no manifests, or far too many, for `lint` and `render`.

use std::process::Command;
use std::thread;

use super::exporter::Context;
use super::files::bomb;
use super::program::{Ended, input, limited, run};
use super::{Elsewhere, Group, Row};

/// What is on standard input, and how both commands end.
pub(crate) struct Manifest(fn() -> Vec<u8>, Ends);

#[derive(Clone, Copy)]
enum Ends {
    /// 2: it is of no use; the message says so.
    Unusable(&'static str),
    /// 1: with this finding, and nothing is rendered.
    Finding(&'static str),
}

const REFUSED: &str = "it is refused with a short reason (exit code 2)";
const FOUND: &str = "a finding says so (exit code 1), and nothing is rendered";

static ROWS: [Row<Manifest>; 25] = [
    unusable("Nothing", "no resource", Vec::new),
    unusable("NUL bytes", "", || vec![0; 100_000]),
    unusable("A byte order mark alone", "", || "\u{feff}".into()),
    unusable("UTF-16", "", || good().encode_utf16().flat_map(u16::to_le_bytes).collect()),
    unusable("Invalid UTF-8 in the last line", "line", || [good().as_bytes(), b"# \xff\n"].concat()),
    unusable("Nine megabytes", "larger than 8 MiB", || vec![b'\n'; 9 << 20]),
    unusable("Seven megabytes of one scalar", "", || format!("a: {}", "x".repeat(7 << 20)).into()),
    unusable("A hundred thousand opening brackets", "", || vec![b'['; 100_000]),
    unusable("A hundred thousand opening braces", "", || vec![b'{'; 100_000]),
    unusable("A hundred thousand nested list entries", "", || "- ".repeat(100_000).into()),
    unusable("Maps in maps, each line deeper", "", deeper),
    unusable("Two hundred thousand documents", "", || "---\na\n".repeat(200_000).into()),
    unusable("A million empty documents", "", || "---\n".repeat(1_000_000).into()),
    unusable("Nine levels of aliases with nine each (a YAML bomb)", "", bomb),
    unusable("An alias of itself", "", || "a: &a [*a]\n".into()),
    unusable("An alias of nothing", "", || "a: *a\n".into()),
    unusable("A map as the key of a map", "", || "{? {a: b} : c}\n".into()),
    unusable("Tabs as indentation", "", || good().replace("  ", "\t").into()),
    unusable("A key twice", "", || format!("{}  teamId: a\n  teamId: b\n", good()).into()),
    unusable("A resource of another kind", "no resource", || {
        good().replace("kind: postgresql", "kind: mysql").into()
    }),
    found("A name that leads to another directory", "name", || {
        good().replace("name: demo", "name: ../../demo").into()
    }),
    unusable("A number beyond all numbers", "finite", || {
        good().replace("numberOfInstances: 2", "numberOfInstances: 1e999").into()
    }),
    found("Fewer than no instances", "", || {
        good().replace("numberOfInstances: 2", "numberOfInstances: -1").into()
    }),
    found("Line breaks in an option of pgBackRest", "global", || {
        good()
            .replace("global: {", "global: {repo1-path: \"/a\\n[global:backup]\\nrepo1-host-cmd=x\", ")
            .into()
    }),
    unusable("A hundred thousand repositories", "too large", || {
        let repos = "        - {name: repo9, storage: pvc}\n".repeat(100_000);
        good().replace("        - {name: repo1", &format!("{repos}        - {{name: repo1")).into()
    }),
];

const fn unusable(fault: &'static str, reason: &'static str, input: fn() -> Vec<u8>) -> Row<Manifest> {
    Row { fault, holds: REFUSED, inject: Manifest(input, Ends::Unusable(reason)) }
}

const fn found(fault: &'static str, field: &'static str, input: fn() -> Vec<u8>) -> Row<Manifest> {
    Row { fault, holds: FOUND, inject: Manifest(input, Ends::Finding(field)) }
}

fn good() -> String {
    "apiVersion: cpo.opensource.cybertec.at/v1
kind: postgresql
metadata:
  name: demo
spec:
  numberOfInstances: 2
  backup:
    pgbackrest:
      image: example.com/pgbackrest:1
      global: {repo1-retention-full: \"2\"}
      repos:
        - {name: repo1, storage: pvc, volume: {size: 1Gi}, schedule: {full: \"0 1 * * 0\"}}
"
    .to_owned()
}

fn deeper() -> Vec<u8> {
    (0..2000).flat_map(|depth| [" ".repeat(depth), "a:\n".to_owned()]).collect::<String>().into()
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "What `verify-records` is given is no resource, of another kind, or hostile",
        "it is refused, or its faults are told",
        "host::evidence::exported_resources_that_are_something_else_are_refused",
    ),
    Elsewhere(
        "Each mistake of a resource that we know of",
        "its finding names the field and a remedy",
        "golden::lint::findings_are_as_recorded",
    ),
    Elsewhere(
        "Terminal escapes in every field",
        "no output steers a terminal",
        "host::terminal::manifests_are_shown_without_anything_that_steers_a_terminal",
    ),
    Elsewhere(
        "Resources that cannot be meant, at a real API server with our schema",
        "it refuses them",
        "operator::deploy::server::the_resource_refuses_what_cannot_be_meant",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("YAML and manifests", &ROWS, ELSEWHERE)
}

#[test]
fn manifests_are_refused_in_time_and_memory() {
    let Some(_) = limited("manifests_are_refused_in_time_and_memory") else { return };
    good_ones_are_taken();
    for rows in ROWS.chunks(ROWS.len().div_ceil(2)) {
        thread::scope(|scope| {
            for row in rows {
                scope.spawn(|| hold(row));
            }
        });
    }
}

/// Otherwise a row would show nothing.
fn good_ones_are_taken() {
    for command in ["lint", "render"] {
        let ended = given(command, good().as_bytes());
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

fn given(command: &str, bytes: &[u8]) -> Ended {
    let mut program: Command = limited(command).expect("it was there before");
    run(program.args([command, "-"]).stdin(input(bytes)))
}

fn hold(row: &Row<Manifest>) {
    let _context = Context(row.fault);
    let Manifest(bytes, ends) = &row.inject;
    let bytes = bytes();
    for command in ["lint", "render"] {
        let ended = given(command, &bytes);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        let (code, words) = match ends {
            Ends::Unusable(words) => (2, words),
            Ends::Finding(words) => (1, words),
        };
        assert_eq!(ended.code, Some(code), "{command}: {told:.2000}");
        assert!(told.contains(words) && !told.is_empty(), "{command} does not say {words:?}: {told:.2000}");
        assert!(code == 1 || ended.stderr.len() < 1000, "{command}: {told:.2000}");
        assert!(
            command == "lint" || ended.stdout.is_empty(),
            "something is rendered: {:.2000}",
            ended.stdout
        );
    }
}
