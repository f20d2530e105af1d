//! Sorts the answers of a run into cells: one per stanza and repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::filter::Filter;
use super::super::snapshot::{Activity, Failure, Repo, RepoState, Snapshot, Stanza};
use super::{Answer, Reply, Target, unreadable_stanza};

/// The result of a run for one stanza in one repository.
#[derive(Debug)]
pub(super) enum Cell {
    /// An answer contains it.
    Facts(Box<Repo>),
    /// An answer with all stanzas of the repository does not contain it.
    NotListed(DateTime<Utc>),
    /// pgBackRest could not list the repository, so its absence means nothing.
    Unlistable { at: DateTime<Utc>, message: String, error: Option<&'static str> },
    /// No answer.
    Silent { at: DateTime<Utc>, failure: Failure },
    /// The repository is no longer configured.
    Gone,
}

/// All results of a run for one stanza.
#[derive(Debug, Default)]
pub(super) struct Cells<'a> {
    /// The stanza before the run.
    pub(super) previous: Option<&'a Stanza>,
    /// By repository.
    pub(super) replies: BTreeMap<u32, Cell>,
    /// Status code and message from an answer about all repositories.
    pub(super) over_all: Option<(i64, String)>,
    /// Backup and restore lock, if reported.
    pub(super) locks: Option<(Activity, Activity)>,
}

/// All stanzas that were known before or reported in the run.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) stanzas: BTreeMap<Arc<str>, Cells<'a>>,
    /// Stanzas without any facts that were asked for, or named, without an answer.
    pub(super) unanswered: BTreeMap<Arc<str>, (DateTime<Utc>, Failure)>,
    /// See [`super::Run::apart`].
    apart: &'a BTreeSet<Arc<str>>,
    listings: Vec<AllStanzasAnswer>,
    silent: bool,
}

/// An answer to a query for all stanzas.
#[derive(Debug)]
struct AllStanzasAnswer {
    at: DateTime<Utc>,
    repo: Option<u32>,
    named: BTreeSet<Arc<str>>,
    unreadable: Vec<Option<Arc<str>>>,
    /// Repositories that could not be listed, by message and error class.
    unlistable: BTreeMap<u32, (String, Option<&'static str>)>,
}

impl<'a> Board<'a> {
    pub(super) fn fill(
        previous: &'a Snapshot,
        answers: Vec<Answer>,
        filter: &Filter,
        apart: &'a BTreeSet<Arc<str>>,
    ) -> Self {
        let stanzas = previous
            .stanzas
            .iter()
            .filter(|stanza| filter.admits_stanza(&stanza.name))
            .map(|stanza| (stanza.name.clone(), Cells { previous: Some(stanza), ..Cells::default() }))
            .collect();
        let (unanswered, listings) = (BTreeMap::new(), Vec::new());
        let mut board = Self { stanzas, unanswered, apart, listings, silent: false };
        let mut rest = Vec::new();
        for answer in answers {
            match answer.reply {
                Reply::Stanzas { stanzas, unreadable } => {
                    board.take(&answer.target, answer.at, stanzas, unreadable, filter);
                }
                Reply::NotConfigured => rest.push((answer.target, answer.at, None)),
                Reply::Silent(failure) => rest.push((answer.target, answer.at, Some(failure))),
            }
        }
        // Only now all stanzas are known that a listing may have omitted.
        board.mark_unlisted();
        for (target, at, failure) in rest {
            board.mark_unanswered(&target, at, failure.as_ref());
        }
        let Self { stanzas, unanswered, .. } = &mut board;
        unanswered.retain(|name, _| {
            !stanzas.get(name).is_some_and(|cells| cells.previous.is_some() || !cells.replies.is_empty())
        });
        board
    }

    /// Whether the run has reported all existing stanzas.
    pub(super) fn listing_is_complete(&self, finished: bool) -> bool {
        let sure =
            |listing: &AllStanzasAnswer| listing.unreadable.is_empty() && listing.unlistable.is_empty();
        let over_all = |listing: &AllStanzasAnswer| listing.repo.is_none();
        self.listings.iter().any(|listing| over_all(listing) && sure(listing))
            || (finished && !self.silent && !self.listings.is_empty() && self.listings.iter().all(sure))
    }

    fn take(
        &mut self,
        target: &Target,
        at: DateTime<Utc>,
        stanzas: Vec<Stanza>,
        unreadable: Vec<Option<Arc<str>>>,
        filter: &Filter,
    ) {
        let is_listing = target.stanza.is_none();
        for name in unreadable.iter().flatten().filter(|name| !is_listing || !self.apart.contains(*name)) {
            self.unanswered.insert(name.clone(), (at, unreadable_stanza(Some(name))));
        }
        let counts = |stanza: &&Stanza| !self.apart.contains(&stanza.name);
        let unlistable = unlistable(&stanzas.iter().filter(counts).collect::<Vec<_>>());
        let mut listing =
            AllStanzasAnswer { at, repo: target.repo, named: BTreeSet::new(), unreadable, unlistable };
        for stanza in stanzas {
            listing.named.insert(stanza.name.clone());
            let is_about_it = !is_listing || !self.apart.contains(&stanza.name);
            if is_about_it && filter.admits_stanza(&stanza.name) {
                self.place(target, stanza, filter);
            }
        }
        if is_listing {
            self.listings.push(listing);
        }
    }

