//! Options in a stanza's own section, which real pgBackRest reads only if the stanza is queried by name.

use std::path::{Path, PathBuf};

use crate::support::config::{CIPHER_PASS, Config};
use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, output};

const REPO1: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "1")];
const REPO2: &[(&str, &str)] = &[("stanza", STANZA), ("repo_key", "2")];
const OF_STANZA: &[(&str, &str)] = &[("stanza", STANZA)];

#[test]
fn own_sections_with_the_installed_version() {
    check("own_sections_with_the_installed_version", Pgbackrest::installed());
}

#[test]
fn own_sections_with_the_newest_version() {
    check("own_sections_with_the_newest_version", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 16);
    lab.back_up(1, "full");
    lab.back_up(2, "full");
    every_option_of_a_repository_counts(&lab);
    a_configuration_that_we_cannot_read_is_no_obstacle(&lab);
    a_lock_in_a_place_of_its_own_is_seen(&lab);
}

/// The same repositories, reached in other ways: for us all is as it was.
fn every_option_of_a_repository_counts(lab: &Lab<'_>) {
    let site = lab.site;
    let path = |name: &str| site.path(name).display().to_string();
    for name in ["empty", "void"] {
        site.create_directory(name);
    }
    let plain = || site.config().without("repo2-cipher");
    let in_section = |config: Config, section: &str| {
        config.set(section, "repo2-cipher-type", "aes-256-cbc").set(section, "repo2-cipher-pass", CIPHER_PASS)
    };
    let elsewhere = |key: &str| site.config().global(key, &path("empty"));
    let cases = [
        ("cipher", in_section(plain(), STANZA)),
        ("cipher of the command", in_section(plain(), &format!("{STANZA}:info"))),
        ("path", elsewhere("repo1-path").set(STANZA, "repo1-path", &path("repo1"))),
        (
            "path of both",
            elsewhere("repo1-path")
                .global("repo2-path", &path("void"))
                .set(STANZA, "repo1-path", &path("repo1"))
                .set(STANZA, "repo2-path", &path("repo2")),
        ),
        // pgBackRest refuses two repositories in one place …
        (
            "same path",
            elsewhere("repo1-path")
                .global("repo2-path", &path("empty"))
                .set(STANZA, "repo1-path", &path("repo1"))
                .set(STANZA, "repo2-path", &path("repo2")),
        ),
        ("log levels", noisy(noisy(in_section(plain(), STANZA), "global"), STANZA)),
        // … and a bucket without a name.
        ("type", site.config().global("repo1-type", "s3").set(STANZA, "repo1-type", "posix")),
        ("only there", {
            let moved = site.config().without("repo1-").set(STANZA, "repo1-path", &path("repo1"));
            moved.set(STANZA, "repo1-retention-full", "4")
        }),
    ];
    for (case, config) in cases {
        // A sibling without options of its own, which is in no repository.
        let has_sibling = !["type", "same path"].contains(&case);
        let config = if has_sibling { config.set("other", "pg1-path", &path("nowhere")) } else { config };
        let file = site.write("sections.conf", &config.text());
        let exporter = Exporter::start(site, &file, &["--collect.interval=1"]);
        let samples = exporter.wait(case, |samples| {
            samples.find("pgbackrest_repo_up", REPO2)?;
            Some(exporter.samples())
        });
        is_well(case, &samples, lab);
        if has_sibling {
            samples.assert("pgbackrest_stanza_status", &[("stanza", "other")], 1.0);
        }
        samples.assert("pgbackrest_repo_encrypted", REPO2, 1.0);
        let retention = [REPO1[0], REPO1[1], ("backup_type", "full")];
        samples.assert("pgbackrest_retention_backups_required", &retention, 4.0);
        assert_eq!(exporter.stop(), Some(0));
        let said = told(site, &site.pgbackrest.program, &[&format!("--backrest.config={}", file.display())]);
        assert!(said.contains("restorable") && !said.contains("demo: failed"), "{case}: {said}");
    }
}

