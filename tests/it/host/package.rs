//! The Debian package: built, installed into a directory, started like its unit, scraped, and removed completely.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use pgbackrest_keeper::cli::Cli;

use crate::support::exporter::Exporter;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, program, skip};
use crate::support::process::{call, command, output, successful};

const PACKAGE: &str = "pgbackrest-keeper";
const UNIT: &str = "usr/lib/systemd/system/pgbackrest-keeper.service";
const DEFAULTS: &str = "etc/default/pgbackrest-keeper";
const TEST_UNIT: &str = "usr/lib/systemd/system/pgbackrest-keeper-restore-test@.service";
const TEST_TIMER: &str = "usr/lib/systemd/system/pgbackrest-keeper-restore-test@.timer";
const TEST_DEFAULTS: &str = "etc/default/pgbackrest-keeper-restore-test";
const VERIFY_UNIT: &str = "usr/lib/systemd/system/pgbackrest-keeper-verify@.service";
const VERIFY_TIMER: &str = "usr/lib/systemd/system/pgbackrest-keeper-verify@.timer";
const VERIFY_DEFAULTS: &str = "etc/default/pgbackrest-keeper-verify";

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The settings of a unit, those that are there several times joined.
fn unit() -> BTreeMap<String, String> {
    settings("pgbackrest-keeper.service")
}

fn settings(unit: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(sources().join("packaging/debian").join(unit)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A root directory of its own for dpkg, which does not touch the system's.
struct Root {
    directory: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("package-").tempdir().unwrap();
        let root = Self { directory };
        for part in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "usr/share"] {
            fs::create_dir_all(root.path(part)).unwrap();
        }
        fs::write(root.path("var/lib/dpkg/status"), "").unwrap();
        // PostgreSQL's user runs the program.
        fs::set_permissions(root.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The package's scripts run outside of the directory, where there is no shell, and are told of it.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let root = format!("--root={}", self.directory.path().display());
        let log = format!("--log={}", self.path("var/lib/dpkg/log").display());
        successful(
            Command::new("dpkg")
                .args([&root, &log, "--force-script-chrootless", "--force-not-root"])
                .args(arguments),
        )
    }

    /// Everything but dpkg's own.
    fn files(&self) -> BTreeSet<String> {
        let found = successful(
            Command::new("find").arg(self.directory.path()).args(["-type", "f,l", "-printf", "%P\n"]),
        );
        found.lines().filter(|file| !file.starts_with("var/lib/dpkg/")).map(str::to_owned).collect()
    }
}

#[test]
fn the_package_comes_works_and_goes() {
    if let Err(missing) = comes_works_and_goes() {
        skip("the_package_comes_works_and_goes", missing);
    }
}

fn comes_works_and_goes() -> Result<(), String> {
    for needed in ["dpkg", "dpkg-deb", "strip", "systemd-analyze"] {
        program(needed)?;
    }
    let site = Site::new(Pgbackrest::installed())?;
    let mut build = Command::new(sources().join("scripts/build-deb"));
    let package = successful(build.env("KEEPER_PROGRAM", env!("CARGO_BIN_EXE_pgbackrest-keeper")));
    let package = package.trim();

    let root = Root::new();
    root.dpkg(&["--install", package]);
    let installed = root.files();
    for file in [
        "usr/bin/pgbackrest-keeper",
        UNIT,
        DEFAULTS,
        TEST_UNIT,
        TEST_TIMER,
        TEST_DEFAULTS,
        VERIFY_UNIT,
        VERIFY_TIMER,
        VERIFY_DEFAULTS,
        "usr/share/man/man1/pgbackrest-keeper-exporter.1.gz",
        "usr/share/bash-completion/completions/pgbackrest-keeper",
        "usr/share/doc/pgbackrest-keeper/copyright",
        "usr/share/pgbackrest-keeper/alerts/pgbackrest.rules.yml",
        "usr/share/pgbackrest-keeper/dashboards/fleet.json",
        "usr/share/pgbackrest-keeper/grafana/dashboards.yaml",
        "usr/share/pgbackrest-keeper/grafana/datasource.yaml",
        "usr/share/pgbackrest-keeper/icinga/pgbackrest-keeper.conf",
        "usr/share/pgbackrest-keeper/nagios/pgbackrest-keeper.cfg",
        "usr/share/pgbackrest-keeper/zabbix/pgbackrest-keeper.conf",
        "usr/share/pgbackrest-keeper/zabbix/template.yaml",
        "etc/systemd/system/multi-user.target.wants/pgbackrest-keeper.service",
    ] {
        assert!(installed.contains(file), "{file} is missing: {installed:#?}");
    }
    assert!(!installed.iter().any(|file| file.contains("timers.target.wants")), "nothing runs unasked");
    has_notices_of_all_that_is_linked(&root);
    is_liked_by_systemd(&root);
    units_of_stanzas_are_liked_by_systemd(&root, TEST_UNIT, TEST_TIMER);
    units_of_stanzas_are_liked_by_systemd(&root, VERIFY_UNIT, VERIFY_TIMER);
    is_served(&site, &root);

    // Records are removed with the settings.
    let records = ["restore-tests", "verifications"].map(|kind| {
        let records = root.path(&format!("var/lib/pgbackrest-keeper/{kind}/demo/repo1"));
        fs::create_dir_all(&records).unwrap();
        fs::write(records.join("record.json"), "").unwrap();
        records.join("record.json")
    });
    fs::create_dir_all(root.path("var/lib/pgbackrest-keeper/exporter")).unwrap();
    fs::write(root.path("var/lib/pgbackrest-keeper/exporter/notifications.json"), "").unwrap();
    root.dpkg(&["--remove", PACKAGE]);
    assert!(records.iter().all(|record| record.exists()));
    assert!(root.path(DEFAULTS).exists() && !root.path("usr/bin/pgbackrest-keeper").exists());
    root.dpkg(&["--purge", PACKAGE]);
    assert_eq!(root.files(), BTreeSet::new());
    Ok(())
}

/// As `cargo tree` lists it.
fn has_notices_of_all_that_is_linked(root: &Root) {
    let file = root.path("usr/share/doc/pgbackrest-keeper/NOTICES.gz");
    let notices = successful(call(None, "gzip").args(["--decompress", "--stdout"]).arg(file));
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}",
    ]);
    let tree = successful(tree.current_dir(sources()));
    let packages: BTreeSet<String> = tree
        .lines()
        .filter(|line| !line.starts_with("pgbackrest-keeper "))
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ").replace(" v", " "))
        .collect();
    assert!(packages.len() > 100, "{packages:#?}");
    let missing: Vec<_> =
        packages.iter().filter(|package| !notices.contains(&format!("\n{package}: "))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // The text of a licence, of sources in C, of the standard library.
    for part in ["Permission is hereby granted, free of charge", "Jason Evans", "Rust's standard library 1."]
    {
        assert!(notices.contains(part), "{part}");
    }
}

