//! What is available on this machine: real programs, other pgBackRest versions, and a user that can run PostgreSQL.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, User, geteuid};

use super::process::output;

/// Says on standard error, past the capture of the test harness, that a test cannot run here.
///
/// # Panics
/// Where `CI=true`: there everything must run.
pub(crate) fn skip(test: &str, missing: impl Display) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{test} cannot run: {missing}");
    // The harness captures what eprintln prints.
    let mut harness = std::io::stderr().lock();
    writeln!(harness, "SKIPPED {test}: {missing}").unwrap();
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Who runs PostgreSQL and pgBackRest where the tests run as root, which PostgreSQL refuses.
pub(crate) struct Account {
    pub(crate) user: Uid,
    pub(crate) group: Gid,
}

impl Account {
    /// `None` where the tests do not run as root. An error where nobody can be found.
    pub(crate) fn find() -> Result<Option<Self>, String> {
        if !is_root() {
            return Ok(None);
        }
        match User::from_name("postgres") {
            Ok(Some(user)) => Ok(Some(Self { user: user.uid, group: user.gid })),
            _ => Err("the tests run as root and there is no user postgres; install postgresql-15".to_owned()),
        }
    }
}

/// A program on PATH.
pub(crate) fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("{name} is not installed; run scripts/setup-debian as root"))
}

/// The directory of PostgreSQL's server programs. Debian keeps them off PATH.
pub(crate) fn postgres_programs() -> Result<PathBuf, String> {
    let debian = Path::new("/usr/lib/postgresql/15/bin");
    if debian.join("initdb").is_file() {
        return Ok(debian.to_owned());
    }
    program("initdb")
        .map(|initdb| initdb.parent().unwrap().to_owned())
        .map_err(|_| "PostgreSQL 15 is not installed; run scripts/setup-debian as root".to_owned())
}

/// The directory of the programs of the major version that scripts/fetch-postgresql has fetched: 17.
pub(crate) fn second_postgres_programs() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-postgresql");
    let said = output(Command::new(script).arg("--path"));
    if !said.status.success() {
        return Err("PostgreSQL 17 is not here; run scripts/fetch-postgresql".to_owned());
    }
    Ok(PathBuf::from(String::from_utf8(said.stdout).unwrap().trim()))
}

/// A pgBackRest on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Pgbackrest {
    pub(crate) program: PathBuf,
    /// As it says itself, such as `2.45`.
    pub(crate) version: String,
}

impl Pgbackrest {
    /// The one on PATH.
    pub(crate) fn installed() -> Result<Self, String> {
        let program = program("pgbackrest")?;
        let said = String::from_utf8(output(Command::new(&program).arg("version")).stdout).unwrap();
        let version = said.trim().strip_prefix("pgBackRest ").unwrap_or_else(|| panic!("no version: {said}"));
        Ok(Self { version: version.to_owned(), program })
    }

    /// The newest that scripts/fetch-pgbackrest has fetched; 2.60 or later.
    pub(crate) fn newest() -> Result<Self, String> {
        Self::fetched("2.60 or later", |minor| minor >= 60)
    }

    /// The newest fetched one that still runs as root and says sizes while a backup runs.
    pub(crate) fn in_between() -> Result<Self, String> {
        Self::fetched("2.48 to 2.58", |minor| (48..59).contains(&minor))
    }

    fn fetched(which: &str, wanted: impl Fn(u32) -> bool) -> Result<Self, String> {
        fetched("fetch-pgbackrest", "pgbackrest")
            .into_iter()
            .filter(|one| wanted(one.minor()))
            .max_by_key(Self::number)
            .ok_or_else(|| format!("pgBackRest {which} is not here; run scripts/fetch-pgbackrest"))
    }

    /// The number behind `2.`.
    pub(crate) fn minor(&self) -> u32 {
        self.number() / 1000 % 1000
    }

    /// As `--output=num` of 2.55 and later prints it: 2060000 for 2.60.0.
    pub(crate) fn number(&self) -> u32 {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap());
        let mut next = || parts.next().unwrap_or(0);
        next() * 1_000_000 + next() * 1000 + next()
    }
}

/// The exporter in Go that people come from.
pub(crate) fn go_exporter() -> Result<PathBuf, String> {
    let fetched = fetched("fetch-pgbackrest", "prometheus-pgbackrest-exporter").pop();
    fetched
        .map(|one| one.program)
        .ok_or_else(|| "the Go exporter is not here; run scripts/fetch-pgbackrest".to_owned())
}

/// A program for monitoring that is not the installed one: prometheus and promtool 3, nagios4, check_pgbackrest.
pub(crate) fn monitoring(name: &str) -> Result<PathBuf, String> {
    let fetched = fetched("fetch-monitoring", name).pop();
    fetched.map(|one| one.program).ok_or_else(|| format!("{name} is not here; run scripts/fetch-monitoring"))
}

/// Every version of a program that a script has fetched.
fn fetched(script: &str, name: &str) -> Vec<Pgbackrest> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let listed = output(Command::new(script).arg("--list"));
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (program, version, path) = (words.next()?, words.next()?, words.next()?);
            (program == name).then(|| Pgbackrest { program: path.into(), version: version.to_owned() })
        })
        .collect()
}
