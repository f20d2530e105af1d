//! Real problems: damaged pages, running backups, repos that hang or cannot be read, children that are killed.

use std::fs;
use std::net::TcpListener;

use chrono::{DateTime, Utc};

use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, is_root, skip};
use crate::support::process::{call, children, is_alive, wait_for};

const REPO1: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "1")];
const REPO2: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "2")];
const OF_STANZA: &[(&str, &str)] = &[("stanza", STANZA)];

#[test]
fn trouble_of_the_installed_version() {
    with_lab("trouble_of_the_installed_version", Pgbackrest::installed(), |lab| {
        a_running_backup_is_seen(lab);
        an_unknown_stanza_is_named(lab);
        a_wrong_passphrase_blinds_nobody_else(lab);
        a_hung_repo_delays_nobody_else(lab);
        a_hung_program_is_killed_with_all_it_started(lab);
        a_killed_child_is_counted(lab);
        a_damaged_page_is_told(lab);
    });
}

#[test]
fn trouble_of_the_newest_version() {
    with_lab("trouble_of_the_newest_version", Pgbackrest::newest(), |lab| {
        a_running_backup_is_seen(lab);
        a_wrong_passphrase_blinds_nobody_else(lab);
        a_hung_repo_delays_nobody_else(lab);
        root_is_refused_and_named(lab);
        a_damaged_page_is_told(lab);
        blocked_expiry_is_told(lab);
    });
}

