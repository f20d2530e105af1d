//! `check` and `metrics` with real repositories: what monitoring is told in each situation, by pgBackRest itself and by an exporter.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::exporter::{CLASSIC, Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::http;
use crate::support::kubernetes::ports::free_port;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, program};
use crate::support::process::{Running, call, command, output, wait_for};
use crate::support::web::Authority;

const OK: i32 = 0;
const WARNING: i32 = 1;
const CRITICAL: i32 = 2;
const UNKNOWN: i32 = 3;

#[test]
fn the_installed_version_is_checked() {
    check("the_installed_version_is_checked", Pgbackrest::installed());
}

#[test]
fn the_newest_version_is_checked() {
    check("the_newest_version_is_checked", Pgbackrest::newest());
}

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 16);
    stale_backups_are_critical(&lab);
    lab.back_up(1, "full");
    lab.back_up(2, "full");
    lab.postgres.archive_all();
    a_healthy_host_is_ok(&lab);
    a_running_exporter_says_the_same(&lab);
    the_metrics_file_has_what_the_exporter_serves(&lab);
    a_stopped_stanza_is_a_warning(&lab);
    missing_wal_is_critical(&lab);
    a_missing_repository_is_critical(&lab);
    what_may_not_be_read_is_unknown(&lab);
    what_hangs_is_unknown_in_time(&lab);
    names_in_a_repository_forge_nothing(&lab);
}

/// What the plugin says with the lab's pgBackRest, or another program in its place.
fn run(site: &Site, pgbackrest: &Path, config: &Path, arguments: &[&str]) -> (i32, String) {
    let mut plugin = call(site.account.as_ref(), our_program(site));
    plugin
        .arg("check")
        .args(arguments)
        .arg(format!("--backrest.binary={}", pgbackrest.display()))
        .arg(format!("--backrest.config={}", config.display()));
    said(output(plugin.env_clear().env("PATH", "/usr/bin:/bin")))
}

fn said(output: Output) -> (i32, String) {
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text}");
    let first = text.lines().next().unwrap_or_default();
    let word =
        ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(output.status.code().unwrap()).unwrap()];
    assert!(first.starts_with("PGBACKREST ") && first.contains(&format!("{word}: ")), "{word}: {text}");
    assert!(first.matches('|').count() <= 1 && text.len() < 8192, "{text}");
    (output.status.code().unwrap(), text)
}

/// With the pace of the lab: nothing is far away.
fn local(lab: &Lab<'_>, arguments: &[&str]) -> (i32, String) {
    let arguments = [&["--timeout=120s"][..], arguments].concat();
    run(lab.site, &lab.site.pgbackrest.program, &lab.both, &arguments)
}

fn at_url(lab: &Lab<'_>, url: &str, arguments: &[&str]) -> (i32, String) {
    let mut plugin = call(lab.site.account.as_ref(), our_program(lab.site));
    plugin.args(["check", "--url", url]).args(arguments);
    said(output(plugin.env_clear()))
}

fn assert_said(outcome: &(i32, String), code: i32, parts: &[&str]) {
    let (found, text) = outcome;
    assert!(
        *found == code && parts.iter().all(|part| text.contains(part)),
        "{code} {parts:#?}:\n{found} {text}"
    );
}

fn stale_backups_are_critical(lab: &Lab<'_>) {
    lab.set_clock(Some("9 days"));
    lab.back_up(1, "full");
    lab.back_up(2, "full");
    lab.set_clock(None);
    let stale = local(lab, &["backups"]);
    let parts = [
        "demo repo1: the newest backup is 9 d",
        "WARNING: demo repo2: the newest full backup is 9 d",
        "[PgBackRestBackupStale]",
        "[PgBackRestFullBackupStaleStatic]",
    ];
    assert_said(&stale, CRITICAL, &parts);
    let set = ["backups", "--critical=age=10d", "--warning=full-age=1w3d", "--warning=size=~:"];
    assert_said(&local(lab, &set), OK, &["2 backups in 2 repositories"]);
    // One of the repositories is fine, and only that one is asked for.
    lab.back_up(1, "incr");
    assert_said(&local(lab, &["backups", "--repo=1", "-w", "full-age=10d"]), OK, &[]);
    assert_said(&local(lab, &["backups", "--repo=2"]), CRITICAL, &["demo repo2"]);
}

