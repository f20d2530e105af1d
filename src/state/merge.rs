//! Merges the last snapshot with new answers into a new snapshot. Pure.
//!
//! An answer replaces the facts that it covers; without one (or with code 99, by which pgBackRest reports that it
//! could not read), the last facts are kept with the time when they were read, until they are too old. Every fact in
//! the result is from an answer or the last snapshot.

mod cells;
mod scopes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::filter::{Filter, UNLISTED};
use super::snapshot::{
    Activity, Backups, Collection, Failure, FailureReason, Repo, RepoState, Snapshot, Stanza, Version,
};
use super::wal_range;
use cells::{Board, Cell, Cells};

/// The target of a call; `None` means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// One stanza.
    pub stanza: Option<Arc<str>>,
    /// One repository.
    pub repo: Option<u32>,
}

/// The result for a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The target.
    pub target: Target,
    /// When the call ended.
    pub at: DateTime<Utc>,
    /// The reply.
    pub reply: Reply,
}

/// The three final results.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A document.
    Stanzas {
        /// The readable stanzas.
        stanzas: Vec<Stanza>,
        /// The selected stanzas that could not be read; without a name if not even that could be.
        unreadable: Vec<Option<Arc<str>>>,
    },
    /// The repository is not configured.
    NotConfigured,
    /// No answer, neither for the target nor for parts of it that are not answered elsewhere in the run.
    Silent(Failure),
}

/// The results of a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// In order of arrival.
    pub answers: Vec<Answer>,
    /// Whether the run is finished.
    pub finished: bool,
    /// Version of pgBackRest.
    pub version: Option<Version>,
    /// Stanzas with their own repository options, which `info` reads only if the stanza is queried by name. A listing proves nothing
    /// about them.
    pub apart: BTreeSet<Arc<str>>,
}

/// How answers are merged.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The selected stanzas and repositories.
    pub filter: &'a Filter,
    /// Maximum age of facts without confirmation.
    pub max_staleness: TimeDelta,
    /// Configured stanzas and repositories, if the configuration can be read.
    pub configured: &'a Configured,
}

/// Configured stanzas and repositories. A stanza that no repository lists is missing there, not deleted: a repository
/// that is not mounted looks empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Names of stanzas.
    pub stanzas: BTreeSet<Arc<str>>,
    /// Numbers of repositories.
    pub repos: BTreeSet<u32>,
}

