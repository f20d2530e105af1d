//! Alerts from real backups to a receiver: our exporter, Prometheus with our rules, Alertmanager with our example configuration.
//!
//! Only times are changed: `for` and Alertmanager's intervals are sixty times shorter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{ALERTMANAGER, COMPAT, RULES, alerts, root, words};
use crate::support::alertmanager::Notice;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, successful, wait_for};
use crate::support::stack::{self, JOB, Stack, shipped, stack};

const DAYS: &str = r"^The last (full )?backup of demo in repo[12] is 9d 0h \d+m \d+s old$";

#[test]
fn nothing_but_waiting_is_shortened() {
    for file in [RULES, COMPAT] {
        let hurried: super::File = serde_saphyr::from_str(&shipped(file)).unwrap();
        let hurried: Vec<_> = hurried.groups.into_iter().flat_map(|group| group.rules).collect();
        let shipped = super::rules(file);
        assert_eq!(hurried.len(), shipped.len());
        for (hurried, shipped) in hurried.into_iter().zip(shipped) {
            let longer = |pending: &String| match pending.split_at(pending.len() - 1) {
                (number, "s") => format!("{number}m"),
                (number, "m") => format!("{number}h"),
                (_, unit) => panic!("{unit}"),
            };
            let hurried = super::Rule { pending: hurried.pending.as_ref().map(longer), ..hurried };
            assert_eq!(hurried, shipped);
        }
    }
    let (before, after) = (fs::read_to_string(root().join(ALERTMANAGER)).unwrap(), shipped(ALERTMANAGER));
    let changed = before.lines().zip(after.lines()).filter(|(before, after)| before != after);
    let changed: Vec<_> = changed.map(|(before, after)| (before.trim(), after.trim())).collect();
    let expected = [
        ("group_wait: 1m", "group_wait: 1s"),
        ("group_interval: 10m", "group_interval: 10s"),
        ("repeat_interval: 12h", "repeat_interval: 12m"),
        ("repeat_interval: 4h", "repeat_interval: 4m"),
    ];
    assert_eq!(changed, expected);
}

#[test]
fn alerts_of_a_host_are_told_to_whom_they_concern() {
    let test = "alerts_of_a_host_are_told_to_whom_they_concern";
    let Some(site) = stack::site(test, Pgbackrest::installed()) else { return };
    let lab = Lab::start(&site, 16);
    // pgBackRest asks the database what time it is.
    lab.set_clock(Some("9 days"));
    lab.back_up(1, "full");
    lab.back_up(2, "full");
    for repo in [1, 2] {
        for segment in segments(&site, repo) {
            came_before(&segment, Duration::from_hours(9 * 24));
        }
    }
    lab.set_clock(None);
    lab.back_up(1, "incr");
    // With the stanza's name the repos are asked one by one.
    let arguments = ["--collect.interval=1", "--collect.timeout=2s", "--backrest.stanza-include=demo"];
    let (alertmanager, Stack { prometheus, exporter, .. }) = stack(&lab, &arguments).alerting(RULES);
    // The same exporter for somebody who has the rules on the Go exporter's metrics.
    let (compat, compat_prometheus) = stack::alerting(&[(JOB, &exporter.address)], COMPAT, None);
    let told_compat = |receiver: &str, status: &str, name: &str, labels: &[(&str, &str)]| {
        assert_as_shipped_in(COMPAT, &compat.wait(receiver, status, name, labels));
    };
    let told = |receiver: &str, status: &str, name: &str, labels: &[(&str, &str)]| -> Notice {
        let notice = alertmanager.wait(receiver, status, name, labels);
        assert_as_shipped(&notice);
        assert_eq!(notice.labels["job"], "pgbackrest");
        assert_eq!(notice.labels["instance"], exporter.address);
        notice
    };
    let (repo1, repo2) = ([("stanza", STANZA), ("repo_key", "1")], [("stanza", STANZA), ("repo_key", "2")]);

    overdue_backups_are_told(&told);
    told_compat("day", "firing", "PgBackRestFullBackupStaleStatic", &repo1[..1]);
    // What is mended is told to those who were told of it.
    lab.back_up(1, "full");
    told("day", "resolved", "PgBackRestFullBackupStaleStatic", &repo1);
    told_compat("day", "resolved", "PgBackRestFullBackupStaleStatic", &repo1[..1]);

    let hung = HungRepo::hang(&site, 2);
    told("on-call", "firing", "PgBackRestRepoDown", &repo2);
    // The Go exporter's metrics have no word for a repo that does not answer.
    told_compat("on-call", "firing", "PgBackRestCollectionFailing", &repo2[..1]);
    // That no backup comes into a repo that hangs is not told as well.
    for name in ["PgBackRestFullBackupStaleStatic", "PgBackRestBackupStale"] {
        wait_for(&format!("{name} to be inhibited"), || {
            let inhibited = alertmanager.inhibited(name);
            let (labels, by) = inhibited.first()?;
            assert_eq!((inhibited.len(), labels["repo_key"].as_str()), (1, "2"), "{inhibited:?}");
            assert_eq!(by, &["PgBackRestRepoDown"], "{inhibited:?}");
            Some(())
        });
    }
    hung.release();
    told("on-call", "resolved", "PgBackRestRepoDown", &repo2);

    assert_eq!(exporter.stop(), Some(0));
    let down = alertmanager.wait("on-call", "firing", "PgBackRestExporterDown", &[("job", "pgbackrest")]);
    assert_as_shipped(&down);
    told_compat("on-call", "firing", "PgBackRestExporterDown", &[("job", "pgbackrest")]);
    drop((prometheus, compat_prometheus));
    let expected = [
        ("PgBackRestBackupStale", "on-call"),
        ("PgBackRestCollectionFailing", "day"),
        ("PgBackRestCollectionStale", "on-call"),
        ("PgBackRestExporterDown", "on-call"),
        ("PgBackRestFullBackupStaleStatic", "day"),
        ("PgBackRestRepoDown", "on-call"),
        // Where an hour of waiting, here a minute, is over.
        ("PgBackRestRepoLagging", "day"),
    ];
    for notice in alertmanager.told() {
        assert!(expected.contains(&(notice.name(), notice.receiver.as_str())), "{notice:#?}");
    }
}

