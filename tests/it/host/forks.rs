//! Forks of pgBackRest, simulated by the real program under their names.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::support::exporter::{Exporter, our_program};
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::postgres::PORT;
use crate::support::process::{Running, call, command, wait_for};

const REPO1: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "1")];

/// The stanza that locks are left of: other tests run on this machine, and they look at the same directories.
const LOCKED: &str = "of-two-programs";

/// A program that says what the fork says, and does what pgBackRest does.
fn fork(site: &Site, name: &str, version: &str) -> PathBuf {
    let real = site.pgbackrest.program.display();
    let body = format!("if [ \"$1\" = version ]; then echo '{version}'; exit; fi\nexec {real} \"$@\"\n");
    site.script(name, &body)
}

#[test]
fn forks_of_the_installed_version() {
    with_lab("forks_of_the_installed_version", Pgbackrest::installed(), |lab| {
        forks_are_named_and_asked(lab, false);
    });
}

#[test]
fn forks_of_the_newest_version() {
    with_lab("forks_of_the_newest_version", Pgbackrest::newest(), |lab| {
        forks_are_named_and_asked(lab, true);
        the_locks_of_another_program_are_seen(lab);
    });
}

fn with_lab(test: &str, pgbackrest: Result<Pgbackrest, String>, story: impl FnOnce(&mut Lab<'_>)) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    story(&mut Lab::start(&site, 16));
}

/// Both have the same number, whatever the program behind it can do: one that blocks expiry, and one that does not.
fn forks_are_named_and_asked(lab: &mut Lab<'_>, blocks_expiry: bool) {
    let config = lab.site.config().global("repo1-retention-full", "1");
    let config = lab.site.write("expiring.conf", &config.text());
    lab.back_up(1, "full");
    lab.postgres.sql("create table damaged as select g, repeat('x', 100) from generate_series(1, 2000) g");
    lab.postgres.corrupt_page("damaged", 3);
    lab.back_up(1, "full");
    for (name, printed, product) in
        [("pgxbackup", "pgxbackup 2.59.0", "pgxbackup"), ("pgbunker", "pgBunker 2.59.0-bunker.1", "pgBunker")]
    {
        let program = fork(lab.site, name, printed);
        let arguments = ["--collect.interval=1", "--backrest.database-count"];
        let exporter = Exporter::start_as(lab.site.account.as_ref(), lab.site, &program, &config, &arguments);
        exporter.wait("the repository", |samples| samples.find("pgbackrest_repo_up", REPO1));
        exporter.wait("the databases of backups", |samples| {
            (!samples.all("pgbackrest_backup_databases", &[]).is_empty()).then_some(())
        });
        let samples = exporter.samples();
        samples.assert("pgbackrest_program_info", &[("product", product), ("version", "2.59.0")], 1.0);
        samples.assert("pgbackrest_version_info", &[], 2_059_000.0);
        let blocked = samples.find("pgbackrest_expiry_blocked_since_timestamp_seconds", REPO1);
        assert_eq!(blocked.is_some(), blocks_expiry, "{product}");
        // pgBackRest's own backups are no sign of another program to pgxbackup: it could have made them.
        let seen = samples.all("pgbackrest_other_program_seen_timestamp_seconds", &[("stanza", STANZA)]);
        let evidence: Vec<_> =
            seen.iter().map(|seen| (&*seen.labels["product"], &*seen.labels["evidence"])).collect();
        let expected: &[_] = if product == "pgBunker" { &[("", "backup")] } else { &[] };
        assert_eq!(evidence, expected, "{product}");
        assert!(exporter.get("/", &[]).text().contains(&format!("{product} 2.59.0")));
        assert_eq!(exporter.stop(), Some(0));
    }
}

/// A backup with the real program in the fork's lock path, held while another program is asked for the stanza.
fn the_locks_of_another_program_are_seen(lab: &mut Lab<'_>) {
    let config =
        lab.site.config().set(LOCKED, "pg1-path", &lab.site.path("postgres/data").display().to_string());
    let config = config.without("repo2-").set(
        LOCKED,
        "pg1-socket-path",
        &lab.site.path("postgres").display().to_string(),
    );
    let config = config.set(LOCKED, "pg1-port", PORT).set(LOCKED, "pg1-user", "postgres");
    let file = lab.site.write("two.conf", &config.text());
    let stanza = format!("--stanza={LOCKED}");
    let created = lab.site.run(&file, &["stanza-create", &stanza]);
    assert!(created.status.success(), "{created:?}");
    let findings = |program: &Path, file: &Path| {
        let mut info = call(lab.site.account.as_ref(), our_program(lab.site));
        info.args(["info", "--output=json"]).arg(format!("--backrest.binary={}", program.display()));
        info.arg(format!("--backrest.config={}", file.display()));
        info.arg(format!("--backrest.stanza-include={LOCKED}"));
        let told: serde_json::Value = serde_json::from_slice(&info.output().unwrap().stdout).unwrap();
        told["stanzas"][0]["other_program"].clone()
    };
    let real = &lab.site.pgbackrest.program;
    assert_eq!(findings(real, &file), serde_json::Value::Null);

    let held = HeldLock::start(lab, &file, "/tmp/pgxbackup");
    let told = findings(real, &file);
    assert_eq!((&told["product"], &told["evidence"]), (&"pgxbackup".into(), &"lock".into()), "{told}");
    // To the fork itself it is its own, and so it is to a program that locks in the same directory.
    assert_eq!(findings(&fork(lab.site, "pgxbackup", "pgxbackup 2.59.0"), &file), serde_json::Value::Null);
    let shared = lab.site.write("shared.conf", &config.global("lock-path", "/tmp/pgxbackup").text());
    assert_eq!(findings(real, &shared), serde_json::Value::Null);
    // And there they exclude each other.
    let second = lab.site.run(&shared, &["expire", &stanza, "--repo=1"]);
    assert_eq!(second.status.code(), Some(50), "{second:?}");
    drop(held);
    assert_eq!(findings(real, &file), serde_json::Value::Null);
}

/// A backup of pgBackRest that stands still while it holds its lock in this directory.
struct HeldLock {
    backup: Running,
    lock: PathBuf,
}

impl HeldLock {
    fn start(lab: &Lab<'_>, config: &Path, directory: &str) -> Self {
        let mut command = command(lab.site.account.as_ref(), &lab.site.pgbackrest.program);
        command.env_clear().arg(format!("--config={}", config.display())).arg(format!("--stanza={LOCKED}"));
        // The backup waits for WAL that is never archived.
        command.args([
            "--repo=1",
            "--type=full",
            "--archive-timeout=86400",
            "--protocol-timeout=90000",
            "--db-timeout=86400",
        ]);
        command.arg(format!("--lock-path={directory}")).arg("backup");
        let mut backup =
            Running::start("pgbackrest backup", command, &lab.site.path("held.log"), Signal::SIGKILL);
        let lock = Path::new(directory).join(format!("{LOCKED}-backup-1.lock"));
        wait_for("the lock of the other program", || {
            assert!(backup.ended().is_none(), "the backup has ended:\n{}", backup.log());
            lock.exists().then_some(())
        });
        Self { backup, lock }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.backup.signal_group(Signal::SIGKILL);
        self.backup.wait();
        // Its owner was killed, and leaves it behind.
        fs::remove_file(&self.lock).unwrap();
        _ = fs::remove_dir(self.lock.parent().unwrap());
    }
}
