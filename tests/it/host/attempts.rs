//! Real backup attempts: successful, failed and killed ones, from pgBackRest's log and from its locks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::config::Config;
use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::{Lab, STANZA, Site, next_second};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, output};

const SUCCESS: &str = "pgbackrest_backup_last_attempt_success";
const BEGAN: &str = "pgbackrest_backup_last_attempt_start_timestamp_seconds";
const ENDED: &str = "pgbackrest_backup_last_attempt_end_timestamp_seconds";
const FAILURE: &str = "pgbackrest_backup_last_attempt_failure_info";
const REPO1: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "1")];
const REPO2: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "2")];
const FOR_STANZA: &str = "--stanza=demo";

#[test]
fn attempts_of_the_installed_version() {
    check("attempts_of_the_installed_version", Pgbackrest::installed());
}

#[test]
fn attempts_of_the_newest_version() {
    check("attempts_of_the_newest_version", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let mut lab = Lab::start(&site, 16);
    the_log_tells_of_each_attempt(&mut lab);
    the_zone_of_the_log_is_told_by_its_file(&lab);
    without_a_log_a_lock_tells_of_a_failure(&lab);
}

/// Reason and exit code of the last attempt, if it failed.
fn failure(samples: &Samples, repo: &[(&str, &str)]) -> Option<(String, String)> {
    let told = samples.all(FAILURE, repo);
    assert!(told.len() <= 1, "{told:?}");
    told.first().map(|sample| (sample.labels["reason"].clone(), sample.labels["exit_code"].clone()))
}

fn waits_for_failure(exporter: &Exporter, repo: &[(&str, &str)], reason: &str, code: &str) -> Samples {
    exporter.wait(reason, |samples| {
        let is_it = failure(samples, repo) == Some((reason.to_owned(), code.to_owned()));
        (is_it && samples.find(SUCCESS, repo) == Some(0.0)).then(|| exporter.samples())
    })
}

fn waits_for_success(exporter: &Exporter, repo: &[(&str, &str)]) {
    exporter.wait("a good attempt", |samples| {
        (samples.find(SUCCESS, repo) == Some(1.0) && failure(samples, repo).is_none()).then_some(())
    });
}

fn backup(site: &Site, config: &Path, arguments: &[&str]) -> Option<i32> {
    site.run(config, &[&["backup", FOR_STANZA], arguments].concat()).status.code()
}

fn the_log_tells_of_each_attempt(lab: &mut Lab<'_>) {
    let site = lab.site;
    let exporter = Exporter::start(site, &lab.both, &["--collect.interval=1"]);
    exporter.wait("the repository", |samples| samples.find("pgbackrest_repo_up", REPO1));
    assert_eq!(exporter.samples().find(SUCCESS, REPO1), None, "there was no attempt");

    // A success is that of the backup itself.
    lab.back_up(1, "full");
    waits_for_success(&exporter, REPO1);
    let samples = exporter.samples();
    assert_eq!(samples.find(SUCCESS, REPO2), None);
    let stop = newest(lab, 1)["timestamp"]["stop"].as_f64().unwrap();
    let (began, ended) = (samples.value(BEGAN, REPO1), samples.value(ENDED, REPO1));
    let start = newest(lab, 1)["timestamp"]["start"].as_f64().unwrap();
    assert!(began <= start && start - began < 60.0, "{began} {start}");
    assert!(ended >= stop && ended - stop < 60.0, "{ended} {stop}");

    // One that fails says why, in its own repository.
    next_second();
    fs::rename(site.path("repo2/backup/demo/backup.info"), site.path("hidden")).unwrap();
    fs::rename(site.path("repo2/backup/demo/backup.info.copy"), site.path("hidden.copy")).unwrap();
    assert_eq!(backup(site, &lab.both, &["--repo=2", "--type=full"]), Some(55));
    fs::rename(site.path("hidden"), site.path("repo2/backup/demo/backup.info")).unwrap();
    fs::rename(site.path("hidden.copy"), site.path("repo2/backup/demo/backup.info.copy")).unwrap();
    let samples = waits_for_failure(&exporter, REPO2, "missing_file", "55");
    assert_eq!(samples.all(FAILURE, REPO2)[0].labels["backup_type"], "full");
    samples.assert(SUCCESS, REPO1, 1.0);
    let page = exporter.get("/", &[]).text().to_owned();
    let sentence = "the last backup attempt (full) failed";
    assert!(page.contains(sentence) && page.contains("FileMissingError [055]"), "{page}");
    let told = info(site, &lab.both, &[]);
    let attempt = &told["stanzas"][0]["repos"][1]["last_attempt"];
    assert_eq!((&attempt["evidence"], &attempt["backup_type"]), (&"log".into(), &"full".into()), "{attempt}");
    let message = attempt["failure"]["message"].as_str().unwrap();
    assert!(message.contains("backup.info"), "{message}");
    // After an aborted one a good one.
    lab.back_up(2, "full");
    waits_for_success(&exporter, REPO2);

    // A stop file.
    lab.pgbackrest(&["stop"]);
    assert_eq!(backup(site, &lab.both, &["--repo=1"]), Some(62));
    waits_for_failure(&exporter, REPO1, "stopped", "62");
    lab.pgbackrest(&["start"]);
    lab.back_up(1, "incr");
    waits_for_success(&exporter, REPO1);

    // PostgreSQL is down.
    lab.postgres.stop();
    assert_eq!(backup(site, &lab.both, &["--repo=1"]), Some(56));
    waits_for_failure(&exporter, REPO1, "database", "56");
    lab.postgres.start();

    // One that runs changes nothing, until it is killed.
    let held = lab.hold_backup(1);
    exporter.wait("the running backup", |samples| {
        (samples.find("pgbackrest_stanza_backup_lock_status", &[("stanza", STANZA)]) == Some(1.0))
            .then_some(())
    });
    assert_eq!(failure(&exporter.samples(), REPO1), Some(("database".to_owned(), "56".to_owned())));
    // Another one that comes too late is told as what it is.
    let config = site.write("other.conf", &site.config().text());
    assert_eq!(backup(site, &config, &["--repo=1", "--type=diff"]), Some(50));
    waits_for_failure(&exporter, REPO1, "lock_conflict", "50");
    held.kill();
    let samples = waits_for_failure(&exporter, REPO1, "oom_or_kill", "");
    assert_eq!(samples.all(FAILURE, REPO1)[0].labels["backup_type"], "full");
    assert_eq!(samples.find(ENDED, REPO1), None, "nobody saw when");
    assert!(exporter.get("/", &[]).text().contains("did not log its end: it was killed"));

    // SIGTERM.
    let held = lab.hold_backup(1);
    held.terminate();
    waits_for_failure(&exporter, REPO1, "terminated", "63");
    lab.back_up(1, "full");
    waits_for_success(&exporter, REPO1);
    assert_eq!(exporter.stop(), Some(0));

    // What was written before it was started is read, too, and rotation takes nothing away.
    let exporter = Exporter::start(site, &lab.both, &["--collect.interval=1"]);
    waits_for_success(&exporter, REPO1);
    waits_for_success(&exporter, REPO2);
    let log = site.path("log/demo-backup.log");
    fs::rename(&log, site.path("log/demo-backup.log.1")).unwrap();
    assert_eq!(backup(site, &lab.both, &["--repo=2", "--pg1-port=1"]), Some(56));
    waits_for_failure(&exporter, REPO2, "database", "56");
    exporter.samples().assert(SUCCESS, REPO1, 1.0);
    assert_eq!(exporter.stop(), Some(0));
}

/// pgBackRest logs local time, and the exporter may be in another zone.
fn the_zone_of_the_log_is_told_by_its_file(lab: &Lab<'_>) {
    let site = lab.site;
    lab.back_up(2, "incr");
    next_second();
    assert_eq!(backup(site, &lab.both, &["--repo=2", "--pg1-port=1"]), Some(56));
    let mut command = call(site.account.as_ref(), &site.pgbackrest.program);
    command.env_clear().env("TZ", "XXX-05:45").arg(format!("--config={}", lab.both.display()));
    let done = output(command.args(["backup", FOR_STANZA, "--repo=1", "--pg1-port=1"]));
    assert_eq!(done.status.code(), Some(56), "{done:?}");
    let log = fs::metadata(site.path("log/demo-backup.log")).unwrap().modified().unwrap();
    let written = chrono::DateTime::<chrono::Utc>::from(log);
    let told = info(site, &lab.both, &[]);
    let ended = told["stanzas"][0]["repos"][0]["last_attempt"]["ended"].as_str().unwrap().to_owned();
    let ended: chrono::DateTime<chrono::Utc> = ended.parse().unwrap();
    assert!((written - ended).num_seconds().abs() <= 5, "{written} {ended}");
    // Those before are in another zone. Their order counts.
    let earlier = &told["stanzas"][0]["repos"][1]["last_attempt"];
    assert_eq!(earlier["failure"]["exit_code"], 56, "{earlier}");
}

/// Only of versions that tell the progress of a backup, and with several repositories for each.
fn without_a_log_a_lock_tells_of_a_failure(lab: &Lab<'_>) {
    let site = lab.site;
    let quiet = |config: Config| config.global("log-level-file", "off");
    let silent: PathBuf = site.write("silent.conf", &quiet(site.config()).text());
    let told = info(site, &silent, &[]);
    assert_eq!(told["stanzas"][0]["repos"][0]["last_attempt"], Value::Null, "{told}");
    let exporter = Exporter::start(site, &silent, &["--collect.interval=1"]);
    exporter.wait("the repository", |samples| samples.find("pgbackrest_repo_up", REPO1));
    let held = lab.hold_backup(1);
    let in_progress = |samples: &Samples| samples.find("pgbackrest_backup_in_progress", REPO1);
    if site.pgbackrest.minor() >= 59 {
        exporter.wait("the progress", |samples| in_progress(samples).filter(|runs| *runs == 1.0));
        held.kill();
        let samples = waits_for_failure(&exporter, REPO1, "", "");
        assert!(samples.value(ENDED, REPO1) >= samples.value(BEGAN, REPO1));
        assert!(exporter.get("/", &[]).text().contains("but there is no new backup"));
        lab.back_up(1, "full");
        exporter.wait("the end of it", |samples| samples.all(SUCCESS, REPO1).is_empty().then_some(()));
    } else {
        held.kill();
        exporter.wait("the end of the backup", |samples| in_progress(samples).filter(|runs| *runs == 0.0));
        assert!(exporter.samples().all(SUCCESS, &[]).is_empty());
    }
    assert_eq!(exporter.stop(), Some(0));
}

/// The newest backup in a repository, as pgBackRest tells it.
fn newest(lab: &Lab<'_>, repo: u32) -> Value {
    let told = lab.site.info(&lab.both, &[&format!("--repo={repo}"), FOR_STANZA]);
    told[0]["backup"].as_array().unwrap().last().unwrap().clone()
}

/// What `info` says.
fn info(site: &Site, config: &Path, arguments: &[&str]) -> Value {
    let mut info = call(site.account.as_ref(), our_program(site));
    info.args(["info", "--output=json"])
        .arg(format!("--backrest.binary={}", site.pgbackrest.program.display()))
        .arg(format!("--backrest.config={}", config.display()))
        .args(arguments);
    serde_json::from_slice(&output(&mut info).stdout).unwrap()
}
