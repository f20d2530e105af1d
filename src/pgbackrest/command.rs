//! The command lines of pgBackRest, on this host and in pods, as lists of arguments, never as text for a shell.
//!
//! `pgbackrest.conf` and `PGBACKREST_*` variables set log levels and more; the command line overrides them. Therefore
//! each command sets every option that changes its output. It uses no option that a version from 2.20 on would reject
//! with exit code 31: `--io-timeout` needs 2.26 (pgBackRest commit 5d25e508a), `--repo` needs 2.32 (f32eb9b94), and
//! `version` takes no options.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::backup_options::BackupOptions;
use super::label::BackupType;
use super::repository::RepoPath;
use super::version::Feature;

mod restore;
mod restore_test;
mod verify;

pub use restore::{CopyPaths, RestoreQuery, TargetTimeline, quoted};
pub use restore_test::TestQuery;
pub use verify::{VerifyQuery, verify};

/// For commands whose answer is parsed: stdout contains only the answer, stderr warnings and errors. Problems with
/// options are printed before pgBackRest applies them, from 2.53 on to stdout (see [`super::sanitize`]).
const ANSWER: &[&str] =
    &["--log-level-console=off", "--log-level-stderr=warn", "--log-level-file=off", "--no-log-timestamp"];
/// For commands whose log is read: everything in order on stdout.
const LOG: &[&str] = &["--log-level-console=info", "--log-level-stderr=off", "--no-log-timestamp"];
/// In pods, pgBackRest gives up a repository that does not answer before our own timeout, so that it reports the
/// cause instead of being killed: it waits up to ten times this long. On a host, the configuration decides, because
/// the storage may be slow.
const IO_TIMEOUT: &str = "--io-timeout=10";

/// Variables that change the output and that no option overrides in all versions: those of command-line options. They
/// are unset in pods; on a host, only variables that the user lists are passed.
pub const UNWANTED_VARIABLES: [&str; 7] = [
    "PGBACKREST_DETAIL_LEVEL",
    "PGBACKREST_FILTER",
    "PGBACKREST_IGNORE_MISSING",
    "PGBACKREST_RAW",
    "PGBACKREST_RECURSE",
    "PGBACKREST_SET",
    "PGBACKREST_TYPE",
];

/// The pgBackRest to run, and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name on the search path, or a path.
    pub binary: PathBuf,
    /// `--config`; pgBackRest's default if absent.
    pub config: Option<PathBuf>,
    /// `--config-include-path`; pgBackRest's default if absent.
    pub config_include_path: Option<PathBuf>,
}

/// The scope of `info`; everything if nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InfoQuery {
    /// One stanza.
    pub stanza: Option<String>,
    /// One repository (2.32 and later).
    pub repo: Option<u32>,
    /// One backup by label, with its databases; requires the stanza.
    pub set: Option<String>,
}

/// A file or directory in a repository (2.32 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoQuery {
    /// The stanza whose options apply.
    pub stanza: String,
    pub repo: u32,
    pub path: RepoPath,
}

/// A command with its options, without the program. Displayed as a user would type it, without the pinned options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    name: &'static str,
    subject: Vec<String>,
    pinned: Vec<&'static str>,
    path: Option<String>,
    has_io_timeout: bool,
}

/// Prints the version in the text format that all versions support. It reads no configuration and no variables.
#[must_use]
pub const fn version() -> Command {
    Command { name: "version", subject: Vec::new(), pinned: Vec::new(), path: None, has_io_timeout: false }
}

/// Explains the option that shows a feature, and fails with exit code 31 if there is no such option. It reads no
/// configuration.
#[must_use]
pub fn help(feature: Feature) -> Command {
    let (command, option) = feature.option();
    let subject = vec![command.to_owned(), option.to_owned()];
    Command { name: "help", subject, pinned: vec!["--no-config"], path: None, has_io_timeout: false }
}

/// Prints stanzas, backups and WAL ranges as JSON.
#[must_use]
pub fn info(query: &InfoQuery) -> Command {
    let stanza = query.stanza.as_deref().map(stanza_option);
    let set = query.set.as_ref().map(|set| format!("--set={set}"));
    let subject = stanza.into_iter().chain(query.repo.map(repo_option)).chain(set).collect();
    answer("info", &["--output=json"], subject, None)
}

/// Lists a directory of a repository as JSON.
#[must_use]
pub fn repo_ls(query: &RepoQuery) -> Command {
    of_repo("repo-ls", &["--output=json", "--sort=none"], query)
}

