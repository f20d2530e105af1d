//! Everything that the documents refer to exists: files, headings, flags, commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pgbackrest_keeper::cli;
use pgbackrest_keeper::metrics::catalogue::{self, Layer, Metric};
use pgbackrest_keeper::pgbackrest::backup_options;

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut links = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links_of(&text) {
            links += 1;
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let leads = target.exists()
                && (heading.is_empty() || headings(&fs::read_to_string(&target).unwrap()).contains(heading));
            if !leads {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(links > 12, "only {links} links");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_flag_is_a_flag() {
    let mut known = BTreeSet::new();
    for command in cli::command().get_subcommands() {
        for argument in command.get_arguments() {
            known.extend(argument.get_long().map(str::to_owned));
            known.extend(argument.get_all_aliases().into_iter().flatten().map(str::to_owned));
        }
    }
    // pgBackRest's, which are passed on.
    known.extend(backup_options::allowed().flat_map(|name| [name.to_owned(), format!("no-{name}")]));
    let mut wrong = Vec::new();
    let mut flags = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("`--") {
            let is_part = |c: &char| c.is_ascii_alphanumeric() || "-._".contains(*c);
            let flag: String = text[at + 3..].chars().take_while(is_part).collect();
            flags += 1;
            // `--no-…` stands for all switches.
            if flag != "no-" && !known.contains(&flag) {
                wrong.push(format!("{}: --{flag}", document.display()));
            }
        }
    }
    assert!(flags > 30, "only {flags} flags");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of the commands that people are told to run, those that are ours can be run.
#[test]
fn every_command_can_be_given() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut commands = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for line in console_lines(&text) {
            let place = format!("{}: {line}", document.display());
            let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "#").collect();
            let words = words.strip_prefix(&["sudo", "-u", "postgres"]).unwrap_or(&words);
            match words {
                [assigned, ..] if assigned.ends_with("=$(kubectl") => {}
                ["pgbackrest-keeper", ..] => {
                    if let Err(error) = cli::command().try_get_matches_from(words) {
                        panic!("{place}: {error}");
                    }
                }
                ["make", target] => assert!(makefile.contains(&format!("\n{target}:")), "{place}"),
                ["kubectl", "apply", .., "-k", directory] => {
                    assert!(root().join(directory).join("kustomization.yaml").exists(), "{place}");
                }
                ["helm", "install", _, chart, ..] => {
                    assert!(root().join(chart).join("Chart.yaml").exists(), "{place}");
                }
                ["sudo", "apt", "install", package] => assert_eq!(
                    *package,
                    format!("./target/package/pgbackrest-keeper_{}-1_amd64.deb", env!("CARGO_PKG_VERSION"))
                ),
                [script, ..] if script.starts_with("scripts/") => {
                    assert!(root().join(script).exists(), "{place}");
                }
                ["kubectl" | "cargo" | "curl" | "jq" | "openssl" | "sed" | "systemctl", ..]
                | ["sudo", "install", ..] => {}
                _ => panic!("{place}: this test does not know such a command"),
            }
            commands += 1;
        }
    }
    assert!(commands > 8, "only {commands} commands");
}

/// No metric of the Go exporter is left out of the way from there to here, and none that is named does not exist.
#[test]
fn the_way_from_the_go_exporter_names_every_metric() {
    let text = fs::read_to_string(root().join("docs/migration.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `pgbackrest_"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let names = |column: usize| -> BTreeSet<&str> {
        rows.iter().flat_map(|row| row[column].split(", ")).filter(|name| *name != "-").collect()
    };
    let quoted = |metric: &Metric| format!("`{}`", metric.name);
    let (old, new): (Vec<&Metric>, Vec<&Metric>) =
        catalogue::all().partition(|metric| metric.layer == Layer::DropIn);
    let old: BTreeSet<String> = old.into_iter().map(quoted).collect();
    assert_eq!(names(1), old.iter().map(String::as_str).collect());
    let known: BTreeSet<String> = new.into_iter().map(quoted).chain(old).collect();
    for name in names(2) {
        assert!(known.contains(name), "there is no {name}");
    }
}

/// In the root and in docs.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in [root(), root().join("docs")] {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(found.len() > 6, "{found:?}");
    found
}

/// The targets of `[text](target)`.
fn links_of(text: &str) -> Vec<&str> {
    text.match_indices("](").filter_map(|(at, _)| Some(text[at + 2..].split_once(')')?.0)).collect()
}

/// The anchors that a forge makes of headings.
fn headings(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The lines of all `console` blocks.
fn console_lines(text: &str) -> Vec<&str> {
    let blocks = text.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|block| Some(block.split_once("```")?.0));
    blocks.flat_map(str::lines).filter(|line| !line.trim().is_empty()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
