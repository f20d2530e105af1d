//! `info`, `version`, `repo-ls` and `repo-get` in a pod, read as on this host.

use std::time::{Duration, Instant};

use crate::cluster::validated::STANZA;
use crate::pgbackrest::command::{self, Command, InfoQuery, RepoQuery};
use crate::pgbackrest::repository::Entries;
use crate::pgbackrest::sanitize;
use crate::pgbackrest::version::Version;
use crate::state::snapshot::{Failure, FailureReason};

use super::failure;
use super::pgbackrest::{self, Document, Read};
use super::pod::{NoEnd, Place, Ran, RunInPod};
use super::repository;

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
    let query = InfoQuery { stanza: Some(STANZA.to_owned()), repo: Some(repo), set: None };
    let command = command::info(&query);
    call(runner, place, &command, timeout, move |stdout| pgbackrest::read_info(stdout, &query)).await
}

/// Lists one directory of a repository, for `timeout` at most. It never looks below.
pub async fn repo_ls(
    runner: &impl RunInPod,
    place: Place<'_>,
    query: &RepoQuery,
    timeout: Duration,
) -> InPod<Entries> {
    call(runner, place, &command::repo_ls(query), timeout, repository::read_listing).await
}

/// Reads one small file of a repository, for `timeout` at most.
pub async fn repo_get(
    runner: &impl RunInPod,
    place: Place<'_>,
    query: &RepoQuery,
    timeout: Duration,
) -> InPod<Vec<u8>> {
    call(runner, place, &command::repo_get(query), timeout, repository::read_file).await
}

/// Asks for the version.
pub async fn version(runner: &impl RunInPod, place: Place<'_>) -> InPod<Version> {
    call(runner, place, &command::version(), VERSION_TIMEOUT, pgbackrest::read_version).await
}

async fn call<T: Send + 'static>(
    runner: &impl RunInPod,
    place: Place<'_>,
    command: &Command,
    timeout: Duration,
    read: impl FnOnce(&[u8]) -> Read<T> + Send + 'static,
) -> InPod<T> {
    let what = command.to_string();
    let began = Instant::now();
    let end = runner.run(place, &command.in_pod(), timeout).await;
    let duration = began.elapsed();
    let (answer, sanitized, after) = match end {
        Ok(Ran { code: 0, stdout, stderr }) => {
            // Reading a big document takes a moment, in which this thread would serve nobody else.
            let read = tokio::task::spawn_blocking(move || read(&stdout)).await;
            let read = read.unwrap_or_else(|error| Read {
                answer: Err(pgbackrest::unreadable(format!("reading the answer of {what} failed: {error}"))),
                sanitized: false,
                notices: Vec::new(),
            });
            let warnings = sanitize::clean(stderr.as_bytes()).preamble;
            for line in read.notices.iter().chain(&warnings) {
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