/// Lists all files below a directory of a repository as JSON.
#[must_use]
pub fn repo_ls_recursive(query: &RepoQuery) -> Command {
    of_repo("repo-ls", &["--output=json", "--sort=none", "--recurse"], query)
}

/// Prints a file of a repository.
#[must_use]
pub fn repo_get(query: &RepoQuery) -> Command {
    of_repo("repo-get", &[], query)
}

/// Creates the stanza in every repository that lacks it, and checks it in the others.
#[must_use]
pub fn stanza_create(stanza: &str) -> Command {
    of_stanza("stanza-create", stanza)
}

/// Updates the stanza in every repository after an upgrade of PostgreSQL.
#[must_use]
pub fn stanza_upgrade(stanza: &str) -> Command {
    of_stanza("stanza-upgrade", stanza)
}

/// Makes a backup, with options for it, and with an optional `--annotation=KEY=VALUE` (2.41 and later). The log file and
/// everything else are as configured.
#[must_use]
pub fn backup(
    stanza: &str,
    repo: u32,
    backup_type: BackupType,
    options: &BackupOptions,
    annotation: Option<String>,
) -> Command {
    let backup_type = format!("--type={}", backup_type.as_str());
    let subject = [stanza_option(stanza), repo_option(repo), backup_type].into_iter();
    let subject = subject.chain(options.arguments()).chain(annotation).collect();
    Command { name: "backup", subject, pinned: LOG.to_vec(), path: None, has_io_timeout: false }
}

/// Runs the server for other hosts, in a container of its own.
pub const SERVER: [&str; 2] = ["pgbackrest", "server"];

/// The variable with the address of the pod, for `SERVER_PING`.
pub const POD_IP: &str = "POD_IP";

/// Pings the server in the same pod, for a probe whose output only people read. pgBackRest takes up to twice its
/// timeout. The address is that of the pod, as for other pods: a server that listens only on IPv4 answers on 127.0.0.1
/// even if the pod has only an IPv6 address. It is numeric because pgBackRest before 2.48 tries only one address of a
/// name. Kubernetes does not insert variables into the command of a probe, so a shell does.
pub const SERVER_PING: [&str; 3] =
    ["sh", "-c", r#"exec pgbackrest server-ping "$POD_IP" --io-timeout=3 --log-level-file=off"#];

fn answer(
    name: &'static str,
    output: &[&'static str],
    subject: Vec<String>,
    path: Option<String>,
) -> Command {
    Command { name, subject, pinned: [output, ANSWER].concat(), path, has_io_timeout: true }
}

fn of_repo(name: &'static str, output: &[&'static str], query: &RepoQuery) -> Command {
    let subject = vec![stanza_option(&query.stanza), repo_option(query.repo)];
    answer(name, output, subject, Some(query.path.to_string()))
}

fn of_stanza(name: &'static str, stanza: &str) -> Command {
    let pinned = [LOG, &["--log-level-file=off"]].concat();
    Command { name, subject: vec![stanza_option(stanza)], pinned, path: None, has_io_timeout: true }
}

fn stanza_option(stanza: &str) -> String {
    format!("--stanza={stanza}")
}

fn repo_option(repo: u32) -> String {
    format!("--repo={repo}")
}

impl Command {
    /// The full command line in a pod, where pgBackRest is on the search path and uses its default configuration.
    #[must_use]
    pub fn in_pod(&self) -> Vec<&str> {
        let io_timeout = self.has_io_timeout.then_some(IO_TIMEOUT);
        ["pgbackrest", self.name].into_iter().chain(io_timeout).chain(self.options()).collect()
    }

    fn options(&self) -> impl Iterator<Item = &str> {
        let given = self.subject.iter().chain(&self.path).map(String::as_str);
        self.pinned.iter().copied().chain(given)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "pgbackrest {}", self.name)?;
        self.subject.iter().chain(&self.path).try_for_each(|word| write!(formatter, " {word}"))
    }
}

impl Program {
    /// The full command line on this host.
    #[must_use]
    pub fn command_line(&self, command: &Command) -> Vec<OsString> {
        let mut arguments = vec![self.binary.clone().into(), command.name.into()];
        if !["version", "help"].contains(&command.name) {
            arguments.extend(self.configuration());
        }
        arguments.extend(command.options().map(OsString::from));
        arguments
    }

    fn line(&self, arguments: impl Iterator<Item = String>) -> Vec<OsString> {
        let program = std::iter::once(self.binary.clone().into());
        program.chain(self.configuration()).chain(arguments.map(OsString::from)).collect()
    }

