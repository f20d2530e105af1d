//! The log file of `backup`: what became of each attempt.
//!
//! A process writes its command line when it begins, and a line when it ends, unless it is killed. Of processes for different
//! repositories, which can run at the same time from 2.53 on (pgBackRest commit edd61636a), the lines are mixed, and do not say
//! whose they are. The end of a good backup tells how long it took, and so when it began. Where it is not certain which of two
//! has failed, nothing is said until the other one has ended. `expire`, which `backup` runs at its end, has a log file of its own.
//!
//! Times are those of the host's local time, which the caller knows.

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

/// Attempts that are followed at the same time.
const MAX_RUNNING: usize = 16;
/// Labels that are kept: at least one of each repository, if there are not too many.
const MAX_MADE: usize = 64;
/// Maximum characters of a label.
const LONGEST_LABEL: usize = 64;
/// Maximum characters of an error.
const LONGEST_ERROR: usize = 600;
/// A process logs its beginning at most this long after the time that its duration is counted from.
const SLOWEST_START: TimeDelta = TimeDelta::seconds(60);
/// Of attempts that begin within this time, the order in which they take the lock is not that of their beginnings.
const SAME_TIME: TimeDelta = TimeDelta::seconds(10);
/// The command could not get the lock, or was stopped: it ended right after it began.
const ENDED_AT_ONCE: [i32; 2] = [50, 62];
/// The exit code after a signal.
const TERMINATED: i32 = 63;

/// What was read of a log so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupLog {
    /// Attempts of which no end was read, oldest first.
    running: Vec<Running>,
    /// Ends of which it is not certain to which of these they belong.
    unassigned: Vec<(Failure, Option<DateTime<Utc>>)>,
    /// The last attempt of each repository that has ended; without a repository, if its beginning was not read.
    ended: BTreeMap<Option<u32>, Ended>,
    /// The number of ends so far.
    count: u64,
    /// Labels of the last backups that were made, oldest first.
    made: VecDeque<String>,
    error: Option<Failure>,
    /// What the error said so far; the next lines may continue it.
    continued: Option<Said<'static>>,
}

/// An attempt of which no end was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub repo: u32,
    /// As requested.
    pub backup_type: BackupType,
    pub began: Option<DateTime<Utc>>,
    /// When its beginning was read.
    pub read_at: DateTime<Utc>,
    /// A part of the log in which its end may be was not read.
    pub may_have_ended: bool,
    /// No other backup of the stanza can run beside it.
    locks_stanza: bool,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// As requested; absent if its beginning was not read.
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

/// What a part of a log was read with.
pub struct Reading<'a> {
    pub read_at: DateTime<Utc>,
    /// When the last line was written.
    pub written_at: DateTime<Utc>,
    /// What a local time means; none if that is not known.
    pub clock: &'a dyn Fn(NaiveDateTime) -> Option<DateTime<Utc>>,
}

impl BackupLog {
    /// Reads whole lines that follow what was read before.
    pub fn read(&mut self, text: &str, reading: &Reading<'_>) {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        while let Some(text) = lines.next() {
            self.line(text, &mut lines, reading);
        }
    }

    /// Some of the log is not read, since it is too much or was removed.
    pub fn skip(&mut self) {
        for running in &mut self.running {
            running.may_have_ended = true;
        }
        self.unassigned.clear();
        self.error = None;
        self.continued = None;
    }

    /// The newest attempt for a repository of which no end was read.
    #[must_use]
    pub fn running(&self, repo: u32) -> Option<&Running> {
        self.running.iter().rev().find(|running| running.repo == repo)
    }

    /// Whether any attempt has no end yet.
    #[must_use]
    pub const fn is_any_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether an error was logged that may belong to an attempt without an end.
    #[must_use]
    pub const fn has_unassigned_failure(&self) -> bool {
        !self.unassigned.is_empty()
    }

    /// The last attempt for a repository that has ended. If it is the only one, those whose repository is not known count, too.
    #[must_use]
    pub fn ended(&self, repo: u32, is_only: bool) -> Option<&Ended> {
        let unknown = self.ended.get(&None).filter(|_| is_only);
        self.ended.get(&Some(repo)).into_iter().chain(unknown).max_by_key(|ended| ended.number)
    }

    /// Whether it tells that this backup was made, which then is no newer than the last attempt that it tells of.
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
            // Without times in the log, that of the file tells when the last line was written.
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
        // The details that level debug adds begin with a line.
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
            // Without times in the log.
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
            // The backup itself tells which one has made it.
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

    /// Whether only the newest attempt can hold a lock: an older one that needs the same has lost it.
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

    /// Gives what is not assigned to the attempts that are left, if there are no more of them.
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

    /// Ends an attempt, and forgets those before it that cannot be running any more since they would have kept it from running.
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
