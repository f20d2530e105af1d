//! Which calls of `info` a collection makes, in which order, and what follows from how they end. Pure: it makes no call.
//!
//! On a host a run begins with one call for everything. What fails is asked again in smaller parts: each repository by
//! itself, then, in a repository that fails, each stanza by itself. The next run begins with the parts that answered in
//! this one, so that a lasting hang costs one timeout per run, and returns to larger parts once all parts have answered.
//!
//! In a cluster in Kubernetes the repositories are chosen from the start, so that each is asked for by itself.

mod stanza_queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::state::filter::Filter;
use crate::state::merge::{Reply, Target};
use crate::state::snapshot::{Failure, FailureReason};

use stanza_queue::{StanzaQueue, unreachable};

/// Repositories that are tried where neither the last answers nor the configuration tell which there are.
const USUAL_REPOS: [u32; 4] = [1, 2, 3, 4];

/// Binary logarithm of the most runs for which something that failed as a whole is asked in parts without a new try.
const MAX_PATIENCE: u32 = 5;

const GIVEN_UP: &str =
    "skipped in this run: it hung in the last call, and other hanging calls have used up the time";

/// What a run leaves for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanState {
    /// What must be asked repository by repository: all stanzas (none), or an included one.
    split: BTreeSet<Option<Arc<str>>>,
    /// Repositories (none: all at once) that must be asked stanza by stanza.
    by_stanza: BTreeSet<Option<u32>>,
    /// Targets for several things at once that failed: how often in a row, and in which run last.
    failed: BTreeMap<Target, (u32, u64)>,
    /// Targets that hung when last asked, with the number of that run.
    hung: BTreeMap<Target, u64>,
    /// Runs so far.
    runs: u64,
}

/// What is known to exist, from the last answers and the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownTargets {
    /// Names of stanzas.
    pub stanzas: BTreeSet<Arc<str>>,
    /// Numbers of repositories.
    pub repos: BTreeSet<u32>,
    /// pgBackRest understands `--repo` for `info` (2.32 and later).
    pub repo_option: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// With a document that names these stanzas.
    Answered(BTreeSet<Arc<str>>),
    /// pgBackRest refused the repository number.
    NotConfigured(Failure),
    /// Without a document, for a reason that smaller calls need not share.
    Failed(Failure),
    /// Without a document, for a reason that every call would share.
    Hopeless(Failure),
}

/// One run.
#[derive(Debug)]
pub struct Plan {
    known: KnownTargets,
    max_parallel: usize,
    /// All stanzas are asked for; else the included ones only.
    lists_all: bool,
    /// Repositories chosen by the filter, which rules out calls for all repositories.
    chosen_repos: bool,
    before: PlanState,
    after: PlanState,
    waiting: BTreeSet<(Urgency, Target)>,
    running: BTreeSet<Target>,
    /// Calls for all stanzas of a repository that failed and wait for names to be isolated by.
    failed_whole: BTreeMap<Option<u32>, Failure>,
    stanza_queues: BTreeMap<Option<u32>, StanzaQueue>,
    not_configured: Vec<(Target, Failure)>,
    repo_answered: bool,
    unanswered: Vec<(Target, Reply)>,
}

/// Order of calls: repositories in which nothing hung, then what itself did not hang, then what was not asked for longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Urgency {
    hung_nearby: bool,
    hung_in_run: u64,
}

impl PlanState {
    /// Whether it is time to ask again for several things at once that failed: after two runs, then four and so on.
    fn may_retry(&self, target: &Target) -> bool {
        let waited = |(failures, run): &(u32, u64)| self.runs + 1 >= run + (1 << failures.min(&MAX_PATIENCE));
        self.failed.get(target).is_none_or(waited)
    }
}

impl Plan {
    /// Begins a run where the one before came through.
    #[must_use]
    pub fn begin(state: &PlanState, mut known: KnownTargets, filter: &Filter, max_parallel: usize) -> Self {
        known.stanzas.retain(|name| filter.admits_stanza(name));
        if !filter.repos().is_empty() {
            known.repos = filter.repos().iter().copied().collect();
        } else if known.repos.is_empty() {
            known.repos.extend(USUAL_REPOS);
        }
        // The unnumbered repository of old versions cannot be asked for.
        known.repos.remove(&0);
        let mut plan = Self {
            chosen_repos: !filter.repos().is_empty() && known.repo_option,
            known,
            max_parallel: max_parallel.max(1),
            lists_all: filter.lists_all(),
            before: state.clone(),
            after: PlanState { runs: state.runs + 1, failed: state.failed.clone(), ..PlanState::default() },
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            failed_whole: BTreeMap::new(),
            stanza_queues: BTreeMap::new(),
            not_configured: Vec::new(),
            repo_answered: false,
            unanswered: Vec::new(),
        };
        for scope in filter.scopes() {
            let whole = Target { stanza: scope.stanza.clone(), repo: None };
            let in_parts = state.split.contains(&scope.stanza) || !state.may_retry(&whole);
            match scope.stanza {
                Some(stanza) if (in_parts && plan.known.repo_option) || plan.chosen_repos => {
                    plan.split_stanza(&stanza);
                }
                Some(_) => plan.enqueue(whole),
                None if (in_parts && plan.known.repo_option) || plan.chosen_repos => plan.split_all(),
                None => plan.ask_whole(None),
            }
        }
        plan
    }

