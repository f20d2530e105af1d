//! The log file of `backup`: the result of each attempt.
//!
//! A process logs its command line when it starts, and a line when it ends, unless it is killed. Since 2.53 (pgBackRest commit
//! edd61636a), processes for different repositories can run at the same time. Their lines are mixed, and do not identify the
//! process. The end of a successful backup contains its duration, which shows when it started. If it is uncertain which of two
//! attempts failed, the result stays unknown until the other one has ended. `expire`, which `backup` runs at its end, has its own
//! log file.
//!
//! Times are local times of the host, which the caller converts.

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::exit_code;
use super::exit_code::Reason;
use super::label::BackupType;
use super::redact::Said;

mod line;
#[cfg(test)]
mod tests;

use line::{Event, Line};

pub use line::time_of;

/// Maximum number of concurrent attempts.
const MAX_RUNNING: usize = 16;
/// Number of labels to keep, so that they include at least one for each repository in most setups.
const MAX_MADE: usize = 64;
/// Maximum characters of a label.
const LONGEST_LABEL: usize = 64;
/// Maximum characters of an error.
const LONGEST_ERROR: usize = 600;
/// The maximum time from which a process computes its duration until it logs its start.
const SLOWEST_START: TimeDelta = TimeDelta::seconds(60);
/// Attempts that start within this time may take the lock in any order.
const SAME_TIME: TimeDelta = TimeDelta::seconds(10);
/// The lock was held, or `pgbackrest stop` is in effect: the command ended right after its start.
const ENDED_AT_ONCE: [i32; 2] = [50, 62];
/// The exit code after a signal.
const TERMINATED: i32 = 63;

/// The state after reading part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupLog {
    /// Attempts without an end so far, oldest first.
    running: Vec<Running>,
    /// Ends that cannot be assigned to one of these with certainty.
    unassigned: Vec<(Failure, Option<DateTime<Utc>>)>,
    /// The last completed attempt of each repository; None is the key if its start was not read.
    ended: BTreeMap<Option<u32>, Ended>,
    /// The number of ends so far.
    count: u64,
    /// Labels of the last backups that were made, oldest first.
    made: VecDeque<String>,
    error: Option<Failure>,
    /// The message of the error so far; the next lines may continue it.
    continued: Option<Said<'static>>,
}

/// An attempt without an end so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub repo: u32,
    /// As requested.
    pub backup_type: BackupType,
    pub began: Option<DateTime<Utc>>,
    /// When its start was read.
    pub read_at: DateTime<Utc>,
    /// Whether its end may be in a part of the log that was not read.
    pub may_have_ended: bool,
    /// Whether it locks the whole stanza, so that no other backup can run at the same time.
    locks_stanza: bool,
}

/// A completed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The requested type; absent if its start was not read.
    pub backup_type: Option<BackupType>,
    pub began: Option<DateTime<Utc>>,
    pub at: Option<DateTime<Utc>>,
    pub failure: Option<Failure>,
    number: u64,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// pgBackRest's exit code; absent if it is not certain which of several attempts it belongs to.
    pub code: Option<i32>,
    /// The error on one line, redacted and bounded.
    pub message: Option<String>,
}

impl Failure {
    /// Its reason.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.code.map(exit_code::reason)
    }
}

/// The context for reading part of a log.
pub struct Reading<'a> {
    pub read_at: DateTime<Utc>,
    /// When the last line was written.
    pub written_at: DateTime<Utc>,
    /// Converts a local time; None if unknown.
    pub clock: &'a dyn Fn(NaiveDateTime) -> Option<DateTime<Utc>>,
}

