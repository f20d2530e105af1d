//! The output of `lint`: every manifest in fixtures/clusters against fixtures/findings, and the documents. `UPDATE_GOLDEN=1`
//! regenerates the findings; read the diff before you commit it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pgbackrest_keeper::cluster::finding::codes;

use crate::support::machine::{Pgbackrest, skip};
use crate::support::process::output;

/// The commands that all supported versions have.
const COMMANDS: [&str; 15] = [
    "annotate",
    "archive-get",
    "archive-push",
    "backup",
    "check",
    "expire",
    "info",
    "repo-get",
    "repo-ls",
    "restore",
    "server",
    "stanza-create",
    "stanza-delete",
    "stanza-upgrade",
    "verify",
];

#[test]
fn findings_are_as_recorded() {
    let mut differences = Vec::new();
    let mut expected = BTreeSet::new();
    for name in manifests() {
        let output = lint(&[&format!("fixtures/clusters/{name}.yaml")]);
        let recorded = fixtures().join("findings").join(format!("{name}.txt"));
        differences.extend(compare(&recorded, &told(&output)));
        expected.insert(recorded);
    }
    for entry in fs::read_dir(fixtures().join("findings")).unwrap() {
        let path = entry.unwrap().path();
        assert!(expected.contains(&path), "{} belongs to no manifest; remove it", path.display());
    }
    assert!(differences.is_empty(), "run with UPDATE_GOLDEN=1 if this is right:\n{}", differences.join("\n"));
}

#[test]
fn every_code_is_documented_and_shown() {
    let mut table = String::from("| code | severity | meaning |\n|---|---|---|\n");
    for code in codes::ALL {
        writeln!(table, "| `{}` | {} | {} |", code.word, code.severity.as_str(), code.meaning).unwrap();
    }
    let path = root().join("docs/lint.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once("<!-- codes -->\n").expect("a place for the table");
    let (_, after) = rest.split_once("<!-- /codes -->").expect("the end of the table");
    let wanted = format!("{before}<!-- codes -->\n{table}<!-- /codes -->{after}");
    assert_eq!(compare(&path, &wanted), None, "run with UPDATE_GOLDEN=1");

    let words: BTreeSet<&str> = codes::ALL.iter().map(|code| code.word).collect();
    assert_eq!(words.len(), codes::ALL.len(), "a word stands for two codes");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        // The findings are being written at this moment.
        return;
    }
    let recorded: String =
        manifests().iter().map(|name| read(&fixtures().join(format!("findings/{name}.txt")))).collect();
    let shown = |word: &&str| recorded.lines().any(|line| line.trim_end().ends_with(&format!(" {word}")));
    // These need a Kubernetes API: `validate` notes them when it is told what is there, and the operator while it works.
    let online = [
        "backup-failed",
        "configuration-not-mounted",
        "configuration-not-visible",
        "name-taken",
        "no-primary",
        "object-refused",
        "object-waits",
        "pod-command-failed",
        "primary-missing",
        "removal-not-authorized",
        "repo-host-not-ready",
        "repo-unreachable",
        "secret-missing",
        "server-missing",
        "stanza-foreign",
        "stanza-not-created",
        "storage-class-missing",
        "verification-not-passed",
        "versions-differ",
        "volume-cannot-grow",
        "volume-class-fixed",
        "volume-modes-fixed",
        "volume-shrinks",
    ];
    let unshown: Vec<&str> = words.iter().filter(|word| !shown(word)).copied().collect();
    assert_eq!(unshown, online, "add a manifest to fixtures/clusters that leads to each");
}

#[test]
fn no_secret_of_a_manifest_is_printed() {
    for name in manifests() {
        for format in ["text", "json"] {
            let output = lint(&[&format!("fixtures/clusters/{name}.yaml"), "--output", format]);
            let text = told(&output);
            for secret in [
                "do-not-print",
                "90210",
                "ledger-key-id",
                "ledger-key-secret",
                "ledger-passphrase",
                "PASSPHRASE",
            ] {
                assert!(!text.contains(secret), "{name}: {text}");
            }
        }
    }
}

#[test]
fn the_exit_code_tells_the_outcome() {
    let code = |arguments: &[&str]| lint(arguments).status.code();
    assert_eq!(code(&["fixtures/clusters/pvc.yaml"]), Some(0));
    assert_eq!(code(&["fixtures/clusters/documented_s3.yaml"]), Some(0));
    assert_eq!(code(&["fixtures/clusters/documented_s3.yaml", "--strict"]), Some(1));
    assert_eq!(code(&["fixtures/clusters/pvc.yaml", "fixtures/clusters/storage_unknown.yaml"]), Some(1));
    assert_eq!(code(&["fixtures/clusters/no_such_file.yaml"]), Some(2));
    assert_eq!(code(&[]), Some(2));
}

