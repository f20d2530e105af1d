//! The printed command restores the database to the requested second.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use super::wal::trial::commands;
use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site, next_second};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, output, successful, wait_for};

#[test]
fn the_installed_version_restores_as_printed() {
    check("the_installed_version_restores_as_printed", Pgbackrest::installed());
}

#[test]
fn the_newest_version_restores_as_printed() {
    check("the_newest_version_restores_as_printed", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let mut lab = Lab::start(&site, 16);
    let apart = tablespace(&lab);
    lab.postgres.sql(&format!("create tablespace apart location '{}'", apart.display()));
    let too_early = written(&lab, "before the first backup");
    let first = lab.back_up(1, "full");
    let between = written(&lab, "between");
    lab.postgres.archive_all();
    let second = lab.back_up(2, "full");
    let after = written(&lab, "after");
    written(&lab, "too late");
    lab.postgres.archive_all();

    for (time, why) in [(too_early.as_str(), "completed later"), ("2999-01-01 00:00:00+00", "in the future")]
    {
        let asked = ask(&lab, time);
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!((asked.status.code(), asked.stdout.len()), (Some(1), 0), "{said}");
        assert!(said.contains("cannot be reached") && said.contains(why), "{said}");
    }
    // The later backup is in the second repo, which is encrypted; each backup ends in the first whose turn it is.
    for (time, label, lines, proof) in [
        (after, second, "before the first backup,between,after", "not proven"),
        (between, first, "before the first backup,between", "proven: the WAL archive had no gap"),
    ] {
        let asked = ask(&lab, &time);
        let (line, said) =
            (String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr).into_owned());
        assert!(asked.status.success(), "{said}");
        assert!(line.contains(&format!("--set={label}")), "{time}: {line}");
        // After the first restore there is a second timeline, so the archive is scanned.
        assert!(said.contains(proof), "{said}");
        let oid = lab.postgres.sql("select oid from pg_tablespace where spcname = 'apart'");
        let in_copy = copy_directory(&lab).join("tablespaces").join(oid);
        let [original, copied_to] = [&apart, &in_copy].map(|path| path.display());
        let place = format!(
            "tablespace apart: {original} in the database unless the configuration maps it, {copied_to} in"
        );
        assert!(said.contains(&place), "{said}");
        let [recover, copy] = commands(&line);
        assert!(!recover.contains("archive-mode"), "the database goes on with archiving: {recover}");
        assert_eq!(copied(&lab, &copy), lines, "{copy}");
        restore(&mut lab, &recover);
        assert_eq!(
            lab.postgres.sql("select string_agg(line, ',' order by at) from kept_at"),
            lines,
            "{line}"
        );
    }
}

/// Writes a line, and gives a time after it and before everything that is done next.
fn written(lab: &Lab<'_>, line: &str) -> String {
    next_second();
    lab.postgres
        .sql("create table if not exists kept_at (at timestamptz default clock_timestamp(), line text) tablespace apart");
    lab.postgres.sql(&format!("insert into kept_at (line) values ('{line}')"));
    let time = lab.postgres.sql("set timezone = 'UTC'; select clock_timestamp()");
    next_second();
    time
}

fn ask(lab: &Lab<'_>, time: &str) -> Output {
    output(
        call(lab.site.account.as_ref(), our_program(lab.site))
            .args(["info", "--restore-command"])
            .arg(format!("--target={time}"))
            .arg(format!("--copy-directory={}", copy_directory(lab).display()))
            .arg(format!("--backrest.stanza-include={STANZA}"))
            .arg(format!("--backrest.config={}", lab.both.display()))
            .arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display())),
    )
}

fn tablespace(lab: &Lab<'_>) -> PathBuf {
    lab.site.create_directory("apart")
}

fn copy_directory(lab: &Lab<'_>) -> PathBuf {
    lab.site.create_directory("beside").join("a copy")
}

/// What a copy beside the running database holds. It shares nothing with the database, and archives nothing.
fn copied(lab: &Lab<'_>, line: &str) -> String {
    let directory = copy_directory(lab);
    let before = archived(lab);
    successful(call(lab.site.account.as_ref(), "sh").env_clear().args(["-c", line]));
    let mut copy = lab.postgres.of_copy(&directory);
    copy.recover().unwrap();
    let lines = copy.sql("select string_agg(line, ',' order by at) from kept_at");
    let settings = fs::read_to_string(directory.join("data/postgresql.auto.conf")).unwrap();
    assert!(settings.contains("archive_mode = 'off'"), "{settings}");
    copy.sql("create table more as select 1; select pg_switch_wal()");
    copy.stop();
    assert_eq!(archived(lab), before, "the copy archives");
    fs::remove_dir_all(&directory).unwrap();
    lines
}

/// Names in the archive of the first repo.
fn archived(lab: &Lab<'_>) -> String {
    lab.pgbackrest(&["--repo=1", "repo-ls", "--recurse", &format!("archive/{STANZA}/15-1")])
}

/// As a person does: stops PostgreSQL, takes everything away, runs the line, starts PostgreSQL.
fn restore(lab: &mut Lab<'_>, line: &str) {
    lab.postgres.stop();
    for directory in [&lab.postgres.data, &tablespace(lab)] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
    successful(call(lab.site.account.as_ref(), "sh").env_clear().args(["-c", line]));
    lab.postgres.start();
    wait_for("the end of recovery", || (lab.postgres.sql("select pg_is_in_recovery()") == "f").then_some(()));
}
