//! A `pgbackrest info` that prints what it should not.

use serde_json::json;

use super::exporter::{Exporter, Injection, Told, hold};
use super::{Elsewhere, Group, Row};
use crate::support::exposition::Samples;

const STAYS: &str = "the call has failed; what was known stays";
const COUNTS: &str = "the answer counts";
const PARSE: Told = Told::Failure("parse");

static ROWS: [Row<Injection>; 36] = [
    row("The document is cut in the middle", STAYS, |it| it.print(part(it, 2)), PARSE),
    row(
        "The last byte is missing",
        STAYS,
        |it| it.print(&it.usual_document()[..it.usual_document().len() - 1]),
        PARSE,
    ),
    row("Nothing but white space", STAYS, |it| it.print(" \n\t\n"), PARSE),
    row("`null`", STAYS, |it| it.print("null"), PARSE),
    row("An object in place of the list", STAYS, |it| it.print("{\"name\":\"demo\"}"), PARSE),
    row("An empty list, although the stanza was there", STAYS, |it| it.print("[]"), PARSE),
    row("A list of numbers", STAYS, |it| it.print("[1,2,3]"), PARSE),
    row("A page of HTML, as from a proxy", STAYS, |it| it.print("<html><body>502</body></html>"), PARSE),
    row("UTF-16", STAYS, |it| it.print(utf16(it)), PARSE),
    row("A hundred thousand opening brackets", STAYS, |it| it.print("[".repeat(100_000)), PARSE),
    row(
        "A hundred thousand opening objects",
        STAYS,
        |it| it.print(format!("[{}", "{\"backup\":".repeat(100_000))),
        PARSE,
    ),
    row("A comma too many", STAYS, |it| it.print(text(it).replace("}]", "},]")), PARSE),
    row(
        "A byte order mark in front",
        STAYS,
        |it| it.print(["\u{feff}".as_bytes(), &it.usual_document()].concat()),
        PARSE,
    ),
    row(
        "A megabyte of warnings in front",
        COUNTS,
        |it| it.print(format!("{}{}", "WARN: something is odd\n".repeat(45_000), text(it))),
        Told::Usual,
    ),
    row(
        "Ten megabytes of white space in front",
        COUNTS,
        |it| it.print(" ".repeat(10 << 20) + &text(it)),
        Told::Usual,
    ),
    row(
        "NUL, raw line breaks and escapes in a message",
        COUNTS,
        |it| it.print(text(it).replace("\"message\":\"ok\"", "\"message\":\"o\0\n\u{1b}[2Jk\"")),
        Told::Usual,
    ),
    row("Invalid UTF-8 in a message", COUNTS, |it| it.print(with_invalid_utf8(it)), Told::Usual),
    row(
        "A lone surrogate in a message",
        STAYS,
        |it| it.print(text(it).replace("\"message\":\"ok\"", "\"message\":\"\\ud800\"")),
        PARSE,
    ),
    row(
        "Unknown fields, nested a thousand times",
        "the stanza is read without them or not at all; what was known stays",
        |it| {
            it.print(text(it).replacen(
                '{',
                &format!("{{\"new\":{}{},", "[".repeat(1000), "]".repeat(1000)),
                1,
            ));
        },
        Told::That(|samples| assert_eq!(samples.all("pgbackrest_backup_info", &[]).len(), 3)),
    ),
    row(
        "The name of a field twice in a stanza",
        STAYS,
        |it| it.print(text(it).replacen("\"backup\":", "\"backup\":[],\"backup\":", 1)),
        PARSE,
    ),
    row(
        "Sizes beyond 64 bits",
        "these sizes are unknown, everything else is told",
        |it| it.print_changed(|all| each_backup(all, |backup| backup["info"]["size"] = json!(1e300))),
        Told::That(sizes_are_unknown),
    ),
    row(
        "Negative sizes",
        "these sizes are unknown, everything else is told",
        |it| it.print_changed(|all| each_backup(all, |backup| backup["info"]["size"] = json!(-1))),
        Told::That(sizes_are_unknown),
    ),
    row(
        "Text in place of sizes",
        "these sizes are unknown, everything else is told",
        |it| it.print_changed(|all| each_backup(all, |backup| backup["info"]["size"] = json!("large"))),
        Told::That(sizes_are_unknown),
    ),
    row(
        "`null` in place of every list of a stanza",
        "nothing is made up, and no backup is told",
        |it| {
            it.print_changed(|all| {
                for list in ["archive", "backup", "db"] {
                    all[0][list] = json!(null);
                }
            });
        },
        Told::That(|samples| assert!(samples.all("pgbackrest_backup_info", &[]).is_empty())),
    ),
    row(
        "Two backups with the same label",
        "no series is there twice",
        |it| it.print_changed(|all| double(&mut all[0]["backup"])),
        Told::That(once),
    ),
    row(
        "The same repository twice",
        "no series is there twice",
        |it| it.print_changed(|all| double(&mut all[0]["repo"])),
        Told::That(once),
    ),
    row(
        "The same database twice",
        "no series is there twice",
        |it| it.print_changed(|all| double(&mut all[0]["db"])),
        Told::That(once),
    ),
    row(
        "The same archive twice",
        "no series is there twice",
        |it| it.print_changed(|all| double(&mut all[0]["archive"])),
        Told::That(once),
    ),
    row("The same stanza twice", "no series is there twice", |it| it.print_changed(double), Told::That(once)),
    row(
        "Another stanza without a name",
        "the named one is told as always",
        |it| {
            it.print_changed(|all| {
                all.as_array_mut().unwrap().push(json!({"backup": [], "status": {"code": 0}}));
            });
        },
        Told::That(|samples| {
            assert_eq!(samples.all("pgbackrest_backup_info", &[("stanza", "demo")]).len(), 3);
        }),
    ),
    row(
        "Another stanza that is no object",
        "the named one is told as always",
        |it| it.print_changed(|all| all.as_array_mut().unwrap().push(json!("demo"))),
        Told::That(|samples| {
            assert_eq!(samples.all("pgbackrest_backup_info", &[("stanza", "demo")]).len(), 3);
        }),
    ),
    row(
        "A backup without a time, type and label",
        "the others are told as always",
        |it| it.print_changed(|all| all[0]["backup"].as_array_mut().unwrap().push(json!({}))),
        Told::That(|samples| {
            assert_eq!(samples.all("pgbackrest_backup_info", &[("stanza", "demo")]).len(), 3);
        }),
    ),
    row(
        "Quotes, line breaks and braces in a label of a backup",
        "the metrics stay well-formed, and their values as they are",
        |it| it.print_changed(|all| all[0]["backup"][0]["label"] = json!("x\"} 1\npgbackrest_up 1\\")),
        Told::That(|samples| {
            assert!(samples.find("pgbackrest_up", &[]).is_none());
            once(samples);
        }),
    ),
    row(
        "A name of a stanza with a million letters",
        "it is bounded everywhere, and metrics stay well-formed",
        |it| it.print_changed(|all| all.as_array_mut().unwrap().push(json!({"name": "x".repeat(1_000_000)}))),
        Told::That(|samples| {
            assert_eq!(samples.all("pgbackrest_backup_info", &[("stanza", "demo")]).len(), 3);
        }),
    ),
    row(
        "A status with a code that no version has",
        "the state is no good one",
        |it| it.print_changed(|all| all[0]["repo"][0]["status"]["code"] = json!(-7)),
        Told::That(|samples| {
            samples.assert("pgbackrest_repo_up", &[("stanza", "demo"), ("repo_key", "1")], 0.0);
        }),
    ),
    row(
        "A key of a repository beyond 64 bits",
        "nothing is made up",
        |it| it.print(text(it).replace("\"repo-key\":1}", "\"repo-key\":99999999999999999999}")),
        Told::That(once),
    ),
];