#[test]
fn json_says_the_same_as_the_text() {
    let output = lint(&["fixtures/clusters/two_clusters.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clusters"][0]["name"], "ledger");
    assert_eq!(report["clusters"][0]["valid"], true);
    assert_eq!(report["clusters"][1]["valid"], false);
    let finding = &report["clusters"][1]["findings"][0];
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["code"], "storage-unknown");
    assert_eq!(finding["field"], "spec.backup.pgbackrest.repos[0].storage");
    assert_eq!(finding["value"], "nfs");
    assert_eq!(report["summary"]["errors"], 1);
}

#[test]
fn standard_input_is_read_and_its_faults_are_told_with_file_and_line() {
    let manifest = read(&fixtures().join("clusters/storage_unknown.yaml"));
    let output = lint_text(manifest.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("stdin: accounts/ledger"));

    let cases: [(&[u8], &str); 5] = [
        (b"a: [1\nb: 2\n", "stdin: line "),
        (b"a: 1\nb: \xff\n", "stdin: line 2: not valid UTF-8"),
        (b"a: 1\na: 2\n", "stdin: line 2: "),
        (b"", "no resource of kind postgresql"),
        (b"&a [*a]", "stdin: line "),
    ];
    for (text, said) in cases {
        let output = lint_text(text);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(lint_text(deep.as_bytes()).status.code(), Some(2));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert_eq!(lint_text(bomb.as_bytes()).status.code(), Some(2));
    let long = "#".repeat(9 << 20);
    let output = lint_text(long.as_bytes());
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("larger than 8 MiB"), "{}", told(&output));
}

/// Every option that the pgBackRest of this machine and the newest one explain is known.
#[test]
fn no_option_of_the_real_pgbackrest_is_unknown() {
    let versions = [Pgbackrest::installed(), Pgbackrest::newest()];
    let mut options = BTreeSet::new();
    for version in versions {
        let pgbackrest = match version {
            Ok(pgbackrest) => pgbackrest,
            Err(missing) => return skip("no_option_of_the_real_pgbackrest_is_unknown", missing),
        };
        for command in COMMANDS {
            let help = output(Command::new(&pgbackrest.program).args(["help", command]));
            assert!(help.status.success(), "{} help {command}", pgbackrest.version);
            let help = String::from_utf8(help.stdout).unwrap();
            let names =
                help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_whitespace().next());
            options.extend(names.map(|name| match name.split_once('-') {
                Some((group @ ("repo" | "pg"), rest)) if rest != "version-force" => {
                    format!("{group}1-{rest}")
                }
                _ => name.to_owned(),
            }));
        }
    }
    assert!(options.contains("checksum-page-error"), "the newest pgBackRest has it: {options:?}");
    assert!(options.len() > 100, "{options:?}");
    let mut manifest = read(&fixtures().join("clusters/pvc.yaml"));
    for option in &options {
        writeln!(manifest, "        {option}: x").unwrap();
    }
    // Its own options would stand there twice.
    let manifest = manifest.replacen(
        "        repo1-retention-full: \"7\"\n        repo1-retention-full-type: count\n",
        "",
        1,
    );
    let said = told(&lint_text(manifest.as_bytes()));
    assert!(said.contains("exit code 1"), "{said}");
    assert!(!said.contains("option-unknown"), "{said}");
}

#[test]
fn colour_is_for_terminals() {
    let plain = lint(&["fixtures/clusters/storage_unknown.yaml"]);
    assert!(!plain.stdout.contains(&0x1b));
    // util-linux' script gives its child a terminal.
    let program =
        format!("{} lint fixtures/clusters/storage_unknown.yaml", env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    let on_terminal = |no_colour: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &program, "/dev/null"]).env("NO_COLOR", no_colour).current_dir(root());
        command.stdin(Stdio::null()).output()
    };
    let Ok(coloured) = on_terminal("") else {
        println!("skipped: this machine has no `script`");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "install bsdutils");
        return;
    };
    assert!(coloured.stdout.contains(&0x1b), "{}", told(&coloured));
    assert!(!on_terminal("1").unwrap().stdout.contains(&0x1b));
}

fn lint(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    command.arg("lint").args(arguments).current_dir(root()).stdin(Stdio::null()).output().unwrap()
}

fn lint_text(text: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgbackrest-keeper"))
        .args(["lint", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may stop reading before the end.
    let _ = child.stdin.take().unwrap().write_all(text);
    child.wait_with_output().unwrap()
}

/// Everything that was said, and how it ended.
fn told(output: &Output) -> String {
    format!(
        "{}{}exit code {}\n",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string())
    )
}

/// What differs first, unless the file is to be written.
fn compare(path: &Path, text: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
        return None;
    }
    let recorded = fs::read_to_string(path).unwrap_or_default();
    if recorded == text {
        return None;
    }
    let (mut old, mut new) = (recorded.lines(), text.lines());
    loop {
        let (was, is) = (old.next(), new.next());
        if was != is || was.is_none() {
            return Some(format!("{}:\n  was {was:?}\n  is  {is:?}", path.display()));
        }
    }
}

fn manifests() -> Vec<String> {
    let entries = fs::read_dir(fixtures().join("clusters")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 60, "only {} manifests", names.len());
    names
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn fixtures() -> PathBuf {
    root().join("fixtures")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
