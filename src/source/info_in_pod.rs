//! `info`, `version`, `repo-ls` and `repo-get` in a pod, read as on this host.

use std::time::{Duration, Instant};

use crate::cluster::validated::STANZA;
use crate::pgbackrest::command::RepoQuery;
use crate::pgbackrest::repository::Entries;
use crate::pgbackrest::version::Version;
use crate::state::snapshot::{Failure, FailureReason};

use super::failure;
use super::pgbackrest::{self, Document, Read};
use super::pod::{NoEnd, Place, Ran, RunInPod};
use super::repository;

/// A repository that does not answer is given up sooner than pgBackRest itself would, which waits a minute for each try:
/// then it says what is wrong instead of being killed.
const IO_TIMEOUT: &str = "--io-timeout=10";
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// One call and what came of it.
#[derive(Debug)]
pub struct InPod<T> {
    /// Wall time, with the way there and back.
    pub duration: Duration,
    /// The document had to be repaired before it could be read.
    pub sanitized: bool,
    /// The answer.
    pub answer: Result<T, Failure>,
    /// What is known of the command.
    pub after: After,
}

/// What is known of a command when its call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It was not started.
    NotStarted,
    /// It has ended.
    Ended,
    /// It may run until its own time is over.
    MayRun,
}

/// Asks for the stanza in one repository, for `timeout` at most.
pub async fn info(runner: &impl RunInPod, place: Place<'_>, repo: u32, timeout: Duration) -> InPod<Document> {
    let (stanza, number) = (format!("--stanza={STANZA}"), format!("--repo={repo}"));
    let command =
        ["pgbackrest", "info", "--output=json", &stanza, &number, IO_TIMEOUT, "--log-level-console=off"];
    call(runner, place, &command, timeout, pgbackrest::read_info).await
}

/// Lists one directory of a repository, for `timeout` at most. It never looks below.
pub async fn repo_ls(
    runner: &impl RunInPod,
    place: Place<'_>,
    query: &RepoQuery,
    timeout: Duration,
) -> InPod<Entries> {
    let words = ["pgbackrest", "repo-ls", "--output=json", "--sort=none"];
    of_repo(runner, place, &words, query, timeout, repository::read_listing).await
}

/// Reads one small file of a repository, for `timeout` at most.
pub async fn repo_get(
    runner: &impl RunInPod,
    place: Place<'_>,
    query: &RepoQuery,
    timeout: Duration,
) -> InPod<Vec<u8>> {
    of_repo(runner, place, &["pgbackrest", "repo-get"], query, timeout, repository::read_file).await
}

async fn of_repo<T: Send + 'static>(
    runner: &impl RunInPod,
    place: Place<'_>,
    words: &[&str],
    query: &RepoQuery,
    timeout: Duration,
    read: fn(&[u8]) -> Read<T>,
) -> InPod<T> {
    let (stanza, number) = (format!("--stanza={}", query.stanza), format!("--repo={}", query.repo));
    let path = query.path.to_string();
    let rest = [stanza.as_str(), &number, IO_TIMEOUT, "--log-level-console=off", &path];
    call(runner, place, &[words, &rest].concat(), timeout, read).await
}

/// Asks for the version.
pub async fn version(runner: &impl RunInPod, place: Place<'_>) -> InPod<Version> {
    call(runner, place, &["pgbackrest", "version"], VERSION_TIMEOUT, pgbackrest::read_version).await
}

async fn call<T: Send + 'static>(
    runner: &impl RunInPod,
    place: Place<'_>,
    command: &[&str],
    timeout: Duration,
    read: fn(&[u8]) -> Read<T>,
) -> InPod<T> {
    let what =
        command.iter().copied().take_while(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" ");
    let began = Instant::now();
    let end = runner.run(place, command, timeout).await;
    let duration = began.elapsed();
    let (answer, sanitized, after) = match end {
        Ok(Ran { code: 0, stdout, .. }) => {
            // Reading a big document takes a moment, in which this thread would serve nobody else.
            let read = tokio::task::spawn_blocking(move || read(&stdout)).await;
            let read = read.unwrap_or_else(|error| Read {
                answer: Err(pgbackrest::unreadable(format!("reading the answer of {what} failed: {error}"))),
                sanitized: false,
                notices: Vec::new(),
            });
            for line in &read.notices {
                tracing::debug!(namespace = place.namespace, pod = place.pod, "pgBackRest reported: {line}");
            }
            (read.answer, read.sanitized, After::Ended)
        }
        Ok(Ran { code, stdout, stderr }) => {
            (Err(failure::of_exit(&what, code, &stdout, stderr.as_bytes())), false, After::Ended)
        }
        Err(end) => {
            let (failure, after) = without_code(&what, place, &end);
            (Err(failure), false, after)
        }
    };
    InPod { duration, sanitized, answer, after }
}

fn without_code(what: &str, place: Place<'_>, end: &NoEnd) -> (Failure, After) {
    let (reason, after, remedy) = match end {
        NoEnd::NotStarted(_) => {
            (FailureReason::Spawn, After::NotStarted, "check that the pod runs and has pgBackRest")
        }
        NoEnd::TimedOut(_) => (
            FailureReason::Timeout,
            After::Ended,
            "run it there by hand to see what hangs, or allow more time",
        ),
        NoEnd::Lost(_) => (FailureReason::Lost, After::MayRun, "it is asked again when it must have ended"),
    };
    let said = failure::one_line(&end.to_string());
    let message = format!("{what} in pod {}: {said}; {remedy}", place.pod);
    (Failure { reason, exit_code: None, message }, after)
}
