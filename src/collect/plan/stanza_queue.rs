//! Asking in smaller parts: by repository, and by stanza within a repository.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::state::merge::Target;
use crate::state::snapshot::{Failure, FailureReason};

use super::Plan;

/// The calls for single stanzas in one repository.
#[derive(Debug, Default)]
pub(super) struct StanzaQueue {
    started: usize,
    has_answered: bool,
    failures: usize,
    /// The repository itself is taken to be the cause of the failures.
    pub(super) given_up: bool,
}

impl StanzaQueue {
    pub(super) fn started(&mut self) {
        self.started += 1;
    }

    pub(super) fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Counts a failure; true from the one on that makes the repository itself the likely cause.
    fn failed(&mut self, max_parallel: usize) -> bool {
        self.failures += 1;
        self.given_up = !self.has_answered && self.failures >= max_parallel;
        self.given_up
    }
}

impl Plan {
    /// Asks each repository for all of its stanzas.
    pub(super) fn split_all(&mut self) {
        for repo in self.known.repos.clone() {
            self.ask_whole(Some(repo));
        }
    }

    /// Asks each repository for one stanza.
    pub(super) fn split_stanza(&mut self, stanza: &Arc<str>) {
        for repo in self.known.repos.clone() {
            self.enqueue(Target { stanza: Some(stanza.clone()), repo: Some(repo) });
        }
    }

    /// Asks a repository for everything, in the way in which it answered last.
    pub(super) fn ask_whole(&mut self, repo: Option<u32>) {
        let whole = Target { stanza: None, repo };
        let in_parts = self.before.by_stanza.contains(&repo) || !self.before.may_retry(&whole);
        if in_parts && !self.known.stanzas.is_empty() {
            self.ask_by_stanza(repo);
        } else {
            self.enqueue(whole);
        }
    }

    pub(super) fn ask_by_stanza(&mut self, repo: Option<u32>) {
        // One step at a time: the next run may ask this repository as a whole again, but not all of them at once.
        if repo.is_some() {
            self.after.split.insert(None);
        }
        self.by_stanza.insert(repo);
        for stanza in self.known.stanzas.clone() {
            self.enqueue(Target { stanza: Some(stanza), repo });
        }
    }

    /// Until a repository has answered for one stanza, no more of them are tried than run at once.
    pub(super) fn must_wait(&self, target: &Target) -> bool {
        let probing = |queue: &StanzaQueue| !queue.has_answered && queue.started >= self.max_parallel;
        target.stanza.is_some() && self.stanza_queues.get(&target.repo).is_some_and(probing)
    }

    /// New names are asked for in the repositories that are asked stanza by stanza.
    pub(super) fn learn(&mut self, names: BTreeSet<Arc<str>>) {
        if self.lists_all {
            for repo in self.by_stanza.clone() {
                for stanza in &names {
                    self.enqueue(Target { stanza: Some(stanza.clone()), repo });
                }
            }
        }
        self.known.stanzas.extend(names);
    }

    /// Isolates what failed as a whole once every other repository has answered or failed, so that all names are known.
    pub(super) fn isolate_failed_repos(&mut self) {
        let is_whole = |target: &Target| target.stanza.is_none();
        if self.running.iter().any(is_whole) || self.waiting.iter().any(|(_, target)| is_whole(target)) {
            return;
        }
        for (repo, failure) in std::mem::take(&mut self.failed_whole) {
            if self.known.stanzas.is_empty() {
                self.silent(&Target { stanza: None, repo }, failure);
            } else {
                self.after.by_stanza.insert(repo);
                self.ask_by_stanza(repo);
            }
        }
    }

    /// Counts a failure in a repository. Where as many as run at once have failed and none has answered, the
    /// repository itself is taken to be the cause and its other stanzas are not tried.
    pub(super) fn trip(&mut self, repo: Option<u32>) {
        if !self.stanza_queues.entry(repo).or_default().failed(self.max_parallel) {
            return;
        }
        for (urgency, target) in self.take_waiting(|target| target.repo == repo && target.stanza.is_some()) {
            if urgency.hung_in_run > 0 {
                self.after.hung.insert(target.clone(), urgency.hung_in_run);
            }
            self.silent(&target, unreachable(repo));
        }
    }

    /// The same for included stanzas that are asked for over all repositories: the others go on repository by repository.
    pub(super) fn trip_combined(&mut self) {
        if !self.stanza_queues.entry(None).or_default().failed(self.max_parallel) {
            return;
        }
        for (_, target) in self.take_waiting(|target| target.repo.is_none() && target.stanza.is_some()) {
            if let Some(stanza) = target.stanza {
                self.after.split.insert(Some(stanza.clone()));
                self.split_stanza(&stanza);
            }
        }
    }
}

pub(super) fn unreachable(repo: Option<u32>) -> Failure {
    let name = repo.map_or_else(|| "pgBackRest".to_owned(), |repo| format!("repo{repo}"));
    let message = format!("skipped in this run: {name} did not answer for any of the stanzas tried first");
    Failure::new(FailureReason::Timeout, message)
}
