//! Backups from a standby: what pgBackRest does with `y` and `prefer` if there is one, if it does not follow, and if there is none.

use std::fs;

use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::postgres::{PORT, Postgres};
use crate::support::process::{call, successful};

/// pgBackRest's exit codes.
const NO_STANDBY: i32 = 56;
const DOES_NOT_FOLLOW: i32 = 82;
const INVALID_VALUE: i32 = 32;

#[test]
fn the_installed_version_backs_up_from_a_standby() {
    check("the_installed_version_backs_up_from_a_standby", Pgbackrest::installed());
}

#[test]
fn the_newest_version_backs_up_from_a_standby() {
    check("the_newest_version_backs_up_from_a_standby", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 16);
    let mut standby = stand_by(&lab);
    let has_prefer = site.pgbackrest.minor() >= 54;
    let back_up = |backup_standby: &str, archive_timeout: &str| {
        let path = |name: &str| site.path(name).display().to_string();
        let config = site
            .config()
            .global("backup-standby", backup_standby)
            .global("archive-timeout", archive_timeout)
            .set(STANZA, "pg2-path", &path("standby/data"))
            .set(STANZA, "pg2-port", PORT)
            .set(STANZA, "pg2-socket-path", &path("standby"))
            .set(STANZA, "pg2-user", "postgres");
        let config = site.write("standby.conf", &config.text());
        let stanza = format!("--stanza={STANZA}");
        let arguments = [stanza.as_str(), "--repo=1", "--type=full", "--log-level-console=info", "backup"];
        let output = site.run(&config, &arguments);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    };
    let is_from_standby = || {
        let label = lab.labels(1).pop().unwrap();
        let manifest = site.path(&format!("repo1/backup/{STANZA}/{label}/backup.manifest"));
        fs::read_to_string(manifest).unwrap().contains("option-backup-standby=true")
    };
    let values: &[&str] = if has_prefer { &["y", "prefer"] } else { &["y"] };

    for value in values {
        let (code, said) = back_up(value, "30");
        assert_eq!(code, Some(0), "{value}: {said}");
        assert!(said.contains("replay on the standby reached") && is_from_standby(), "{value}: {said}");
    }
    standby.sql("select pg_wal_replay_pause()");
    for value in values {
        let (code, said) = back_up(value, "2");
        assert_eq!(code, Some(DOES_NOT_FOLLOW), "{value}: {said}");
    }
    standby.stop();
    let (code, said) = back_up("y", "30");
    assert_eq!(code, Some(NO_STANDBY), "{said}");
    assert!(said.contains("unable to find standby cluster"), "{said}");
    let (code, said) = back_up("prefer", "30");
    if has_prefer {
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("using primary instead") && !is_from_standby(), "{said}");
    } else {
        assert_eq!(code, Some(INVALID_VALUE), "{said}");
    }
}

/// A standby that streams from the lab's cluster.
fn stand_by<'a>(lab: &Lab<'a>) -> Postgres<'a> {
    let (site, account) = (lab.site, lab.site.account.as_ref());
    let directory = site.create_directory("standby");
    let mut copy = call(account, site.programs().join("pg_basebackup"));
    copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--username=postgres"]);
    copy.arg(format!("--port={PORT}")).arg("--host").arg(&lab.postgres.socket_directory);
    successful(copy.arg("--pgdata").arg(directory.join("data")));
    let mut standby = Postgres::existing(account, site.programs(), &directory, "archive_mode = off\n");
    standby.stand_by().unwrap();
    standby
}
