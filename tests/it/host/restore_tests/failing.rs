//! Tests that do not pass, each with its reason: what is wrong with a backup is `failed`, and nothing else is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;

use super::trial::{Trial, record_in, verdict, versions};
use crate::support::damage::{damaged, flipped, largest_file, without};
use crate::support::lab::{STANZA, Site};
use crate::support::machine::{Pgbackrest, skip};
use crate::support::process::{Running, command, wait_for};

#[test]
fn what_is_wrong_is_named_with_the_installed_version() {
    check("what_is_wrong_is_named_with_the_installed_version", Pgbackrest::installed());
}

#[test]
fn what_is_wrong_is_named_with_the_newest_version() {
    check("what_is_wrong_is_named_with_the_newest_version", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let trial = Trial::start(&site);
    let label = trial.lab.back_up(1, "full");
    trial.mark(1);
    let first = trial.lab.postgres.archive_all().segment;
    let at = trial.mark(2);
    let second = trial.lab.postgres.archive_all().segment;
    trial.mark(3);
    trial.lab.postgres.archive_all();
    trial.test(&["--repo=1"]).passed();

    let file = site.wal_file(1, &second);
    let hole = without(&site, &file, || trial.test(&["--repo=1"]).ended("failed", "missing_wal"));
    assert!(hole["reason"]["message"].as_str().unwrap().contains(&second), "{hole:#}");
    assert_eq!((verdict(&hole, "target"), verdict(&hole, "pages")), ("failed", "passed"));
    damaged(&file, || trial.test(&["--repo=1"]).ended("failed", "damaged_wal"));
    let before = trial.site.wal_file(1, &first);
    let target = format!("--target={at}");
    without(&site, &before, || {
        trial.test(&["--repo=1", &target]).ended("inconclusive", "unreachable_target")
    });

    let directory = site.path(&format!("repo1/backup/{STANZA}/{label}"));
    without(&site, &directory, || trial.test(&["--repo=1"]).ended("failed", "missing_backup"));
    let largest = largest_file(&directory.join("pg_data/base"));
    damaged(&largest, || trial.test(&["--repo=1"]).ended("failed", "damaged_backup"));
    without(&site, &largest, || trial.test(&["--repo=1"]).ended("failed", "missing_backup"));
    let mode = fs::metadata(&largest).unwrap().permissions();
    fs::set_permissions(&largest, fs::Permissions::from_mode(0o000)).unwrap();
    trial.test(&["--repo=1"]).ended("inconclusive", "permission");
    fs::set_permissions(&largest, mode).unwrap();

    // The second repository is encrypted, and has no backup yet.
    trial.test(&["--repo=2"]).ended("failed", "no_backup");
    let encrypted = trial.lab.back_up(2, "full");
    let directory = site.path(&format!("repo2/backup/{STANZA}/{encrypted}"));
    let largest = largest_file(&directory.join("pg_data/base"));
    damaged(&largest, || trial.test(&["--repo=2"]).ended("failed", "damaged_backup"));
    let config = fs::read_to_string(&trial.lab.both).unwrap();
    let lines = config.lines().map(|line| match line.split_once("cipher-pass=") {
        Some((name, _)) => format!("{name}cipher-pass=another\n"),
        None => format!("{line}\n"),
    });
    let wrong = site.write("wrong.conf", &lines.collect::<String>());
    trial.test_with(&wrong, &["--repo=2"]).ended("failed", "wrong_passphrase");

    // Nothing of this is about the backup.
    let library = "--postgres-option=shared_preload_libraries=nosuchlibrary";
    let missing = trial.test(&["--repo=1", library]).ended("inconclusive", "missing_library");
    assert!(missing["reason"]["message"].as_str().unwrap().contains("nosuchlibrary"), "{missing:#}");
    trial.test(&["--repo=1", "--space-limit=1MiB"]).ended("inconclusive", "no_space");
    trial.test(&["--repo=1", "--space-reserve=9999TiB"]).ended("inconclusive", "no_space");
    trial.test(&["--repo=1", "--target=2020-01-01T00:00:00Z"]).ended("inconclusive", "unreachable_target");
    trial.test(&["--repo=1", "--target=2999-01-01T00:00:00Z"]).ended("inconclusive", "unreachable_target");
    trial.test(&["--repo=1", "--pg-user=nobody"]).ended("inconclusive", "configuration");
    trial.test(&["--repo=1", "--stanza=nosuch"]).ended("failed", "no_backup");
    trial.test(&["--repo=1", "--pg-bin-dir=/nonexistent"]).ended("inconclusive", "missing_programs");
    let hook = site.script("failing", "exit 7\n");
    trial.test(&["--repo=1", &format!("--hook={}", hook.display())]).ended("failed", "hook");
    trial.assert_clean();
}

#[test]
fn damaged_pages_fail_in_every_version() {
    for pgbackrest in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(site) = Site::or_skip("damaged_pages_fail_in_every_version", pgbackrest) else { return };
        let mut trial = Trial::start(&site);
        trial.lab.postgres.sql("checkpoint");
        trial.lab.postgres.corrupt_page("ledger", 3);
        trial.lab.pgbackrest(&["--repo=1", "--type=full", "backup"]);
        let test = trial.test(&["--repo=1"]);
        // From 2.60 on, pgBackRest stops; earlier versions restore it.
        if site.pgbackrest.minor() >= 60 {
            assert_eq!(test.ended("failed", "damaged_pages")["reason"]["phase"], "restore");
        } else {
            let record = test.ended("failed", "unreadable_relation");
            assert_eq!(record["reason"]["phase"], "check");
            assert_eq!((verdict(&record, "relations"), verdict(&record, "pages")), ("failed", "failed"));
        }
        trial.assert_clean();
    }
}

