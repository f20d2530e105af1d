//! What the real commands print is shown: the wordings of pgBackRest that are known are all that it has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pgbackrest_keeper::pgbackrest::redact::{HIDDEN, Said};

use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;

#[test]
fn verify_and_restore_of_the_installed_version_are_shown() {
    check("verify_and_restore_of_the_installed_version_are_shown", Pgbackrest::installed());
}

#[test]
fn verify_and_restore_of_the_newest_version_are_shown() {
    check("verify_and_restore_of_the_newest_version_are_shown", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 1);
    let full = lab.back_up(1, "full");
    let other = lab.back_up(1, "full");
    (0..6).for_each(|_| drop(lab.postgres.archive_all()));
    let (stanza, mut unknown) = (format!("--stanza={STANZA}"), BTreeSet::new());
    let mut run = |arguments: &[&str], expected: &str| {
        let line = [arguments, &["--repo=1", &stanza, "--log-level-console=detail"]].concat();
        let output = site.run(&lab.both, &line);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: no {expected}\n{said}");
        unknown.extend(said.lines().filter(|line| is_hidden(line)).map(str::to_owned));
    };
    let verify: &[&str] = &["verify", "--output=text", "--verbose"];
    run(verify, "status: ok");

    let target = site.create_directory("restored");
    fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = format!("--pg1-path={}", target.display());
    run(&["restore", &path], "restore backup set");
    run(&["restore", &path], "unable to restore to path");
    run(&["restore", &path, "--delta", &format!("--set={full}"), "--type=immediate"], "restore size");
    run(&["restore", &path, "--delta", "--set=20200101-000000F"], "backup set 20200101-000000F is not valid");
    run(&["restore"], "unable to restore while PostgreSQL is running");
    let archive = site.path(&format!("repo1/archive/{STANZA}"));
    let segments = files(&archive.join("15-1/0000000100000000"));
    let [_, second, third, fourth, .., last] = &segments[..] else { panic!("{segments:?}") };
    let wal = site.path("wal").display().to_string();
    run(&["archive-get", &path, segment(third), &wal], &format!("found {}", segment(third)));
    run(&["archive-get", &path, "0000000100000000000000FF", &wal], "unable to find");

    fs::write(fourth, "").unwrap();
    fs::remove_file(second).unwrap();
    fs::copy(third, other_checksum(third)).unwrap();
    fs::copy(third, last).unwrap();
    let backups = site.path(&format!("repo1/backup/{STANZA}"));
    fs::write(archive.join("archive.info.copy"), "").unwrap();
    fs::write(backups.join("backup.info"), "[backup]\n").unwrap();
    fs::write(backups.join(&full).join("backup.manifest"), "").unwrap();
    let data = backups.join(&other).join("pg_data");
    fs::remove_file(data.join("PG_VERSION.gz")).unwrap();
    fs::copy(data.join("postgresql.conf.gz"), data.join("pg_hba.conf.gz")).unwrap();
    let unlisted = backups.join("20200101-000000F");
    fs::create_dir(&unlisted).unwrap();
    run(verify, "status: error");
    run(&["verify", "--output=text"], "status: error");
    if site.pgbackrest.minor() >= 55 {
        run(&["verify", "--output=text", &format!("--set={other}")], "status: error");
        run(&["verify", "--output=text", "--set=20200102-000000F"], "is not valid");
        run(&["verify", "--output=text", "--set=x"], "is not a valid backup label format");
    }
    fs::remove_dir_all(archive.join("15-1")).unwrap();
    run(verify, "archives exist in the repo");
    fs::remove_file(archive.join("archive.info")).unwrap();
    run(verify, "No usable archive.info file");
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Nothing is shown but what precedes the message.
fn is_hidden(line: &str) -> bool {
    const LEVELS: [&str; 4] = ["ERROR:", "WARN:", "INFO:", "DETAIL:"];
    let shown = Said::new(line).redacted();
    let Some(prefix) = shown.strip_suffix(HIDDEN) else { return false };
    let last = prefix.split_whitespace().last();
    last.is_none_or(|last| LEVELS.contains(&last) || last.starts_with('[') && last.ends_with("]:"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn segment(file: &Path) -> &str {
    &file.file_name().unwrap().to_str().unwrap()[..24]
}

/// The same segment with another checksum in its name.
fn other_checksum(file: &Path) -> PathBuf {
    file.with_file_name(format!("{}-{}.gz", segment(file), "0".repeat(40)))
}
