//! `pgbackrest stop` and `start`: the reported state matches what the real program refuses to do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::host::pod_files;
use crate::support::exporter::{Exporter, our_program};
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, output};

const STOPPED: &str = "pgbackrest_stanza_stopped";
const SINCE: &str = "pgbackrest_stanza_stopped_since_timestamp_seconds";
const OF_STANZA: &[(&str, &str)] = &[("stanza", STANZA)];
const FOR_STANZA: &str = "--stanza=demo";
/// pgBackRest's exit code where it was stopped.
const REFUSED: Option<i32> = Some(62);

#[test]
fn stop_files_of_the_installed_version() {
    check("stop_files_of_the_installed_version", Pgbackrest::installed());
}

#[test]
fn stop_files_of_the_newest_version() {
    check("stop_files_of_the_newest_version", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 16);
    lab.back_up(1, "full");
    stop_and_start_are_told(&lab);
    a_lock_path_of_its_own_has_its_own_stop_files(&lab);
    nothing_is_told_of_what_is_not_known(&lab);
}

/// The exit code of a command that does nothing else than expire, which a stop file prevents as it does a backup.
fn expire(site: &Site, config: &Path) -> Option<i32> {
    site.run(config, &["expire", FOR_STANZA, "--repo=1", "--dry-run"]).status.code()
}

fn stop_and_start_are_told(lab: &Lab<'_>) {
    let site = lab.site;
    let exporter = Exporter::start(site, &lab.both, &["--collect.interval=1"]);
    let wait = |what: &str, scopes: &[&str]| {
        let expected = if scopes.is_empty() { 0.0 } else { 1.0 };
        let samples = exporter.wait(what, |samples| {
            let told = samples.all(SINCE, OF_STANZA);
            let told: Vec<&str> = told.iter().map(|sample| &*sample.labels["scope"]).collect();
            let is_told = samples.find(STOPPED, OF_STANZA) == Some(expected);
            let has_scopes = scopes.len() == told.len() && scopes.iter().all(|scope| told.contains(scope));
            (is_told && has_scopes).then(|| exporter.samples())
        });
        let page = exporter.get("/", &[]).text().to_owned();
        assert_eq!(page.contains("pgbackrest stop was run for"), !scopes.is_empty(), "{page}");
        assert_eq!(expire(site, &lab.both) == REFUSED, !scopes.is_empty());
        samples
    };
    wait("nothing to be stopped", &[]);
    assert_eq!(pod_files::stop_files(lab), [json!([]), json!([])]);

    lab.pgbackrest(&["stop"]);
    let samples = wait("the stanza to be stopped", &["stanza"]);
    let made = fs::metadata(site.path("lock/demo.stop")).unwrap().mtime() as f64;
    samples.assert(SINCE, &[("scope", "stanza"), ("stanza", STANZA)], made);
    let backup = site.run(&lab.both, &["backup", FOR_STANZA, "--repo=1"]);
    assert_eq!(backup.status.code(), REFUSED, "{backup:?}");
    assert!(site.run(&lab.both, &["stop"]).status.success());
    wait("all to be stopped, too", &["all", "stanza"]);
    let made = |name: &str| fs::metadata(site.path(&format!("lock/{name}.stop"))).unwrap().mtime();
    let both = json!(["all", STANZA].map(|name| json!([name, made(name)])));
    assert_eq!(pod_files::stop_files(lab), [both.clone(), both]);
    let told = info(site, &lab.both);
    let files = told["stanzas"][0]["stop_files"].as_array().unwrap();
    assert_eq!(files.iter().map(|file| &file["scope"]).collect::<Vec<_>>(), ["stanza", "all"], "{told}");
    let findings = told["assessments"][0]["findings"].to_string();
    assert!(findings.contains("for this stanza") && findings.contains("for all stanzas"), "{findings}");

    lab.pgbackrest(&["start"]);
    wait("all to be stopped alone", &["all"]);
    assert!(site.run(&lab.both, &["start"]).status.success());
    wait("nothing to be stopped any more", &[]);
    lab.back_up(1, "incr");
    assert_eq!(exporter.stop(), Some(0));
}

/// `stop` for all stanzas does not reach a stanza with a lock path of its own.
fn a_lock_path_of_its_own_has_its_own_stop_files(lab: &Lab<'_>) {
    let site = lab.site;
    let own = site.create_directory("own-lock").display().to_string();
    let config = site.write("own-lock.conf", &site.config().set(STANZA, "lock-path", &own).text());
    assert!(site.run(&config, &["stop"]).status.success());
    assert!(site.path("lock/all.stop").exists() && !site.path("own-lock/all.stop").exists());
    assert_eq!(stop_files(site, &config), Value::Array(Vec::new()));
    assert_eq!(expire(site, &config), Some(0));
    assert!(site.run(&config, &["stop", FOR_STANZA]).status.success());
    assert_eq!(stop_files(site, &config)[0]["scope"], "stanza");
    assert_eq!(expire(site, &config), REFUSED);
    for arguments in [&["start", FOR_STANZA][..], &["start"]] {
        assert!(site.run(&config, arguments).status.success());
    }
    assert_eq!(stop_files(site, &config), Value::Array(Vec::new()));
}

fn nothing_is_told_of_what_is_not_known(lab: &Lab<'_>) {
    let site = lab.site;
    lab.pgbackrest(&["stop"]);
    // A wrapper may use any configuration.
    let wrapper = format!(
        "export PGBACKREST_CONFIG={}\nexec {} \"$@\"\n",
        lab.both.display(),
        site.pgbackrest.program.display()
    );
    let wrapper = site.script("stopped-wrapper", &wrapper);
    let mut info = call(site.account.as_ref(), our_program(site));
    info.args(["info", "--output=json"]).arg(format!("--backrest.binary={}", wrapper.display()));
    let told: Value = serde_json::from_slice(&output(&mut info).stdout).unwrap();
    assert_eq!(
        (&told["stanzas"][0]["name"], &told["stanzas"][0]["stop_files"]),
        (&STANZA.into(), &Value::Null)
    );
    // The superuser reads every directory.
    if site.account.is_some() {
        let lock = site.path("lock");
        let allow = |mode| fs::set_permissions(&lock, fs::Permissions::from_mode(mode)).unwrap();
        allow(0o000);
        assert_eq!(stop_files(site, &lab.both), Value::Null);
        assert_eq!(pod_files::stop_files(lab), [Value::Null, Value::Null]);
        allow(0o770);
    }
    assert_eq!(stop_files(site, &lab.both)[0]["scope"], "stanza");
    lab.pgbackrest(&["start"]);
}

fn stop_files(site: &Site, config: &Path) -> Value {
    let told = info(site, config);
    assert_eq!(told["stanzas"][0]["name"], STANZA, "{told}");
    told["stanzas"][0]["stop_files"].clone()
}

/// What `info` says.
fn info(site: &Site, config: &Path) -> Value {
    let mut info = call(site.account.as_ref(), our_program(site));
    info.args(["info", "--output=json"])
        .arg(format!("--backrest.binary={}", site.pgbackrest.program.display()))
        .arg(format!("--backrest.config={}", config.display()));
    serde_json::from_slice(&output(&mut info).stdout).unwrap()
}
