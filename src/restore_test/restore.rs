//! `pgbackrest restore` into the directory of the test.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::sleep;

use crate::pgbackrest::archive_get::{self, ErrorLog};
use crate::source::environment::Environment;
use crate::source::running::{Running, Writes};
use crate::state::faults::{self, Reading};
use crate::state::proofs::reason::ReasonClass;

use super::place::Place;
use super::progress::{Progress, Tell};
use super::stop::Stop;

/// How often the log is read.
const TICK: Duration = Duration::from_millis(100);
/// Characters of a quoted message.
const MAX_QUOTED: usize = 220;
/// The log of the restore.
const LOG: &str = "restore.log";

/// Runs the command to its end.
pub(super) async fn restore(
    argv: &[OsString],
    environment: &Environment,
    (place, writes): (&Place, Writes),
    tell: Tell<'_>,
) -> Result<(), Stop> {
    let running = Running::start(argv, environment, (place.path(), writes), &place.path().join(LOG));
    let mut running = running.map_err(|error| {
        Stop::new(ReasonClass::Configuration, format!("cannot start pgBackRest: {error}"))
    })?;
    let mut log = ErrorLog::default();
    let status = loop {
        let ended = running.ended().map_err(|error| Stop::of_file("cannot wait for pgBackRest", &error))?;
        let lines = running.lines().await;
        let lines = lines.map_err(|error| Stop::of_file("cannot read the log of pgBackRest", &error))?;
        let is_empty = lines.is_empty();
        for line in lines {
            if let Some(percent) = archive_get::restored_percent(&line) {
                tell(Progress::Restored { percent });
            }
            let _ = log.read(&line, archive_get::is_beginning(&line));
        }
        match ended {
            Some(status) if is_empty => break status,
            Some(_) => {}
            None => sleep(TICK).await,
        }
    };
    if status.success() {
        return Ok(());
    }
    Err(match (log.last, status.code()) {
        (Some(error), _) => {
            let class = faults::of_pgbackrest(&error, Reading::Backup);
            let (code, message) = (error.code, error.one_line(MAX_QUOTED));
            Stop::new(class, format!("pgbackrest restore failed ({code}): {message}"))
        }
        // What it said could not be written.
        (None, _) if place.is_full() => place.full(),
        (None, Some(code)) => {
            let class = faults::of_exit(code, Reading::Backup);
            Stop::new(class, format!("pgbackrest restore failed ({code}) without a message"))
        }
        (None, None) => Stop::new(
            ReasonClass::Unclassified,
            "pgbackrest restore was terminated by a signal of another process",
        ),
    })
}
