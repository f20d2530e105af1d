//! Alerts about WAL and recovery, from real holes in a real archive to whom they concern.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::firing::{assert_as_shipped, set_clock, shipped};
use super::{ALERTMANAGER, RULES, root};
use crate::support::alertmanager::Alertmanager;
use crate::support::exporter::Exporter;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, skip};
use crate::support::prometheus::Prometheus;

#[test]
fn holes_in_wal_are_told_to_whom_they_concern() {
    if let Err(missing) = story() {
        skip("holes_in_wal_are_told_to_whom_they_concern", missing);
    }
}

fn story() -> Result<(), String> {
    let site = Site::new(Pgbackrest::installed())?;
    let alertmanager = Alertmanager::start(&fs::read_to_string(root().join(ALERTMANAGER)).unwrap())?;
    let lab = Lab::start(&site, 16);
    // pgBackRest asks the database what time it is: the backups are old.
    set_clock(&lab, Some(9));
    let lost = lab.back_up(1, "full");
    let between = [(); 3].map(|()| lab.postgres.archive_all().segment);
    lab.back_up(1, "full");
    set_clock(&lab, None);
    let after = [(); 4].map(|()| lab.postgres.archive_all().segment);

    // Between the backups, after them with its time three hours ago, twice there, and a backup without its files.
    fs::remove_file(file(&site, &between[1])).unwrap();
    let reached = File::options().write(true).open(file(&site, &after[0])).unwrap();
    reached.set_modified(SystemTime::now() - Duration::from_hours(3)).unwrap();
    fs::remove_file(file(&site, &after[1])).unwrap();
    let whole = file(&site, &after[2]);
    fs::copy(&whole, whole.with_file_name(format!("{}-{}.gz", after[2], "0".repeat(40)))).unwrap();
    fs::remove_dir_all(site.path(&format!("repo1/backup/{STANZA}/{lost}"))).unwrap();

    let arguments = ["--collect.interval=1", "--collect.wal-interval=2", "--backrest.stanza-include=demo"];
    let exporter = Exporter::start(&site, &lab.both, &arguments);
    let prometheus = Prometheus::start_alerting(
        &[("pgbackrest", &exporter.address)],
        &shipped(RULES),
        &alertmanager.address,
    )?;
    let repo1 = [("stanza", STANZA), ("repo_key", "1")];
    let told = |receiver: &str, name: &str, more: &[(&str, &str)]| {
        let notice = alertmanager.wait(receiver, "firing", name, &[&repo1, more].concat());
        assert_as_shipped(&notice);
        notice.annotations["summary"].clone()
    };
    assert_eq!(
        told("on-call", "PgBackRestWalGap", &[("class", "pitr_new")]),
        "1 WAL segments of demo are missing in repo1"
    );
    assert_eq!(
        told("on-call", "PgBackRestBackupUnrestorable", &[("reason", "directory")]),
        "1 backups of demo in repo1 cannot be restored (directory)"
    );
    told("on-call", "PgBackRestRpoExceeded", &[]);
    told("on-call", "PgBackRestWalDuplicates", &[]);
    told("day", "PgBackRestWalGapOld", &[("class", "pitr_old")]);
    // The other repo is well.
    let of_wal = |name: &str| {
        name.starts_with("PgBackRestWal") || name.contains("Rpo") || name.contains("Unrestorable")
    };
    for notice in alertmanager.told() {
        assert!(!of_wal(notice.name()) || notice.labels["repo_key"] == "1", "{notice:#?}");
    }
    drop(prometheus);
    Ok(())
}

/// The only file of a segment in repo1.
fn file(site: &Site, segment: &str) -> PathBuf {
    let directory = site.path(&format!("repo1/archive/{STANZA}/15-1/{}", &segment[..16]));
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(segment)).collect();
    let [file] = found.try_into().unwrap();
    file
}
