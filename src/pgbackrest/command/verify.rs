//! The command line of `verify`.

use super::{Command, repo_option, stanza_option};

/// The result on stdout, with a line for each backup and each archive (2.39 and later, pgBackRest commit 65d22e432); the log, which
/// names the files, on stderr.
const RESULT_AND_LOG: &[&str] = &[
    "--output=text",
    "--verbose",
    "--log-level-console=off",
    "--log-level-stderr=detail",
    "--log-level-file=off",
    "--no-log-timestamp",
];

/// What is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyQuery {
    pub stanza: String,
    /// The repository (2.32 and later).
    pub repo: Option<u32>,
    /// One backup with the WAL that makes it consistent (2.55 and later, pgBackRest commit e4def8845; earlier versions ignore the
    /// option). Everything if absent.
    pub set: Option<String>,
    /// `--process-max`; that of the configuration if absent.
    pub process_max: Option<u32>,
}

/// Reads every file of a repository, and compares it with its checksum.
#[must_use]
pub fn verify(query: &VerifyQuery) -> Command {
    let set = query.set.as_ref().map(|set| format!("--set={set}"));
    let processes = query.process_max.map(|processes| format!("--process-max={processes}"));
    let subject = std::iter::once(stanza_option(&query.stanza)).chain(query.repo.map(repo_option));
    let subject = subject.chain(set).chain(processes).collect();
    Command { name: "verify", subject, pinned: RESULT_AND_LOG.to_vec(), path: None, has_io_timeout: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_and_the_log_are_apart() {
        let all = VerifyQuery { stanza: "demo".to_owned(), repo: Some(2), ..VerifyQuery::default() };
        assert_eq!(
            verify(&all).in_pod().join(" "),
            "pgbackrest verify --output=text --verbose --log-level-console=off --log-level-stderr=detail --log-level-file=off \
             --no-log-timestamp --stanza=demo --repo=2"
        );
        let one = VerifyQuery { set: Some("20260101-000000F".to_owned()), process_max: Some(4), ..all };
        assert_eq!(
            verify(&one).to_string(),
            "pgbackrest verify --stanza=demo --repo=2 --set=20260101-000000F --process-max=4"
        );
    }
}
