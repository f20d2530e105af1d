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

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The settings of a unit, those that are there several times joined.
fn unit() -> BTreeMap<String, String> {
    let text = fs::read_to_string(sources().join("packaging/debian/pgbackrest-keeper.service")).unwrap();
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
        "usr/share/man/man1/pgbackrest-keeper-exporter.1.gz",
        "usr/share/bash-completion/completions/pgbackrest-keeper",
        "usr/share/doc/pgbackrest-keeper/copyright",
        "usr/share/pgbackrest-keeper/alerts/pgbackrest.rules.yml",
        "usr/share/pgbackrest-keeper/dashboards/fleet.json",
        "usr/share/pgbackrest-keeper/icinga/pgbackrest-keeper.conf",
        "usr/share/pgbackrest-keeper/nagios/pgbackrest-keeper.cfg",
        "usr/share/pgbackrest-keeper/zabbix/pgbackrest-keeper.conf",
        "usr/share/pgbackrest-keeper/zabbix/template.yaml",
        "etc/systemd/system/multi-user.target.wants/pgbackrest-keeper.service",
    ] {
        assert!(installed.contains(file), "{file} is missing: {installed:#?}");
    }
    has_notices_of_all_that_is_linked(&root);
    is_liked_by_systemd(&root);
    is_served(&site, &root);

    root.dpkg(&["--remove", PACKAGE]);
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

/// As systemd starts it: the unit's user and command, nothing in the environment but what the file of defaults says.
fn is_served(site: &Site, root: &Root) {
    let lab = Lab::start(site, 16);
    let label = lab.back_up(1, "full");
    let unit = unit();
    assert_eq!(unit["User"], "postgres");
    let defaults = unit["EnvironmentFile"].strip_prefix("-/").unwrap();
    assert_eq!(defaults, DEFAULTS);
    let edited = fs::read_to_string(root.path(defaults)).unwrap()
        + &format!(
            "KEEPER_WEB_LISTEN_ADDRESS=127.0.0.1:0\nKEEPER_BACKREST_CONFIG={}\nKEEPER_LOG_FORMAT=json\n",
            lab.both.display()
        );
    fs::write(root.path(defaults), &edited).unwrap();
    let mut words = unit["ExecStart"].split(' ');
    let program = root.path(words.next().unwrap().strip_prefix('/').unwrap());
    let mut command = command(site.account.as_ref(), program);
    command.args(words).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin");
    let variables =
        edited.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    command.envs(variables);
    let exporter = Exporter::run(site, command);
    exporter.wait("the backup", |samples| {
        samples.find("pgbackrest_backup_info", &[("backup_name", &label), ("stanza", STANZA)])
    });
    // What it is reloaded with does not end it; what it is stopped with does.
    assert!(unit["ExecReload"].starts_with("/bin/kill -HUP "));
    exporter.reload();
    assert_eq!(exporter.get("/healthz", &[]).status, 200);
    assert_eq!(exporter.stop(), Some(0));
}

#[test]
fn the_defaults_are_variables_of_the_exporter() {
    let text = fs::read_to_string(sources().join("packaging/debian/default")).unwrap();
    let command = Cli::command();
    let exporter = command.find_subcommand("exporter").unwrap();
    let known: BTreeSet<&str> =
        exporter.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    let named: Vec<&str> =
        text.lines().filter_map(|line| Some(line.strip_prefix("#KEEPER_")?.split_once('=')?.0)).collect();
    assert!(named.len() >= 6, "{named:?}");
    for name in named {
        assert!(known.contains(format!("KEEPER_{name}").as_str()), "the exporter knows no KEEPER_{name}");
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
}