fn overdue_backups_are_told(told: &impl Fn(&str, &str, &str, &[(&str, &str)]) -> Notice) {
    for repo in ["1", "2"] {
        let labels = [("stanza", STANZA), ("repo_key", repo), ("backup_type", "full")];
        let full = told("day", "firing", "PgBackRestFullBackupStaleStatic", &labels);
        assert_eq!(words(&format!("({DAYS})"), &full.annotations["summary"]).len(), 1, "{full:?}");
        let shown = format!("d/pgbackrest-cluster?var-instance={}&var-stanza=demo", full.labels["instance"]);
        assert_eq!(full.annotations["dashboard_url"], shown);
    }
    let any = told("on-call", "firing", "PgBackRestBackupStale", &[("stanza", STANZA), ("repo_key", "2")]);
    assert_eq!(words(&format!("({DAYS})"), &any.annotations["summary"]).len(), 1, "{any:?}");
}

/// The labels and annotations that the rule has, with something in each place.
///
/// # Panics
/// Where one is missing, or a template has found nothing.
pub(crate) fn assert_as_shipped(notice: &Notice) {
    assert_as_shipped_in(RULES, notice);
}

fn assert_as_shipped_in(file: &str, notice: &Notice) {
    let rules = alerts(file).into_iter().filter(|(name, _)| name == notice.name());
    let rule = rules.map(|(_, rule)| rule).find(|rule| rule.labels["severity"] == notice.labels["severity"]);
    let rule = rule.unwrap_or_else(|| panic!("there is no such rule: {notice:?}"));
    assert_eq!(notice.labels["component"], "pgbackrest");
    assert!(notice.annotations.keys().eq(rule.annotations.keys()), "{notice:?}");
    assert_eq!(notice.annotations["runbook_url"], rule.annotations["runbook_url"]);
    for text in notice.annotations.values() {
        assert!(!text.contains("{{") && !text.contains("no value") && !text.contains("  "), "{notice:?}");
    }
}

/// The segments that are in a repo.
pub(crate) fn segments(site: &Site, repo: u32) -> Vec<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let archive = site.path(&format!("repo{repo}/archive/{STANZA}/15-1"));
    entries(archive).filter(|path| path.is_dir()).flat_map(entries).collect()
}

/// A segment has been in its repo for so long.
pub(crate) fn came_before(segment: &Path, age: Duration) {
    let file = File::options().write(true).open(segment).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// A repo whose file system takes what is asked of it and never answers.
struct HungRepo {
    files: Vec<PathBuf>,
}

impl HungRepo {
    fn hang(site: &Site, repo: u32) -> Self {
        let directory = site.path(&format!("repo{repo}")).join("backup").join(STANZA);
        let files = ["backup.info", "backup.info.copy"].map(|name| directory.join(name));
        for file in &files {
            fs::rename(file, aside(file)).unwrap();
            // Who opens it to read waits for somebody who writes.
            successful(call(site.account.as_ref(), "mkfifo").arg(file));
        }
        Self { files: files.into() }
    }

    fn release(self) {
        for file in &self.files {
            fs::rename(aside(file), file).unwrap();
        }
    }
}

fn aside(file: &Path) -> PathBuf {
    file.with_extension("aside")
}