    fn configuration(&self) -> impl Iterator<Item = OsString> {
        let option = |name: &str, path: &Option<PathBuf>| {
            path.as_ref().map(|path| {
                let mut argument = OsString::from(name);
                argument.push(path);
                argument
            })
        };
        let file = option("--config=", &self.config);
        file.into_iter().chain(option("--config-include-path=", &self.config_include_path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str =
        "--log-level-console=off --log-level-stderr=warn --log-level-file=off --no-log-timestamp";

    fn words(arguments: &[OsString]) -> String {
        arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn host() -> Program {
        Program { binary: "pgbackrest".into(), config: None, config_include_path: None }
    }

    #[test]
    fn an_answer_is_asked_for_in_the_same_way_on_a_host_and_in_a_pod() {
        let path = RepoPath::archive("demo", &["15-1"]).unwrap();
        let repo = RepoQuery { stanza: "demo".to_owned(), repo: 2, path };
        let one = InfoQuery { stanza: Some("demo".to_owned()), repo: Some(2), set: None };
        let all = InfoQuery::default();
        let table = [
            (info(&all), "info", "--output=json ", "", ""),
            (info(&one), "info", "--output=json ", " --stanza=demo --repo=2", ""),
            (
                repo_ls(&repo),
                "repo-ls",
                "--output=json --sort=none ",
                " --stanza=demo --repo=2",
                " archive/demo/15-1",
            ),
            (
                repo_ls_recursive(&repo),
                "repo-ls",
                "--output=json --sort=none --recurse ",
                " --stanza=demo --repo=2",
                " archive/demo/15-1",
            ),
            (repo_get(&repo), "repo-get", "", " --stanza=demo --repo=2", " archive/demo/15-1"),
        ];
        for (command, name, output, subject, path) in table {
            let rest = format!("{output}{PINNED}{subject}{path}");
            assert_eq!(words(&host().command_line(&command)), format!("pgbackrest {name} {rest}"));
            assert_eq!(command.in_pod().join(" "), format!("pgbackrest {name} --io-timeout=10 {rest}"));
            assert_eq!(command.to_string(), format!("pgbackrest {name}{subject}{path}"));
        }
        assert_eq!(words(&host().command_line(&version())), "pgbackrest version");
        assert_eq!(version().in_pod(), ["pgbackrest", "version"]);
        assert_eq!(
            help(Feature::Annotation).in_pod(),
            ["pgbackrest", "help", "--no-config", "backup", "annotation"]
        );
    }

    #[test]
    fn a_log_is_printed_whole_and_in_order() {
        let log = "--log-level-console=info --log-level-stderr=off --no-log-timestamp";
        assert_eq!(
            stanza_create("db").in_pod().join(" "),
            format!("pgbackrest stanza-create --io-timeout=10 {log} --log-level-file=off --stanza=db")
        );
        assert_eq!(stanza_upgrade("db").to_string(), "pgbackrest stanza-upgrade --stanza=db");
        let backup = |options: &str, annotation: Option<&str>| {
            let options = options.parse().unwrap();
            backup("db", 2, BackupType::Incr, &options, annotation.map(str::to_owned)).in_pod().join(" ")
        };
        let plain = format!("pgbackrest backup {log} --stanza=db --repo=2 --type=incr");
        assert_eq!(backup("", None), plain);
        assert_eq!(backup("", Some("--annotation=k=v")), format!("{plain} --annotation=k=v"));
        assert_eq!(
            backup("--no-resume --process-max=8", Some("--annotation=k=v")),
            format!("{plain} --process-max=8 --no-resume --annotation=k=v")
        );
    }

    #[test]
    fn every_part_of_a_query_is_one_argument() {
        let program = Program {
            binary: "/opt/pg backrest".into(),
            config: Some("/etc/a b.conf".into()),
            config_include_path: Some("/etc/conf.d".into()),
        };
        let query = InfoQuery {
            stanza: Some("--set=$(x); y".to_owned()),
            repo: Some(2),
            set: Some("20260101-000000F".to_owned()),
        };
        let before = [
            "/opt/pg backrest",
            "info",
            "--config=/etc/a b.conf",
            "--config-include-path=/etc/conf.d",
            "--output=json",
        ];
        let subject = ["--stanza=--set=$(x); y", "--repo=2", "--set=20260101-000000F"];
        let pinned: Vec<&str> = PINNED.split(' ').collect();
        assert_eq!(program.command_line(&info(&query)), [&before, pinned.as_slice(), &subject].concat());
        assert_eq!(program.command_line(&version()), ["/opt/pg backrest", "version"]);
        assert_eq!(
            program.command_line(&help(Feature::RepoOption)),
            ["/opt/pg backrest", "help", "--no-config", "info", "repo"]
        );
    }
}
