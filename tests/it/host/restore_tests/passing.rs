//! Tests that pass.

use std::fs;
use std::os::unix::fs::symlink;

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;

use super::trial::{Trial, long_form, record_in, verdict, versions};
use crate::support::lab::Site;
use crate::support::machine::{Pgbackrest, postgres_programs, second_postgres_programs, skip};
use crate::support::object_store::{Host, Kind, ObjectStore};
use crate::support::process::{Running, call, successful, wait_for};
use crate::support::web::Authority;

/// How many random targets are tested, unless `CAMPAIGN_RESTORES` is set.
const RANDOM_TARGETS: u32 = 6;

#[test]
fn backups_pass_with_the_installed_version() {
    check("backups_pass_with_the_installed_version", Pgbackrest::installed());
}

#[test]
fn backups_pass_with_the_newest_version() {
    check("backups_pass_with_the_newest_version", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let mut trial = Trial::start(&site);
    let apart = site.create_directory("apart");
    trial.lab.postgres.sql(&format!("create tablespace apart location '{}'", apart.display()));
    trial.lab.postgres.sql(
        "create table far tablespace apart as select generate_series(1, 1000); create extension amcheck",
    );
    trial.mark(1);
    let label = trial.lab.back_up(1, "full");
    trial.lab.back_up(2, "full");

    // Nothing was written since.
    let idle = trial.test(&["--repo=1"]).passed();
    assert_eq!(idle["backup"]["label"], label.as_str());
    assert_eq!(idle["reached"]["timeline"], 1);
    for kind in ["target", "relations", "pages"] {
        assert_eq!(verdict(&idle, kind), "passed", "{idle:#}");
    }
    trial.assert_clean();
    let phases: Vec<&str> =
        idle["phases"].as_array().unwrap().iter().map(|run| run["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["plan", "restore", "replay", "check", "stop", "pages", "clean"]);

    let between = trial.mark(2);
    trial.mark(3);
    trial.lab.postgres.archive_all();

    // The repository whose last test is the oldest comes first; the second one is encrypted.
    let latest = trial.test(&[&trial.assertions(3, 99)]).passed();
    assert_eq!(latest["repo"], 2);
    assert!(
        latest["wal_bytes"].as_u64().unwrap() > 0 && latest["wal_segments"].as_u64().unwrap() > 0,
        "{latest:#}"
    );
    let immediate =
        trial.test(&["--repo=1", "--target=immediate", "--amcheck", &trial.assertions(1, 2)]).passed();
    assert_eq!(verdict(&immediate, "amcheck"), "passed");
    assert_eq!(immediate["target"]["kind"], "immediate");

    // Exactly: what was committed before is there, and nothing that was committed later.
    let target = format!("--target={between}");
    let exact = trial.test(&["--repo=1", &target, &trial.assertions(2, 3)]).passed();
    assert_eq!(verdict(&exact, "target"), "passed");
    let wrong =
        trial.test(&["--repo=1", "--target=latest", &trial.assertions(2, 3)]).ended("failed", "assertion");
    assert_eq!(verdict(&wrong, "target"), "passed");

    // Larger settings are taken from the WAL, and the configuration need not be in the data directory.
    trial.lab.postgres.sql("alter system set max_connections = 321");
    trial.lab.postgres.stop();
    trial.lab.postgres.move_configuration(&site.create_directory("etc"));
    trial.lab.postgres.start();
    trial.mark(4);
    trial.lab.postgres.archive_all();
    trial.test(&["--repo=1", &trial.assertions(4, 99)]).passed();
    trial.lab.back_up(1, "incr");
    let elsewhere = trial.test(&["--repo=1", &trial.assertions(4, 99)]).passed();
    assert_eq!(elsewhere["backup"]["type"], "incr");
    // Restored settings are not used, whatever they are.
    for file in ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"] {
        fs::write(trial.lab.postgres.data.join(file), "neither a setting nor a rule\n").unwrap();
    }
    trial.lab.back_up(1, "incr");
    trial.mark(5);
    trial.lab.postgres.archive_all();
    let hook = site.script(
        "hook",
        "test \"$(psql -XAtc 'select max(id) from public.markers')\" = 5 && test \"$KEEPER_REPO\" = 1\n",
    );
    let hooked = trial.test(&["--repo=1", &format!("--hook={}", hook.display())]).passed();
    assert_eq!(verdict(&hooked, "hook"), "passed");
    assert_eq!(hooked["backup"]["type"], "incr");
    trial.assert_clean();
    assert_eq!((trial.records(1).len(), trial.records(2).len()), (7, 1));
}

#[test]
fn another_major_version_of_postgresql_passes() {
    let test = "another_major_version_of_postgresql_passes";
    let site = match Site::with_postgres(second_postgres_programs(), Pgbackrest::newest()) {
        Err(missing) => return skip(test, missing),
        Ok(site) => site,
    };
    let trial = Trial::start(&site);
    trial.lab.postgres.sql("create extension amcheck");
    // It is not run for those who connect to the copy.
    trial.lab.postgres.sql(
        "create function refuse() returns event_trigger language plpgsql as $$ begin \
             if pg_catalog.pg_is_in_recovery() then raise exception 'refused'; end if; \
         end $$; \
         create event trigger refuse on login execute function refuse(); \
         alter event trigger refuse enable always",
    );
    trial.lab.back_up(1, "full");
    let between = trial.mark(1);
    trial.mark(2);
    trial.lab.postgres.archive_all();
    let latest = trial.test(&["--repo=1", "--amcheck", &trial.assertions(2, 3)]).passed();
    assert!(latest["versions"]["postgres"].as_str().unwrap().starts_with("17."), "{latest:#}");
    for kind in ["target", "relations", "amcheck", "pages"] {
        assert_eq!(verdict(&latest, kind), "passed", "{latest:#}");
    }
    let target = format!("--target={between}");
    trial.test(&["--repo=1", &target, &trial.assertions(1, 2)]).passed();
    if let Ok(programs) = postgres_programs() {
        let programs = format!("--pg-bin-dir={}", programs.display());
        trial.test(&["--repo=1", &programs]).ended("inconclusive", "missing_programs");
    }
    trial.assert_clean();
}

#[test]
fn random_targets_are_exact_across_a_timeline_switch() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("random_targets_are_exact_across_a_timeline_switch", pgbackrest)
        else {
            return;
        };
        check_random_targets(&site);
    }
}