/// The unit is judged with the program where it is installed here.
fn is_liked_by_systemd(root: &Root) {
    let unit = fs::read_to_string(root.path(UNIT)).unwrap();
    let program = root.path("usr/bin/pgbackrest-keeper").display().to_string();
    let judged = tempfile::Builder::new().suffix(".service").tempfile().unwrap();
    fs::write(judged.path(), unit.replace("/usr/bin/pgbackrest-keeper", &program)).unwrap();
    let said = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(judged.path()));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.is_empty(), "{text}");
}

/// For one stanza, and no less restricted than the exporter.
fn units_of_stanzas_are_liked_by_systemd(root: &Root, service: &str, timer: &str) {
    let program = root.path("usr/bin/pgbackrest-keeper").display().to_string();
    let directory = tempfile::tempdir().unwrap();
    let judged = [service, timer].map(|file| {
        let unit = fs::read_to_string(root.path(file)).unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let judged = directory.path().join(name.replace('@', "@demo"));
        fs::write(&judged, unit.replace("/usr/bin/pgbackrest-keeper", &program)).unwrap();
        judged
    });
    let said = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&judged));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.is_empty(), "{text}");
    let mut exposure = Command::new("systemd-analyze");
    exposure.args(["security", "--offline=true", "--threshold=25"]).arg(&judged[0]);
    let said = output(&mut exposure);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// What systemd starts for a unit of the lab's stanza: its user and command, nothing in the environment but what the file of defaults
