//! Runs a command in a container, within bounds. How the connection ends is told apart from how the command ends.

mod lines;
mod stream;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::client::{self, CallError};
pub use lines::Heard;
use stream::Pump;

/// What the connection holds back of a stream until it is read.
const BUFFER: usize = 64 * 1024;
/// How much of standard error is kept; what comes after it is read and forgotten.
const MOST_ERROR: usize = 16 * 1024;
/// How long it may take until the connection stands, however long the command may run.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How long what has arrived may take to be read once the connection is lost: kube never closes the streams then.
const LAST_OUTPUT: Duration = Duration::from_millis(300);

/// How container runtimes say that there never was a process. Any other failure without an exit code leaves open
/// whether there is one: the runtime may have lost it.
const NOT_STARTED: [&str; 5] = [
    "OCI runtime exec failed",
    "failed to start exec",
    "failed to create exec",
    "unable to start container process",
    "container not found",
];

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Exec<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    /// Program and arguments; no secret.
    pub command: &'a [String],
    /// When the connection is given up. Closing it ends nothing in the pod, so the command bounds itself as well.
    pub deadline: Duration,
    /// Most bytes of standard output that are kept; more is an error.
    pub most_output: usize,
}

impl Exec<'_> {
    fn program(&self) -> &str {
        self.command.first().map(String::as_str).unwrap_or_default()
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The command ended with this code.
    Exited(i32),
    /// The connection ended without a word about the command, which may still run.
    Lost(String),
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub end: End,
    /// Standard output, as printed.
    pub stdout: Vec<u8>,
    /// The beginning of standard error.
    pub stderr: Vec<u8>,
}

/// Why nothing was run, or why what it printed is of no use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecError {
    /// The API server refused, or could not be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The container has no such program, or it cannot be started.
    #[error("cannot start {program}: {message}")]
    NotStarted {
        /// The first word of the command.
        program: String,
        /// What the container runtime said.
        message: String,
    },
    /// More output than was asked for.
    #[error("the command printed more than {0} bytes")]
    TooMuch(usize),
    /// Not within the deadline. The command may still run.
    #[error("not finished within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// Runs a command, and keeps what it prints.
pub async fn exec(client: &kube::Client, exec: Exec<'_>) -> Result<Output, ExecError> {
    let deadline = Instant::now() + exec.deadline;
    let mut running = start(client, &exec).await?;
    let stdout = Pump::start(running.stdout(), exec.most_output);
    let stderr = Pump::start(running.stderr(), MOST_ERROR);
    // Large, and there is one per command.
    Box::pin(finish(running, &exec, deadline, stdout, stderr)).await
}

/// Runs a command, and hands on each line of both streams as it comes. Nothing is kept: where nobody takes the lines,
/// they are counted and forgotten, and the command goes on.
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
    // Large, and there is one per command.
    Ok(Box::pin(started).await?)
}

async fn finish(
    mut running: AttachedProcess,
    exec: &Exec<'_>,
    deadline: Instant,
    mut stdout: Pump,
    mut stderr: Pump,
) -> Result<Output, ExecError> {
    let Exec { deadline: allowed, most_output, .. } = *exec;
    // Taken before anything is awaited: it is lost otherwise.
    let status = running.take_status();
    let ended = async {
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        (status, running.join().await)
    };
    // Whichever of these ends first, dropping the others closes the connection.
    let ended = tokio::select! {
        biased;
        ended = timeout_at(deadline, ended) => ended,
        () = stdout.overflows() => return Err(ExecError::TooMuch(most_output)),
    };
    let (status, transport) = ended.map_err(|_| ExecError::Timeout(allowed))?;
    // With the command's end kube closes the streams, and they are read to their ends.
    let last = if status.is_some() { deadline } else { deadline.min(Instant::now() + LAST_OUTPUT) };
    let (stdout_ended, _) = tokio::join!(stdout.ends(last), stderr.ends(last));
    if stdout.has_overflowed() {
        return Err(ExecError::TooMuch(most_output));
    }
    let end = match status {
        Some(_) if !stdout_ended => return Err(ExecError::Timeout(allowed)),
        Some(status) => end_of(&status, exec.program())?,
        None => End::Lost(match transport {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => client::one_line(&error.to_string()),
        }),
    };
    Ok(Output { end, stdout: stdout.take(), stderr: stderr.take() })
}

/// What the server says of the command's end. Only a code that it names is one.
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