/// The snapshot after `previous`, which is the last one of the previous run.
#[must_use]
pub fn merge(previous: &Snapshot, run: Run, policy: &Policy<'_>, now: DateTime<Utc>) -> Snapshot {
    let Run { answers, finished, version, apart } = run;
    let outcomes = scopes::outcomes(&answers);
    let board = Board::fill(previous, answers, policy.filter, &apart);
    let mut course = scopes::Course {
        previous: &previous.collection,
        outcomes,
        finished,
        listing_complete: board.listing_is_complete(finished),
        disappeared: BTreeSet::new(),
        health: BTreeMap::new(),
    };
    let mut stanzas = Vec::with_capacity(board.stanzas.len());
    for (name, cells) in board.stanzas {
        course.judge(&name, &cells);
        match stanza(&name, cells, finished, policy, now) {
            Merged::Present(stanza) => stanzas.push(stanza),
            Merged::Stale => course.health_of_stale(&name),
            Merged::Disappeared => {
                course.disappeared.insert(name);
            }
        }
    }
    for (name, (at, failure)) in board.unanswered {
        course.judge_unanswered(name, at, failure);
    }
    if course.listing_complete && finished {
        let named: BTreeSet<Arc<str>> = stanzas.iter().map(|stanza| stanza.name.clone()).collect();
        let missing = policy.configured.stanzas.iter().filter(|name| policy.filter.admits_stanza(name));
        let is_known = |name: &Arc<str>| named.contains(name) || course.health.contains_key(name);
        for name in missing.filter(|name| !is_known(name) && !apart.contains(*name)) {
            stanzas.extend(missing_everywhere(name, policy, now));
        }
        stanzas.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let scopes = course.scopes(policy.filter, now);
    let (wal, configuration) = (previous.collection.wal.clone(), previous.collection.configuration.clone());
    let collection = Collection { scopes, wal, configuration, restore_tests: None, verifications: None };
    Snapshot { stanzas, collection, version, archivers: previous.archivers.clone() }
}

enum Merged {
    Present(Stanza),
    /// There was no answer for so long that its last facts are worthless.
    Stale,
    /// All repositories answered without it.
    Disappeared,
}

fn stanza(
    name: &Arc<str>,
    cells: Cells<'_>,
    finished: bool,
    policy: &Policy<'_>,
    now: DateTime<Utc>,
) -> Merged {
    let Cells { previous, replies, over_all, locks } = cells;
    let heard = !replies.is_empty();
    let named = replies.values().any(|cell| matches!(cell, Cell::Facts(_)));
    let mut cells: BTreeMap<u32, Option<Cell>> =
        replies.into_iter().map(|(key, cell)| (key, Some(cell))).collect();
    for repo in previous.iter().flat_map(|stanza| &stanza.repos) {
        if policy.filter.admits_repo(repo.key) {
            cells.entry(repo.key).or_default();
        }
    }
    if &**name == UNLISTED {
        // It represents a current error and has no history.
        cells.retain(|_, cell| match cell {
            Some(cell) => matches!(cell, Cell::Facts(_)),
            None => !finished,
        });
    }
    let not_listed = cells.values().filter(|cell| matches!(cell, Some(Cell::NotListed(_)))).count();
    let repos: Vec<Repo> = cells
        .into_iter()
        .filter_map(|(key, cell)| {
            let before = previous.and_then(|stanza| stanza.repo(key));
            repo(key, before, cell, policy, now)
        })
        .collect();
    let is_configured = policy.configured.stanzas.contains(name);
    if repos.is_empty() || (repos.len() == not_listed && !is_configured) {
        return Merged::Disappeared;
    }
    let too_old = |repo: &Repo| now - repo.collected_at > policy.max_staleness;
    if !named && repos.iter().all(too_old) {
        return Merged::Stale;
    }
    let (status_code, status_message) = match (over_all, previous) {
        (Some(given), _) => given,
        (None, Some(previous)) if !heard => (previous.status_code, previous.status_message.clone()),
        _ => derived_status(&repos),
    };
    let activity = |now: Option<Activity>, of: fn(&Stanza) -> Activity| {
        lasting(previous.map(of).unwrap_or_default(), now)
    };
    let mut stanza = Stanza {
        name: name.clone(),
        status_code,
        status_message,
        backup_lock: activity(locks.map(|locks| locks.0), |stanza| stanza.backup_lock),
        restore_lock: activity(locks.map(|locks| locks.1), |stanza| stanza.restore_lock),
        repos,
        other_program: None,
        stop_files: None,
    };
    if let Some(previous) = previous {
        count_archived(previous, &mut stanza);
    }
    Merged::Present(stanza)
}

/// Adds the growth of archive max to the count of segments.
fn count_archived(previous: &Stanza, stanza: &mut Stanza) {
    let counted = |repo: &Repo| {
        let before = previous.repo(repo.key)?;
        let grown = wal_range::growth((previous, before), (stanza, repo));
        Some(before.archived_segments.saturating_add(grown))
    };
    let counts: Vec<u64> = stanza.repos.iter().map(|repo| counted(repo).unwrap_or(0)).collect();
    for (repo, count) in stanza.repos.iter_mut().zip(counts) {
        repo.archived_segments = count;
    }
}

/// A configured stanza that was never seen; `None` if no configured repository is selected.
fn missing_everywhere(name: &Arc<str>, policy: &Policy<'_>, now: DateTime<Utc>) -> Option<Stanza> {
    let keys = policy.configured.repos.iter().copied().filter(|key| policy.filter.admits_repo(*key));
    let repos: Vec<Repo> = keys.map(|key| missing_stanza(key, None, now)).collect();
    let (status_code, status_message) = derived_status(&repos);
    let (backup_lock, restore_lock) = (Activity::default(), Activity::default());
    let stanza = Stanza {
        name: name.clone(),
        status_code,
        status_message,
        backup_lock,
        restore_lock,
        repos,
        other_program: None,
        stop_files: None,
    };
    (!stanza.repos.is_empty()).then_some(stanza)
}

fn missing_stanza(key: u32, before: Option<&Repo>, at: DateTime<Utc>) -> Repo {
    Repo {
        state: RepoState::MissingStanzaPath,
        status_code: Some(1),
        status_message: status_text(1).to_owned(),
        cipher: before.and_then(|repo| repo.cipher.clone()),
        printed_cipher: before.and_then(|repo| repo.printed_cipher.clone()),
        ..nothing_known(key, at)
    }
}

/// One repository of a stanza; `None` if the repository is no longer configured.
fn repo(
    key: u32,
    before: Option<&Repo>,
    cell: Option<Cell>,
    policy: &Policy<'_>,
    now: DateTime<Utc>,
) -> Option<Repo> {
    let mut repo = match cell {
        None => before?.clone(),
        Some(Cell::Gone) => return None,
        Some(Cell::Facts(mut repo)) => {
            if let (Some(before), Some(_)) = (before, repo.progress) {
                repo.in_progress_since = before.in_progress_since.or(repo.in_progress_since);
            }
            if repo.state != RepoState::Other || repo.has_facts() {
                return Some(*repo);
            }
            let progress = (repo.progress, repo.in_progress_since);
            let mut repo = with_facts_of(*repo, before);
            (repo.progress, repo.in_progress_since) = progress;
            repo
        }
        Some(Cell::NotListed(at)) => missing_stanza(key, before, at),
        Some(Cell::Unlistable { at, message, error }) => with_facts_of(
            Repo { status_code: Some(99), status_message: message, error, ..nothing_known(key, at) },
            before,
        ),
        Some(Cell::Silent { at, failure }) => with_facts_of(
            Repo {
                state: RepoState::of_failure(&failure),
                status_message: failure.message,
                ..nothing_known(key, at)
            },
            before,
        ),
    };
    if now - repo.collected_at > policy.max_staleness {
        repo = Repo {
            state: repo.state,
            status_code: repo.status_code,
            status_message: repo.status_message,
            error: repo.error,
            printed_cipher: repo.printed_cipher,
            ..nothing_known(key, repo.collected_at)
        };
    }
    Some(repo)
}

/// The new state with the previous facts and their age.
fn with_facts_of(now: Repo, before: Option<&Repo>) -> Repo {
    let Some(before) = before else { return now };
    Repo {
        state: now.state,
        status_code: now.status_code,
        status_message: now.status_message,
        error: now.error,
        cipher: now.cipher.or_else(|| before.cipher.clone()),
        printed_cipher: now.printed_cipher.or_else(|| before.printed_cipher.clone()),
        ..before.clone()
    }
}

fn nothing_known(key: u32, at: DateTime<Utc>) -> Repo {
    Repo {
        key,
        state: RepoState::Other,
        status_code: None,
        status_message: String::new(),
        error: None,
        collected_at: at,
        cipher: None,
        printed_cipher: None,
        databases: Vec::new(),
        archives: Vec::new(),
        backups: Backups::default(),
        progress: None,
        in_progress_since: None,
        settings: None,
        expiry: None,
        expiry_blocked: None,
        last_attempt: None,
        watched: None,
        wal: None,
        leftovers: None,
        restore_tests: None,
        verifications: None,
        archived_segments: 0,
    }
}

/// Why a stanza of a document is unknown.
fn unreadable_stanza(name: Option<&str>) -> Failure {
    let what = name.map_or_else(|| "a stanza without a name".to_owned(), |name| format!("stanza {name}"));
    let message =
        format!("pgbackrest info returned data about {what} that cannot be read; run it manually to see it");
    Failure::new(FailureReason::Parse, message)
}

/// A lock that is still held keeps the time when it was first seen; without an answer, it is unchanged.
fn lasting(before: Activity, now: Option<Activity>) -> Activity {
    let Some(mut now) = now else { return before };
    if now.held == Some(true) && before.held == Some(true) {
        now.since = before.since.or(now.since);
    }
    now
}

/// The overall status of repositories that were queried individually, by pgBackRest's rule; no answer counts as 99.
fn derived_status(repos: &[Repo]) -> (i64, String) {
    let mut current = repos
        .iter()
        .filter(|repo| repo.status_code.is_some() && repo.state != RepoState::Other)
        .filter_map(Repo::current_database)
        .map(|database| (database.system_id, &database.version));
    let first = current.next();
    if current.any(|other| Some(other) != first) {
        return (5, status_text(5).to_owned());
    }
    let mut codes = repos.iter().map(|repo| repo.status_code.unwrap_or(99));
    let first = codes.next().unwrap_or(99);
    let code = if codes.all(|code| code == first) { first } else { 4 };
    (code, status_text(code).to_owned())
}

/// pgBackRest's messages for its status codes.
const fn status_text(code: i64) -> &'static str {
    match code {
        0 => "ok",
        1 => "missing stanza path",
        2 => "no valid backups",
        3 => "missing stanza data",
        4 => "different across repos",
        5 => "database mismatch across repos",
        6 => "requested backup not found",
        _ => "other",
    }
}

impl RepoState {
    /// The state of a repository that did not answer.
    #[must_use]
    pub fn of_failure(failure: &Failure) -> Self {
        if failure.reason == FailureReason::Timeout { Self::Timeout } else { Self::Other }
    }
}