/// says, after these lines were added.
fn started(
    site: &Site,
    root: &Root,
    unit: &BTreeMap<String, String>,
    defaults: &str,
    lines: &str,
) -> Command {
    assert_eq!(unit["User"], "postgres");
    let edited = fs::read_to_string(root.path(defaults)).unwrap() + lines;
    fs::write(root.path(defaults), &edited).unwrap();
    let variables: Vec<(&str, &str)> = edited
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    let line = variables.iter().fold(unit["ExecStart"].replace("%i", STANZA), |line, (name, value)| {
        line.replace(&format!("${{{name}}}"), value)
    });
    let mut words = line.split(' ');
    let program = root.path(words.next().unwrap().strip_prefix('/').unwrap());
    let mut command = command(site.account.as_ref(), program);
    command.args(words).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin");
    command.envs(variables);
    command
}

/// The exporter, and a restore test whose result it shows.
fn is_served(site: &Site, root: &Root) {
    let lab = Lab::start(site, 16);
    let label = lab.back_up(1, "full");
    let unit = unit();
    assert_eq!(unit["EnvironmentFile"], format!("-/{DEFAULTS}"));
    let shared = format!(
        "KEEPER_BACKREST_CONFIG={}\nKEEPER_STATE_DIRECTORY={}\n",
        lab.both.display(),
        site.create_directory("state").display()
    );
    let lines = format!(
        "KEEPER_WEB_LISTEN_ADDRESS=127.0.0.1:0\nKEEPER_LOG_FORMAT=json\n\
                         KEEPER_COLLECT_INTERVAL=1\nKEEPER_COLLECT_TIMEOUT=60s\n{shared}"
    );
    let exporter = Exporter::run(site, started(site, root, &unit, DEFAULTS, &lines));
    exporter.wait("the backup", |samples| {
        samples.find("pgbackrest_backup_info", &[("backup_name", &label), ("stanza", STANZA)])
    });
    // The service of restore tests tells it what it found.
    let lines = format!(
        "KEEPER_DIRECTORY={}\nKEEPER_SPACE_RESERVE=0\nKEEPER_REPO=1\n{shared}",
        site.path("copy").display()
    );
    let unit_of_tests = settings("pgbackrest-keeper-restore-test@.service");
    successful(&mut started(site, root, &unit_of_tests, TEST_DEFAULTS, &lines));
    exporter.wait("the restore test", |samples| {
        let passed = [("outcome", "passed"), ("repo_key", "1"), ("stanza", STANZA)];
        samples.find("pgbackrest_restore_test_last_outcome", &passed).filter(|is_it| *is_it == 1.0)
    });
    // So does that of verifications.
    let unit_of_verifications = settings("pgbackrest-keeper-verify@.service");
    successful(&mut started(
        site,
        root,
        &unit_of_verifications,
        VERIFY_DEFAULTS,
        &format!("KEEPER_REPO=1\n{shared}"),
    ));
    exporter.wait("the verification", |samples| {
        let passed = [("outcome", "passed"), ("repo_key", "1"), ("stanza", STANZA)];
        samples.find("pgbackrest_verify_last_outcome", &passed).filter(|is_it| *is_it == 1.0)
    });
    // What it is reloaded with does not end it; what it is stopped with does.
    assert!(unit["ExecReload"].starts_with("/bin/kill -HUP "));
    exporter.reload();
    assert_eq!(exporter.get("/healthz", &[]).status, 200);
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn the_defaults_are_variables_of_the_exporter() {
    are_variables_of("exporter", "packaging/debian/default");
}

/// Checks that a command knows all variables of a file.
fn are_variables_of(command: &str, file: &str) {
    let text = fs::read_to_string(sources().join(file)).unwrap();
    let program = Cli::command();
    let found = program.find_subcommand(command).unwrap();
    let known: BTreeSet<&str> =
        found.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    let named: Vec<&str> =
        text.lines().filter_map(|line| Some(line.strip_prefix("#KEEPER_")?.split_once('=')?.0)).collect();
    assert!(named.len() >= 6, "{named:?}");
    for name in named {
        assert!(known.contains(format!("KEEPER_{name}").as_str()), "{command} knows no KEEPER_{name}");
    }
}

/// Where it must not be shut off: pgBackRest's locks in the real /tmp, and its other directories.
#[test]
fn the_unit_leaves_pgbackrest_what_it_needs() {
    let unit = unit();
    assert_eq!(unit["PrivateTmp"], "no");
    assert_eq!(unit["ProtectSystem"], "strict");
    let writable: Vec<&str> = unit["ReadWritePaths"].split(' ').collect();
    assert_eq!(writable, ["/tmp", "-/var/log/pgbackrest", "-/var/spool/pgbackrest"]);
    // What webhooks were told.
    assert_eq!(format!("/var/lib/{}", unit["StateDirectory"]), "/var/lib/pgbackrest-keeper/exporter");
}

/// A test writes only its records and its copy, and lets everything else go first.
#[test]
fn restore_tests_run_in_the_background_and_leave_production_alone() {
    let unit = settings("pgbackrest-keeper-restore-test@.service");
    assert_eq!((&*unit["Type"], &*unit["User"]), ("oneshot", "postgres"));
    assert_eq!((&*unit["ProtectSystem"], &*unit["PrivateTmp"]), ("strict", "yes"));
    assert!(!unit.contains_key("ReadWritePaths") && !unit.contains_key("MemoryDenyWriteExecute"), "{unit:?}");
    assert_eq!(format!("/var/lib/{}", unit["StateDirectory"]), "/var/lib/pgbackrest-keeper");
    let environment =
        fs::read_to_string(sources().join("packaging/debian/pgbackrest-keeper-restore-test@.service"));
    let copy = format!("\nEnvironment=KEEPER_DIRECTORY=/var/cache/{}\n", unit["CacheDirectory"]);
    assert!(environment.unwrap().contains(&copy));
    for (name, value) in [("Nice", "19"), ("CPUSchedulingPolicy", "idle"), ("IOSchedulingClass", "idle")] {
        assert_eq!(unit[name], value);
    }
    let command = "/usr/bin/pgbackrest-keeper restore-test --stanza %i --directory ${KEEPER_DIRECTORY}";
    assert_eq!(unit["ExecStart"], command);
    let timer = settings("pgbackrest-keeper-restore-test@.timer");
    assert_eq!((&*timer["Persistent"], &*timer["WantedBy"]), ("yes", "timers.target"));
}

/// A verification writes only its records.
#[test]
fn verifications_run_in_the_background_and_write_nothing_but_records() {
    let unit = settings("pgbackrest-keeper-verify@.service");
    assert_eq!((&*unit["Type"], &*unit["User"]), ("oneshot", "postgres"));
    assert_eq!((&*unit["ProtectSystem"], &*unit["PrivateTmp"]), ("strict", "yes"));
    assert!(!unit.contains_key("ReadWritePaths") && !unit.contains_key("CacheDirectory"), "{unit:?}");
    assert_eq!(format!("/var/lib/{}", unit["StateDirectory"]), "/var/lib/pgbackrest-keeper");
    for (name, value) in [("Nice", "19"), ("CPUSchedulingPolicy", "idle"), ("IOSchedulingClass", "idle")] {
        assert_eq!(unit[name], value);
    }
    let timer = settings("pgbackrest-keeper-verify@.timer");
    assert_eq!((&*timer["Persistent"], &*timer["WantedBy"]), ("yes", "timers.target"));
    are_variables_of("verify", "packaging/debian/verify-default");
    let words = unit["ExecStart"].replace("%i", "demo");
    Cli::command().try_get_matches_from(words.split(' ')).unwrap();
}

#[test]
fn the_defaults_of_restore_tests_are_variables_of_the_command() {
    are_variables_of("restore-test", "packaging/debian/restore-test-default");
    let unit = settings("pgbackrest-keeper-restore-test@.service");
    let words = unit["ExecStart"].replace("%i", "demo").replace("${KEEPER_DIRECTORY}", "/srv/restore-test");
    Cli::command().try_get_matches_from(words.split(' ')).unwrap();
}
