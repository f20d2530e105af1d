//! Backup jobs with real PostgreSQL and real pgBackRest, which run here instead of in pods.

mod options;
mod pod;

use std::time::Duration;

use pgbackrest_keeper::job::outcome::{ExitReason, JobOutcome};
use pgbackrest_keeper::pgbackrest::label::BackupType;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::support::config::Config;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use pod::{Fault, Here};

use BackupType::{Diff, Full, Incr};

/// Of one file, on a busy machine.
const LONGEST_COPY: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_by_the_installed_version() {
    story("backups_by_the_installed_version", Pgbackrest::installed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_by_a_version_in_between() {
    story("backups_by_a_version_in_between", Pgbackrest::in_between()).await;
}

/// A good backup after which the newest version refuses to expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_expiry_is_told_from_a_failed_backup() {
    let Some(site) = Site::or_skip("a_failed_expiry_is_told_from_a_failed_backup", Pgbackrest::newest())
    else {
        return;
    };
    let mut lab = block_in_place(|| Lab::start(&site, 16));
    let config = site.config().global("repo1-retention-full", "2").global("checksum-page-error", "y");
    let config = site.write("expiring.conf", &config.text());
    block_in_place(|| {
        lab.back_up(1, "full");
        lab.postgres
            .sql("create table damaged as select g, repeat('x', 100) from generate_series(1, 2000) g");
        lab.postgres.corrupt_page("damaged", 3);
        // As configured for the cluster, errors are no reason to fail.
        lab.back_up(1, "full");
    });
    let here = Here::new(&site, &config);
    let failed = here.back_up(Full, 1).await;
    assert_eq!((failed.code, backups(&lab).len()), (26, 2), "{failed:?}");
    assert!(failed.message.contains("invalid page checksum found in file"), "{failed:?}");

    block_in_place(|| lab.postgres.sql("drop table damaged; checkpoint"));
    let made = here.back_up(Full, 1).await;
    let all = backups(&lab);
    let label = all.last().unwrap()["label"].as_str().unwrap();
    assert_eq!((made.code, all.len()), (ExitReason::ExpireFailed.code(), 3), "{made:?}");
    let start = format!(
        "expire_failed (15): backup {label} is in repo1 of cluster ledger, but then pgBackRest ended with exit code 104"
    );
    assert!(made.line().starts_with(&start), "{made:?}");
    assert!(made.message.contains("contains invalid page checksum(s)"), "{made:?}");
    assert_eq!(here.begun(), 2, "neither is tried again");

    let again = here.back_up(Full, 1).await;
    assert_eq!((again.code, backups(&lab).len()), (0, 2), "a good one is the oldest: {again:?}");
}

/// What pgBackRest quotes of its configuration reaches neither the message of the pod nor the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gives_no_secret_away() {
    for pgbackrest in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(site) = Site::or_skip("a_job_gives_no_secret_away", pgbackrest) else { return };
        for (planted, code, told) in [
            ("repo1-cipher-pass hunter2", 29, "missing '=' in key/value at line 2: …"),
            ("repo1-cipher-pass=first\nhunter2", 29, "missing '=' in key/value at line 3: …"),
            ("repo1-path=hunter2", 32, "'…' must begin with / for 'repo1-path' option"),
            ("repo1-type=hunter2", 32, "'…' is not allowed for 'repo1-type' option"),
        ] {
            let config = format!("[global]\n{planted}\n[{STANZA}]\npg1-path=/x\n");
            let config = site.write("planted.conf", &config);
            let ended = Here::new(&site, &config).back_up(Full, 1).await;
            assert_eq!(ended.code, code, "{ended:?}");
            assert!(ended.message.contains(told) && !ended.message.contains("hunter2"), "{ended:?}");
        }
    }
}

async fn story(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = block_in_place(|| Lab::start(&site, 16));
    every_type_is_made_and_proven(&lab).await;
    what_is_only_said_is_not_proven(&lab).await;
    a_held_lock_is_waited_for(&lab).await;
    two_at_once_are_both_made(&lab).await;
    what_cannot_work_ends_with_its_code(&lab).await;
    // Enough to be in the middle of for a while.
    lab.postgres.sql(
        "create table bulk as select md5(g::text) || md5((-g)::text) as entry from generate_series(1, 900000) g",
    );
    a_killed_backup_ends_with_its_code(&lab).await;
    a_lost_connection_is_followed(&lab).await;
    a_pod_that_must_end_ends_its_backup(&lab).await;
}

/// All backups of the first repo, as `info` tells them.
fn backups(lab: &Lab<'_>) -> Vec<Value> {
    let info = lab.site.info(&lab.both, &["--repo=1", &format!("--stanza={STANZA}")]);
    info[0]["backup"].as_array().unwrap().clone()
}

fn types(lab: &Lab<'_>) -> Vec<String> {
    backups(lab).iter().map(|backup| backup["type"].as_str().unwrap().to_owned()).collect()
}

fn assert_made(verdict: &JobOutcome, lab: &Lab<'_>) {
    let all = backups(lab);
    let label = verdict.message.split(' ').nth(1).unwrap_or_default();
    let made = all.iter().find(|backup| backup["label"] == label);
    let mark =
        &made.unwrap_or_else(|| panic!("{verdict:?}\n{all:?}"))["annotation"]["pgbackrest-keeper.io-job"];
    assert_eq!(verdict.code, 0);
    assert!(mark.as_str().unwrap().starts_with("job-"), "{mark}");
}

