//! PostgreSQL on the copy: starts it, follows its recovery, and stops it.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::pgbackrest::wal::SegmentSize;
use crate::postgres::copy::{self, Recovery as HowToRecover};
use crate::source::environment::Environment;
use crate::source::running::{Running, Writes};
use crate::state::proofs::reason::ReasonClass;

use super::place::Place;
use super::programs::Programs;
use super::progress::{Progress, Tell};
use super::recovery::{End, Next, Recovery};
use super::stop::Stop;

/// How often the log is read.
const TICK: Duration = Duration::from_millis(100);
/// How often the server is started again with larger settings: once for each of them, and more if they were raised several times.
const MOST_STARTS: usize = 20;
/// Without a line for this long, nothing can be logged if the file system is full.
const SILENCE: Duration = Duration::from_secs(10);
/// The log of the server.
const LOG: &str = "postgres.log";

/// The server on the copy. It is not stopped when this is dropped during a phase: `stop` does that.
pub(super) struct Server<'a> {
    pub(super) programs: &'a Programs,
    pub(super) place: &'a Place,
    pub(super) writes: Writes,
    pub(super) environment: Environment,
    pub(super) recovery: HowToRecover,
    /// Settings that WAL requires.
    pub(super) sized: Vec<(&'static str, u64)>,
    /// Settings of the user.
    pub(super) settings: &'a [(String, String)],
    /// That of the restored database, once it is known.
    pub(super) segment_size: SegmentSize,
    pub(super) running: Option<Running>,
    pub(super) followed: Recovery,
}

impl Server<'_> {
    /// Starts the server, and follows it until recovery goes no further.
    pub(super) async fn replay(&mut self, tell: Tell<'_>) -> Result<End, Stop> {
        for _ in 0..MOST_STARTS {
            self.start()?;
            match self.follow(tell).await? {
                Next::Reached(end) => return Ok(end),
                Next::Raise { setting, needed } => {
                    let known = self.sized.iter().any(|(name, value)| *name == setting && *value >= needed);
                    if known {
                        break;
                    }
                    self.sized.push((setting, needed));
                    self.stop(Signal::SIGINT).await;
                    // What was fetched is fetched again from the last restartpoint.
                    self.followed = self.followed.again();
                }
                Next::Failed(stop) => return Err(stop),
            }
        }
        Err(Stop::new(ReasonClass::Settings, "PostgreSQL asks again and again for larger settings"))
    }

    fn start(&mut self) -> Result<(), Stop> {
        let argv = copy::arguments(
            &self.programs.path("postgres"),
            &self.place.paths(),
            &self.recovery,
            &self.sized,
            self.settings,
            self.programs.major,
        );
        let log = self.place.path().join(LOG);
        let running = Running::start(&argv, &self.environment, (self.place.path(), self.writes), &log);
        let running = running.map_err(|error| Stop::of_file("cannot start PostgreSQL", &error))?;
        self.running = Some(running);
        Ok(())
    }

    async fn follow(&mut self, tell: Tell<'_>) -> Result<Next, Stop> {
        let mut heard = Instant::now();
        loop {
            let Some(running) = &mut self.running else {
                return Err(Stop::new(ReasonClass::Unclassified, "PostgreSQL is not running"));
            };
            let ended =
                running.ended().map_err(|error| Stop::of_file("cannot wait for PostgreSQL", &error))?;
            let lines = running.lines().await;
            let lines = lines.map_err(|error| Stop::of_file("cannot read the log of PostgreSQL", &error))?;
            let is_empty = lines.is_empty();
            if !is_empty {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE && self.place.is_full() {
                return Err(self.place.full());
            }
            let before = self.followed.last();
            for line in lines {
                if let Some(next) = self.followed.line(&line) {
                    return Ok(next);
                }
            }
            if let Some(segment) = self.followed.last().filter(|last| Some(*last) != before) {
                tell(Progress::Replays { segment, lsn: segment.start_lsn(self.segment_size) });
            }
            if let Some(stop) = self.followed.repeated_error() {
                return Err(stop);
            }
            match ended {
                Some(status) if is_empty => {
                    self.running = None;
                    let stop = self.followed.ended(&status.to_string());
                    let is_known = stop.class != ReasonClass::Unclassified;
                    return Err(if is_known || !self.place.is_full() { stop } else { self.place.full() });
                }
                Some(_) => {}
                None => sleep(TICK).await,
            }
        }
    }

    /// Sends the signal and waits for the end; if that takes too long, an immediate shutdown follows. Whether it ended by itself.
    pub(super) async fn stop(&mut self, signal: Signal) -> bool {
        const FAST: Duration = Duration::from_mins(2);
        const IMMEDIATE: Duration = Duration::from_secs(20);
        let Some(mut running) = self.running.take() else { return false };
        for (signal, patience) in [(signal, FAST), (Signal::SIGQUIT, IMMEDIATE)] {
            running.signal(signal);
            if let Ok(ended) = timeout(patience, running.wait()).await {
                return ended.is_ok_and(|status| status.success());
            }
        }
        // Dropping it kills its process group.
        false
    }
}
