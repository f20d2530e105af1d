//! Follows the log of a copy that recovers, and determines when it has reached its target or never will. Pure.
//!
//! A standby without a primary never gives up: it asks the archive again and again for what is missing or damaged. So what is repeated
//! without progress is the end.

use std::collections::VecDeque;

use crate::pgbackrest::archive_get::{self, ErrorLog};
use crate::pgbackrest::wal::{Lsn, SegmentSize, WalSegment};
use crate::postgres::log::{self, Event};
use crate::state::faults::{self, Reading};
use crate::state::proofs::reason::ReasonClass;

use super::classify;
use super::stop::Stop;

/// How often something must be repeated without progress. PostgreSQL asks once a second.
const REPEATS: u32 = 3;
/// The same for errors that may pass, such as those of a network.
const PASSING: u32 = 15;
/// Characters of a quoted message.
const MAX_QUOTED: usize = 200;
/// Segments that PostgreSQL reads ahead.
const MOST_AHEAD: usize = 16;
/// Timelines of which PostgreSQL asks for the same segment.
const MOST_TIMELINES: usize = 100;

/// What is known from the log so far.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Recovery {
    /// Segments that were fetched, each counted once.
    pub(super) segments: u64,
    last: Option<WalSegment>,
    /// The last ones, newest first: PostgreSQL may read ahead.
    fetched: VecDeque<WalSegment>,
    is_consistent: bool,
    is_ready: bool,
    is_stopping: bool,
    is_paused: bool,
    /// How often each segment was not there since the last one that was. PostgreSQL asks for the same one on several timelines.
    missing: Vec<(WalSegment, u32)>,
    /// How often the last segment was found again.
    repeats: u32,
    /// How often a segment was found that PostgreSQL did not take.
    not_taken: u32,
    invalid: Option<(String, bool)>,
    log: ErrorLog,
    errors: u32,
    fatal: Option<String>,
}

/// What a line leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Queries can be made, and recovery goes no further.
    Reached(End),
    /// The server must be started again with a larger setting.
    Raise { setting: &'static str, needed: u64 },
    /// It will never be reached.
    Failed(Stop),
}

/// Where recovery went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At the target.
    Target,
    /// This segment is not in the archive.
    Missing(WalSegment),
    /// There is no record any more in this segment.
    Within(WalSegment),
}

impl Recovery {
    /// The last segment that was fetched.
    pub(super) const fn last(&self) -> Option<WalSegment> {
        self.last
    }

    /// The timeline of the WAL before a position.
    pub(super) fn timeline_at(&self, position: Lsn, size: SegmentSize) -> Option<u32> {
        let is_before = |segment: &&WalSegment| segment.start_lsn(size).is_some_and(|start| start < position);
        self.fetched.iter().find(is_before).map(|segment| segment.timeline)
    }

    /// For a server that is started again.
    pub(super) fn again(&self) -> Self {
        Self { segments: self.segments, ..Self::default() }
    }

    /// Reads a line.
    pub(super) fn line(&mut self, line: &str) -> Option<Next> {
        let is_beginning = archive_get::is_beginning(line) || log::is_beginning(line);
        self.errors += u32::from(self.log.read(line, is_beginning));
        let next = match (archive_get::event(line), log::event(line)) {
            (Some(event), _) => self.of_archive(event),
            (None, Some(event)) => self.of_postgres(event),
            (None, None) => return None,
        };
        next.or_else(|| self.reached()).or_else(|| self.failed())
    }

    /// Why the server ended.
    pub(super) fn ended(&mut self, how: &str) -> Stop {
        let Some(message) = self.fatal.take() else {
            return Stop::new(ReasonClass::Unclassified, format!("PostgreSQL ended unexpectedly: {how}"));
        };
        let class = classify::of_postgres(&message);
        // If the repository did not answer, what is missing may be there.
        let error = self.last_error().filter(|_| class == ReasonClass::MissingWal);
        error.unwrap_or_else(|| Stop::new(class, format!("PostgreSQL: {message}")))
    }

    fn of_archive(&mut self, event: archive_get::Event<'_>) -> Option<Next> {
        match event {
            archive_get::Event::Found { file } => {
                self.not_taken += u32::from(WalSegment::parse(file).is_some());
                if self.not_taken > REPEATS {
                    let message =
                        format!("PostgreSQL does not accept WAL segment {file}: it has a wrong size");
                    return Some(Next::Failed(Stop::new(ReasonClass::DamagedWal, message)));
                }
                None
            }
            archive_get::Event::Missing { file } => {
                // PostgreSQL also asks for histories of timelines that do not exist.
                let segment = WalSegment::parse(file)?;
                if let Some((_, count)) = self.missing.iter_mut().find(|(known, _)| *known == segment) {
                    *count += 1;
                } else if self.missing.len() < MOST_TIMELINES {
                    self.missing.push((segment, 1));
                }
                None
            }
        }
    }