impl BackupLog {
    /// Reads the complete lines that follow.
    pub fn read(&mut self, text: &str, reading: &Reading<'_>) {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        while let Some(text) = lines.next() {
            self.line(text, &mut lines, reading);
        }
    }

    /// Records that part of the log is skipped, because it is too large or was removed.
    pub fn skip(&mut self) {
        for running in &mut self.running {
            running.may_have_ended = true;
        }
        self.unassigned.clear();
        self.error = None;
        self.continued = None;
    }

    /// The newest attempt for a repository that has no end so far.
    #[must_use]
    pub fn running(&self, repo: u32) -> Option<&Running> {
        self.running.iter().rev().find(|running| running.repo == repo)
    }

    /// Whether any attempt has no end yet.
    #[must_use]
    pub const fn is_any_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether there is an error that may belong to an attempt without an end.
    #[must_use]
    pub const fn has_unassigned_failure(&self) -> bool {
        !self.unassigned.is_empty()
    }

    /// The last completed attempt for a repository. If it is the only repository, attempts with an unknown repository count, too.
    #[must_use]
    pub fn ended(&self, repo: u32, is_only: bool) -> Option<&Ended> {
        let unknown = self.ended.get(&None).filter(|_| is_only);
        self.ended.get(&Some(repo)).into_iter().chain(unknown).max_by_key(|ended| ended.number)
    }

    /// Whether the log contains this backup, which is then not newer than the last attempt in the log.
    #[must_use]
    pub fn has_made(&self, label: &str) -> bool {
        self.made.iter().any(|made| made == label)
    }

    fn line<'a>(
        &mut self,
        text: &'a str,
        rest: &mut Peekable<impl Iterator<Item = &'a str>>,
        reading: &Reading<'_>,
    ) {
        let Line { at, event } = line::parse(text);
        if event == Event::Continued {
            return self.continue_error(text);
        }
        self.continued = None;
        let at = match at {
            Some(local) => (reading.clock)(local),
            // Without times in the log, the modification time of the file is that of the last line.
            None => rest.peek().is_none().then_some(reading.written_at),
        };
        match event {
            Event::Began { repo, backup_type, locks_stanza } => {
                if self.running.len() == MAX_RUNNING {
                    self.running.remove(0);
                }
                let (began, read_at, may_have_ended) = (at, reading.read_at, false);
                self.running.push(Running {
                    repo,
                    backup_type,
                    began,
                    read_at,
                    may_have_ended,
                    locks_stanza,
                });
            }
            Event::Error { code, message } => {
                let said = Said::new(message.to_owned());
                self.error = Some(Failure { code: Some(code), message: Some(said.one_line(LONGEST_ERROR)) });
                self.continued = Some(said);
            }
            Event::Made { label } => {
                if self.made.len() == MAX_MADE {
                    self.made.pop_front();
                }
                self.made.push_back(label.chars().take(LONGEST_LABEL).collect());
            }
            Event::Completed { after } => self.completed(at, after),
            Event::Aborted { code } => self.aborted(code, at),
            Event::Terminated => self.aborted(TERMINATED, at),
            Event::Continued | Event::Other => {}
        }
    }

    fn continue_error(&mut self, text: &str) {
        // Details at level debug start with such a line.
        if text.trim_start().starts_with("-----") {
            self.continued = None;
        }
        let (Some(error), Some(said)) = (&mut self.error, &mut self.continued) else { return };
        *said = Said::of_lines(&[said.clone(), Said::new(text.trim())]);
        error.message = Some(said.one_line(LONGEST_ERROR));
    }

    fn completed(&mut self, at: Option<DateTime<Utc>>, after: Option<TimeDelta>) {
        let started = at.zip(after).map(|(at, after)| at - after);
        let mut possible: Vec<(TimeDelta, usize)> = match started {
            Some(started) => {
                let distances = self.running.iter().enumerate().filter_map(|(index, running)| {
                    Some(((running.began? - started).abs(), index)).filter(|(away, _)| *away <= SLOWEST_START)
                });
                distances.collect()
            }
            // There are no times in the log.
            None => {
                self.running.iter().enumerate().map(|(index, _)| (TimeDelta::zero(), index)).rev().collect()
            }
        };
        possible.sort_by_key(|(away, _)| *away);
        let Some((nearest, index)) = possible.first().copied() else {
            return self.end_unknown(started, at, None);
        };
        let repo_of = |index: usize| self.running.get(index).map(|running| running.repo);
        let is_as_near = |(away, other): &(TimeDelta, usize)| {
            *away < nearest + SAME_TIME && repo_of(*other) != repo_of(index)
        };
        if possible.iter().any(is_as_near) {
            // The backup itself shows which attempt made it.
            return self.skip();
        }
        self.end(index, at, None);
        self.assign();
    }

    fn aborted(&mut self, code: i32, at: Option<DateTime<Utc>>) {
        let error = self.error.take().filter(|error| error.code == Some(code));
        let failure = error.unwrap_or(Failure { code: Some(code), message: None });
        let Some(newest) = self.running.len().checked_sub(1) else {
            return self.end_unknown(None, at, Some(failure));
        };
        let is_certain = if ENDED_AT_ONCE.contains(&code) { self.is_last() } else { self.is_alone() };
        if is_certain {
            self.end(newest, at, Some(failure));
        } else {
            self.unassigned.push((failure, at));
        }
        self.assign();
    }

    /// Whether only the newest attempt can hold a lock: older ones that need the same lock have released it.
    fn is_alone(&self) -> bool {
        let Some(newest) = self.running.last() else { return false };
        let excludes = newest.locks_stanza && self.unassigned.is_empty();
        excludes || self.running.iter().all(|running| running.repo == newest.repo)
    }

    /// Whether the newest attempt, or one for the same repository, began after all others.
    fn is_last(&self) -> bool {
        let Some(newest) = self.running.last() else { return false };
        let is_earlier = |running: &Running| {
            let times = running.began.zip(newest.began);
            times.is_none_or(|(one, last)| last - one >= SAME_TIME)
        };
        self.running.iter().all(|running| running.repo == newest.repo || is_earlier(running))
    }

    /// Assigns the remaining ends to the remaining attempts, if there are not more attempts than ends.
    fn assign(&mut self) {
        if self.unassigned.is_empty() || self.unassigned.len() < self.running.len() {
            return;
        }
        let failures = std::mem::take(&mut self.unassigned);
        let Some((last, at)) = failures.last() else { return };
        let is_common = failures.iter().all(|(failure, _)| failure == last);
        let failure = if is_common { last.clone() } else { Failure { code: None, message: None } };
        for running in std::mem::take(&mut self.running) {
            self.add(Some(running.repo), ended(&running, *at, Some(failure.clone())));
        }
    }

    /// Ends an attempt, and forgets earlier ones that can no longer be running, because their lock would have prevented it.
    fn end(&mut self, index: usize, at: Option<DateTime<Utc>>, failure: Option<Failure>) {
        let one = self.running.remove(index);
        let held_the_lock = failure
            .as_ref()
            .and_then(|failure| failure.code)
            .is_none_or(|code| !ENDED_AT_ONCE.contains(&code));
        if held_the_lock {
            let mut number = 0;
            self.running.retain(|other| {
                number += 1;
                number > index || !(one.locks_stanza || other.repo == one.repo)
            });
        }
        self.add(Some(one.repo), ended(&one, at, failure));
    }

    fn end_unknown(
        &mut self,
        began: Option<DateTime<Utc>>,
        at: Option<DateTime<Utc>>,
        failure: Option<Failure>,
    ) {
        self.add(None, Ended { backup_type: None, began, at, failure, number: 0 });
    }

    fn add(&mut self, repo: Option<u32>, ended: Ended) {
        self.count += 1;
        self.ended.insert(repo, Ended { number: self.count, ..ended });
        self.error = None;
    }
}

fn ended(running: &Running, at: Option<DateTime<Utc>>, failure: Option<Failure>) -> Ended {
    Ended { backup_type: Some(running.backup_type), began: running.began, at, failure, number: 0 }
}