fn a_healthy_host_is_ok(lab: &Lab<'_>) {
    for service in ["all", "backups", "wal", "restore-test", "verify", "stanza", "collection"] {
        assert_said(&local(lab, &[service]), OK, &[]);
    }
    let (_, text) = local(lab, &["all", "--output=plugin"]);
    for label in
        ["demo/repo1/age", "demo/repo2/full-age", "demo/repo1/window", "demo/repo2/missing-segments/new"]
    {
        assert!(text.contains(&format!("'{label}'=")), "{label}: {text}");
    }
    let mut plugin = call(lab.site.account.as_ref(), our_program(lab.site));
    plugin
        .args(["check", "backups", "--output=json"])
        .arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display()))
        .arg(format!("--backrest.config={}", lab.both.display()));
    let told: Value = serde_json::from_slice(&output(&mut plugin).stdout).unwrap();
    assert_eq!((&told["state"], &told["service"]), (&0.into(), &"backups".into()), "{told:#}");
    let age =
        told["values"].as_array().unwrap().iter().find(|value| value["label"] == "demo/repo1/age").unwrap();
    assert_eq!(
        (&age["unit"], &age["critical"], &age["repo_key"]),
        (&"seconds".into(), &"93600".into(), &1.into())
    );
    // A stanza that does not exist is not fine.
    assert_said(&local(lab, &["backups", "--stanza=nowhere"]), CRITICAL, &["nowhere"]);
}

fn a_running_exporter_says_the_same(lab: &Lab<'_>) {
    let site = lab.site;
    let exporter = Exporter::start(site, &lab.both, &["--collect.interval=60s"]);
    exporter.wait("the scan", |samples| {
        let listed = samples.all("pgbackrest_wal_listed_timestamp_seconds", &[]);
        (listed.len() == 2).then_some(())
    });
    let url = format!("http://{}", exporter.address);
    for service in ["all", "backups", "wal", "restore-test", "verify", "stanza", "collection"] {
        assert_said(&at_url(lab, &url, &[service]), OK, &[]);
    }
    assert_said(&at_url(lab, &format!("{url}/healthz"), &[]), UNKNOWN, &["no metrics of pgbackrest-keeper"]);
    assert_said(&at_url(lab, &format!("{url}/nowhere"), &[]), UNKNOWN, &["404"]);
    assert_said(
        &at_url(lab, &url, &["backups", "--stanza=nowhere"]),
        UNKNOWN,
        &["nowhere: the stanza is not known"],
    );
    assert_said(&at_url(lab, &url, &["--cluster=shop/ledger"]), UNKNOWN, &["none is selected"]);
    assert_eq!(exporter.stop(), Some(0));
    // Another test may have bound the port of the exporter by now.
    let closed = format!("http://127.0.0.1:{}", free_port());
    assert_said(&at_url(lab, &closed, &[]), UNKNOWN, &["refused"]);
    // A server that accepts connections and sends nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", silent.local_addr().unwrap());
    assert_said(&at_url(lab, &url, &["--timeout=1s"]), UNKNOWN, &["no response within 1s"]);
    passwords_and_certificates(lab);
}

