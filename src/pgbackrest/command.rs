//! The command lines with which pgBackRest is asked. Lists of arguments, never text for a shell.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::repository::RepoPath;

/// Which pgBackRest is started, and with which configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name on the search path, or a path.
    pub binary: PathBuf,
    /// `--config`; pgBackRest's own default where absent.
    pub config: Option<PathBuf>,
    /// `--config-include-path`; pgBackRest's own default where absent.
    pub config_include_path: Option<PathBuf>,
}

/// What `info` is asked for; everything where nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InfoQuery {
    /// One stanza.
    pub stanza: Option<String>,
    /// One repository (2.32 and later).
    pub repo: Option<u32>,
    /// One backup by label, with its databases; pgBackRest wants the stanza too.
    pub set: Option<String>,
}

/// A restore to a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreQuery {
    /// The stanza.
    pub stanza: String,
    /// The repository (2.32 and later).
    pub repo: Option<u32>,
    /// Label of the backup to begin with.
    pub set: String,
    /// The time, as PostgreSQL reads it.
    pub target: String,
    /// The timeline that leads there, where PostgreSQL would not find it.
    pub target_timeline: Option<u32>,
}

/// Something in a repository (2.32 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoQuery {
    /// The stanza, whose options count.
    pub stanza: String,
    /// The repository.
    pub repo: u32,
    /// Where in it.
    pub path: RepoPath,
}

impl Program {
    /// Asks for the version, in the text form that every version knows. It reads no configuration.
    #[must_use]
    pub fn version(&self) -> Vec<OsString> {
        vec![self.binary.clone().into(), "version".into()]
    }

    /// Asks for stanzas, backups and WAL ranges as JSON.
    #[must_use]
    pub fn info(&self, query: &InfoQuery) -> Vec<OsString> {
        let mut arguments = vec![self.binary.clone().into(), "info".into(), "--output=json".into()];
        let repo = query.repo.map(|key| key.to_string());
        self.add_configuration(&mut arguments);
        add(&mut arguments, "--stanza=", query.stanza.as_deref().map(AsRef::as_ref));
        add(&mut arguments, "--repo=", repo.as_deref().map(AsRef::as_ref));
        add(&mut arguments, "--set=", query.set.as_deref().map(AsRef::as_ref));
        arguments
    }

    /// Restores to a point in time, at which PostgreSQL then begins to take writes. `--set` names the backup, for an
    /// older pgBackRest would choose one only in the first repository.
    #[must_use]
    pub fn restore(&self, query: &RestoreQuery) -> Vec<OsString> {
        let mut arguments = vec![self.binary.clone().into()];
        let repo = query.repo.map(|key| key.to_string());
        self.add_configuration(&mut arguments);
        add(&mut arguments, "--stanza=", Some(query.stanza.as_ref()));
        add(&mut arguments, "--repo=", repo.as_deref().map(AsRef::as_ref));
        add(&mut arguments, "--set=", Some(query.set.as_ref()));
        arguments.push("--type=time".into());
        add(&mut arguments, "--target=", Some(query.target.as_ref()));
        let timeline = query.target_timeline.map(|timeline| timeline.to_string());
        add(&mut arguments, "--target-timeline=", timeline.as_deref().map(AsRef::as_ref));
        arguments.extend(["--target-action=promote".into(), "restore".into()]);
        arguments
    }

    /// Lists a directory of a repository as JSON.
    #[must_use]
    pub fn repo_ls(&self, query: &RepoQuery) -> Vec<OsString> {
        self.of_repo("repo-ls", &["--output=json", "--sort=none"], query)
    }

    /// Prints a file of a repository.
    #[must_use]
    pub fn repo_get(&self, query: &RepoQuery) -> Vec<OsString> {
        self.of_repo("repo-get", &[], query)
    }

    fn of_repo(&self, command: &str, options: &[&str], query: &RepoQuery) -> Vec<OsString> {
        let mut arguments = vec![self.binary.clone().into(), command.into()];
        arguments.extend(options.iter().map(OsString::from));
        self.add_configuration(&mut arguments);
        add(&mut arguments, "--stanza=", Some(query.stanza.as_ref()));
        add(&mut arguments, "--repo=", Some(query.repo.to_string().as_ref()));
        // 2.55 and later log to stdout, where a warning would be taken for a part of the answer.
        arguments.push("--log-level-console=error".into());
        arguments.push(query.path.to_string().into());
        arguments
    }

    fn add_configuration(&self, arguments: &mut Vec<OsString>) {
        add(arguments, "--config=", self.config.as_deref().map(AsRef::as_ref));
        add(arguments, "--config-include-path=", self.config_include_path.as_deref().map(AsRef::as_ref));
    }
}

fn add(arguments: &mut Vec<OsString>, name: &str, value: Option<&OsStr>) {
    arguments.extend(value.map(|value| {
        let mut argument = OsString::from(name);
        argument.push(value);
        argument
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program { binary: "pgbackrest".into(), config: None, config_include_path: None }
    }

    #[test]
    fn nothing_more_is_asked_than_was_meant() {
        assert_eq!(program().version(), ["pgbackrest", "version"]);
        assert_eq!(program().info(&InfoQuery::default()), ["pgbackrest", "info", "--output=json"]);
    }

    #[test]
    fn a_repository_is_asked_for_one_path() {
        let path = RepoPath::archive("demo", &["15-1"]).unwrap();
        let query = RepoQuery { stanza: "demo".to_owned(), repo: 2, path };
        let rest = ["--stanza=demo", "--repo=2", "--log-level-console=error", "archive/demo/15-1"];
        let listing = ["pgbackrest", "repo-ls", "--output=json", "--sort=none"];
        assert_eq!(program().repo_ls(&query), [listing.as_slice(), &rest].concat());
        assert_eq!(program().repo_get(&query), [["pgbackrest", "repo-get"].as_slice(), &rest].concat());
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
        let expected = [
            "/opt/pg backrest",
            "info",
            "--output=json",
            "--config=/etc/a b.conf",
            "--config-include-path=/etc/conf.d",
            "--stanza=--set=$(x); y",
            "--repo=2",
            "--set=20260101-000000F",
        ];
        assert_eq!(program.info(&query), expected);
        assert_eq!(program.version(), ["/opt/pg backrest", "version"]);
    }
}
