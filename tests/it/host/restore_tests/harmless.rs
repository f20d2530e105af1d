//! A test touches nothing of production, and uses no directory that is not its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::trial::{Trial, versions};
use crate::support::exporter::our_program;
use crate::support::lab::{STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{Running, output, wait_for};

#[test]
fn nothing_of_production_is_touched() {
    for pgbackrest in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(site) = Site::or_skip("nothing_of_production_is_touched", pgbackrest) else { return };
        let mut trial = Trial::start(&site);
        let planted = Planted::new(&trial);
        trial.lab.back_up(1, "full");
        planted.remove(&trial);
        trial.mark(1);
        trial.lab.postgres.archive_all();
        // Archiving is asynchronous from now on, and waits: its spool is full of what must not be lost.
        let text = fs::read_to_string(&trial.lab.both).unwrap();
        site.write("both.conf", &text.replacen("[global]\n", "[global]\narchive-async=y\n", 1));
        trial.mark(2);
        trial.lab.postgres.archive_all();
        // Tablespaces that WAL creates are not created where production has them.
        let apart = site.create_directory("apart");
        trial.lab.postgres.sql(&format!("create tablespace apart location '{}'", apart.display()));
        trial.lab.postgres.sql("create table far tablespace apart as select generate_series(1, 1000)");
        trial.lab.postgres.sql("checkpoint");
        trial.lab.postgres.archive_all();
        trial.lab.postgres.stop();
        wait_for("the end of asynchronous archiving", || (!is_archiving(&trial.lab.both)).then_some(()));
        let waiting = site.path(&format!("spool/archive/{STANZA}/out/00000001000000000000FFFF.ok"));
        fs::write(&waiting, "").unwrap();
        planted.assert_untouched();

        let watched = ["repo1", "repo2", "spool", "lock", "log", "apart", "postgres/data"];
        let look = || watched.map(|name| contents(&site.path(name)));
        let before = look();
        trial.test(&["--repo=1", "--target=immediate", "--pg-user=tester"]).passed();
        assert!(waiting.exists());
        planted.assert_untouched();
        // Replaying CREATE TABLESPACE would empty the directory of production: it must not get that far.
        trial.test(&["--repo=1"]).ended("inconclusive", "tablespace");
        for (name, (before, after)) in watched.iter().zip(before.iter().zip(look())) {
            assert_eq!(before, &after, "{name}");
        }
        trial.assert_clean();
        trial.lab.postgres.start();
        assert_eq!(trial.lab.postgres.sql("select count(*) from far"), "1000");
        trial.lab.postgres.archive_all();
    }
}

/// What would be noticed of a copy that does what the database is set to do.
struct Planted {
    /// Commands of the settings would write here.
    witness: PathBuf,
    /// A subscription would connect to this.
    publisher: TcpListener,
}

impl Planted {
    /// Planted in a running database, which does nothing of it before it is started again.
    fn new(trial: &Trial<'_>) -> Self {
        let witness = trial.site.create_directory("witness");
        let publisher = TcpListener::bind("127.0.0.1:0").unwrap();
        publisher.set_nonblocking(true).unwrap();
        let port = publisher.local_addr().unwrap().port();
        let postgres = &trial.lab.postgres;
        let commands =
            ["archive_command", "restore_command", "archive_cleanup_command", "recovery_end_command"];
        let touch = |name: &str| format!("alter system set {name} = 'touch {}/{name}'", witness.display());
        let settings = [
            "shared_preload_libraries = 'nosuchlibrary'".to_owned(),
            "session_preload_libraries = 'nosuchlibrary'".to_owned(),
            "archive_mode = 'always'".to_owned(),
            "recovery_min_apply_delay = '1h'".to_owned(),
            "recovery_target_action = 'promote'".to_owned(),
            "listen_addresses = '127.0.0.1'".to_owned(),
            "logging_collector = on".to_owned(),
            format!("log_directory = '{}'", witness.display()),
            format!("primary_conninfo = 'host=127.0.0.1 port={port}'"),
        ];
        let settings = settings.iter().map(|setting| format!("alter system set {setting}"));
        let in_database = [
            // What is set for a role does not hold for the connections of a test.
            "create schema found_first".to_owned(),
            "create function found_first.pg_last_wal_replay_lsn() returns pg_lsn language sql as 'select 1/0; select null::pg_lsn'".to_owned(),
            "create role tester superuser login".to_owned(),
            "alter role tester set search_path = found_first, pg_catalog".to_owned(),
            "alter role tester set statement_timeout = 1".to_owned(),
            "alter role tester set session_preload_libraries = 'nosuchlibrary'".to_owned(),
            format!(
                "create subscription planted connection 'host=127.0.0.1 port={port} dbname=x user=x' \
                 publication planted with (connect = false, slot_name = none)"
            ),
            "set allow_system_table_mods = on; update pg_subscription set subenabled = true, subslotname = 'planted'"
                .to_owned(),
        ];
        let all: Vec<String> = commands.map(touch).into_iter().chain(settings).chain(in_database).collect();
        postgres.sql_each(&all.iter().map(String::as_str).collect::<Vec<_>>());
        Self { witness, publisher }
    }

