//! Calls pgBackRest for one cluster: where it can be reached, within the limits, and never while an earlier command for
//! the same may still run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tracing::Span;

use crate::cluster::key::Key;
use crate::memory::Bounds;
use crate::metrics::CollectionMetrics;
use crate::metrics::collection::{Collector, RunReport};
use crate::source::call::{self, Call, CommandState, Runner};
use crate::state::snapshot::{Failure, FailureReason};

use super::in_flight::{CommandKey, CommandsInFlight};
use super::kept::Kept;
use super::limit::CallLimit;
use super::request::Request;
use super::settings::Pace;
use super::store::Store;

/// Places that are tried for one repository.
const MAX_TRIES: usize = 2;
/// After its timeout a command has five seconds until it is killed; the rest is for its start on a busy node.
pub(super) const AFTER_TIMEOUT: Duration = Duration::from_secs(20);
const TOO_MANY_SUSPECTS: &str =
    "skipped in this run: it did not answer last time, and too many others do not answer either";

/// What the collections of all clusters share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pace: Pace,
    pub(super) limit: CallLimit,
    /// On a host scans run beside collections, with a limit of their own.
    scan_limit: Option<CallLimit>,
    pub(super) in_flight: CommandsInFlight,
    /// Of clusters; none of a host.
    pub(super) kept: Kept,
    pub(super) metrics: Arc<CollectionMetrics>,
    /// Gets the signs of life of a host's collection.
    heartbeat: Option<Arc<Store>>,
}

/// Makes the calls for one cluster.
pub(super) struct Caller<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a Arc<Key>,
    pub(super) request: &'a Request,
    pub(super) runners: &'a Runners<'a>,
}

/// Where the commands for a cluster can run.
#[derive(Default)]
pub(super) struct Runners<'a> {
    /// For repositories without an entry of their own.
    everywhere: Vec<Arc<dyn Runner + 'a>>,
    /// By repository, the best first, or why there is none.
    by_repo: BTreeMap<u32, Result<Vec<Arc<dyn Runner + 'a>>, String>>,
}

impl Shared {
    pub(super) fn new(pace: Pace, metrics: Arc<CollectionMetrics>) -> Self {
        let (limit, in_flight) = (CallLimit::new(pace.concurrency), CommandsInFlight::default());
        metrics.set_cadence(Collector::Info, pace.interval, pace.limits.timeout);
        if let Some(wal) = pace.wal {
            metrics.set_cadence(Collector::Wal, wal.interval, wal.timeout);
        }
        let kept = Kept::new(Bounds::of_process());
        Self { pace, limit, scan_limit: None, in_flight, kept, metrics, heartbeat: None }
    }

    /// For this host, whose collection gives signs of life to the store.
    pub(super) fn of_host(pace: Pace, metrics: Arc<CollectionMetrics>, store: Arc<Store>) -> Self {
        metrics.set_cadence(Collector::Version, pace.interval, call::version_limits(&pace.limits).timeout);
        let scan_limit = Some(CallLimit::new(pace.concurrency));
        Self { scan_limit, heartbeat: Some(store), ..Self::new(pace, metrics) }
    }

    /// Whether this host is collected, and no fleet.
    pub(super) const fn is_host(&self) -> bool {
        self.heartbeat.is_some()
    }

    /// Collection is alive.
    pub(super) fn beat(&self) {
        if let Some(store) = &self.heartbeat {
            store.beat(self.pace.longest_silence());
        }
    }
}

impl<'a> Runners<'a> {
    /// One for everything.
    pub(super) fn single(runner: Arc<dyn Runner + 'a>) -> Self {
        Self { everywhere: vec![runner], by_repo: BTreeMap::new() }
    }

    /// Those of each repository.
    pub(super) const fn by_repo(by_repo: BTreeMap<u32, Result<Vec<Arc<dyn Runner + 'a>>, String>>) -> Self {
        Self { everywhere: Vec::new(), by_repo }
    }

