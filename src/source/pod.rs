//! Runs commands in pods: through exec, within bounds, and ended there even when the connection is not.
//!
//! The command gets the container's own environment, as `archive-push` does: that is how credentials of a cloud reach
//! pgBackRest. Variables that would change its answers are taken out, and its warnings about variables that are no options
//! are split off by `pgbackrest::sanitize`.

use std::borrow::Cow;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{document, failure};
use crate::kubernetes::client::CallFailure;
use crate::kubernetes::exec::{self, End, Exec, ExecError, Heard};
use crate::memory::{Captured, ReadError, Refusal, Sink};
use crate::pgbackrest::command::UNWANTED_VARIABLES;

/// How much longer the connection may last than the command.
const MARGIN: Duration = Duration::from_secs(15);
/// A command that does not end when it is asked to is killed five seconds later. Written as BusyBox takes it too.
const BOUND: [&str; 3] = ["timeout", "-k", "5"];
/// More output than this is no answer. `info` of 5,000 backups prints 4 MB. Where there is little memory it is less.
const MOST_OUTPUT: usize = 32 * 1024 * 1024;
/// Bytes of output that is text and no document.
const MOST_TEXT: usize = 1 << 20;
/// The exit code with which `timeout` says that it has ended the command.
const TIMED_OUT: i32 = 124;

/// A container of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container.
    pub container: &'a str,
}

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed. Not kept while another command runs, which may wait for its memory.
    pub stdout: Captured,
    /// The beginning of what it complained about.
    pub stderr: String,
}

impl Ran {
    /// What it printed, as text; only the beginning of what is too long to be meant as such.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.stdout.get(..MOST_TEXT).unwrap_or(&self.stdout))
    }

    /// pgBackRest's error message, or whatever else was said, in one bounded line without secrets.
    #[must_use]
    pub fn said(&self) -> String {
        failure::said(&self.stdout, self.stderr.as_bytes())
    }
}

/// Why there is no exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEnd {
    /// It was not started.
    #[error("{0}")]
    NotStarted(String),
    /// It was ended when its time was over.
    #[error("the command was terminated after {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// It printed no more, and may still run.
    #[error("{0}")]
    Silent(String),
    /// Whether it still runs is not known.
    #[error("the connection to the command was lost: {0}")]
    Lost(String),
    /// It printed more than is read.
    #[error("{message}")]
    TooLarge { message: String, may_run: bool },
    /// Other answers used the memory for answers.
    #[error("{message}")]
    NoMemory { message: String, may_run: bool },
}

/// Runs commands in containers. Tests run them elsewhere.
pub trait RunInPod: Sync {
    /// Runs to the end, or for `timeout`.
    fn run(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
    ) -> impl Future<Output = Result<Ran, NoEnd>> + Send;

    /// The same for long output, which `sink` takes while it arrives, if it can.
    fn run_into(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        mut sink: Sink,
    ) -> impl Future<Output = Result<Ran, NoEnd>> + Send {
        async move {
            let ran = self.run(place, command, timeout).await?;
            let mut stdout = ran.stdout.to_vec();
            sink.take(&mut stdout);
            Ok(Ran { stdout: stdout.into(), ..ran })
        }
    }
}

/// Runs through the API server.
#[derive(Clone)]
pub struct Pods {
    client: kube::Client,
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pods").finish_non_exhaustive()
    }
}

impl Pods {
    /// Through this API server.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    pub(super) const fn client(&self) -> &kube::Client {
        &self.client
    }
}

impl RunInPod for Pods {
    async fn run(&self, place: Place<'_>, command: &[&str], timeout: Duration) -> Result<Ran, NoEnd> {
        self.capture(place, command, timeout, None).await
    }

    async fn run_into(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        sink: Sink,
    ) -> Result<Ran, NoEnd> {
        self.capture(place, command, timeout, Some(sink)).await
    }
}

impl Pods {
    async fn capture(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        sink: Option<Sink>,
    ) -> Result<Ran, NoEnd> {
        let (bounded, began) = (bounded(command, timeout), Instant::now());
        match exec::exec_into(&self.client, place.exec(&bounded, timeout), sink).await {
            Ok(output) => {
                let code = code(output.end, timeout)?;
                let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                let stdout = document::expect(output.stdout, document::patience(timeout, began.elapsed()));
                let stdout = stdout.await.map_err(unread)?;
                Ok(Ran { code, stdout, stderr })
            }
            Err(error) => Err(no_end(&error)),
        }
    }

    /// Runs to the end, or for `timeout`, and hands on each line that is printed. Gives the exit code.
    pub async fn follow(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<i32, NoEnd> {
        let bounded = bounded(command, timeout);
        let end = exec::follow(&self.client, place.exec(&bounded, timeout), heard).await;
        code(end.map_err(|error| no_end(&error))?, timeout)
    }
}

impl<'a> Place<'a> {
    fn exec(self, command: &'a [String], timeout: Duration) -> Exec<'a> {
        let Self { namespace, pod, container } = self;
        let deadline = timeout.saturating_add(MARGIN);
        Exec { namespace, pod, container, command, deadline, most_output: MOST_OUTPUT }
    }
}

/// Closing the connection ends nothing in the pod, so the command is bounded there.
fn bounded(command: &[&str], timeout: Duration) -> Vec<String> {
    let seconds = timeout.as_secs().to_string();
    let unset = UNWANTED_VARIABLES.into_iter().flat_map(|name| ["-u", name]);
    let environment = std::iter::once("env").chain(unset);
    let words = BOUND.into_iter().chain([seconds.as_str()]).chain(environment);
    words.chain(command.iter().copied()).map(str::to_owned).collect()
}

fn code(end: End, timeout: Duration) -> Result<i32, NoEnd> {
    match end {
        End::Exited(TIMED_OUT) => Err(NoEnd::TimedOut(timeout)),
        End::Exited(code) => Ok(code),
        End::Lost(reason) => Err(NoEnd::Lost(reason)),
    }
}

/// There is no memory to read what was printed.
fn unread(refusal: Refusal) -> NoEnd {
    let (message, may_run) = (refusal.to_string(), false);
    match refusal {
        Refusal::TooLarge(_) => NoEnd::TooLarge { message, may_run },
        Refusal::NoMemory => NoEnd::NoMemory { message, may_run },
    }
}

fn no_end(error: &ExecError) -> NoEnd {
    let said = error.to_string();
    match error {
        ExecError::Output(ReadError::Silent(_)) => NoEnd::Silent(said),
        ExecError::Output(_) => NoEnd::TooLarge { message: said, may_run: true },
        ExecError::NoMemory { is_started, .. } => NoEnd::NoMemory { message: said, may_run: *is_started },
        // The command may have been started, and the answer lost.
        ExecError::Call(call) if !matches!(call.failure, CallFailure::Timeout | CallFailure::Transport) => {
            NoEnd::NotStarted(said)
        }
        ExecError::NotStarted { .. } => NoEnd::NotStarted(said),
        ExecError::Call(_) | ExecError::Timeout(_) => NoEnd::Lost(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_its_bound_and_no_unwanted_variables() {
        let words = bounded(&["pgbackrest", "version"], Duration::from_secs(20)).join(" ");
        assert!(words.starts_with("timeout -k 5 20 env -u PGBACKREST_"), "{words}");
        assert!(words.ends_with(" -u PGBACKREST_TYPE pgbackrest version"), "{words}");
    }
}
