//! The calls of pgBackRest that are read: `version` and `info`, from command line to facts or a failure with its remedy.

use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use crate::pgbackrest::command::{self, Command, InfoQuery, Program};
use crate::pgbackrest::info::view;
use crate::pgbackrest::version::Version;
use crate::pgbackrest::{sanitize, version};
use crate::state::assemble;
use crate::state::snapshot::{Failure, FailureReason, Stanza};

use super::environment::Environment;
use super::failure;
use super::notices::Notices;
use super::process::{self, Ending, Limits, Output, Survivor};

/// The version is told without a look at any repository.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts pgBackRest on this host.
#[derive(Debug)]
pub struct Client {
    pub(super) program: Program,
    environment: Environment,
    pub(super) limits: Limits,
    notices: Notices,
}

/// One call and what came of it.
#[derive(Debug)]
pub struct Call<T> {
    /// Wall time until the process was gone.
    pub duration: Duration,
    /// Bytes on stdout.
    pub output_bytes: u64,
    /// The document had to be repaired before it could be read.
    pub sanitized: bool,
    /// The answer; none where the caller gave up.
    pub answer: Option<Result<T, Failure>>,
    /// The process, where even SIGKILL did not end it. Nothing of the same kind should be started while it lives.
    pub survivor: Option<Survivor>,
}

/// What `info` said.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The stanzas that could be read.
    pub stanzas: Vec<Stanza>,
    /// No stanza was left out because it could not be read.
    pub complete: bool,
}

impl<T> Call<T> {
    /// Why there is no answer, where the call was not given up.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.answer.as_ref().and_then(|answer| answer.as_ref().err())
    }
}

impl Client {
    /// A client that starts `program` with `environment` within `limits`.
    #[must_use]
    pub fn new(program: Program, environment: Environment, limits: Limits) -> Self {
        Self { program, environment, limits, notices: Notices::default() }
    }

    /// Warnings that were logged in the run before are not logged again in the one that begins now.
    pub fn begin_run(&self) {
        self.notices.begin_run();
    }

    /// How long `version` may take where `info` has these limits.
    #[must_use]
    pub fn version_timeout(limits: &Limits) -> Duration {
        limits.timeout.min(VERSION_TIMEOUT)
    }

    /// Asks for the version.
    pub async fn version(&self, cancellation: &CancellationToken) -> Call<Version> {
        let limits = Limits { timeout: Self::version_timeout(&self.limits), ..self.limits };
        self.call(&command::version(), limits, cancellation, read_version).await
    }

    /// Asks for stanzas, backups and WAL ranges.
    pub async fn info(&self, query: &InfoQuery, cancellation: &CancellationToken) -> Call<Document> {
        let asked = query.clone();
        let read = move |stdout: &[u8]| read_info(stdout, &asked);
        self.call(&command::info(query), self.limits, cancellation, read).await
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        command: &Command,
        limits: Limits,
        cancellation: &CancellationToken,
        read: impl FnOnce(&[u8]) -> Read<T> + Send + 'static,
    ) -> Call<T> {
        let what = command.to_string();
        let arguments = self.program.command_line(command);
        let output = match process::run(&arguments, &self.environment, &limits, cancellation).await {
            Ok(output) => output,
            Err(error) => {
                return Call {
                    duration: Duration::ZERO,
                    output_bytes: 0,
                    sanitized: false,
                    answer: Some(Err(failure::of_spawn(&self.program.binary, &error))),
                    survivor: None,
                };
            }
        };
        let Output { ending, stdout, stderr, duration, survivor } = output;
        let output_bytes = stdout.len() as u64;
        for line in sanitize::clean(&stderr).preamble {
            self.notices.note(&what, &line);
        }
        let (answer, sanitized) = match ending {
            Ending::Cancelled => (None, false),
            Ending::Exited(0) => {
                // Reading a big document takes a moment, in which this thread would serve nobody else.
                let read = tokio::task::spawn_blocking(move || read(&stdout)).await.unwrap_or_else(|error| {
                    let answer = Err(unreadable(format!("reading the answer of {what} failed: {error}")));
                    Read { answer, sanitized: false, notices: Vec::new() }
                });
                for line in &read.notices {
                    self.notices.note(&what, line);
                }
                (Some(read.answer), read.sanitized)
            }
            _ => (Some(Err(failure::of_ending(&what, ending, &limits, &stdout, &stderr))), false),
        };
        Call { duration, output_bytes, sanitized, answer, survivor }
    }
}

/// What reading an output led to.
pub(super) struct Read<T> {
    pub(super) answer: Result<T, Failure>,
    /// The output had to be repaired.
    pub(super) sanitized: bool,
    /// What pgBackRest said beside the answer.
    pub(super) notices: Vec<String>,
}

pub(super) fn read_version(stdout: &[u8]) -> Read<Version> {
    let answer = version::parse(&String::from_utf8_lossy(stdout)).ok_or_else(|| {
        unreadable(
            "pgbackrest version printed no version; check that the program is pgBackRest itself".to_owned(),
        )
    });
    Read { answer, sanitized: false, notices: Vec::new() }
}

pub(super) fn read_info(stdout: &[u8], query: &InfoQuery) -> Read<Document> {
    let cleaned = sanitize::clean(stdout);
    let mut notices = cleaned.preamble;
    let answer = match view::answer(&cleaned.text, query) {
        Ok(document) => {
            let read_at = Utc::now();
            let mut complete = true;
            for entry in &document.unreadable {
                // An entry with a slash is a single backup.
                complete &= entry.contains('/');
                notices.push(format!("cannot read {entry} in the answer; it is left out"));
            }
            let stanzas = document.stanzas().map(|stanza| assemble::stanza(stanza, read_at)).collect();
            Ok(Document { stanzas, complete })
        }
        Err(error) => Err(unreadable(failure::one_line(&error.to_string()))),
    };
    Read { answer, sanitized: cleaned.sanitized, notices }
}

pub(super) fn unreadable(message: String) -> Failure {
    Failure { reason: FailureReason::Parse, exit_code: None, message }
}
