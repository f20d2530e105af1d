//! What commands that write a record have in common: they wait for each other, and end in order at a signal.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::shutdown::{Request, Signals};
use crate::source::proof_writer::{ProofWriter, WriteError};
use crate::state::proofs::{Outcome, Record};

/// Exit codes of runs that did not pass. 0: passed; 1: there is no result; 2: invalid arguments, or a directory that is refused.
const FAILED: u8 = 3;
const INCONCLUSIVE: u8 = 4;
const TIMED_OUT: u8 = 5;

/// How often a run that waits for another one looks whether it has ended.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// The exit code for this result.
pub(super) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => FAILED.into(),
        Outcome::Inconclusive => INCONCLUSIVE.into(),
        Outcome::TimedOut => TIMED_OUT.into(),
    }
}

/// Waits until no other run of this kind is going on on this host.
pub(super) async fn take<R: Record>(
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
pub(super) async fn listen(mut signals: Signals, stop: CancellationToken) {
    while !matches!(signals.next().await, Request::Stop(_)) {}
    stop.cancel();
}