    fn of_postgres(&mut self, event: Event<'_>) -> Option<Next> {
        match event {
            Event::Restored { file } => {
                let segment = WalSegment::parse(file)?;
                self.not_taken = 0;
                if self.last == Some(segment) {
                    self.repeats += 1;
                    return None;
                }
                self.last = Some(segment);
                self.fetched.truncate(MOST_AHEAD);
                self.fetched.push_front(segment);
                self.segments += 1;
                (self.repeats, self.errors, self.invalid) = (0, 0, None);
                self.missing.clear();
            }
            Event::Consistent => self.is_consistent = true,
            Event::Promoted => return Some(Next::Failed(not_ready())),
            Event::Ready => self.is_ready = true,
            Event::Stopping => self.is_stopping = true,
            Event::Paused => self.is_paused = true,
            Event::TooSmall { setting, needed } => return Some(Next::Raise { setting, needed }),
            Event::Invalid { record } => self.invalid = Some((record.message.to_owned(), record.is_end)),
            Event::Fatal { message } => {
                self.fatal.get_or_insert_with(|| message.to_owned());
            }
            Event::Detail { message } => {
                if let Some(fatal) = self.fatal.as_mut().filter(|fatal| fatal.len() < MAX_QUOTED) {
                    fatal.push_str(": ");
                    fatal.push_str(message);
                }
            }
        }
        None
    }

    fn reached(&self) -> Option<Next> {
        if !self.is_ready {
            return None;
        }
        if self.is_stopping && self.is_paused {
            return Some(Next::Reached(End::Target));
        }
        self.end(REPEATS).map(Next::Reached)
    }

    /// Where the WAL ends, after so many repetitions. What is missing is named on the timeline that PostgreSQL prefers.
    fn end(&self, repeats: u32) -> Option<End> {
        let missing = self.missing.iter().filter(|(_, count)| *count >= repeats);
        if let Some((segment, _)) = missing.max_by_key(|(segment, _)| segment.timeline) {
            return Some(End::Missing(*segment));
        }
        let last = self.last.filter(|_| self.repeats >= repeats)?;
        let is_end = self.invalid.as_ref().is_some_and(|(_, is_end)| *is_end);
        is_end.then_some(End::Within(last))
    }

    /// What cannot get better.
    fn failed(&self) -> Option<Next> {
        let patience = if self.is_consistent { PASSING } else { REPEATS };
        let stop = match self.end(patience) {
            // It would have been reached.
            Some(_) if self.is_ready => return None,
            Some(_) if self.is_consistent => not_ready(),
            Some(End::Missing(segment)) => Stop::new(
                ReasonClass::MissingWal,
                format!(
                    "WAL segment {segment} is not in the archive, and the backup needs it to become consistent"
                ),
            ),
            Some(End::Within(segment)) => Stop::new(
                ReasonClass::DamagedWal,
                format!(
                    "the WAL ends within segment {segment}, and the backup needs more to become consistent"
                ),
            ),
            Some(End::Target) | None => {
                let last = self.last.filter(|_| self.repeats >= REPEATS)?;
                let (message, _) = self.invalid.as_ref().filter(|(_, is_end)| !is_end)?;
                let message = format!("WAL segment {last} is damaged: {message}");
                Stop::new(ReasonClass::DamagedWal, message)
            }
        };
        Some(Next::Failed(stop))
    }

    /// An error that was repeated often enough to end the test.
    pub(super) fn repeated_error(&self) -> Option<Stop> {
        let error = self.last_error()?;
        let enough = if classify::may_pass(error.class) { PASSING } else { REPEATS };
        (self.errors >= enough).then_some(error)
    }

    fn last_error(&self) -> Option<Stop> {
        let error = self.log.last.as_ref().filter(|_| self.errors > 0)?;
        let class = faults::of_pgbackrest(error, Reading::Wal);
        Some(Stop::new(class, format!("archive-get failed ({}): {}", error.code, error.one_line(MAX_QUOTED))))
    }
}

/// If a transaction has more than 64 subtransactions while a backup begins, PostgreSQL accepts queries only once it has replayed the
/// end of that transaction. A target before that cannot be paused at.
fn not_ready() -> Stop {
    let message = "the copy is consistent, but PostgreSQL does not accept queries there, because a transaction with many \
                   subtransactions was open during the backup; test a later target";
    Stop::new(ReasonClass::UnreachableTarget, message)
}

#[cfg(test)]
mod tests;
