//! Whether stanzas, and queries as a whole, were answered.
//!
//! This is only about collection: a repository with code 99 has been answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::filter::{Filter, UNLISTED};
use super::super::snapshot::{Collection, Failure, ScopeHealth, ScopeKind};
use super::cells::{Cell, Cells};
use super::{Answer, Reply, Target, unreadable_stanza};

/// The result of a call or of several calls.
#[derive(Debug)]
pub(super) struct TargetOutcome {
    target: Target,
    at: DateTime<Utc>,
    failure: Option<Failure>,
}

/// The scopes of a run.
#[derive(Debug)]
pub(super) struct Course<'a> {
    pub(super) previous: &'a Collection,
    pub(super) outcomes: Vec<TargetOutcome>,
    pub(super) finished: bool,
    pub(super) listing_complete: bool,
    /// Stanzas that no longer exist according to answers.
    pub(super) disappeared: BTreeSet<Arc<str>>,
    /// The health of stanzas so far.
    pub(super) health: BTreeMap<Arc<str>, ScopeHealth>,
}

pub(super) fn outcomes(answers: &[Answer]) -> Vec<TargetOutcome> {
    let failure = |reply: &Reply| match reply {
        Reply::Silent(failure) => Some(failure.clone()),
        Reply::Stanzas { unreadable, .. } => {
            unreadable.first().map(|name| unreadable_stanza(name.as_deref()))
        }
        Reply::NotConfigured => None,
    };
    answers
        .iter()
        .map(|answer| TargetOutcome {
            target: answer.target.clone(),
            at: answer.at,
            failure: failure(&answer.reply),
        })
        .collect()
}

impl Course<'_> {
    /// Records the health of one stanza, if all of its repositories are known to have answered or not.
    pub(super) fn judge(&mut self, name: &Arc<str>, cells: &Cells<'_>) {
        if **name == *UNLISTED {
            return;
        }
        let before = self.previous.scopes.get(name);
        let all_known = cells
            .previous
            .iter()
            .flat_map(|stanza| &stanza.repos)
            .all(|repo| cells.replies.contains_key(&repo.key));
        let last_run = cells.replies.values().filter_map(Cell::at).max();
        let health = match last_run.filter(|_| self.finished || all_known) {
            None => before.cloned(),
            Some(last_run) => {
                let failure = cells.replies.values().find_map(|cell| match cell {
                    Cell::Silent { failure, .. } => Some(failure.clone()),
                    _ => None,
                });
                Some(health(ScopeKind::Stanza, failure.is_none(), failure, last_run, before))
            }
        };
        if let Some(health) = health {
            self.health.insert(name.clone(), health);
        }
    }

    /// Records that there was no answer about a stanza without facts. Unknown means neither ok nor missing.
    pub(super) fn judge_unanswered(&mut self, name: Arc<str>, at: DateTime<Utc>, failure: Failure) {
        let before = self.previous.scopes.get(&name);
        let health = || health(ScopeKind::Stanza, false, Some(failure), at, before);
        self.health.entry(name).or_insert_with(health);
    }

    /// A stanza with outdated facts has not been answered, whatever its repositories report.
    pub(super) fn health_of_stale(&mut self, name: &Arc<str>) {
        if let Some(health) = self.health.get_mut(name) {
            health.up = false;
        }
    }

    /// The health of all selected scopes.
    pub(super) fn scopes(mut self, filter: &Filter, now: DateTime<Utc>) -> BTreeMap<Arc<str>, ScopeHealth> {
        let mut scopes = std::mem::take(&mut self.health);
        scopes.retain(|name, _| !self.disappeared.contains(name));
        for (name, before) in &self.previous.scopes {
            let known = scopes.contains_key(name) || self.disappeared.contains(name);
            if before.kind == ScopeKind::Call || known || self.listing_complete || !filter.admits_stanza(name)
            {
                continue;
            }
            let last_run = if self.finished { now } else { before.last_run };
            scopes.insert(name.clone(), ScopeHealth { up: false, last_run, ..before.clone() });
        }
        for scope in filter.scopes() {
            let mut asked = self
                .outcomes
                .iter()
                .filter(|outcome| scope.stanza.is_none() || outcome.target.stanza == scope.stanza)
                .peekable();
            let before = self.previous.scopes.get(&scope.name);
            let health = if self.finished {
                let up = asked.peek().is_some();
                let (last_run, failure) = asked.fold((None, None), |(last_run, failure), outcome| {
                    (last_run.max(Some(outcome.at)), failure.or_else(|| outcome.failure.clone()))
                });
                let up = up && failure.is_none();
                Some(health(ScopeKind::Call, up, failure, last_run.unwrap_or(now), before))
            } else {
                // An included stanza is known as soon as it is answered; all stanzas only at the end.
                let own = scope.stanza.as_ref().and_then(|name| scopes.get(name));
                own.or(before).map(|health| ScopeHealth { kind: ScopeKind::Call, ..health.clone() })
            };
            if let Some(health) = health {
                scopes.insert(scope.name, health);
            }
        }
        scopes
    }
}

fn health(
    kind: ScopeKind,
    up: bool,
    failure: Option<Failure>,
    last_run: DateTime<Utc>,
    before: Option<&ScopeHealth>,
) -> ScopeHealth {
    let last_success = if up { Some(last_run) } else { before.and_then(|before| before.last_success) };
    ScopeHealth { kind, up, last_run, last_success, failure }
}

impl Cell {
    fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Facts(repo) => Some(repo.collected_at),
            Self::NotListed(at) | Self::Unlistable { at, .. } | Self::Silent { at, .. } => Some(*at),
            Self::Gone => None,
        }
    }
}