    /// For the database itself, and for a copy of its present state.
    fn remove(&self, trial: &Trial<'_>) {
        trial.lab.postgres.sql_each(&[
            "alter system reset all",
            "set allow_system_table_mods = on; delete from pg_subscription",
        ]);
        // The database itself may have connected.
        while self.publisher.accept().is_ok() {}
    }

    fn assert_untouched(&self) {
        let written: Vec<_> =
            fs::read_dir(&self.witness).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(written.is_empty(), "{written:?}");
        let connected = self.publisher.accept();
        assert!(connected.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }
}

/// Fails if the PostgreSQL that it is asked for runs a background worker of pg_prewarm, which is not in `pg_stat_activity`.
const FINDS_NO_WORKER: &str = r#"postmaster=$(head -n 1 "$PGHOST/.s.PGSQL.$PGPORT.lock")
for process in /proc/[0-9]*; do
    grep -qs "^PPid:[[:space:]]*$postmaster\$" "$process/status" || continue
    ! grep -qs autoprewarm "$process/cmdline" || exit 1
done
"#;

/// Whatever the database is set to run, only what a standby needs runs on the copy.
#[test]
fn no_background_worker_runs_on_the_copy() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("no_background_worker_runs_on_the_copy", pgbackrest) else { return };
        let mut trial = Trial::start(&site);
        trial.lab.postgres.sql("alter system set shared_preload_libraries = 'pg_prewarm'");
        trial.lab.postgres.stop();
        trial.lab.postgres.start();
        let hook = site.script("finds-no-worker", FINDS_NO_WORKER);
        let is_running = || {
            let socket = &trial.lab.postgres.socket_directory;
            !Command::new(&hook).env("PGHOST", socket).env("PGPORT", "5432").status().unwrap().success()
        };
        wait_for("the background worker of the database", || is_running().then_some(()));
        trial.lab.back_up(1, "full");
        let hook = format!("--hook={}", hook.display());
        trial.test(&["--repo=1", &hook]).passed();
        // It is seen if it runs.
        let library = "--postgres-option=shared_preload_libraries=pg_prewarm";
        trial.test(&["--repo=1", &hook, library]).ended("failed", "hook");
        trial.assert_clean();
    }
}

#[test]
fn a_running_backup_is_not_disturbed() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("a_running_backup_is_not_disturbed", pgbackrest) else { return };
        let trial = Trial::start(&site);
        trial.lab.back_up(1, "full");
        trial.mark(1);
        trial.lab.postgres.archive_all();
        let held = trial.lab.hold_backup(2);
        // The backup ends a segment when it begins, which is archived meanwhile.
        trial.lab.postgres.archive_all();
        let watched = ["repo1", "repo2", "spool", "lock", "log"];
        let look = || watched.map(|name| contents(&site.path(name)));
        let before = look();
        trial.test(&["--repo=1", &trial.assertions(1, 2)]).passed();
        for (name, (before, after)) in watched.iter().zip(before.iter().zip(look())) {
            assert_eq!(changes(before, &after), Vec::<&str>::new(), "{name}");
        }
        assert!(held.release());
        trial.test(&["--repo=2", &trial.assertions(1, 2)]).passed();
        trial.assert_clean();
    }
}

