//! Runs a command in a container, within limits. The end of the connection is distinguished from the end of the
//! command.

mod lines;
mod stream;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::client::{self, CallError};
use crate::memory::{self, Captured, ReadError, Refusal, Sink};
pub use lines::Heard;
use stream::Pump;

/// The buffer of a stream.
const BUFFER: usize = 64 * 1024;
/// Maximum bytes of standard error that are kept.
const MOST_ERROR: usize = 16 * 1024;
/// The timeout for establishing the connection.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How long reading received data may take after the connection is lost, because kube never closes the streams then.
const LAST_OUTPUT: Duration = Duration::from_millis(300);

/// How container runtimes report that no process was started. After any other failure without an exit code, there may
/// be one: the runtime may have lost it.
const NOT_STARTED: [&str; 5] = [
    "OCI runtime exec failed",
    "failed to start exec",
    "failed to create exec",
    "unable to start container process",
    "container not found",
];

/// A command and its container.
#[derive(Debug, Clone)]
pub struct Exec<'a> {
    /// The namespace of the pod.
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    /// Program and arguments, without secrets.
    pub command: &'a [String],
    /// When to close the connection. That stops nothing in the pod, so the command has its own timeout as well.
    pub deadline: Duration,
    /// Maximum bytes of standard output; more is an error.
    pub most_output: usize,
}

impl Exec<'_> {
    fn program(&self) -> &str {
        self.command.first().map(String::as_str).unwrap_or_default()
    }

    fn no_memory(&self, refusal: Refusal, is_started: bool) -> ExecError {
        ExecError::NoMemory { refusal, deadline: self.deadline, is_started }
    }
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The exit code of the command.
    Exited(i32),
    /// The connection ended without the result of the command, which may still be running.
    Lost(String),
}

/// The output and the result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The result.
    pub end: End,
    /// Standard output, as printed.
    pub stdout: Captured,
    /// The start of standard error.
    pub stderr: Captured,
}

/// Why no command was run, or why its output is unusable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecError {
    /// The API server rejected the request, or could not be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The container has no such program, or it cannot be started.
    #[error("cannot start {program}: {message}")]
    NotStarted {
        /// The program.
        program: String,
        /// The message of the container runtime.
        message: String,
    },
    /// The output is larger than allowed, or comes too slowly for its size. The command may still be running.
    #[error("the output of the command is not read to its end: {0}")]
    Output(#[from] ReadError),
    /// There was no memory for the output before the deadline. Before the command was started, or while it may be running.
    #[error("there was no memory for the output within {}: {refusal}", humantime::format_duration(*.deadline))]
    NoMemory {
        refusal: Refusal,
        deadline: Duration,
        /// Whether the command was started.
        is_started: bool,
    },
    /// The deadline was exceeded. The command may still be running.
    #[error("not finished within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// Runs a command, and returns its output.
pub async fn exec(client: &kube::Client, exec: Exec<'_>) -> Result<Output, ExecError> {
    exec_into(client, exec, None).await
}

/// The same, with a sink for long output.
pub async fn exec_into(
    client: &kube::Client,
    exec: Exec<'_>,
    sink: Option<Sink>,
) -> Result<Output, ExecError> {
    let deadline = Instant::now() + exec.deadline;
    let captured = Captured::reserve(memory::input(), exec.most_output, exec.deadline).await;
    let captured = captured.map_err(|refusal| exec.no_memory(refusal, false))?;
    let mut running = start(client, &exec).await?;
    let stdout = Pump::start(running.stdout(), captured.into_sink(sink));
    let stderr = Pump::start(running.stderr(), Captured::little(MOST_ERROR));
    // Boxed because it is large.
    Box::pin(finish(running, &exec, deadline, stdout, stderr)).await
}

/// Runs a command, and passes on each line of both streams. If the listener is too slow, lines are counted and
/// dropped.
pub async fn follow(
    client: &kube::Client,
    exec: Exec<'_>,
    heard: &mpsc::Sender<Heard>,
) -> Result<End, ExecError> {
    let deadline = Instant::now() + exec.deadline;
    let mut running = start(client, &exec).await?;
    let stdout = Pump::lines(running.stdout(), heard.clone());
    let stderr = Pump::lines(running.stderr(), heard.clone());
    Ok(Box::pin(finish(running, &exec, deadline, stdout, stderr)).await?.end)
}

async fn start(client: &kube::Client, exec: &Exec<'_>) -> Result<AttachedProcess, ExecError> {
    let what = format!("run {} in pod {}", exec.program(), exec.pod);
    let pods: Api<Pod> = Api::namespaced(client.clone(), exec.namespace);
    let params = AttachParams::default()
        .container(exec.container)
        .stdin(false)
        .stdout(true)
        .stderr(true)
        .max_stdout_buf_size(BUFFER)
        .max_stderr_buf_size(BUFFER);
    let started =
        client::call(what, exec.deadline.min(START_DEADLINE), pods.exec(exec.pod, exec.command, &params));
    // Boxed because it is large.
    Ok(Box::pin(started).await?)
}

async fn finish(
    mut running: AttachedProcess,
    exec: &Exec<'_>,
    deadline: Instant,
    mut stdout: Pump,
    mut stderr: Pump,
) -> Result<Output, ExecError> {
    let out_of_time = |stdout: &Pump| {
        if stdout.waits() {
            exec.no_memory(Refusal::NoMemory, true)
        } else {
            ExecError::Timeout(exec.deadline)
        }
    };
    // Must be taken before anything is awaited; otherwise it is lost.
    let status = running.take_status();
    let ended = async {
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        (status, running.join().await)
    };
    // When the first of these ends, dropping the others closes the connection.
    let ended = tokio::select! {
        biased;
        ended = timeout_at(deadline, ended) => ended,
        error = stdout.fails() => return Err(error.into()),
    };
    let (status, transport) = ended.map_err(|_| out_of_time(&stdout))?;
    // When the command ends, kube closes the streams, and they are read completely.
    let last = if status.is_some() { deadline } else { deadline.min(Instant::now() + LAST_OUTPUT) };
    let (stdout_ended, _) = tokio::join!(stdout.ends(last), stderr.ends(last));
    if let Some(error) = stdout.failure() {
        return Err(error.into());
    }
    let end = match status {
        Some(_) if !stdout_ended => return Err(out_of_time(&stdout)),
        Some(status) => end_of(&status, exec.program())?,
        None => End::Lost(match transport {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => client::one_line(&error.to_string()),
        }),
    };
    Ok(Output { end, stdout: stdout.take(), stderr: stderr.take() })
}

/// The result of the command according to the server. Only an explicit exit code counts.
fn end_of(status: &Status, program: &str) -> Result<End, ExecError> {
    if status.status.as_deref() == Some("Success") {
        return Ok(End::Exited(0));
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code = causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_deref()?.parse().ok());
    if let Some(code) = code {
        return Ok(End::Exited(code));
    }
    let message = client::one_line(status.message.as_deref().unwrap_or_default());
    if NOT_STARTED.iter().any(|words| message.contains(words)) {
        return Err(ExecError::NotStarted { program: program.to_owned(), message });
    }
    Ok(End::Lost(message))
}