/// With a configuration that only pgBackRest itself knows, the answer for everything is wrong, and the one for the stanza
/// is right.
fn a_configuration_that_we_cannot_read_is_no_obstacle(lab: &Lab<'_>) {
    let site = lab.site;
    let config = site.config().without("repo2-cipher").set(STANZA, "repo2-cipher-type", "aes-256-cbc").set(
        STANZA,
        "repo2-cipher-pass",
        CIPHER_PASS,
    );
    let file = site.write("hidden.conf", &config.text());
    let listed = site.run(&file, &["info", "--output=json"]).stdout;
    // The message is what the wrong key made of a file.
    assert!(String::from_utf8_lossy(&listed).contains(r#""code":99"#), "without the stanza");
    site.write("hidden.conf", &noisy(config, "global").text());
    let wrapper = wrapper(site, &file);
    let mut command = call(site.account.as_ref(), our_program(site));
    command
        .args(["exporter", "--web.listen-address=127.0.0.1:0", "--log.format=json", "--collect.interval=1"])
        .arg("--collect.timeout=60s")
        .arg(format!("--backrest.binary={}", wrapper.display()));
    let exporter = Exporter::run(site, command);
    let samples = exporter.wait("the wrapper's answer", |samples| {
        samples.find("pgbackrest_repo_up", REPO2)?;
        Some(exporter.samples())
    });
    is_well("wrapper", &samples, lab);
    // What the wrapper reads is not known, so nothing is said of it, whatever files this host has.
    let types: Vec<_> =
        samples.all("pgbackrest_repo_info", OF_STANZA).iter().map(|one| &one.labels["type"]).collect();
    assert!(types.iter().all(|storage| storage.is_empty()), "{types:?}");
    assert_eq!(samples.find("pgbackrest_retention_backups_required", REPO1), None);
    assert_eq!(samples.find("pgbackrest_configuration_read_success", &[]), None);
    let stanzas = samples.all("pgbackrest_stanza_status", &[]);
    assert_eq!(stanzas.len(), 1, "no stanza but the wrapper's: {stanzas:?}");
    assert_eq!(exporter.stop(), Some(0));
    // Unless the file is named.
    let said = told(site, &wrapper, &[&format!("--backrest.config={}", file.display())]);
    assert!(said.contains("storage: posix"), "{said}");
}

/// Prints as much as pgBackRest can beside its answers.
fn noisy(config: Config, section: &str) -> Config {
    let levels = [("console", "debug"), ("stderr", "debug"), ("file", "trace")];
    let config = levels
        .iter()
        .fold(config, |config, (output, level)| config.set(section, &format!("log-level-{output}"), level));
    config.set(section, "log-timestamp", "y").set(section, "log-subprocess", "y")
}

fn a_lock_in_a_place_of_its_own_is_seen(lab: &Lab<'_>) {
    let site = lab.site;
    site.create_directory("own-lock");
    let own = site.path("own-lock").display().to_string();
    let config = site.config().set(STANZA, "lock-path", &own);
    // The lab's commands use it, too.
    site.write("both.conf", &config.text());
    let exporter = Exporter::start(site, &lab.both, &["--collect.interval=1"]);
    let lock = |samples: &Samples, state: f64| {
        (samples.find("pgbackrest_stanza_backup_lock_status", OF_STANZA)? == state).then_some(())
    };
    exporter.wait("an idle stanza", |samples| lock(samples, 0.0));
    let held = lab.hold_backup(1);
    let listed = site.info(&lab.both, &[]);
    assert_eq!(listed[0]["status"]["lock"]["backup"]["held"], false, "without the stanza: {listed}");
    exporter.wait("the lock", |samples| lock(samples, 1.0));
    assert!(held.release(), "the held backup failed");
    exporter.wait("the end of the backup", |samples| lock(samples, 0.0));
    assert_eq!(exporter.stop(), Some(0));
    site.write("both.conf", &site.config().text());
}

fn is_well(case: &str, samples: &Samples, lab: &Lab<'_>) {
    for (repo, labels) in [(1, REPO1), (2, REPO2)] {
        assert_eq!(samples.find("pgbackrest_repo_up", labels), Some(1.0), "{case}: repo{repo}");
        let backups = samples.all("pgbackrest_backup_info", labels);
        assert_eq!(backups.len(), lab.labels(repo).len(), "{case}: repo{repo}");
        assert_eq!(samples.find("pgbackrest_backup_in_progress", labels), Some(0.0), "{case}: repo{repo}");
    }
    samples.assert("pgbackrest_stanza_status", OF_STANZA, 0.0);
    let up = samples.all("pgbackrest_collector_up", &[("collector", "info")]);
    assert!(up.iter().all(|sample| sample.value == 1.0), "{case}: {up:?}");
    let failures = samples.all("pgbackrest_collector_failures_total", &[("collector", "info")]);
    assert!(failures.iter().all(|sample| sample.value == 0.0), "{case}: {failures:?}");
}

/// A script that runs pgBackRest with a configuration of its own.
fn wrapper(site: &Site, config: &Path) -> PathBuf {
    let body = format!(
        "export PGBACKREST_CONFIG={}\nexec {} \"$@\"\n",
        config.display(),
        site.pgbackrest.program.display()
    );
    site.script("wrapper", &body)
}

/// What `info` prints.
fn told(site: &Site, pgbackrest: &Path, arguments: &[&str]) -> String {
    let output = output(
        call(site.account.as_ref(), our_program(site))
            .arg("info")
            .arg(format!("--backrest.binary={}", pgbackrest.display()))
            .args(arguments),
    );
    String::from_utf8(output.stdout).unwrap()
}
