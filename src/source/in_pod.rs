//! Runs pgBackRest's commands in a container of a pod, through exec.

use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::memory::Sink;
use crate::pgbackrest::command::Command;
use crate::state::snapshot::{Failure, FailureReason};

use super::call::{CommandState, Finished, Runner};
use super::failure;
use super::pod::{NoEnd, Place, Ran, RunInPod};
use super::process::Limits;

/// A container with pgBackRest. Of the limits of a command only the timeout counts; [`super::pod`] bounds the output.
#[derive(Debug, Clone)]
pub struct InPod<'a, P> {
    pods: &'a P,
    namespace: String,
    pod: String,
    container: String,
}

impl<'a, P> InPod<'a, P> {
    /// This container.
    #[must_use]
    pub fn new(pods: &'a P, place: Place<'_>) -> Self {
        let Place { namespace, pod, container } = place;
        let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
        Self { pods, namespace, pod, container }
    }

    fn place(&self) -> Place<'_> {
        Place { namespace: &self.namespace, pod: &self.pod, container: &self.container }
    }

    /// Why there is no exit code, and what that says of the command.
    fn without_code(&self, what: &str, end: &NoEnd) -> (Failure, CommandState) {
        let state = |may_run| if may_run { CommandState::Unknown } else { CommandState::Ended };
        let (reason, state, remedy) = match end {
            NoEnd::NotStarted(_) => (
                FailureReason::Spawn,
                CommandState::NotStarted,
                "check that the pod is running and contains pgBackRest",
            ),
            NoEnd::TimedOut(_) => (
                FailureReason::Timeout,
                CommandState::Ended,
                "run it there manually to see what hangs, or increase the timeout",
            ),
            NoEnd::Silent(_) => (
                FailureReason::Timeout,
                CommandState::Unknown,
                "run it there manually to see whether the repository hangs, or increase the timeout",
            ),
            NoEnd::Lost(_) => (
                FailureReason::Lost,
                CommandState::Unknown,
                "it is retried after the command must have ended",
            ),
            NoEnd::TooLarge { may_run, .. } => {
                (FailureReason::OutputTooLarge, state(*may_run), "run it there by hand to see what it prints")
            }
            NoEnd::NoMemory { may_run, .. } => (
                FailureReason::NoMemory,
                state(*may_run),
                "look for clusters that print too much, or raise the memory limit",
            ),
        };
        let said = failure::one_line(&end.to_string());
        let message = format!("{what} in pod {}: {said}; {remedy}", self.pod);
        (Failure::new(reason, message), state)
    }
}

impl<P: RunInPod> Runner for InPod<'_, P> {
    fn name(&self) -> &str {
        &self.pod
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        limits: &'a Limits,
        sink: Option<Sink>,
    ) -> BoxFuture<'a, Finished> {
        async move {
            let began = Instant::now();
            let (place, words, timeout) = (self.place(), command.in_pod(), limits.timeout);
            let end = match sink {
                None => self.pods.run(place, &words, timeout).await,
                Some(sink) => self.pods.run_into(place, &words, timeout, sink).await,
            };
            let duration = began.elapsed();
            let (stdout, stderr, state) = match end {
                Ok(Ran { code: 0, stdout, stderr }) => (Ok(stdout), stderr, CommandState::Ended),
                Ok(Ran { code, stdout, stderr }) => {
                    let failure = failure::of_exit(&command.to_string(), code, &stdout, stderr.as_bytes());
                    (Err(failure), stderr, CommandState::Ended)
                }
                Err(end) => {
                    let (failure, state) = self.without_code(&command.to_string(), &end);
                    (Err(failure), String::new(), state)
                }
            };
            Finished {
                stdout: Some(stdout),
                stderr: stderr.into_bytes().into(),
                output_bytes: None,
                duration,
                state,
            }
        }
        .boxed()
    }

    fn log(&self, _command: &str, line: &str) {
        tracing::debug!(namespace = self.namespace, pod = self.pod, "pgBackRest reported: {line}");
    }
}