async fn every_type_is_made_and_proven(lab: &Lab<'_>) {
    let here = Here::new(lab.site, &lab.both);
    let first = here.back_up(Incr, 1).await;
    assert_made(&first, lab);
    assert!(first.message.contains("(full, because there was no prior backup for incr)"), "{first:?}");
    for backup_type in [Full, Incr, Diff] {
        let verdict = here.back_up(backup_type, 1).await;
        assert_made(&verdict, lab);
        assert!(!verdict.message.contains("because"), "{verdict:?}");
    }
    assert_eq!(types(lab), ["full", "full", "incr", "diff"]);
    assert_eq!(here.begun(), 4, "each was made at once");
}

async fn what_is_only_said_is_not_proven(lab: &Lab<'_>) {
    let here = Here::new(lab.site, &lab.both).with(Fault::Pretended);
    let verdict = here.back_up(Full, 1).await;
    assert_eq!(verdict.code, ExitReason::Unproven.code(), "{verdict:?}");
    assert!(
        verdict.line().starts_with("unproven (13): pgBackRest ended with exit code 0, but"),
        "{verdict:?}"
    );
}

async fn a_held_lock_is_waited_for(lab: &Lab<'_>) {
    let here = Here::new(lab.site, &lab.both);
    let held = block_in_place(|| lab.hold_backup(1));
    let release = async {
        while here.begun() < 2 {
            sleep(Duration::from_millis(50)).await;
        }
        assert!(block_in_place(|| held.release()), "the other backup failed");
    };
    let (verdict, ()) = tokio::join!(here.back_up(Incr, 1), release);
    assert_made(&verdict, lab);
}

async fn two_at_once_are_both_made(lab: &Lab<'_>) {
    let before = backups(lab).len();
    let here = Here::new(lab.site, &lab.both);
    let (full, incr) = tokio::join!(here.back_up(Full, 1), here.back_up(Incr, 1));
    assert_made(&full, lab);
    assert_made(&incr, lab);
    assert_ne!(full.message, incr.message);
    // Retention may have removed old ones.
    assert!(backups(lab).len() <= before + 2);
}

async fn what_cannot_work_ends_with_its_code(lab: &Lab<'_>) {
    let verdict = async |name: &str, config: Config| {
        let file = lab.site.write(name, &config.text());
        let here = Here::new(lab.site, &file);
        (here.back_up(Full, 1).await, here.begun())
    };
    let wrong = verdict("wrong.conf", lab.site.config().global("compress-type", "hunter2")).await;
    assert_eq!((wrong.0.code, wrong.1), (32, 1), "{wrong:?}");
    assert!(wrong.0.line().starts_with("config (32): ") && !wrong.0.message.contains("hunter2"), "{wrong:?}");
    let missing =
        verdict("missing.conf", lab.site.config().without("repo1-").global("repo1-type", "s3")).await;
    assert_eq!(missing.0.code, 37, "{missing:?}");

    let nobody = lab.site.config().without("repo1-").global("io-timeout", "1");
    let nobody = [
        ("type", "s3"),
        ("s3-bucket", "b"),
        ("s3-endpoint", "s3.local"),
        ("s3-region", "r"),
        ("s3-key", "K"),
        ("s3-key-secret", "S"),
        ("storage-host", "127.0.0.1"),
        ("storage-port", "1"),
    ]
    .into_iter()
    .fold(nobody, |config, (name, value)| config.global(&format!("repo1-{name}"), value));
    let unreachable = verdict("unreachable.conf", nobody).await;
    assert_eq!((unreachable.0.code, unreachable.1), (49, 1), "{unreachable:?}");
    assert!(unreachable.0.line().starts_with("repo_host (49): "), "{unreachable:?}");
}

async fn a_killed_backup_ends_with_its_code(lab: &Lab<'_>) {
    let here = Here::new(lab.site, &lab.both).with(Fault::Killed);
    let verdict = here.back_up(Full, 1).await;
    assert_eq!((verdict.code, here.begun()), (137, 1), "{verdict:?}");
    until_the_lock_is_free(lab).await;
}

async fn a_lost_connection_is_followed(lab: &Lab<'_>) {
    // Once killed, it is tried again, and that again while a process of its own still holds the lock.
    for (fault, begun) in [(Fault::Cut, 1..=1), (Fault::CutAndKilled, 2..=usize::MAX)] {
        let here = Here::new(lab.site, &lab.both).with(fault);
        let verdict = here.back_up(Full, 1).await;
        assert_made(&verdict, lab);
        let times = here.begun();
        assert!(begun.contains(&times), "{fault:?}: {times}");
    }
}

async fn a_pod_that_must_end_ends_its_backup(lab: &Lab<'_>) {
    // A backup waits for its last WAL, so it cannot end without archiving.
    let archive_with = |command: &str| {
        lab.postgres.sql(&format!("alter system {command}"));
        lab.postgres.sql("select pg_reload_conf()");
    };
    let here = Here::new(lab.site, &lab.both).terminated(|| archive_with("set archive_command = 'false'"));
    let before = types(lab);
    let verdict = here.back_up(Full, 1).await;
    assert_eq!(verdict.code, 143, "{verdict:?}");
    assert!(verdict.message.contains("pgBackRest ended with exit code 63"), "{verdict:?}");
    assert_eq!(types(lab), before);
    block_in_place(|| archive_with("reset archive_command"));
    until_the_lock_is_free(lab).await;
}

/// The processes of a backup that has ended hold its lock until the files that they copy are copied.
async fn until_the_lock_is_free(lab: &Lab<'_>) {
    let held = || lab.site.info(&lab.both, &[])[0]["status"]["lock"]["backup"]["held"].clone();
    timeout(LONGEST_COPY, async {
        while held() != false {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the lock is still held");
}