fn passwords_and_certificates(lab: &Lab<'_>) {
    let site = lab.site;
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    site.write("server.crt", &issued.certificate_pem);
    site.write("server.key", &issued.key_pem);
    site.write("ca.crt", &authority.certificate_pem());
    let hash = bcrypt::hash("s3cret", 4).unwrap();
    let web = site.write(
        "web.yml",
        &format!("tls_server_config: {{cert_file: server.crt, key_file: server.key}}\nbasic_auth_users: {{icinga: '{hash}'}}\n"),
    );
    let web = format!("--web.config.file={}", web.display());
    let exporter = Exporter::start(site, &lab.both, &[&web, "--collect.interval=600s"]);
    let (_, port) = exporter.address.rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}/metrics");
    site.write("password", "s3cret\n");
    let with = |text: &str| format!("--http.config.file={}", site.write("http.yml", text).display());
    let good =
        with("basic_auth: {username: icinga, password_file: password}\ntls_config: {ca_file: ca.crt}\n");
    wait_for("the first collection", || (at_url(lab, &url, &[&good, "backups"]).0 == OK).then_some(()));
    let ca = "tls_config: {ca_file: ca.crt}";
    for (config, part) in [
        (ca.to_owned(), "401"),
        (format!("basic_auth: {{username: icinga, password: wrong}}\n{ca}"), "401"),
        ("basic_auth: {username: icinga, password_file: password}".to_owned(), "certificate"),
        (format!("basic_auth: {{username: icinga, password_file: nowhere}}\n{ca}"), "No such file"),
    ] {
        let outcome = at_url(lab, &url, &[&with(&config), "backups"]);
        assert_said(&outcome, UNKNOWN, &[part]);
        assert!(!outcome.1.contains("s3cret") && !outcome.1.contains("wrong"), "{}", outcome.1);
    }
    let unverified = format!(
        "{}, insecure_skip_verify: true}}\nbasic_auth: {{username: icinga, password_file: password}}",
        ca.trim_end_matches('}')
    );
    assert_said(&at_url(lab, &url, &[&with(&unverified), "backups"]), OK, &[]);
    let userinfo = format!("https://icinga:s3cret@localhost:{port}/metrics");
    let refused = at_url(lab, &userinfo, &[]);
    assert_said(&refused, UNKNOWN, &["--http.config.file"]);
    assert!(!refused.1.contains("s3cret"), "{}", refused.1);
    assert_eq!(exporter.stop(), Some(0));
}

