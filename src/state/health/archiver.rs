//! Problems of the archiver, in sentences.

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::exit_code::Reason;

use super::super::archiver::{Archiver, Dropped, PushError, Rejected};
use super::super::human;

/// A file that waits longer than this is a problem.
const WAITS_LONG: TimeDelta = TimeDelta::minutes(10);
/// WAL that will be dropped sooner than this is a problem.
const DROP_NOTICE: TimeDelta = TimeDelta::hours(12);
/// Maximum characters of a message.
const MESSAGE_LIMIT: usize = 200;
/// Maximum number of errors in the list.
const ERROR_LIMIT: usize = 3;

/// The problems, the most important first.
pub(super) fn sentences(archiver: &Archiver, now: DateTime<Utc>) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(archiver.dropped.as_ref().map(dropped));
    all.extend(archiver.rejected.as_ref().map(|rejected| self::rejected(rejected, now)));
    all.extend(full(archiver, now));
    if archiver.rejected.is_none() {
        all.extend(waiting(archiver));
    }
    all.extend(archiver.errors.iter().take(ERROR_LIMIT).map(error));
    let problems = [&archiver.problem, &archiver.spool_problem];
    let mut reasons = problems.into_iter().flatten().collect::<Vec<_>>();
    reasons.dedup();
    all.extend(reasons.into_iter().map(|problem| {
        format!("The state of the archiver is unknown: {}", human::line(problem, MESSAGE_LIMIT))
    }));
    all
}

fn dropped(dropped: &Dropped) -> String {
    format!(
        "WAL starting with {} was dropped at {} instead of archived, because more than archive-push-queue-max was waiting: the recovery \
         window ends before it; take a full backup as soon as archiving works",
        dropped.first,
        human::instant(dropped.since),
    )
}

fn rejected(rejected: &Rejected, now: DateTime<Utc>) -> String {
    let why = match rejected.reason {
        Reason::ArchiveDuplicate => {
            "the archive contains a different segment with this name; check whether two servers archive to the stanza"
        }
        _ => {
            "it belongs to another PostgreSQL cluster than the stanza; run stanza-upgrade if the cluster was upgraded or recreated, or archive to another stanza"
        }
    };
    let is = rejected.since.map_or_else(
        || "is rejected".to_owned(),
        |since| format!("has been rejected for {}", human::duration(now - since)),
    );
    format!(
        "WAL file {} {is}: {why}. Neither this file nor later WAL is archived, so the recovery window ends before it",
        rejected.file
    )
}

fn full(archiver: &Archiver, now: DateTime<Utc>) -> Option<String> {
    let expected = archiver.drop_expected_at?;
    let (queued, limit) = (archiver.queued_bytes()?, archiver.queue_limit_bytes?);
    let of =
        format!("{} of at most {} are waiting to be archived", human::bytes(queued), human::bytes(limit));
    if queued > limit {
        return Some(format!("{of}: pgBackRest drops WAL (archive-push-queue-max)"));
    }
    (expected - now < DROP_NOTICE).then(|| {
        let left = human::duration(expected - now);
        format!("{of}: pgBackRest will drop WAL in {left} if this continues (archive-push-queue-max)")
    })
}

fn waiting(archiver: &Archiver) -> Option<String> {
    // Not until now: it may have been archived since.
    let waited = archiver.observed_at - archiver.next()?.since?;
    (waited > WAITS_LONG).then(|| {
        format!(
            "{}, the first for {}: archiving does not work",
            waiting_words(archiver),
            human::duration(waited)
        )
    })
}

fn error(error: &PushError) -> String {
    let file = error.file.as_deref().unwrap_or("WAL");
    format!("archive-push failed for {file}: {}: {}", error.class, human::line(&error.message, MESSAGE_LIMIT))
}

/// `3 WAL files are waiting to be archived`.
fn waiting_words(archiver: &Archiver) -> String {
    let files = archiver.waiting_files().unwrap_or_default();
    let more =
        if archiver.queue.as_ref().is_some_and(|queue| queue.is_truncated) { "more than " } else { "" };
    let wait = if files == 1 { "is waiting" } else { "are waiting" };
    format!("{more}{} {wait} to be archived", human::count(files, "WAL file"))
}

/// Why the recovery window ends, to be shown next to its end.
#[must_use]
pub const fn window_end(archiver: &Archiver) -> Option<&'static str> {
    match (&archiver.dropped, &archiver.rejected) {
        (Some(_), _) => Some("later WAL was dropped"),
        (None, Some(_)) => Some("later WAL is rejected"),
        (None, None) => None,
    }
}

/// The state of the archiver in one line, without an assessment.
#[must_use]
pub fn archiver_line(archiver: &Archiver, now: DateTime<Utc>) -> String {
    let Some(queue) = &archiver.queue else { return "unknown".to_owned() };
    if queue.is_idle {
        return "standby, does not archive".to_owned();
    }
    if queue.files == 0 {
        return "no WAL is waiting to be archived".to_owned();
    }
    let mut parts = vec![waiting_words(archiver)];
    if let Some(next) = &queue.next {
        let wait =
            next.since.map_or_else(String::new, |since| format!(" for {}", human::duration(now - since)));
        parts.push(format!("the first{wait} ({})", next.file));
    }
    match (archiver.queued_bytes(), archiver.queue_limit_bytes) {
        (Some(queued), Some(limit)) => {
            parts.push(format!("{} of at most {}", human::bytes(queued), human::bytes(limit)));
        }
        (Some(queued), None) => parts.push(human::bytes(queued)),
        (None, _) => {}
    }
    if let Some(growth) = archiver.growth_bytes_per_second {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "growth is positive")]
        let hourly = (growth * 3600.0) as u64;
        parts.push(format!("growing by {} per hour", human::bytes(hourly)));
    }
    parts.join(", ")
}