/// A lab with a full backup in both repos.
fn with_lab(test: &str, pgbackrest: Result<Pgbackrest, String>, story: impl FnOnce(&mut Lab<'_>)) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let mut lab = Lab::start(&site, 16);
    lab.back_up(1, "full");
    lab.back_up(2, "full");
    story(&mut lab);
}

fn a_running_backup_is_seen(lab: &mut Lab<'_>) {
    let before = lab.labels(1).len() as f64;
    let exporter = Exporter::start(lab.site, &lab.both, &["--collect.interval=1"]);
    let lock = |samples: &_| lock_is(samples, 0.0);
    exporter.wait("an idle stanza", lock);
    let held = lab.hold_backup(1);
    let info = lab.site.info(&lab.both, &[]);
    let told = &info[0]["status"]["lock"]["backup"];
    assert_eq!(told["held"], true, "the backup does not stand still: {info}");
    // Sizes since 2.48, per repo since 2.59.
    let size = told["size"].as_f64().unwrap_or(0.0);
    let complete = told["size-cplt"].as_f64().unwrap_or(0.0);
    assert_eq!(size > 0.0, lab.site.pgbackrest.minor() >= 48, "{info}");
    // The exporter may have asked last before the backup stood still.
    exporter.wait("the lock and the sizes", |samples| {
        let sizes = ["total", "complete"]
            .map(|which| samples.find(&format!("pgbackrest_stanza_backup_{which}_bytes"), OF_STANZA));
        lock_is(samples, 1.0).filter(|()| sizes == [Some(size), Some(complete)])
    });
    let samples = exporter.samples();
    samples.assert("pgbackrest_backups", &[REPO1[0], REPO1[1], ("backup_type", "full")], before);
    if lab.site.pgbackrest.minor() >= 59 {
        samples.assert("pgbackrest_backup_in_progress", REPO1, 1.0);
        samples.assert("pgbackrest_stanza_backup_repo_total_bytes", REPO1, size);
    }
    assert!(held.release(), "the held backup failed");
    exporter.wait("the lock to be released", lock);
    exporter.wait("the new backup", |samples| {
        let kept = samples.value("pgbackrest_backups", &[REPO1[0], REPO1[1], ("backup_type", "full")]);
        (kept == before + 1.0).then_some(())
    });
    assert_eq!(exporter.stop(), Some(0));
}

fn an_unknown_stanza_is_named(lab: &mut Lab<'_>) {
    let exporter =
        Exporter::start(lab.site, &lab.both, &["--collect.interval=1", "--backrest.stanza-include=nowhere"]);
    exporter.wait("the unknown stanza", |samples| {
        samples.find("pgbackrest_stanza_status", &[("stanza", "nowhere")])
    });
    let samples = exporter.samples();
    samples.assert("pgbackrest_stanza_status", &[("stanza", "nowhere")], 1.0);
    for key in ["1", "2"] {
        let repo = [("stanza", "nowhere"), ("repo_key", key)];
        samples.assert("pgbackrest_repo_up", &repo, 0.0);
        samples.assert("pgbackrest_repo_state", &[repo[0], repo[1], ("state", "missing_stanza_path")], 1.0);
    }
    assert!(samples.all("pgbackrest_backup_info", &[]).is_empty());
    assert_eq!(samples.find("pgbackrest_stanza_status", OF_STANZA), None);
}

fn a_wrong_passphrase_blinds_nobody_else(lab: &mut Lab<'_>) {
    let config = lab.site.config().global("repo2-cipher-pass", "another-pass");
    let config = lab.site.write("wrong-pass.conf", &config.text());
    let backups = lab.labels(1);
    let exporter = Exporter::start(lab.site, &config, &["--collect.interval=1"]);
    exporter.wait("the status of repo2", |samples| samples.find("pgbackrest_repo_status", REPO2));
    let samples = exporter.samples();
    samples.assert("pgbackrest_repo_up", REPO1, 1.0);
    samples.assert("pgbackrest_repo_up", REPO2, 0.0);
    samples.assert("pgbackrest_repo_status", REPO2, 99.0);
    samples.assert("pgbackrest_stanza_status", OF_STANZA, 4.0);
    assert_eq!(samples.all("pgbackrest_backup_info", &[]).len(), backups.len());
    assert_eq!(all_stanzas_up(&samples, 1.0), Some(()));
    // What was decrypted wrongly is a message full of noise, which by luck is short enough to be valid text.
    let said = lab.site.run(&config, &["info", "--output=json"]).stdout;
    if serde_json::from_slice::<serde_json::Value>(&said).is_ok() {
        return;
    }
    exporter.wait("an output that had to be cleaned", |samples| {
        let cleaned = samples.value("pgbackrest_collector_sanitized_outputs_total", &[("collector", "info")]);
        (cleaned >= 1.0).then_some(())
    });
}

/// repo2 is an S3 bucket whose server takes connections and never says a word.
fn a_hung_repo_delays_nobody_else(lab: &mut Lab<'_>) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config =
        lab.site.write("hung.conf", &lab.site.config().with_silent_repo("global", 2, &silent).text());
    let backups = lab.labels(1);
    let exporter = Exporter::start(
        lab.site,
        &config,
        &["--collect.interval=2", "--collect.timeout=2s", "--backrest.stanza-include=demo"],
    );
    let first = exporter.wait("the first answer of repo1", |samples| {
        samples.find("pgbackrest_repo_collected_timestamp_seconds", REPO1)
    });
    exporter.wait("a second answer of repo1", |samples| {
        let read_at = samples.value("pgbackrest_repo_collected_timestamp_seconds", REPO1);
        (read_at > first).then_some(())
    });
    exporter.wait("repo2 to be known as silent", |samples| {
        let state = [REPO2[0], REPO2[1], ("state", "timeout")];
        (samples.find("pgbackrest_repo_state", &state) == Some(1.0)).then_some(())
    });
    let samples = exporter.samples();
    samples.assert("pgbackrest_repo_up", REPO1, 1.0);
    samples.assert("pgbackrest_repo_up", REPO2, 0.0);
    assert_eq!(samples.all("pgbackrest_backup_info", &[]).len(), backups.len());
    let timeouts = [("collector", "info"), ("reason", "timeout")];
    assert!(samples.value("pgbackrest_collector_failures_total", &timeouts) >= 1.0);
    assert_eq!(exporter.get("/healthz", &[]).status, 200);
    // It does not leave without the call that still hangs.
    let hung = wait_for("a hung call", || children(exporter.id()).pop());
    assert_eq!(exporter.stop(), Some(0));
    assert!(!is_alive(hung), "pgbackrest {hung} has outlived the exporter");
}

/// A program in pgBackRest's place that starts another and waits for it for ever, until it is told not to.
fn a_hung_program_is_killed_with_all_it_started(lab: &mut Lab<'_>) {
    let hang = lab.site.write("hang", "");
    let pid_file = lab.site.create_directory("hung").join("child");
    let program = lab.site.script(
        "hanging-pgbackrest",
        &format!(
            "if [ -e {hang} ]; then sleep 1000 & echo $! >{child}; wait; fi\nexec {real} \"$@\"\n",
            hang = hang.display(),
            child = pid_file.display(),
            real = lab.site.pgbackrest.program.display()
        ),
    );
    let exporter = Exporter::start_as(
        lab.site.account.as_ref(),
        lab.site,
        &program,
        &lab.both,
        &["--collect.interval=2", "--collect.timeout=2s"],
    );
    let started = wait_for("the hung program", || fs::read_to_string(&pid_file).ok()?.trim().parse().ok());
    exporter.wait("the timeout", |samples| {
        let count = [("collector", "info"), ("reason", "timeout")];
        (samples.value("pgbackrest_collector_failures_total", &count) >= 1.0).then_some(())
    });
    wait_for("the end of what it started", || (!is_alive(started)).then_some(()));
    exporter.wait("the bad health", |samples| all_stanzas_up(samples, 0.0));
    fs::remove_file(hang).unwrap();
    exporter.wait("the good health after all", |samples| all_stanzas_up(samples, 1.0));
    exporter.samples().assert("pgbackrest_repo_up", REPO1, 1.0);
}

/// The facts of before stay, with the time at which they were read.
fn a_killed_child_is_counted(lab: &mut Lab<'_>) {
    let kill_it = lab.site.path("kill");
    let program = lab.site.script(
        "dying-pgbackrest",
        &format!(
            "if [ -e {kill_it} ]; then kill -KILL $$; fi\nexec {real} \"$@\"\n",
            kill_it = kill_it.display(),
            real = lab.site.pgbackrest.program.display()
        ),
    );
    let exporter = Exporter::start_as(
        lab.site.account.as_ref(),
        lab.site,
        &program,
        &lab.both,
        &["--collect.interval=1"],
    );
    exporter.wait("the first answer", |samples| samples.find("pgbackrest_repo_up", REPO1));
    lab.site.write("kill", "");
    let killed = [("collector", "info"), ("reason", "killed")];
    exporter.wait("two killed children", |samples| {
        (samples.value("pgbackrest_collector_failures_total", &killed) >= 2.0).then_some(())
    });
    // They are counted before the run that they belong to is published.
    exporter.wait("the bad health", |samples| all_stanzas_up(samples, 0.0));
    let samples = exporter.samples();
    assert_eq!(all_stanzas_up(&samples, 0.0), Some(()));
    let read_at = samples.value("pgbackrest_repo_collected_timestamp_seconds", REPO1);
    assert_eq!(samples.all("pgbackrest_backup_info", REPO1).len(), lab.labels(1).len());
    fs::remove_file(kill_it).unwrap();
    exporter.wait("a fresh answer", |samples| {
        (samples.value("pgbackrest_repo_collected_timestamp_seconds", REPO1) > read_at).then_some(())
    });
}

fn a_damaged_page_is_told(lab: &mut Lab<'_>) {
    lab.postgres.sql("create table damaged as select g, repeat('x', 100) from generate_series(1, 2000) g");
    lab.postgres.corrupt_page("damaged", 3);
    let label = lab.back_up(1, "incr");
    let exporter = Exporter::start(lab.site, &lab.both, &["--collect.interval=1"]);
    exporter.wait("the backup with a damaged page", |samples| {
        samples.find("pgbackrest_backup_error_status", &[("backup_name", &label)])
    });
    let samples = exporter.samples();
    for sample in samples.all("pgbackrest_backup_error_status", &[]) {
        let expected = if sample.labels["backup_name"] == label { 1.0 } else { 0.0 };
        assert_eq!(sample.value, expected, "{sample:?}");
    }
    samples.assert("pgbackrest_backups_with_errors", REPO1, 1.0);
    samples.assert("pgbackrest_backups_with_errors", REPO2, 0.0);
    samples.assert(
        "pgbackrest_backup_last_error_status",
        &[("stanza", STANZA), ("backup_type", "incr"), ("block_incr", "n")],
        1.0,
    );
}

/// What is said of expiry is what `expire` does. The damaged table of before is still there.
fn blocked_expiry_is_told(lab: &mut Lab<'_>) {
    const BLOCKED: &str = "pgbackrest_expiry_blocked_since_timestamp_seconds";
    let config = lab.site.config().global("repo1-retention-full", "1");
    let config = lab.site.write("expiring.conf", &config.text());
    let expire = |arguments: &[&str]| {
        let stanza = format!("--stanza={STANZA}");
        let output = lab.site.run(&config, &[&["expire", "--repo=1", &stanza], arguments].concat());
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    };
    assert_eq!(expire(&["--dry-run"]).0, Some(0), "no full backup is superfluous");
    let exporter = Exporter::start(lab.site, &config, &["--collect.interval=1"]);
    exporter.wait("the repository", |samples| samples.find("pgbackrest_repo_up", REPO1));
    assert_eq!(exporter.samples().find(BLOCKED, REPO1), None);

    let damaged = lab.back_up(1, "full");
    let before = lab.labels(1);
    let (code, said) = expire(&[]);
    let refusal = format!("[026]: repo1: oldest retained backup {damaged} contains invalid page checksum(s)");
    assert!(code == Some(104) && said.contains(&refusal), "{code:?}: {said}");
    assert_eq!(lab.labels(1), before, "nothing was removed");
    let since = exporter.wait("the blocked expiry", |samples| samples.find(BLOCKED, REPO1));
    let info = lab.site.info(&lab.both, &["--repo=1"]);
    let stop = info[0]["backup"].as_array().unwrap().last().unwrap()["timestamp"]["stop"].as_i64().unwrap();
    assert_eq!(since, stop as f64);
    let sentence = format!("backup {damaged} has page checksum errors and would be the oldest");
    assert!(exporter.get("/", &[]).text().contains(&sentence), "the page does not say so");

    restore_of_a_damaged_backup_stops(lab, &damaged, stop);

    // A good backup takes its place.
    lab.postgres.sql("drop table damaged");
    lab.back_up(1, "full");
    exporter.wait("the end of it", |samples| {
        let full = [REPO1[0], REPO1[1], ("backup_type", "full")];
        let has_come = samples.value("pgbackrest_backups", &full) >= 3.0;
        (has_come && samples.find(BLOCKED, REPO1).is_none()).then_some(())
    });
    let (code, said) = expire(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(lab.labels(1).len(), 1);
}

/// What `info --restore-command` says of it is what `restore` does.
fn restore_of_a_damaged_backup_stops(lab: &Lab<'_>, label: &str, stop: i64) {
    lab.postgres.archive_all();
    let at = DateTime::from_timestamp(stop + 1, 0).unwrap();
    wait_for("the second after the backup, which is not to be in the future", || {
        (Utc::now() > at).then_some(())
    });
    let at = at.to_rfc3339();
    let mut info = call(lab.site.account.as_ref(), our_program(lab.site));
    info.args(["info", "--restore-command", "--collect.repo=1", &format!("--target={at}")]);
    info.arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display()));
    info.arg(format!("--backrest.config={}", lab.both.display()));
    let said = info.output().unwrap();
    let (commands, remarks) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(commands.contains(&format!("--set={label}")), "{commands}{remarks}");
    assert!(remarks.contains("unless you add --no-checksum-page-error"), "{remarks}");
    let restore = |directory: &str, arguments: &[&str]| {
        let copy = format!("--pg1-path={}", lab.site.create_directory(directory).display());
        let (stanza, set) = (format!("--stanza={STANZA}"), format!("--set={label}"));
        let usual = ["restore", "--repo=1", "--type=immediate", &stanza, &set, &copy];
        lab.site.run(&lab.both, &[&usual, arguments].concat()).status.code()
    };
    assert_eq!(restore("stopped-copy", &[]), Some(26));
    assert_eq!(restore("damaged-copy", &["--no-checksum-page-error"]), Some(0));
}