/// A real node_exporter reads it. What only a running exporter can tell is not in it.
fn the_metrics_file_has_what_the_exporter_serves(lab: &Lab<'_>) {
    let site = lab.site;
    let directory = site.create_directory("textfile");
    let file = directory.join("pgbackrest.prom");
    let write = |config: &Path, arguments: &[&str]| {
        let mut metrics = call(site.account.as_ref(), our_program(site));
        metrics
            .arg("metrics")
            .arg(format!("--backrest.binary={}", site.pgbackrest.program.display()))
            .arg(format!("--backrest.config={}", config.display()))
            .args(arguments);
        output(&mut metrics)
    };
    let flag = format!("--file={}", file.display());
    let written = write(&lab.both, &[&flag, "--wal", "--collect.interval=15m"]);
    assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("# EOF") && text.lines().all(|line| !line.is_empty()), "{text}");
    let samples = Samples::parse(&text);
    samples.assert("pgbackrest_collector_interval_seconds", &[("collector", "info")], 900.0);
    samples.assert("pgbackrest_collector_up", &[("stanza", STANZA), ("collector", "wal")], 1.0);
    samples.assert("pgbackrest_recovery_window_verified", &[("repo_key", "1")], 1.0);
    for name in samples.names() {
        let is_frozen =
            name.ends_with("_total") || name.contains("since_last") || name.starts_with("process_");
        assert!(!is_frozen, "{name}");
    }

    // The same on standard output, for a Pushgateway; names are those of the exporter.
    let printed = write(&lab.both, &["--collect.interval=15m"]);
    let printed = Samples::parse(std::str::from_utf8(&printed.stdout).unwrap());
    let exporter = Exporter::start(site, &lab.both, &["--collect.interval=60s"]);
    let served = exporter.wait("a collection", |samples| {
        samples.find("pgbackrest_repo_up", &[("repo_key", "1")]).map(|_| exporter.samples())
    });
    assert!(printed.names().is_subset(&served.names()), "{:?}", printed.names().difference(&served.names()));
    assert_eq!(exporter.stop(), Some(0));

    // If pgBackRest cannot be asked, that is what the file says.
    let failed = write(Path::new("/nonexistent"), &[&flag]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let after = Samples::parse(&fs::read_to_string(&file).unwrap());
    assert_eq!(after.value("pgbackrest_collector_up", &[("collector", "info")]), 0.0);
    assert_eq!(after.find("pgbackrest_repo_up", &[]), None);
    assert!(write(&lab.both, &[&flag, "--wal"]).status.success());
    // What cannot be replaced stays as it is.
    let nowhere = write(&lab.both, &["--file=/nonexistent/pgbackrest.prom"]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--file /nonexistent/pgbackrest.prom"));
    node_exporter_serves(site, &directory, &text);
}

fn node_exporter_serves(site: &Site, directory: &Path, text: &str) {
    // The tests of this host need it; elsewhere it is told what is missing.
    let node_exporter = match program("prometheus-node-exporter") {
        Ok(node_exporter) => node_exporter,
        Err(missing) => return crate::support::machine::skip("node_exporter_serves", missing),
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut command = command(None, node_exporter);
    command
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", directory.display()))
        .arg(format!("--web.listen-address={address}"));
    let log = site.path("log/node-exporter.log");
    let mut node = Running::start("prometheus-node-exporter", command, &log, Signal::SIGTERM);
    let url = format!("http://{address}/metrics");
    let served = wait_for("node_exporter", || {
        assert!(node.ended().is_none(), "{}", node.log());
        http::get(&url, &[("accept", CLASSIC)]).ok()
    });
    let served = Samples::parse(served.text());
    served.assert("node_textfile_scrape_error", &[], 0.0);
    let names: Vec<String> = Samples::parse(text).names().into_iter().map(str::to_owned).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(served.names().contains(name.as_str()), "{name}\n{}", node.log());
    }
}

fn a_stopped_stanza_is_a_warning(lab: &Lab<'_>) {
    lab.pgbackrest(&["stop"]);
    assert_said(&local(lab, &["stanza"]), WARNING, &["pgbackrest stop was run", "[PgBackRestStopped]"]);
    let ignored = local(lab, &["stanza", "--ignore=PgBackRestStopped"]);
    assert_said(&ignored, OK, &["ignored: demo: pgbackrest stop was run"]);
    lab.pgbackrest(&["start"]);
    assert_said(&local(lab, &["stanza"]), OK, &[]);
}

fn missing_wal_is_critical(lab: &Lab<'_>) {
    lab.postgres.archive_all();
    let lost = lab.postgres.archive_all().segment;
    lab.postgres.archive_all();
    let file = lab.site.wal_file(1, &lost);
    let aside = lab.site.path("aside");
    fs::rename(&file, &aside).unwrap();
    let gap = local(lab, &["wal"]);
    assert_said(
        &gap,
        CRITICAL,
        &["demo repo1: WAL segments missing after the newest backup: 1", "[PgBackRestWalGap]"],
    );
    // Without the scan, the result says that it was not checked.
    assert_said(
        &local(lab, &["wal", "--wal=false"]),
        OK,
        &["not checked at 2 places: missing WAL: not asked for"],
    );
    fs::rename(&aside, &file).unwrap();
    assert_said(&local(lab, &["wal"]), OK, &[]);
}

fn a_missing_repository_is_critical(lab: &Lab<'_>) {
    let (repo, aside) = (lab.site.path("repo2"), lab.site.path("repo2-aside"));
    fs::rename(&repo, &aside).unwrap();
    assert_said(
        &local(lab, &["stanza"]),
        CRITICAL,
        &["demo repo2: the repository is not available", "[PgBackRestRepoDown]"],
    );
    assert_said(&local(lab, &["backups"]), CRITICAL, &["demo repo2: there is no backup"]);
    assert_said(&local(lab, &["wal"]), UNKNOWN, &["demo repo2: its WAL archive was not scanned"]);
    assert_said(&local(lab, &["all", "--repo=1"]), OK, &[]);
    fs::rename(&aside, &repo).unwrap();
}

fn what_may_not_be_read_is_unknown(lab: &Lab<'_>) {
    let site = lab.site;
    let config = site.write("damaged.conf", "[global]\nrepo1-path=relative\n");
    for service in ["all", "backups", "wal", "restore-test", "verify", "stanza", "collection"] {
        assert_said(
            &run(site, &site.pgbackrest.program, &config, &[service]),
            UNKNOWN,
            &["pgBackRest failed"],
        );
        assert_said(
            &run(site, Path::new("/nonexistent"), &lab.both, &[service]),
            UNKNOWN,
            &["could not be started"],
        );
    }
    let wrong = ["--warning=nonsense=1", "--critical=age=tomorrow", "nonsense", "--timeout=0"];
    for wrong in wrong {
        assert_said(&local(lab, &[wrong]), UNKNOWN, &[]);
    }
    assert_said(&local(lab, &["--help"]), UNKNOWN, &["nothing was checked", "Usage:"]);
    // The superuser reads everything.
    if site.account.is_none() {
        return;
    }
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let repo = site.path("repo1");
    allow(&repo, 0o000);
    assert_said(&local(lab, &["stanza"]), CRITICAL, &["demo repo1: the repository is not available"]);
    assert_said(&local(lab, &["backups"]), UNKNOWN, &["UNKNOWN: demo repo1: its backups are unknown"]);
    assert_said(&local(lab, &["wal"]), UNKNOWN, &["demo repo1: its WAL archive was not scanned"]);
    allow(&repo, 0o750);
    let secret = site.write("secret.conf", &site.config().text());
    allow(&secret, 0o000);
    assert_said(&run(site, &site.pgbackrest.program, &secret, &["all"]), UNKNOWN, &[]);
}

fn what_hangs_is_unknown_in_time(lab: &Lab<'_>) {
    let site = lab.site;
    let hangs = site.script("hangs", "trap '' TERM INT\ncase \"$*\" in *version*) echo pgBackRest 2.60.0; exit ;; esac\nwhile :; do sleep 1; done\n");
    for service in ["all", "backups"] {
        let began = Instant::now();
        let outcome = run(site, &hangs, &lab.both, &[service, "--timeout=10s"]);
        assert_said(&outcome, UNKNOWN, &[]);
        // Without a limit, it would take for ever; a busy machine may take a while to start and end it.
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}: {}", began.elapsed(), outcome.1);
    }
}

/// Whoever can write to a repository must not be able to tell monitoring that all is well.
fn names_in_a_repository_forge_nothing(lab: &Lab<'_>) {
    let name = "x|y'z=1;$(id)` OK";
    for directory in ["archive", "backup"] {
        lab.site.create_directory(&format!("repo1/{directory}/{name}"));
    }
    let (code, text) = local(lab, &["all"]);
    assert_eq!(code, CRITICAL, "{text}");
    assert!(text.contains("x_y'z=1;$(id)` OK"), "{text}");
    let (_, performance) = text.lines().next().unwrap().split_once(" | ").unwrap();
    for entry in performance.split(" '").map(|entry| entry.trim_start_matches('\'')) {
        let (label, value) = entry.split_once("'=").unwrap_or_else(|| panic!("{entry}: {performance}"));
        assert!(
            !label.contains(['\'', '=', ';', '|'])
                && value.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
            "{entry}"
        );
    }
    for directory in ["archive", "backup"] {
        fs::remove_dir(lab.site.path(&format!("repo1/{directory}/{name}"))).unwrap();
    }
}
