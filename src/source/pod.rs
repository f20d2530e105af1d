//! Runs commands in pods: through exec, within bounds, and ended there even when the connection is not.
//!
//! The command gets the container's own environment, as `archive-push` does: that is how credentials of a cloud reach
//! pgBackRest. Its warnings about variables that are no options are dropped by `pgbackrest::sanitize`.

use std::future::Future;
use std::time::Duration;

use super::failure;
use crate::kubernetes::client::CallFailure;
use crate::kubernetes::exec::{self, End, Exec, ExecError};

/// How much longer the connection may last than the command.
const MARGIN: Duration = Duration::from_secs(15);
/// A command that does not end when it is asked to is killed five seconds later. Written as BusyBox takes it too.
const BOUND: [&str; 3] = ["timeout", "-k", "5"];
/// More output than this is no answer. `info` of 5,000 backups prints 4 MB.
const MOST_OUTPUT: usize = 32 * 1024 * 1024;
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
    /// What it printed.
    pub stdout: Vec<u8>,
    /// The beginning of what it complained about.
    pub stderr: String,
}

impl Ran {
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
    #[error("the command was ended after {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// Whether it still runs is not known.
    #[error("the connection to the command was lost: {0}")]
    Lost(String),
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
}

impl RunInPod for Pods {
    async fn run(&self, place: Place<'_>, command: &[&str], timeout: Duration) -> Result<Ran, NoEnd> {
        // Closing the connection ends nothing in the pod.
        let seconds = timeout.as_secs().to_string();
        let bounded = BOUND.into_iter().chain([seconds.as_str()]).chain(command.iter().copied());
        let bounded: Vec<String> = bounded.map(str::to_owned).collect();
        let Place { namespace, pod, container } = place;
        let deadline = timeout.saturating_add(MARGIN);
        let exec = Exec { namespace, pod, container, command: &bounded, deadline, most_output: MOST_OUTPUT };
        match exec::exec(&self.client, exec).await {
            Ok(output) => match output.end {
                End::Exited(TIMED_OUT) => Err(NoEnd::TimedOut(timeout)),
                End::Exited(code) => {
                    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                    Ok(Ran { code, stdout: output.stdout, stderr })
                }
                End::Lost(reason) => Err(NoEnd::Lost(reason)),
            },
            Err(error) => {
                let may_run = match &error {
                    // The command may have been started, and the answer lost.
                    ExecError::Call(call) => {
                        matches!(call.failure, CallFailure::Timeout | CallFailure::Transport)
                    }
                    ExecError::NotStarted { .. } => false,
                    ExecError::Timeout(_) | ExecError::TooMuch(_) => true,
                };
                let said = error.to_string();
                Err(if may_run { NoEnd::Lost(said) } else { NoEnd::NotStarted(said) })
            }
        }
    }
}
