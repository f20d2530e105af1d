//! Files that no backup needs: those of a killed backup, and WAL that is older than all backups.

use std::fs;
use std::path::Path;

use super::said::{self, Said};
use crate::support::exporter::Exporter;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;

#[test]
fn leftovers_of_the_installed_version_are_told() {
    check("leftovers_of_the_installed_version_are_told", Pgbackrest::installed());
}

#[test]
fn leftovers_of_the_newest_version_are_told() {
    check("leftovers_of_the_newest_version_are_told", Pgbackrest::newest());
}

const COUNT: &str = "pgbackrest_repo_leftover_backups";
const BYTES: &str = "pgbackrest_repo_leftover_bytes";

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 1);
    lab.back_up(1, "full");
    let exporter = Exporter::start(
        &site,
        &lab.both,
        &["--collect.interval=1", "--collect.wal-interval=1", "--backrest.stanza-include=demo"],
    );
    let of = |state: &'static str| [("stanza", STANZA), ("repo_key", "1"), ("state", state)];
    let is = |metric: &'static str, state: &'static str, expected: f64| {
        exporter.wait(&format!("{metric} {state} {expected}"), |samples| {
            (samples.find(metric, &of(state)) == Some(expected)).then_some(())
        });
    };
    is(COUNT, "unfinished", 0.0);
    is(COUNT, "abandoned", 0.0);

    let killed = killed_backup(&lab);
    let backup = site.path(&format!("repo1/backup/{STANZA}/{killed}"));
    is(COUNT, "unfinished", 1.0);
    is(BYTES, "unfinished", bytes(&backup) as f64);
    is(COUNT, "abandoned", 0.0);
    assert!(exporter.get("/", &[]).text().contains("Unfinished backups"), "the page does not say so");

    // As if a later backup had ended.
    let old = "20200101-000000F";
    fs::rename(&backup, site.path(&format!("repo1/backup/{STANZA}/{old}"))).unwrap();
    is(COUNT, "abandoned", 1.0);
    is(COUNT, "unfinished", 0.0);
    let page = exporter.get("/", &[]).text().to_owned();
    assert!(page.contains("files of 1 unfinished backup"), "{page}");
    let said = Said::dry_run(&lab, &lab.both, 1);
    assert_eq!(said.directories.into_iter().collect::<Vec<_>>(), [old]);
    lab.pgbackrest(&["--repo=1", "expire"]);
    is(COUNT, "abandoned", 0.0);
    assert_eq!(exporter.stop(), Some(0));

    wal_that_no_backup_needs_is_told(&lab);
}

/// With an archive retention that is larger than the full retention, until that is corrected.
fn wal_that_no_backup_needs_is_told(lab: &Lab<'_>) {
    let config = lab.site.config().global("repo1-retention-full", "1");
    let too_much =
        lab.site.write("too-much.conf", &config.clone().global("repo1-retention-archive", "9").text());
    let right = lab.site.write("right.conf", &config.text());
    let unneeded = |config: &Path| {
        let told = said::info(lab, config);
        let finding = told.findings().into_iter().find(|text| text.starts_with("no backup needs"));
        (told.repo(1)["wal"]["unneeded_bytes"].as_u64().unwrap(), finding)
    };
    let expire = |config: &Path| {
        let output = lab.site.run(config, &["--repo=1", &format!("--stanza={STANZA}"), "expire"]);
        assert!(output.status.success(), "{output:?}");
    };
    (0..5).for_each(|_| drop(lab.postgres.archive_all()));
    lab.back_up(1, "full");
    expire(&too_much);
    assert_eq!(lab.labels(1).len(), 1);
    let (bytes, finding) = unneeded(&too_much);
    let reason = "repo1-retention-archive=9 is larger than repo1-retention-full=1";
    assert!(bytes > 0 && finding.as_ref().is_some_and(|text| text.contains(reason)), "{bytes}: {finding:?}");
    let (_, finding) = unneeded(&right);
    assert!(finding.as_ref().is_some_and(|text| text.ends_with("the next expire removes it")), "{finding:?}");
    expire(&right);
    assert_eq!(unneeded(&right), (0, None));
}

/// Kills a backup that has begun to copy files, and gives the name of its directory.
fn killed_backup(lab: &Lab<'_>) -> String {
    let newest = || directories(&lab.site.path(&format!("repo1/backup/{STANZA}"))).pop().unwrap();
    for _ in 0..9 {
        let before = newest();
        let copies = |_: &str| {
            let newest = newest();
            let manifest = lab.site.path(&format!("repo1/backup/{STANZA}/{newest}/backup.manifest.copy"));
            newest != before && manifest.exists()
        };
        // One that ended before is a backup more.
        if let Ok(held) = lab.hold_backup_when(1, "the backup to copy files", copies) {
            held.kill();
            let killed = newest();
            if !lab.labels(1).contains(&killed) {
                return killed;
            }
        }
    }
    panic!("a backup always ended before it could be killed");
}

/// Names of the directories of backups, in order.
fn directories(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let directories = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names = directories.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("20")).collect();
    names.sort();
    names
}

fn bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { bytes(&entry.path()) } else { metadata.len() }
        })
        .sum()
}
