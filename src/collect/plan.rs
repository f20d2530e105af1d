//! Which calls of `info` a collection makes, in which order, and what follows from how they end. Pure: it makes no call.
//!
//! On a host a run begins with one call for everything. What fails is asked again in smaller parts: each repository by
//! itself, then, in a repository that fails, each stanza by itself. The next run begins with the parts that answered in
//! this one, so that a lasting hang costs one timeout per run, and returns to larger parts once all parts have answered.
//!
//! `info` for all stanzas does not read the options in a stanza's own section. Stanzas that have such options for their
//! repositories are asked for one by one, beside the call for everything; and what a call for everything says is missing
//! or broken is asked for by name before that is believed (`doubts`).
//!
//! In a cluster in Kubernetes the repositories are chosen from the start, so that each is asked for by itself.

mod doubts;
mod stanza_queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::state::filter::Filter;
use crate::state::merge::{Reply, Target};
use crate::state::snapshot::{Failure, FailureReason};

use doubts::Doubts;
use stanza_queue::{StanzaQueue, unreachable};

/// Repositories that are tried where neither the last answers nor the configuration tell which there are.
const USUAL_REPOS: [u32; 4] = [1, 2, 3, 4];

/// Binary logarithm of the most runs for which something that failed as a whole is asked in parts without a new try.
const MAX_PATIENCE: u32 = 5;

const GIVEN_UP: &str =
    "skipped in this run: its last call hung, and other hanging calls have used up the time";

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
    /// Stanzas that are well although a call for everything says otherwise.
    apart: BTreeSet<Arc<str>>,
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
    /// Stanzas with options for repositories or locks in their own section.
    pub apart: BTreeSet<Arc<str>>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// With a document.
    Answered(Named),
    /// pgBackRest refuses to answer for all stanzas at once, but may not for each, with the options in its section.
    NeedsStanza,
    /// pgBackRest refused the repository number.
    NotConfigured(Failure),
    /// Without a document, for a reason that smaller calls need not share.
    Failed(Failure),
    /// Without a document, for a reason that every call would share.
    Hopeless(Failure),
}

/// The stanzas that a document names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// All of them.
    pub stanzas: BTreeSet<Arc<str>>,
    /// Those that are missing or broken in a repository.
    pub doubtful: BTreeSet<Arc<str>>,
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
    /// Repositories that are asked stanza by stanza.
    by_stanza: BTreeSet<Option<u32>>,
    doubts: Doubts,
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

/// Whether a call that failed so used what others waited for.
const fn holds_up_others(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::Timeout | FailureReason::Lost | FailureReason::OutputTooLarge)
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
        known.apart.extend(state.apart.iter().cloned());
        known.apart.retain(|name| filter.lists_all() && filter.admits_stanza(name));
        known.stanzas.retain(|name| !known.apart.contains(name));
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
            by_stanza: BTreeSet::new(),
            doubts: Doubts::new(max_parallel),
            not_configured: Vec::new(),
            repo_answered: false,
            unanswered: Vec::new(),
        };
        let alone = plan.known.apart.clone().into_iter().map(Some);
        for stanza in filter.scopes().into_iter().map(|scope| scope.stanza).chain(alone) {
            let whole = Target { stanza: stanza.clone(), repo: None };
            let in_parts = state.split.contains(&stanza) || !state.may_retry(&whole);
            let is_split = (in_parts && plan.known.repo_option) || plan.chosen_repos;
            match stanza {
                Some(stanza) if is_split => plan.split_stanza(&stanza),
                Some(_) => plan.enqueue(whole),
                None if is_split => plan.split_all(),
                None => plan.ask_whole(None),
            }
        }
        plan
    }

    /// The stanzas about which only calls for them count.
    #[must_use]
    pub const fn apart(&self) -> &BTreeSet<Arc<str>> {
        &self.known.apart
    }

    /// Whether some of what was answered is yet to be confirmed.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        !self.doubts.are_settled()
    }

    /// The next call to start, if one may start now. It runs until [`Plan::finished`] says otherwise.
    pub fn start_next(&mut self) -> Option<Target> {
        if self.running.len() + self.doubts.running() >= self.max_parallel {
            return None;
        }
        if self.waiting.is_empty() {
            return self.doubts.start_next();
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
        self.waiting.is_empty() && self.running.is_empty() && self.doubts.are_settled()
    }

    /// Takes note of the end of a call.
    pub fn finished(&mut self, target: &Target, outcome: CallOutcome) {
        if self.doubts.is_running(target) {
            self.confirmed(target, outcome);
            return;
        }
        self.running.remove(target);
        match outcome {
            CallOutcome::Answered(named) => self.answered(target, &named),
            CallOutcome::NeedsStanza => {
                self.after.failed.remove(target);
                self.ask_by_stanza(target.repo);
            }
            CallOutcome::NotConfigured(failure) if target.repo.is_some() => {
                if target.stanza.is_some() {
                    self.stanza_queues.entry(target.repo).or_default().answered();
                }
                self.not_configured.push((target.clone(), failure));
            }
            CallOutcome::Failed(failure) => self.failed(target, failure),
            CallOutcome::NotConfigured(failure) | CallOutcome::Hopeless(failure) => {
                let is_its_own = self.stands_alone(target) && failure.reason == FailureReason::Exit;
                self.silent(target, failure);
                if is_its_own {
                    // Its options are wrong; those of other stanzas need not be.
                    self.stanza_queues.entry(target.repo).or_default().answered();
                } else if target.stanza.is_some() {
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
        self.doubts.dismiss();
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

    fn answered(&mut self, target: &Target, named: &Named) {
        self.repo_answered |= target.repo.is_some();
        self.after.failed.remove(target);
        if let Some(stanza) = &target.stanza {
            self.stanza_queues.entry(target.repo).or_default().answered();
            if self.before.apart.contains(stanza) && named.doubtful.is_empty() {
                self.after.apart.insert(stanza.clone());
            }
        } else {
            let is_listed = |name: &&Arc<str>| !self.known.apart.contains(*name);
            let new = named.stanzas.difference(&self.known.stanzas).filter(is_listed).cloned().collect();
            self.doubts.add(target.repo, self.known.stanzas.difference(&named.stanzas), true);
            self.doubts.add(target.repo, named.doubtful.iter().filter(is_listed), false);
            self.learn(new);
        }
    }

    /// Whether the stanza of a target is asked for by itself rather than as a part of everything.
    fn stands_alone(&self, target: &Target) -> bool {
        target.stanza.as_ref().is_some_and(|stanza| !self.lists_all || self.known.apart.contains(stanza))
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
            (Some(stanza), None) if self.stands_alone(target) && self.known.repo_option => {
                self.failed_as_whole(target);
                self.after.split.insert(Some(stanza.clone()));
                self.split_stanza(stanza);
                self.trip_combined();
            }
            (Some(_), repo) => {
                if holds_up_others(failure.reason) {
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
        let alone = target.stanza.clone().filter(|_| self.stands_alone(target));
        if let Some(stanza) = alone.as_ref().filter(|stanza| self.before.apart.contains(*stanza)) {
            self.after.apart.insert(stanza.clone());
        }
        if target.stanza.is_some() && alone.is_none() {
            self.after.by_stanza.insert(target.repo);
        }
        if target.repo.is_some() {
            self.after.split.insert(alone);
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