    /// Those that can be asked about a repository, or about all at once.
    pub(super) fn of(&self, repo: Option<u32>) -> Result<&[Arc<dyn Runner + 'a>], &str> {
        match repo.and_then(|repo| self.by_repo.get(&repo)) {
            Some(Ok(runners)) => Ok(runners),
            Some(Err(why)) => Err(why),
            None => Ok(&self.everywhere),
        }
    }
}

impl<'a> Caller<'a> {
    /// Makes a call about a repository, or about all, whose commands have this timeout. If the command does not even start at one place, another is tried.
    /// None if the call was cancelled.
    pub(super) async fn call<T, C: Future<Output = Call<T>>>(
        &self,
        collector: Collector,
        key: CommandKey,
        repo: Option<u32>,
        is_suspect: bool,
        timeout: Duration,
        make: impl Fn(&'a dyn Runner) -> C,
    ) -> Option<Result<T, Failure>> {
        let Shared { limit, scan_limit, in_flight, metrics, .. } = self.shared;
        let no_pod = |why: &str| {
            let repo = repo.map(|repo| format!(" about repo{repo}")).unwrap_or_default();
            Failure::new(FailureReason::NoPod, format!("no pod to query{repo}: {why}"))
        };
        let runners = match self.runners.of(repo) {
            Ok(runners) => runners,
            Err(why) => {
                metrics.not_run(collector, FailureReason::NoPod);
                return Some(Err(no_pod(why)));
            }
        };
        let limit = match (collector, &key) {
            // Its calls are counted apart.
            (_, CommandKey::Backup(..)) => None,
            (Collector::Wal, _) => Some(scan_limit.as_ref().unwrap_or(limit)),
            _ => Some(limit),
        };
        let permit = match limit {
            Some(limit) => Some(limit.acquire(is_suspect).await),
            None => None,
        };
        if matches!(permit, Some(None)) {
            return Some(Err(Failure::new(FailureReason::Timeout, TOO_MANY_SUSPECTS)));
        }
        // On a host nothing runs on after its call, unless it cannot be killed.
        let bound = if self.request.is_host { Duration::ZERO } else { timeout + AFTER_TIMEOUT };
        let command = match in_flight.begin(self.key, key, bound) {
            Ok(command) => command,
            Err(failure) => return Some(Err(failure)),
        };
        let (mut answer, mut state) = (Some(Err(no_pod("none is known"))), CommandState::NotStarted);
        for runner in runners.iter().take(MAX_TRIES) {
            // In a fleet some call runs at any time, so that this would tell nothing.
            if self.request.is_host {
                metrics.run_started(collector, Utc::now());
            }
            let call = make(&**runner).await;
            self.report(collector, command.key(), repo, &call);
            (answer, state) = (call.answer, call.state);
            if !matches!(state, CommandState::NotStarted) {
                break;
            }
        }
        command.finish(state);
        answer
    }

    fn report<T>(&self, collector: Collector, key: &CommandKey, repo: Option<u32>, call: &Call<T>) {
        // Whether a repository exists was a question, and that it does not is an answer; so is that a stanza must be named.
        let is_answer = |failure: &&Failure| match key {
            CommandKey::Info(target) => {
                self.request.is_unknown_repo(repo, failure) || self.request.needs_stanza(target, failure)
            }
            _ => false,
        };
        // The size of an answer about a part says nothing of the whole.
        let is_whole = matches!(key, CommandKey::Version | CommandKey::Info(_));
        let report = RunReport {
            duration: call.duration,
            output_bytes: call.output_bytes.filter(|_| is_whole),
            sanitized: call.sanitized,
            failure: call.failure().filter(|failure| !is_answer(failure)).map(|failure| failure.reason),
        };
        self.shared.metrics.run_finished(collector, &report);
    }
}

/// Names the cluster in log lines; a host has no name.
pub(super) fn span(key: &Key) -> Span {
    if key.name.is_empty() {
        return Span::none();
    }
    tracing::info_span!("cluster", namespace = key.namespace, pg_cluster = key.name)
}
