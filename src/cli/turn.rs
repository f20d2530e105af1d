//! What commands that write a record have in common: they wait for each other, look at the repositories and the records so far, and end
//! in order at a signal.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::collect::host;
use crate::collect::settings::Settings;
use crate::shutdown::{Request, Signals};
use crate::source::environment::Environment;
use crate::source::proof_writer::{ProofWriter, WriteError, Written};
use crate::source::proofs::{self, Recorded};
use crate::state::chain::Digest;
use crate::state::proofs::{Outcome, Record};
use crate::state::snapshot::Snapshot;
use crate::text;

/// Exit codes of runs that did not pass. 0: passed; 1: there is no result; 2: invalid arguments, or a directory that is refused.
const FAILED: u8 = 3;
const INCONCLUSIVE: u8 = 4;
const TIMED_OUT: u8 = 5;

/// How often a run that waits for another one looks whether it has ended.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// A run that has its turn: no other one of its kind is going on on this host.
pub(super) struct Turn<R> {
    pub(super) records: ProofWriter<R>,
    pub(super) started: DateTime<Utc>,
    /// Cancelled by the first signal.
    pub(super) stop: CancellationToken,
    pub(super) listening: JoinHandle<()>,
}

/// What is known before a run.
pub(super) struct Known<R> {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) environment: Environment,
    /// The records so far.
    pub(super) recorded: Recorded<R>,
}

/// Waits for the turn of a run. The error is the exit code for a name that no stanza can have.
pub(super) async fn begin<R: Record>(
    state_directory: &Path,
    stanza: &str,
    wait: Option<Duration>,
) -> anyhow::Result<Result<Turn<R>, ExitCode>> {
    let stop = CancellationToken::new();
    let signals = Signals::install().context("cannot install signal handlers")?;
    let listening = tokio::spawn(listen(signals, stop.clone()));
    match take(state_directory, stanza, wait.unwrap_or_default(), &stop).await {
        Ok(records) => Ok(Ok(Turn { records, started: Utc::now(), stop, listening })),
        Err(error @ WriteError::Stanza(_)) => Ok(Err(super::unusable(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Queries pgBackRest, and reads the records.
pub(super) async fn look<R: Record>(
    collect: Settings,
    state_directory: &Path,
    stop: &CancellationToken,
) -> Known<R> {
    let environment = Environment::inherit(&collect.pass_environment);
    let snapshot = host::once(collect, stop.clone()).await;
    Known { snapshot, environment, recorded: proofs::read(state_directory) }
}

/// The exit code for this result.
pub(super) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => FAILED.into(),
        Outcome::Inconclusive => INCONCLUSIVE.into(),
        Outcome::TimedOut => TIMED_OUT.into(),
    }
}

/// The record as JSON. Its digest must be kept elsewhere to notice that it is removed.
pub(super) fn document<R: Record>(record: &R, written: Option<&Written>) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document<'a, R> {
        #[serde(flatten)]
        record: &'a R,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    }
    text::json(&Document { record, digest: written.map(|written| written.head.digest) })
}

/// Where the record is, and what must be kept elsewhere to notice that it is removed.
pub(super) fn written_lines(written: &Written) -> [(&'static str, String); 2] {
    let Written { path, head } = written;
    [
        ("record", path.display().to_string()),
        ("chain", format!("record {}, SHA-256 {}", head.sequence, head.digest)),
    ]
}

/// Waits until no other run of this kind is going on on this host.
async fn take<R: Record>(
    state_directory: &Path,
    stanza: &str,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<ProofWriter<R>, WriteError> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match ProofWriter::open(state_directory, stanza) {
            Err(WriteError::Busy { .. }) if began.elapsed() < limit && !stop.is_cancelled() => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::info!("Waiting for another {} to end", R::NAME);
                }
                let _ = timeout(BETWEEN_TRIES, stop.cancelled()).await;
            }
            result => return result,
        }
    }
}

/// Ends the run in order at the first signal.
async fn listen(mut signals: Signals, stop: CancellationToken) {
    while !matches!(signals.next().await, Request::Stop(_)) {}
    stop.cancel();
}