/// Many files are in one file of the repository, and of larger ones only the blocks that have changed (2.39 and 2.46 and later).
#[test]
fn a_flipped_byte_in_a_bundle_fails() {
    let Some(site) = Site::or_skip("a_flipped_byte_in_a_bundle_fails", Pgbackrest::newest()) else { return };
    let trial = Trial::start(&site);
    let config = ["repo1", "repo2"].into_iter().fold(site.config(), |config, repo| {
        config.global(&format!("{repo}-bundle"), "y").global(&format!("{repo}-block"), "y")
    });
    site.write("both.conf", &config.text());
    for repo in [1, 2] {
        let full = trial.lab.back_up(repo, "full");
        let incr = trial.lab.back_up(repo, "incr");
        trial.mark(repo);
        trial.lab.postgres.archive_all();
        let repo_flag = format!("--repo={repo}");
        let passed = trial.test(&[&repo_flag, &trial.assertions(repo, 9)]).passed();
        assert_eq!(passed["backup"]["label"], incr.as_str());
        let bundle = |label| largest_file(&site.path(&format!("repo{repo}/backup/{STANZA}/{label}/bundle")));
        // The second backup needs the first one.
        for label in [full, incr] {
            flipped(&bundle(label), || trial.test(&[&repo_flag]).ended("failed", "damaged_backup"));
        }
        trial.test(&[&repo_flag]).passed();
    }
    trial.assert_clean();
}

/// `pg_dump` reads all tables, and no index.
#[test]
fn a_corrupt_index_is_found_by_amcheck_alone() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("a_corrupt_index_is_found_by_amcheck_alone", pgbackrest) else {
            return;
        };
        let trial = Trial::start(&site);
        let sorts = |first: &str, second: &str| {
            format!(
                "create or replace function in_order(int, int) returns int language sql immutable as $$ \
                 select case when {first} < {second} then -1 when {first} > {second} then 1 else 0 end $$"
            )
        };
        trial.lab.postgres.sql_each(&[
            "create extension amcheck",
            &sorts("$1", "$2"),
            "create operator class by_function for type int using btree as operator 1 <, operator 2 <=, operator 3 =, \
             operator 4 >=, operator 5 >, function 1 in_order(int, int)",
            "create table numbers as select generate_series(1, 1000) as number",
            "create index by_number on numbers (number by_function)",
        ]);
        trial.lab.back_up(1, "full");
        let sound = trial.test(&["--repo=1", "--amcheck"]).passed();
        assert_eq!(verdict(&sound, "amcheck"), "passed");

        // The other way round, as with another version of a collation.
        trial.lab.postgres.sql(&sorts("$2", "$1"));
        trial.lab.postgres.archive_all();
        trial.test(&["--repo=1"]).passed();
        let corrupt = trial.test(&["--repo=1", "--amcheck"]).ended("failed", "corrupt_relation");
        assert!(corrupt["reason"]["message"].as_str().unwrap().contains("by_number"), "{corrupt:#}");

        // It says nothing if collations differ from those of the database.
        trial.lab.postgres.sql(
            "update pg_collation set collversion = 'other' \
             where oid = (select min(oid) from pg_collation where collprovider = 'i')",
        );
        trial.lab.postgres.archive_all();
        let other = trial.test(&["--repo=1", "--amcheck"]).passed();
        assert_eq!(verdict(&other, "amcheck"), "not_checked");
        trial.assert_clean();
    }
}

