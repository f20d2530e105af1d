//! What a call for all stanzas says is missing or broken, until a call for the stanza confirms it.
//!
//! pgBackRest reads the options in a stanza's own section only if it is asked for the stanza. We cannot always read its
//! configuration, so a bad answer to a call for everything may come from asking in the wrong way.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::state::merge::{Reply, Target};

use super::{CallOutcome, Plan};

/// The targets to confirm.
#[derive(Debug)]
pub(super) struct Doubts {
    /// How many are tried before one of them turns out to be well.
    max_trials: usize,
    /// With whether the stanza was missing.
    waiting: BTreeMap<Target, bool>,
    running: BTreeMap<Target, bool>,
    started: usize,
    /// A stanza was well after all, so the others may be.
    is_founded: bool,
}

impl Doubts {
    pub(super) fn new(max_parallel: usize) -> Self {
        Self {
            max_trials: max_parallel.max(1),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            started: 0,
            is_founded: false,
        }
    }

    /// Adds stanzas that a call for everything in a repository, or in all, reports as missing or as broken.
    pub(super) fn add<'a>(
        &mut self,
        repo: Option<u32>,
        stanzas: impl Iterator<Item = &'a Arc<str>>,
        is_missing: bool,
    ) {
        let target = |stanza: &Arc<str>| Target { stanza: Some(stanza.clone()), repo };
        self.waiting.extend(stanzas.map(|stanza| (target(stanza), is_missing)));
    }

    /// How many calls run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_running(&self, target: &Target) -> bool {
        self.running.contains_key(target)
    }

    /// No more calls are worth their time: as many as run at once have confirmed what a call for everything said.
    pub(super) fn are_settled(&self) -> bool {
        self.running.is_empty() && (self.waiting.is_empty() || !self.may_start())
    }

    pub(super) fn start_next(&mut self) -> Option<Target> {
        if !self.may_start() {
            return None;
        }
        let (target, is_missing) = self.waiting.pop_first()?;
        self.started += 1;
        self.running.insert(target.clone(), is_missing);
        Some(target)
    }

    /// No more calls are started.
    pub(super) fn dismiss(&mut self) {
        self.waiting.clear();
    }

    fn may_start(&self) -> bool {
        self.is_founded || self.started < self.max_trials
    }
}

impl Plan {
    /// Takes note of the end of a call that was to confirm what another one said.
    pub(super) fn confirmed(&mut self, target: &Target, outcome: CallOutcome) {
        let was_missing = self.doubts.running.remove(target) == Some(true);
        match outcome {
            CallOutcome::Answered(named) if named.doubtful.is_empty() => {
                self.doubts.is_founded = true;
                self.after.apart.extend(target.stanza.clone());
            }
            CallOutcome::NotConfigured(failure)
            | CallOutcome::Failed(failure)
            | CallOutcome::Hopeless(failure)
                if was_missing =>
            {
                self.unanswered.push((target.clone(), Reply::Silent(failure)));
            }
            // What is broken stays so.
            _ => {}
        }
        if self.is_done() {
            self.resolve_not_configured();
        }
    }
}