    /// The next call to start, if one may start now. It runs until [`Plan::finished`] says otherwise.
    pub fn start_next(&mut self) -> Option<Target> {
        if self.running.len() >= self.max_parallel {
            return None;
        }
        let next = self.waiting.iter().find(|(_, target)| !self.must_wait(target))?.clone();
        self.waiting.remove(&next);
        let (_, target) = next;
        if target.stanza.is_some() {
            self.stanza_queues.entry(target.repo).or_default().started();
        }
        self.running.insert(target.clone());
        Some(target)
    }

    /// Whether a target hung when it was last asked.
    #[must_use]
    pub fn is_suspect(&self, target: &Target) -> bool {
        self.before.hung.contains_key(target)
    }

    /// Whether nothing runs and nothing is left to be started.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Takes note of the end of a call.
    pub fn finished(&mut self, target: &Target, outcome: CallOutcome) {
        self.running.remove(target);
        match outcome {
            CallOutcome::Answered(names) => self.answered(target, &names),
            CallOutcome::NotConfigured(failure) if target.repo.is_some() => {
                if target.stanza.is_some() {
                    self.stanza_queues.entry(target.repo).or_default().answered();
                }
                self.not_configured.push((target.clone(), failure));
            }
            CallOutcome::Failed(failure) => self.failed(target, failure),
            CallOutcome::NotConfigured(failure) | CallOutcome::Hopeless(failure) => {
                self.silent(target, failure);
                if target.stanza.is_some() {
                    self.trip(target.repo);
                }
            }
        }
        self.isolate_failed_repos();
        if self.is_done() {
            self.resolve_not_configured();
        }
    }

    /// Gives up on calls that hung last time and have not been started: the run has taken long enough.
    pub fn abandon_suspects(&mut self) {
        let hung = self.before.hung.clone();
        for (urgency, target) in self.take_waiting(|target| hung.contains_key(target)) {
            // As it was not asked now, it comes first among its like in the next run.
            self.after.hung.insert(target.clone(), urgency.hung_in_run);
            self.silent(&target, Failure::new(FailureReason::Timeout, GIVEN_UP));
        }
        if self.is_done() {
            self.resolve_not_configured();
        }
    }

    /// The targets that are known to get no document in this run, since the last call of this.
    pub fn take_unanswered(&mut self) -> Vec<(Target, Reply)> {
        std::mem::take(&mut self.unanswered)
    }

    /// What the next run should know.
    #[must_use]
    pub fn into_state(self) -> PlanState {
        self.after
    }

    fn enqueue(&mut self, target: Target) {
        let given_up = |queue: &StanzaQueue| queue.given_up && target.stanza.is_some();
        if self.stanza_queues.get(&target.repo).is_some_and(given_up) {
            self.silent(&target, unreachable(target.repo));
            return;
        }
        let hung_in_run = self.before.hung.get(&target).copied().unwrap_or(0);
        let hung_nearby = self.before.hung.keys().any(|hung| hung.repo == target.repo);
        self.waiting.insert((Urgency { hung_nearby, hung_in_run }, target));
    }

    fn take_waiting(&mut self, which: impl Fn(&Target) -> bool) -> BTreeSet<(Urgency, Target)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (taken, rest) = waiting.into_iter().partition(|(_, target)| which(target));
        self.waiting = rest;
        taken
    }

    fn answered(&mut self, target: &Target, names: &BTreeSet<Arc<str>>) {
        self.repo_answered |= target.repo.is_some();
        self.after.failed.remove(target);
        if target.stanza.is_some() {
            self.stanza_queues.entry(target.repo).or_default().answered();
        } else {
            let new = names.difference(&self.known.stanzas).cloned().collect();
            self.learn(new);
        }
    }

    fn failed(&mut self, target: &Target, failure: Failure) {
        match (&target.stanza, target.repo) {
            (None, None) if self.known.repo_option => {
                self.failed_as_whole(target);
                self.after.split.insert(None);
                self.split_all();
            }
            (None, repo) => {
                self.failed_as_whole(target);
                self.failed_whole.insert(repo, failure);
            }
            (Some(stanza), None) if !self.lists_all && self.known.repo_option => {
                self.failed_as_whole(target);
                self.after.split.insert(Some(stanza.clone()));
                self.split_stanza(stanza);
                self.trip_combined();
            }
            (Some(_), repo) => {
                if matches!(failure.reason, FailureReason::Timeout | FailureReason::Lost) {
                    self.after.hung.insert(target.clone(), self.after.runs);
                }
                self.silent(target, failure);
                self.trip(repo);
            }
        }
    }

    fn failed_as_whole(&mut self, target: &Target) {
        let (failures, run) = self.after.failed.entry(target.clone()).or_default();
        *failures = failures.saturating_add(1);
        *run = self.after.runs;
    }

    fn silent(&mut self, target: &Target, failure: Failure) {
        self.stay_in_parts(target);
        self.unanswered.push((target.clone(), Reply::Silent(failure)));
    }

    /// A part that did not answer keeps the next run at parts of this size.
    fn stay_in_parts(&mut self, target: &Target) {
        if target.repo.is_some() {
            let scope = if self.lists_all { None } else { target.stanza.clone() };
            self.after.split.insert(scope);
        }
        if target.stanza.is_some() && self.lists_all {
            self.after.by_stanza.insert(target.repo);
        }
    }

    /// A number that pgBackRest refuses is a repository that does not exist, unless it refuses all of them.
    fn resolve_not_configured(&mut self) {
        for (target, failure) in std::mem::take(&mut self.not_configured) {
            let reply = if self.repo_answered { Reply::NotConfigured } else { Reply::Silent(failure) };
            self.unanswered.push((target, reply));
        }
    }
}