/// While PostgreSQL runs on the copy, a backup is being made, and WAL is archived asynchronously.
#[test]
fn only_production_changes_what_is_its_own() {
    for pgbackrest in versions() {
        let Some(site) = Site::or_skip("only_production_changes_what_is_its_own", pgbackrest) else { return };
        let trial = Trial::start(&site);
        trial.lab.back_up(1, "full");
        trial.mark(1);
        trial.lab.postgres.archive_all();
        let text = fs::read_to_string(&trial.lab.both).unwrap();
        site.write("both.conf", &text.replacen("[global]\n", "[global]\narchive-async=y\n", 1));
        trial.lab.postgres.archive_all();
        let held = trial.lab.hold_backup(2);
        let archiver_ends = || {
            wait_for("the end of asynchronous archiving", || (!is_archiving(&trial.lab.both)).then_some(()));
        };
        archiver_ends();
        let watched = ["repo1", "repo2", "spool", "lock", "log"];
        let before = watched.map(|name| contents(&site.path(name)));

        let (checks, goes_on) =
            (site.create_directory("checks").join("here"), site.create_directory("goes-on"));
        let body =
            format!("touch {}\nwhile test -e {}; do sleep 0.1; done\n", checks.display(), goes_on.display());
        let hook = format!("--hook={}", site.script("waits", &body).display());
        let command = trial.command(&["--repo=1", &trial.assertions(1, 2), &hook]);
        let mut running = Running::start("restore-test", command, &site.path("keeper.log"), Signal::SIGTERM);
        wait_for("the copy to be checked", || checks.exists().then_some(()));
        trial.mark(2);
        let archived = trial.lab.postgres.archive_all().segment;
        fs::remove_dir(&goes_on).unwrap();
        assert!(running.wait().success(), "{}", running.log());
        archiver_ends();

        for (name, before) in watched.iter().zip(before) {
            let after = contents(&site.path(name));
            let of_archiving = |path: &str| match *name {
                "repo1" | "repo2" => {
                    !before.contains_key(path) && path.contains(&format!("/archive/{STANZA}/"))
                }
                _ => path.contains("archive"),
            };
            let mut others = changes(&before, &after);
            others.retain(|path| !of_archiving(path));
            assert_eq!(others, Vec::<&str>::new(), "{name}");
        }
        site.wal_file(1, &archived);
        assert!(held.release());
        trial.assert_clean();
    }
}

#[test]
fn only_directories_of_its_own_are_used() {
    let Some(site) = Site::or_skip("only_directories_of_its_own_are_used", Pgbackrest::installed()) else {
        return;
    };
    let trial = Trial::start(&site);
    let refused = |directory: &Path, why: &str| {
        let before = contents(&site.path("postgres/data/base"));
        let said = trial.site_output(&[&format!("--directory={}", directory.display())]);
        assert!(said.contains(why), "{said}");
        assert_eq!(contents(&site.path("postgres/data/base")), before);
    };
    refused(&trial.lab.postgres.data, "is in the data directory");
    refused(&trial.lab.postgres.data.join("base/copy"), "is in the data directory");
    refused(&site.path(&format!("repo1/backup/{STANZA}/copy")), "is in the repository");
    let other = site.create_directory("other");
    fs::write(other.join("file"), "").unwrap();
    refused(&other, "is not empty");
    if site.account.is_some() {
        let mut command = Command::new(our_program(&site));
        let said = output(command.args(["restore-test", "--stanza=demo", "--directory=/nonexistent"]));
        assert_eq!(said.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&said.stderr).contains("must not run as root"), "{said:?}");
    }
}

/// Whether pgBackRest archives with a configuration.
fn is_archiving(config: &Path) -> bool {
    let config = config.display().to_string();
    let all = procfs::process::all_processes().unwrap().filter_map(|process| process.ok()?.cmdline().ok());
    all.into_iter().any(|words| {
        words.iter().any(|word| word.contains(&config))
            && words.iter().any(|word| word.starts_with("archive-push"))
    })
}

/// Paths that are on one side only, or differ.
fn changes<'a>(before: &'a BTreeMap<String, Vec<u8>>, after: &'a BTreeMap<String, Vec<u8>>) -> Vec<&'a str> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differ.map(String::as_str).collect()
}

/// Every file with its contents.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let content = match fs::symlink_metadata(&path).unwrap().file_type() {
                kind if kind.is_dir() => {
                    directories.push(path.clone());
                    Vec::new()
                }
                kind if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                kind if kind.is_file() => fs::read(&path).unwrap(),
                _ => continue,
            };
            found.insert(path.display().to_string(), content);
        }
    }
    found
}
