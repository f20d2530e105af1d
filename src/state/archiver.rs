//! The state of PostgreSQL's archiver, on this host or in the pod of the primary: waiting WAL, errors and dropped WAL, without a
//! connection to the database.
//!
//! PostgreSQL archives the oldest file first, and retries until `archive_command` succeeds. So one rejected file blocks all later
//! ones, until the disk is full, or until pgBackRest drops WAL because more than `archive-push-queue-max` is waiting. Dropped WAL
//! is missing from the archive, and the recovery window ends there until the next backup.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::wal::WalSegment;

mod observation;
mod queue;
#[cfg(test)]
mod tests;

pub use observation::{DroppedFiles, Next, Observation, Queue, Spool};

use queue::Sample;

/// How long an error is reported after it was seen: pgBackRest removes it before each retry.
const ERROR_LASTS: TimeDelta = TimeDelta::minutes(15);
/// A segment that every repository contains but that is still waiting after this time is rejected: PostgreSQL retries every minute.
const HELD_FOR: TimeDelta = TimeDelta::minutes(5);

/// The archiver of one stanza.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Archiver {
    /// When its files were read.
    pub observed_at: DateTime<Utc>,
    /// The pod whose files were read, in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
    /// Why the queue is unknown, and the remedy.
    pub problem: Option<String>,
    /// Why the spool is unknown, and the remedy.
    pub spool_problem: Option<String>,
    /// The waiting files; absent if unknown.
    pub queue: Option<Queue>,
    /// `archive-push-queue-max`.
    pub queue_limit_bytes: Option<u64>,
    /// How fast the queue grows; absent if it does not, or if that is not known yet.
    pub growth_bytes_per_second: Option<f64>,
    /// When the queue will exceed its limit at the current rate; in the past if it already has.
    pub drop_expected_at: Option<DateTime<Utc>>,
    /// Number of `.ok` files of the asynchronous `archive-push`; absent if unknown.
    pub pushed_files: Option<u64>,
    /// Errors of the asynchronous `archive-push` for waiting files.
    pub errors: Vec<PushError>,
    /// The file that pgBackRest always rejects.
    pub rejected: Option<Rejected>,
    /// WAL that was dropped, until there is a newer backup.
    pub dropped: Option<Dropped>,
    #[serde(skip)]
    samples: Vec<Sample>,
}

/// A failure of the asynchronous `archive-push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushError {
    /// The WAL file; absent if all are affected.
    pub file: Option<String>,
    /// pgBackRest's error class.
    pub class: &'static str,
    /// One line.
    pub message: String,
    pub seen_at: DateTime<Utc>,
}

/// A file that pgBackRest will always reject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    pub file: String,
    /// [`Reason::Mismatch`]: it belongs to another cluster than the stanza. [`Reason::ArchiveDuplicate`]: the archive contains a
    /// different segment with its name.
    pub reason: Reason,
    /// When it started waiting.
    pub since: Option<DateTime<Utc>>,
}

/// WAL that PostgreSQL considers archived although it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The first file; the recovery window ends before it.
    pub first: String,
    /// When the first was dropped.
    pub since: DateTime<Utc>,
    /// When the last was dropped.
    pub last_at: DateTime<Utc>,
}

/// The archive according to a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepoArchive {
    /// Whether it answered after the files were read.
    pub is_current: bool,
    /// System identifier of the current cluster of the stanza.
    pub system_id: Option<u64>,
    /// The first and the last segment of that cluster.
    pub range: Option<(WalSegment, WalSegment)>,
    /// When the newest backup started.
    pub newest_backup: Option<DateTime<Utc>>,
}

impl Archiver {
    /// Derives the state from the files, the previous state, and the repositories.
    #[must_use]
    pub fn of(observed: &Observation, previous: Option<&Self>, repos: &[RepoArchive]) -> Self {
        let queue = observed.queue.as_ref().ok();
        // After a failover, another server archives from other files.
        let same = previous.filter(|previous| previous.pod == observed.pod);
        let samples = queue::samples(same.map_or(&[], |previous| &previous.samples), observed);
        let growth = queue::growth(&samples);
        let limit = observed.queue_limit;
        let spool = observed.spool.as_ref().ok();
        let errors = errors(observed, same);
        Self {
            observed_at: observed.at,
            pod: observed.pod.clone(),
            problem: observed.queue.as_ref().err().cloned(),
            spool_problem: observed.spool.as_ref().err().cloned(),
            queue: queue.cloned(),
            queue_limit_bytes: limit,
            growth_bytes_per_second: growth,
            drop_expected_at: queue::drop_expected_at(observed, growth),
            pushed_files: spool.and_then(|spool| spool.pushed_files),
            rejected: queue.and_then(|queue| rejected(observed, queue, &errors, repos)),
            dropped: dropped(observed, (previous, same), repos),
            errors,
            samples,
        }
    }

    /// The next file to archive, unless this is a standby that does not archive.
    #[must_use]
    pub fn next(&self) -> Option<&Next> {
        self.queue.as_ref().filter(|queue| !queue.is_idle)?.next.as_ref()
    }

    /// Number of waiting files; None if unknown, or if this is a standby that does not archive.
    #[must_use]
    pub fn waiting_files(&self) -> Option<u64> {
        self.queue.as_ref().filter(|queue| !queue.is_idle).map(|queue| queue.files)
    }

