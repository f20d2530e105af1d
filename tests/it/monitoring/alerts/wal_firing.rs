//! Alerts about WAL and recovery, from real gaps in a real archive to a receiver.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use chrono::Utc;

use super::RULES;
use super::firing::{assert_as_shipped, came_before, segments};
use crate::support::lab::{Lab, STANZA};
use crate::support::machine::Pgbackrest;
use crate::support::stack::{self, stack};

const ARGUMENTS: [&str; 3] =
    ["--collect.interval=1", "--collect.wal-interval=2", "--backrest.stanza-include=demo"];

#[test]
fn holes_in_wal_are_told_to_whom_they_concern() {
    let test = "holes_in_wal_are_told_to_whom_they_concern";
    let Some(site) = stack::site(test, Pgbackrest::installed()) else { return };
    let lab = Lab::start(&site, 16);
    // pgBackRest asks the database what time it is: the backups are old.
    lab.set_clock(Some("9 days"));
    let lost = lab.back_up(1, "full");
    let between = [(); 3].map(|()| lab.postgres.archive_all().segment);
    lab.back_up(1, "full");
    lab.set_clock(None);
    let after = [(); 4].map(|()| lab.postgres.archive_all().segment);

    // Between the backups, after them with its time three hours ago, twice there, and a backup without its files.
    fs::remove_file(site.wal_file(1, &between[1])).unwrap();
    came_before(&site.wal_file(1, &after[0]), Duration::from_hours(3));
    fs::remove_file(site.wal_file(1, &after[1])).unwrap();
    let whole = site.wal_file(1, &after[2]);
    fs::copy(&whole, whole.with_file_name(format!("{}-{}.gz", after[2], "0".repeat(40)))).unwrap();
    fs::remove_dir_all(site.path(&format!("repo1/backup/{STANZA}/{lost}"))).unwrap();
    // A timeline without its history.
    let (segment, promoted) =
        (site.wal_file(2, &after[3]), site.path(&format!("repo2/archive/{STANZA}/15-1/0000000200000000")));
    fs::create_dir(&promoted).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap().replacen("00000001", "00000002", 1);
    fs::copy(&segment, promoted.join(name)).unwrap();

    let (alertmanager, _stack) = stack(&lab, &ARGUMENTS).alerting(RULES);
    let repo1 = [("stanza", STANZA), ("repo_key", "1")];
    let told = |receiver: &str, name: &str, more: &[(&str, &str)]| {
        let notice = alertmanager.wait(receiver, "firing", name, &[&repo1, more].concat());
        assert_as_shipped(&notice);
        notice.annotations["summary"].clone()
    };
    assert_eq!(
        told("on-call", "PgBackRestWalGap", &[("class", "pitr_new")]),
        "WAL segments missing in repo1 of demo: 1"
    );
    assert_eq!(
        told("on-call", "PgBackRestBackupUnrestorable", &[("reason", "directory")]),
        "Backups in repo1 of demo that cannot be restored: 1 (directory)"
    );
    told("on-call", "PgBackRestRpoExceeded", &[]);
    told("on-call", "PgBackRestWalDuplicates", &[]);
    told("day", "PgBackRestWalGapOld", &[("class", "pitr_old")]);
    let of_repo2 = [("stanza", STANZA), ("repo_key", "2")];
    let notice = alertmanager.wait("day", "firing", "PgBackRestWalHistoryMissing", &of_repo2);
    assert_as_shipped(&notice);
    // Nothing else is wrong with the other repo.
    let of_wal = |name: &str| {
        name.starts_with("PgBackRestWal") || name.contains("Rpo") || name.contains("Unrestorable")
    };
    for notice in alertmanager.told().iter().filter(|notice| of_wal(notice.name())) {
        let is_history = notice.name() == "PgBackRestWalHistoryMissing";
        assert_eq!(notice.labels["repo_key"], if is_history { "2" } else { "1" }, "{notice:#?}");
    }
}

#[test]
fn a_stall_and_a_short_window_are_told_where_the_past_knows_better() {
    let test = "a_stall_and_a_short_window_are_told_where_the_past_knows_better";
    let Some(site) = stack::site(test, Pgbackrest::installed()) else { return };
    let lab = Lab::start(&site, 16);
    // repo1 reaches back nine days, and has got nothing for three hours; repo2 begins anew.
    lab.set_clock(Some("9 days"));
    lab.back_up(1, "full");
    lab.set_clock(None);
    let of_backup = segments(&site, 1);
    lab.back_up(2, "full");
    lab.postgres.archive_all();
    for segment in segments(&site, 1) {
        let hours = if of_backup.contains(&segment) { 9 * 24 } else { 3 };
        came_before(&segment, Duration::from_hours(hours));
    }

    let (alertmanager, stack) = stack(&lab, &ARGUMENTS).with_past(past).alerting(RULES);
    for (name, repo) in [
        ("PgBackRestWalArchivingStalled", "1"),
        ("PgBackRestRpoExceeded", "1"),
        ("PgBackRestRecoveryWindowTooSmall", "2"),
    ] {
        let notice = alertmanager.wait("on-call", "firing", name, &[("stanza", STANZA), ("repo_key", repo)]);
        assert_as_shipped(&notice);
        assert_eq!(
            stack.prometheus.query(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}")).len(),
            1
        );
    }
    let said =
        |name: &str| alertmanager.told().into_iter().find(|told| told.name() == name).unwrap().annotations;
    let stalled = &said("PgBackRestWalArchivingStalled")["summary"];
    assert!(stalled.starts_with("No WAL of demo has arrived in repo1 for 3h 0m "), "{stalled}");
}

/// Two days in which WAL came in every hour, and windows of three days ago, of both repos.
fn past(instance: &str) -> String {
    let now = Utc::now().timestamp();
    let hours = |from: i64, to: i64| (now - from * 3600..now - to * 3600).step_by(60);
    let mut text = String::new();
    for (name, value, times) in [
        ("pgbackrest:wal_archived_within_hour", 1, hours(48, 1)),
        ("pgbackrest_recovery_window_seconds", 500_000, hours(74, 71)),
    ] {
        writeln!(text, "# TYPE {name} gauge").unwrap();
        for repo in [1, 2] {
            for at in times.clone() {
                let labels = format!(
                    "job=\"pgbackrest\",instance=\"{instance}\",stanza=\"{STANZA}\",repo_key=\"{repo}\""
                );
                writeln!(text, "{name}{{{labels}}} {value} {at}").unwrap();
            }
        }
    }
    text + "# EOF\n"
}