    fn place(&mut self, target: &Target, stanza: Stanza, filter: &Filter) {
        let cells = self.stanzas.entry(stanza.name.clone()).or_default();
        let (backup, restore) = cells.locks.unwrap_or_default();
        cells.locks = Some((either(backup, stanza.backup_lock), either(restore, stanza.restore_lock)));
        if target.repo.is_none() {
            cells.over_all = Some((stanza.status_code, stanza.status_message));
            for repo in cells.previous.iter().flat_map(|previous| &previous.repos) {
                cells.replies.entry(repo.key).or_insert(Cell::Gone);
            }
        }
        for repo in stanza.repos.into_iter().filter(|repo| filter.admits_repo(repo.key)) {
            // A query for one stanza reports it even if the repository has no trace of it; a listing does not.
            let isolated = target.stanza.is_some() && filter.lists_all();
            let without_trace = isolated && repo.state == RepoState::MissingStanzaPath;
            let key = repo.key;
            let cell =
                if without_trace { Cell::NotListed(repo.collected_at) } else { Cell::Facts(Box::new(repo)) };
            cells.replies.insert(key, cell);
        }
    }

    fn mark_unlisted(&mut self) {
        let Self { stanzas, listings, apart, .. } = self;
        for (name, cells) in stanzas.iter_mut().filter(|(name, _)| !apart.contains(*name)) {
            for listing in listings.iter().filter(|listing| !listing.named.contains(name)) {
                for key in keys(listing.repo, cells) {
                    let unlistable = listing.unlistable.get(&key);
                    cells.replies.entry(key).or_insert_with(|| match unlistable {
                        Some((message, error)) => {
                            Cell::Unlistable { at: listing.at, message: message.clone(), error: *error }
                        }
                        None => match listing.may_contain(name) {
                            Some(failure) => Cell::Silent { at: listing.at, failure },
                            None => Cell::NotListed(listing.at),
                        },
                    });
                }
            }
        }
    }

    fn mark_unanswered(&mut self, target: &Target, at: DateTime<Utc>, failure: Option<&Failure>) {
        self.silent |= failure.is_some();
        if let (Some(stanza), Some(failure)) = (&target.stanza, failure) {
            self.unanswered.entry(stanza.clone()).or_insert_with(|| (at, failure.clone()));
        }
        let Self { stanzas, apart, .. } = self;
        let asked_for = |name: &Arc<str>| {
            target.stanza.as_ref().map_or_else(|| !apart.contains(name), |stanza| stanza == name)
        };
        for (_, cells) in stanzas.iter_mut().filter(|(name, _)| asked_for(name)) {
            for key in keys(target.repo, cells) {
                let cell =
                    || failure.map_or(Cell::Gone, |failure| Cell::Silent { at, failure: failure.clone() });
                let reply = cells.replies.entry(key).or_insert_with(cell);
                // Its absence from a listing was to be confirmed.
                if target.stanza.is_some() && matches!(reply, Cell::NotListed(_)) {
                    *reply = cell();
                }
            }
        }
    }
}

impl AllStanzasAnswer {
    /// Why the stanza may be in this listing although it was not read there.
    fn may_contain(&self, name: &str) -> Option<Failure> {
        let is_it = |unreadable: &&Option<Arc<str>>| unreadable.as_deref().is_none_or(|it| it == name);
        let unreadable = self.unreadable.iter().find(is_it)?;
        Some(unreadable_stanza(unreadable.as_deref()))
    }
}

/// The repositories of a call: the requested one, or all known ones of the stanza.
fn keys(asked: Option<u32>, cells: &Cells<'_>) -> BTreeSet<u32> {
    if let Some(key) = asked {
        return BTreeSet::from([key]);
    }
    let previous = cells.previous.iter().flat_map(|stanza| stanza.repos.iter().map(|repo| repo.key));
    previous.chain(cells.replies.keys().copied()).collect()
}

/// Repositories in which every stanza has code 99. If pgBackRest cannot list a repository, it reports that for each
/// stanza that it found elsewhere, and for `[invalid]` if it found none; stanzas that are in no other repository are
/// missing.
fn unlistable(stanzas: &[&Stanza]) -> BTreeMap<u32, (String, Option<&'static str>)> {
    let repos = || stanzas.iter().flat_map(|stanza| &stanza.repos);
    let listed: BTreeSet<u32> =
        repos().filter(|repo| repo.state != RepoState::Other).map(|repo| repo.key).collect();
    repos()
        .filter(|repo| !listed.contains(&repo.key))
        .map(|repo| (repo.key, (repo.status_message.clone(), repo.error)))
        .collect()
}

/// Held if either is, with the longer progress.
fn either(one: Activity, other: Activity) -> Activity {
    let progress = [one.progress, other.progress].into_iter().flatten().max_by_key(|progress| progress.total);
    // Unknown is less than not held, and that less than held.
    Activity { held: one.held.max(other.held), since: one.since.or(other.since), progress }
}