fn check_random_targets(site: &Site) {
    let mut trial = Trial::start(site);
    // Before and after each commit.
    let mut marked: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
    let mut mark = |trial: &Trial<'_>, id| {
        let before = Utc::now();
        marked.push((before, time(&trial.mark(id))));
    };
    trial.lab.back_up(1, "full");
    for id in 1..4 {
        mark(&trial, id);
        trial.lab.postgres.archive_all();
    }
    // A restore to the end of the WAL begins timeline 2.
    trial.lab.postgres.stop();
    trial.lab.pgbackrest(&["--repo=1", "--delta", "restore"]);
    trial.lab.postgres.recover().unwrap();
    for id in 4..7 {
        mark(&trial, id);
        trial.lab.postgres.archive_all();
    }
    let latest = trial.test(&["--repo=1", &trial.assertions(6, 99)]).passed();
    assert_eq!(latest["reached"]["timeline"], 2);

    let seen = site.create_directory("seen").join("markers");
    let query = "select coalesce(max(id), 0) from public.markers";
    let hook = site.script("look", &format!("psql -XAtc '{query}' > {}\n", seen.display()));
    let hook = format!("--hook={}", hook.display());
    for _ in 0..long_form().unwrap_or(RANDOM_TARGETS) {
        let random = trial.test(&["--repo=1", "--target=random", "--backup=random", &hook]).passed();
        let target = &random["target"];
        assert_eq!((&target["kind"], &target["random"]), (&"time".into(), &true.into()));
        let target: DateTime<Utc> = target["time"].as_str().unwrap().parse().unwrap();
        let found: usize = fs::read_to_string(&seen).unwrap().trim().parse().unwrap();
        let certain = marked.iter().filter(|(_, after)| *after <= target).count();
        let possible = marked.iter().filter(|(before, _)| *before <= target).count();
        assert!((certain..=possible).contains(&found), "{found}: {marked:?}: {random:#}");
    }
    trial.assert_clean();
}

/// A time of PostgreSQL.
fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").unwrap().to_utc()
}