    /// Number of waiting bytes, as pgBackRest computes it.
    #[must_use]
    pub fn queued_bytes(&self) -> Option<u64> {
        self.queue.as_ref().filter(|queue| !queue.is_idle)?.bytes()
    }

    /// Whether both queue and spool could be read.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.problem.is_none() && self.spool_problem.is_none()
    }
}

/// The errors for waiting files: current and recent ones.
fn errors(observed: &Observation, previous: Option<&Archiver>) -> Vec<PushError> {
    let Ok(queue) = &observed.queue else { return Vec::new() };
    if queue.files == 0 {
        return Vec::new();
    }
    let mut errors = observed.spool.as_ref().map_or_else(|_| Vec::new(), |spool| spool.errors.clone());
    for known in previous.iter().flat_map(|previous| &previous.errors) {
        if !errors.iter().any(|error| error.file == known.file) {
            errors.push(known.clone());
        }
    }
    errors.retain(|error| {
        let age = observed.at - error.seen_at;
        // PostgreSQL archives in the order of names, so files before the next one have been archived.
        let waits = match (&error.file, &queue.next) {
            (Some(file), Some(next)) => *file >= next.file,
            (_, next) => next.is_some(),
        };
        waits && age < ERROR_LASTS && age > -ERROR_LASTS
    });
    errors
}

fn rejected(
    observed: &Observation,
    queue: &Queue,
    errors: &[PushError],
    repos: &[RepoArchive],
) -> Option<Rejected> {
    let next = queue.next.as_ref().filter(|_| !queue.is_idle)?;
    let because = |reason| Some(Rejected { file: next.file.clone(), reason, since: next.since });
    let of_next = errors.iter().filter(|error| error.file.as_ref().is_none_or(|file| *file == next.file));
    let reasons = of_next.filter_map(|error| exit_code::code_of(error.class)).map(exit_code::reason);
    let mut reasons = reasons.filter(|reason| matches!(reason, Reason::Mismatch | Reason::ArchiveDuplicate));
    if let Some(reason) = reasons.next() {
        return because(reason);
    }
    let is_of_another =
        |repo: &RepoArchive| repo.is_current && repo.system_id.is_some() && repo.system_id != queue.system_id;
    if queue.system_id.is_some() && repos.iter().any(is_of_another) {
        return because(Reason::Mismatch);
    }
    let segment = WalSegment::parse(&next.file)?;
    let waits_long = next.since.is_some_and(|since| observed.at - since > HELD_FOR);
    let is_held = |repo: &RepoArchive| {
        let holds = |(first, last)| first <= segment && segment <= last && segment.timeline == last.timeline;
        repo.is_current && repo.range.is_some_and(holds)
    };
    let is_held = waits_long && !repos.is_empty() && repos.iter().all(is_held);
    if is_held { because(Reason::ArchiveDuplicate) } else { None }
}

/// Dropped WAL: according to the spool, or because it has left a full queue but is in no repository. What is known from before stays,
/// whichever server dropped it. `same` is the previous state of the same server.
fn dropped(
    observed: &Observation,
    (previous, same): (Option<&Archiver>, Option<&Archiver>),
    repos: &[RepoArchive],
) -> Option<Dropped> {
    let is_bridged = |dropped: &Dropped| {
        repos.iter().filter_map(|repo| repo.newest_backup).any(|began| began > dropped.last_at)
    };
    let in_spool = observed.spool.as_ref().ok().and_then(|spool| spool.dropped.as_ref());
    let in_spool = in_spool.map(|files| Dropped {
        first: files.first.clone(),
        since: files.first_at,
        last_at: files.last_at,
    });
    let vanished = same.and_then(|previous| vanished(observed, previous, repos));
    let known = previous.and_then(|previous| previous.dropped.clone());
    let all = known.into_iter().chain(in_spool).chain(vanished).filter(|dropped| !is_bridged(dropped));
    all.reduce(|one, other| {
        let last_at = one.last_at.max(other.last_at);
        let first = if other.first < one.first { other } else { one };
        Dropped { last_at, ..first }
    })
}

/// The file that was first last time, if it has left a full queue while no repository contains it or answers. Without asynchronous
/// archiving, only the log shows dropped WAL.
fn vanished(observed: &Observation, previous: &Archiver, repos: &[RepoArchive]) -> Option<Dropped> {
    let (queue, before) = (observed.queue.as_ref().ok()?, previous.next()?);
    let segment = WalSegment::parse(&before.file)?;
    let is_gone = queue.next.as_ref().is_none_or(|next| next.file > before.file);
    let is_full = queue
        .bytes()
        .zip(queue.file_bytes)
        .zip(observed.queue_limit)
        .is_some_and(|((queued, one), limit)| queued.saturating_add(one) > limit);
    let lacks = |repo: &RepoArchive| match repo.range {
        _ if !repo.is_current => true,
        Some((_, last)) => last.timeline == segment.timeline && last < segment,
        None => true,
    };
    (is_gone && is_full && !queue.is_idle && !repos.is_empty() && repos.iter().all(lacks)).then(|| Dropped {
        first: before.file.clone(),
        since: observed.at,
        last_at: observed.at,
    })
}

/// Time between two observations by a monotonic clock.
fn passed(from: Duration, to: Duration) -> Option<f64> {
    to.checked_sub(from).map(|passed| passed.as_secs_f64())
}
