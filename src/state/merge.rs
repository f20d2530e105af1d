//! Last snapshot and what came in since → new snapshot. Pure.
//!
//! An answer replaces what it speaks of; silence (and code 99, by which pgBackRest says that it could not look) keeps
//! the last good facts with the time at which they were read, until they are too old. Nothing is made up: every fact
//! in the result stands in an answer or in the last snapshot.

mod cells;
mod scopes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::filter::{Filter, UNLISTED};
use super::snapshot::{Activity, Collection, Failure, Repo, RepoState, Snapshot, Stanza, Version};
use super::wal_range;
use cells::{Board, Cell, Cells};

/// What one call asks for; none stands for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// One stanza.
    pub stanza: Option<Arc<str>>,
    /// One repository.
    pub repo: Option<u32>,
}

/// What came of asking for a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was asked for.
    pub target: Target,
    /// When the call ended.
    pub at: DateTime<Utc>,
    /// What it said.
    pub reply: Reply,
}

/// The three ways in which asking ends for good.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A document; `complete` unless parts of it could not be read.
    Stanzas {
        /// What could be read.
        stanzas: Vec<Stanza>,
        /// No stanza of the document was left out.
        complete: bool,
    },
    /// pgBackRest knows no repository of that number.
    NotConfigured,
    /// No answer, nor one for any part of the target that is not answered elsewhere in the run.
    Silent(Failure),
}

/// What a run has brought so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// In order of arrival.
    pub answers: Vec<Answer>,
    /// Nothing more will come.
    pub finished: bool,
    /// Version of the pgBackRest that answers.
    pub version: Option<Version>,
}

/// How answers are judged.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// What is looked at.
    pub filter: &'a Filter,
    /// Age at which facts that are not confirmed are dropped.
    pub max_staleness: TimeDelta,
    /// What the configuration names, where it can be read.
    pub configured: &'a Configured,
}

/// Stanzas and repositories that the configuration names. One that no repository lists is missing there, not gone: a
/// repository that is not mounted looks empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Names of stanzas.
    pub stanzas: BTreeSet<Arc<str>>,
    /// Numbers of repositories.
    pub repos: BTreeSet<u32>,
}

/// The snapshot that follows `previous`, which is the last one of the run before.
#[must_use]
pub fn merge(previous: &Snapshot, run: Run, policy: &Policy<'_>, now: DateTime<Utc>) -> Snapshot {
    let Run { answers, finished, version } = run;
    let outcomes = scopes::outcomes(&answers);
    let board = Board::fill(previous, answers, policy.filter);
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
    if course.listing_complete && finished {
        let missing = policy.configured.stanzas.iter().filter(|name| policy.filter.admits_stanza(name));
        for name in
            missing.filter(|name| stanzas.iter().all(|known| known.name != **name)).collect::<Vec<_>>()
        {
            stanzas.extend(missing_everywhere(name, policy, now));
        }
        stanzas.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let scopes = course.scopes(policy.filter, now);
    let wal = previous.collection.wal.clone();
    Snapshot { stanzas, collection: Collection { scopes, wal }, version }
}

enum Merged {
    Present(Stanza),
    /// Nothing was heard of it for so long that its last facts say nothing.
    Stale,
    /// Everything that could know of it answered, and does not.
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
        // It stands for an error of the moment and has no past.
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
    };
    if let Some(previous) = previous {
        count_archived(previous, &mut stanza);
    }
    Merged::Present(stanza)
}

/// Goes on counting the segments by which archive max grows.
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

/// A configured stanza that was never seen; none where the configuration names no repository that is looked at.
fn missing_everywhere(name: &Arc<str>, policy: &Policy<'_>, now: DateTime<Utc>) -> Option<Stanza> {
    let keys = policy.configured.repos.iter().copied().filter(|key| policy.filter.admits_repo(*key));
    let repos: Vec<Repo> = keys.map(|key| missing_stanza(key, None, now)).collect();
    let (status_code, status_message) = derived_status(&repos);
    let (backup_lock, restore_lock) = (Activity::default(), Activity::default());
    let stanza = Stanza { name: name.clone(), status_code, status_message, backup_lock, restore_lock, repos };
    (!stanza.repos.is_empty()).then_some(stanza)
}

fn missing_stanza(key: u32, before: Option<&Repo>, at: DateTime<Utc>) -> Repo {
    Repo {
        state: RepoState::MissingStanzaPath,
        status_code: Some(1),
        status_message: status_text(1).to_owned(),
        cipher: before.and_then(|repo| repo.cipher.clone()),
        ..nothing_known(key, at)
    }
}

/// One repository of a stanza; none where the repository is not configured any more.
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
            cipher: repo.cipher,
            ..nothing_known(key, repo.collected_at)
        };
    }
    Some(repo)
}

/// The new state with the facts that were known before, and their age.
fn with_facts_of(now: Repo, before: Option<&Repo>) -> Repo {
    let Some(before) = before else { return now };
    Repo {
        state: now.state,
        status_code: now.status_code,
        status_message: now.status_message,
        error: now.error,
        cipher: now.cipher.or_else(|| before.cipher.clone()),
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
        databases: Vec::new(),
        archives: Vec::new(),
        backups: Vec::new(),
        progress: None,
        in_progress_since: None,
        settings: None,
        wal: None,
        archived_segments: 0,
    }
}

/// A lock that is held without a break keeps the time at which it was first seen held; unheard of, it stays as it was.
fn lasting(before: Activity, now: Option<Activity>) -> Activity {
    let Some(mut now) = now else { return before };
    if now.held && before.held {
        now.since = before.since.or(now.since);
    }
    now
}

/// The status over repositories that were asked one by one, by pgBackRest's rule; one without an answer counts as 99.
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

/// pgBackRest's words for its status codes.
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
    /// The state of a repository that gave no answer.
    #[must_use]
    pub fn of_failure(failure: &Failure) -> Self {
        use super::snapshot::FailureReason::Timeout;
        if failure.reason == Timeout { Self::Timeout } else { Self::Other }
    }
}