#[test]
fn what_a_timeline_lacks_is_named() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("what_a_timeline_lacks_is_named", pgbackrest) else { return };
        let mut trial = Trial::start(&site);
        trial.lab.back_up(1, "full");
        trial.mark(1);
        trial.lab.postgres.archive_all();
        trial.lab.postgres.stop();
        trial.lab.pgbackrest(&["--repo=1", "--delta", "restore"]);
        trial.lab.postgres.recover().unwrap();
        trial.mark(2);
        let first = trial.lab.postgres.archive_all().segment;
        let at = trial.mark(3);
        trial.lab.postgres.archive_all();
        trial.test(&["--repo=1", &trial.assertions(3, 4)]).passed();

        assert!(first.starts_with("00000002"), "{first}");
        let file = site.wal_file(1, &first);
        without(&site, &file, || trial.test(&["--repo=1"]).ended("failed", "missing_wal"));
        let history = site.path(&format!("repo1/archive/{STANZA}/15-1/00000002.history"));
        let target = format!("--target={at}");
        without(&site, &history, || {
            trial.test(&["--repo=1"]).ended("failed", "missing_wal");
            let to_time = trial.test(&["--repo=1", &target]);
            assert_ne!(to_time.record["outcome"], "passed", "{:#}", to_time.record);
        });
        trial.assert_clean();
    }
}

#[test]
fn a_full_disk_says_nothing_about_the_backup() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("a_full_disk_says_nothing_about_the_backup", pgbackrest) else {
            return;
        };
        if site.account.is_none() {
            return skip("a_full_disk_says_nothing_about_the_backup", "only root can mount");
        }
        let trial = Trial::start(&site);
        trial.lab.back_up(1, "full");
        for id in 1..5 {
            trial.lab.postgres.sql(&format!("insert into markers values ({id})"));
            trial.lab.postgres.archive_all();
        }
        for command in ["restore", "archive-get"] {
            // Even the log of what fails then is incomplete.
            let fills = trial.before(command, "head -c 1G /dev/zero > $own/filler 2>/dev/null");
            let test = trial.test_on_small_disk("300m", &["--repo=1", &fills]);
            test.ended("inconclusive", "no_space");
        }
        trial.test_on_small_disk("8m", &["--repo=1"]).ended("inconclusive", "no_space");
        trial.test_on_small_disk("300m", &["--repo=1"]).passed();
    }
}

#[test]
fn a_backup_that_expires_during_its_test_is_not_bad() {
    let test = "a_backup_that_expires_during_its_test_is_not_bad";
    let Some(site) = Site::or_skip(test, Pgbackrest::newest()) else { return };
    let trial = Trial::start(&site);
    let label = trial.lab.back_up(1, "full");
    trial.lab.back_up(1, "full");
    // The test itself may write nowhere else, so it cannot remove the backup.
    let removed = site.create_directory("removed");
    let waits = format!("while test -e {}; do sleep 0.1; done", removed.display());
    let waits = trial.before("restore", &waits);
    let log = site.path("keeper.log");
    let backup = format!("--backup={label}");
    let command = trial.command(&["--repo=1", &backup, &waits]);
    let mut running = Running::start("restore-test", command, &log, Signal::SIGTERM);
    wait_for("the restore to begin", || trial.directory().join("restore.log").exists().then_some(()));
    let set = format!("--set={label}");
    trial.lab.pgbackrest(&["--repo=1", &set, "expire"]);
    fs::remove_dir(&removed).unwrap();
    assert_eq!(running.wait().code(), Some(4), "{}", running.log());
    assert_eq!(record_in(&running.log())["reason"]["class"], "expired");
    trial.assert_clean();
}

/// While a backup begins, a transaction is open whose subtransactions PostgreSQL cannot all remember.
#[test]
fn a_copy_that_accepts_no_queries_is_inconclusive() {
    let test = "a_copy_that_accepts_no_queries_is_inconclusive";
    let Some(site) = Site::or_skip(test, Pgbackrest::newest()) else { return };
    let trial = Trial::start(&site);
    let (go_on, done) = (site.create_directory("go-on"), site.create_directory("done").join("here"));
    let work = format!(
        "begin;\n\
         do $$ begin for i in 1..100 loop \
             begin insert into ledger values (1000000 + i); exception when unique_violation then null; end; \
         end loop; end $$;\n\
         \\! touch {}; while test -e {}; do sleep 0.1; done\n\
         commit;\n",
        done.display(),
        go_on.display()
    );
    let script = site.write("open.sql", &work);
    let mut command = command(site.account.as_ref(), site.programs().join("psql"));
    command
        .args(["-XqAt", "-U", "postgres", "-d", "postgres", "-h"])
        .arg(&trial.lab.postgres.socket_directory);
    command.arg("-f").arg(script);
    let mut open = Running::start("psql", command, &site.path("psql.log"), Signal::SIGTERM);
    wait_for("the transaction to be open", || done.exists().then_some(()));
    trial.lab.back_up(1, "full");
    trial.test(&["--repo=1"]).ended("inconclusive", "unreachable_target");
    trial.test(&["--repo=1", "--target=immediate"]).ended("inconclusive", "unreachable_target");
    fs::remove_dir(&go_on).unwrap();
    assert!(open.wait().success(), "{}", open.log());
    trial.mark(1);
    trial.lab.postgres.sql("checkpoint");
    trial.lab.postgres.archive_all();
    trial.test(&["--repo=1"]).passed();
    trial.assert_clean();
}