const fn row(fault: &'static str, holds: &'static str, inject: fn(&Exporter), told: Told) -> Row<Injection> {
    Row { fault, holds, inject: Injection(inject, told) }
}

fn text(exporter: &Exporter) -> String {
    String::from_utf8(exporter.usual_document()).unwrap()
}

fn part(exporter: &Exporter, parts: usize) -> Vec<u8> {
    let mut document = exporter.usual_document();
    document.truncate(document.len() / parts);
    document
}

fn utf16(exporter: &Exporter) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text(exporter).encode_utf16().collect::<Vec<u16>>());
    units.flat_map(u16::to_le_bytes).collect()
}

fn with_invalid_utf8(exporter: &Exporter) -> Vec<u8> {
    let text = text(exporter);
    let at = text.find("\"message\":\"ok\"").unwrap() + 11;
    [&text.as_bytes()[..at], b"\xff\xfe\xc3", &text.as_bytes()[at..]].concat()
}

fn each_backup(document: &mut serde_json::Value, change: impl Fn(&mut serde_json::Value)) {
    document[0]["backup"].as_array_mut().unwrap().iter_mut().for_each(change);
}

fn double(list: &mut serde_json::Value) {
    let list = list.as_array_mut().unwrap();
    list.extend(list.clone());
}

fn once(samples: &Samples) {
    assert!(samples.twice().is_empty(), "{:?}", samples.twice());
}

fn sizes_are_unknown(samples: &Samples) {
    assert_eq!(samples.all("pgbackrest_backup_info", &[("stanza", "demo")]).len(), 3);
    let sizes = samples.all("pgbackrest_repo_backup_last_database_bytes", &[]);
    assert!(sizes.is_empty(), "{sizes:?}");
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "An answer that does not mention what was asked for",
        "it is no answer; the call has failed",
        "host::collection::an_answer_without_its_subject_is_a_failure",
    ),
    Elsewhere(
        "One repository of two has the wrong passphrase, and its message breaks the JSON",
        "the other is told as always",
        "host::trouble::trouble_of_the_newest_version",
    ),
    Elsewhere(
        "Anything at all, changed at random: ten kinds of text from outside",
        "no panic, nothing that contradicts itself, no secret in a message",
        "fuzz::whatever_comes_from_outside_breaks_no_promise",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Documents", &ROWS, ELSEWHERE)
}

#[test]
fn documents_tell_no_lies() {
    hold(&ROWS, &["--collect.timeout=1m"]);
}