#[test]
fn a_backup_in_an_object_store_passes() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("a_backup_in_an_object_store_passes", pgbackrest) else { return };
        let authority = Authority::new();
        let store = match ObjectStore::start(Kind::S3, Host::local(), &authority, &site.path("stores")) {
            Err(missing) => return skip("a_backup_in_an_object_store_passes", missing),
            Ok(store) => store,
        };
        let trial = Trial::start(&site);
        let certificate = site.write("ca.crt", &authority.certificate_pem());
        let options = store.options(3).into_iter().chain(store.secrets(3)).chain([
            ("repo3-storage-ca-file".to_owned(), certificate.display().to_string()),
            ("repo3-retention-full".to_owned(), "2".to_owned()),
        ]);
        let config = options.fold(site.config(), |config, (name, value)| config.global(&name, &value));
        site.write("both.conf", &config.text());
        trial.lab.pgbackrest(&["stanza-create"]);
        trial.lab.back_up(3, "full");
        trial.mark(1);
        trial.lab.postgres.archive_all();
        let passed = trial.test(&["--repo=3", &trial.assertions(1, 2)]).passed();
        assert_eq!(passed["repo"], 3);
        trial.assert_clean();

        // The repository hangs, first during the restore, and then from the beginning.
        let waits = site.create_directory("waits");
        let until = format!("while test -e {}; do sleep 0.1; done", waits.display());
        let waiting = trial.before("restore", &until);
        let log = site.path("keeper.log");
        let command = trial.command(&["--repo=3", "--restore-timeout=15s", &waiting]);
        let mut running = Running::start("restore-test", command, &log, Signal::SIGTERM);
        wait_for("the restore to begin", || trial.directory().join("restore.log").exists().then_some(()));
        store.pause();
        fs::remove_dir(&waits).unwrap();
        assert_eq!(running.wait().code(), Some(5), "{}", running.log());
        let record = record_in(&running.log());
        assert_eq!(
            (&record["reason"]["class"], &record["reason"]["phase"]),
            (&"deadline".into(), &"restore".into())
        );
        trial.assert_clean();
        trial.test(&["--repo=3", "--collect.timeout=10s"]).ended("inconclusive", "repository");
        store.resume();

        // It no longer exists, which is not the fault of the backup either.
        drop(store);
        trial.test(&["--repo=3", "--collect.timeout=10s"]).ended("inconclusive", "repository");
        trial.assert_clean();
    }
}

#[test]
fn progress_is_shown_on_a_terminal() {
    let Some(site) = Site::or_skip("progress_is_shown_on_a_terminal", Pgbackrest::newest()) else { return };
    let trial = Trial::start(&site);
    let label = trial.lab.back_up(1, "full");
    for id in 1..4 {
        trial.mark(id);
        trial.lab.postgres.archive_all();
    }
    // Lines follow each other after five seconds.
    let slow = trial.before("archive-get", "sleep 2");
    let line = trial.shell_line(&["--repo=1", "--output=text", &slow]);
    // util-linux' script gives its child a terminal.
    let mut command = call(site.account.as_ref(), "script");
    let shown = successful(command.args(["-qec", &line, "/dev/null"]));
    for text in
        [&*format!("restore {label} from repo1"), "  at 0/", ", WAL segment 0000000100000000", "passed"]
    {
        assert!(shown.contains(text), "{text} is missing in\n{shown}");
    }
    trial.assert_clean();
}

#[test]
fn some_databases_can_be_tested_in_a_directory_behind_a_link() {
    let test = "some_databases_can_be_tested_in_a_directory_behind_a_link";
    let Some(site) = Site::or_skip(test, Pgbackrest::installed()) else { return };
    let trial = Trial::start(&site);
    trial.lab.postgres.sql("create database other template postgres");
    trial.mark(1);
    trial.lab.back_up(1, "full");
    trial.mark(2);
    trial.lab.postgres.archive_all();
    // What the configuration leaves out is restored for a test.
    let config = fs::read_to_string(&trial.lab.both).unwrap();
    let excluding =
        site.write("excluding.conf", &config.replacen("[global]\n", "[global]\ndb-exclude=other\n", 1));
    let all = trial.test_with(&excluding, &["--repo=1"]).passed();
    assert_eq!(all["checks"][1]["message"], "2 databases", "{all:#}");
    assert!(all["restored_bytes"].as_u64().unwrap() > 0);

    let (real, link) = (site.create_directory("elsewhere").join("copy"), site.path("link"));
    symlink(real.parent().unwrap(), &link).unwrap();
    let directory = format!("--directory={}", link.join("copy").display());
    // The other database is not restored, and not checked.
    let some = trial.test(&["--repo=1", "--db-include=nosuch", &directory]);
    some.ended("inconclusive", "configuration");
    trial.lab.postgres.sql("create database third template postgres");
    trial.lab.back_up(1, "full");
    let some = trial.test(&["--repo=1", "--db-include=third", &directory]).passed();
    assert_eq!(some["checks"][1]["message"], "2 databases", "{some:#}");
    assert!(some["restored_bytes"].is_null());
    assert_eq!(some["databases"], serde_json::json!(["third"]));
    assert_eq!(fs::read_dir(real).unwrap().count(), 0);
}