/// pgBackRest 2.59 and later do not run as root; the reason is its own, and the log says what to do.
fn root_is_refused_and_named(lab: &mut Lab<'_>) {
    if !is_root() {
        return skip("root_is_refused_and_named", "the tests do not run as root");
    }
    let exporter = Exporter::start_as(
        None,
        lab.site,
        &lab.site.pgbackrest.program,
        &lab.both,
        &["--collect.interval=1"],
    );
    exporter.wait("the refusal", |samples| {
        let refused = [("collector", "info"), ("reason", "root_refused")];
        (samples.value("pgbackrest_collector_failures_total", &refused) >= 1.0).then_some(())
    });
    exporter.wait("the bad health", |samples| all_stanzas_up(samples, 0.0));
    let log = exporter.log();
    assert!(log.contains("root") && log.contains("postgres"), "the log does not say what to do:\n{log}");
}

fn lock_is(samples: &Samples, state: f64) -> Option<()> {
    (samples.find("pgbackrest_stanza_backup_lock_status", OF_STANZA)? == state).then_some(())
}

/// The health of the collector for the one call that asks for all stanzas.
fn all_stanzas_up(samples: &Samples, state: f64) -> Option<()> {
    let labels = [("collector", "info"), ("stanza", "all-stanzas")];
    (samples.find("pgbackrest_collector_up", &labels)? == state).then_some(())
}
