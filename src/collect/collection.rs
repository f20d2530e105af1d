//! One collection of one cluster: makes the calls of its plan, merges the answers with the previous snapshot, and publishes
//! the result; part of it earlier if other answers take long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::metrics::collection::Collector;
use crate::pgbackrest::command::InfoQuery;
use crate::pgbackrest::exit_code::{self, Reason};
use crate::pgbackrest::info::Unreadable;
use crate::pgbackrest::version::Version;
use crate::source::call::{self, InfoAnswer};
use crate::state::archiving;
use crate::state::attempts;
use crate::state::expiry;
use crate::state::filter::UNLISTED;
use crate::state::merge::{self, Answer, Policy, Reply, Run, Target};
use crate::state::programs;
use crate::state::restore_tests;
use crate::state::snapshot::{Failure, FailureReason, Repo, RepoState, Snapshot, Stanza};
use crate::state::stopped;
use crate::state::verifications;
use crate::state::weight;

use super::caller::Caller;
use super::database_counts::Counts;
use super::in_flight::CommandKey;
use super::plan::{CallOutcome, Named, Plan, PlanState};
use super::request::Request;
use super::settings::DatabaseCounts;
use super::wal::listing_store::ListingStore;

/// What has come in is published when the first of it has waited for this long, or when nothing more has come for a time
/// that depends on the request.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How long a pod is assumed to keep its version.
const VERSION_LASTS: Duration = Duration::from_hours(1);

/// What one collection of a cluster leaves for the next.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    plan: PlanState,
    version: Option<KnownVersion>,
    counts: Counts,
    /// What was listed of its WAL archives.
    pub(super) listings: Arc<ListingStore>,
}

/// The version and when it was printed, kept if a later call fails: an installation does not lose its options.
#[derive(Debug, Clone)]
struct KnownVersion {
    version: Version,
    printed_by: String,
    at: Instant,
}

/// Answers that are not published yet.
#[derive(Debug, Default)]
struct Unpublished {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Unpublished {
    fn add(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    fn due(&self, quiet: Duration) -> Option<Instant> {
        Some((self.last? + quiet).min(self.first? + MAX_WAIT))
    }
}

impl Caller<'_> {
    /// Collects everything and publishes it. None if the program is shutting down.
    pub(super) async fn collect(
        &self,
        previous: &Arc<Snapshot>,
        history: &mut History,
        publish: &(dyn Fn(&Arc<Snapshot>) + Sync),
    ) -> Option<Arc<Snapshot>> {
        let began = Instant::now();
        if let Some(version) = self.request.version {
            history.knows(version, "");
        }
        if !self.request.wants_info {
            let snapshot = Arc::new(Snapshot { version: history.version(), ..Snapshot::default() });
            publish(&snapshot);
            return Some(snapshot);
        }
        let (answers, apart) = self.ask(previous, history, publish, began).await?;
        if !self.request.is_host {
            // A pod is known to have pgBackRest once it has answered.
            let answered = answers.iter().filter(|answer| matches!(answer.reply, Reply::Stanzas { .. }));
            if let Some(repo) = answered.filter_map(|answer| answer.target.repo).min() {
                self.version_in_pod(repo, history).await?;
            }
        }
        let run = Run { answers, finished: true, version: history.version(), apart };
        let mut snapshot = self.merge(previous, run, history).await;
        publish(&snapshot);
        if let Some(counted) = self.count_databases(&snapshot, history, began).await {
            snapshot = Arc::new(counted);
            publish(&snapshot);
        }
        Some(snapshot)
    }

    /// Collects once, and if WAL archives are scanned, once more after that: a listing is judged by what `info` says after
    /// it.
    pub(super) async fn collect_once(
        &self,
        publish: &(dyn Fn(&Arc<Snapshot>) + Sync),
    ) -> Option<Arc<Snapshot>> {
        let mut history = History::default();
        let snapshot = self.collect(&Arc::default(), &mut history, publish).await?;
        let Some(wal) = self.shared.pace.wal else { return Some(snapshot) };
        self.scan(wal, &snapshot, &history.listings).await;
        self.collect(&snapshot, &mut history, publish).await
    }

    /// Makes the calls of `info`. Also returns the stanzas about which only calls for them count. None if they were cancelled;
    /// then none runs any more.
    async fn ask(
        &self,
        previous: &Arc<Snapshot>,
        history: &mut History,
        publish: &(dyn Fn(&Arc<Snapshot>) + Sync),
        began: Instant,
    ) -> Option<(Vec<Answer>, BTreeSet<Arc<str>>)> {
        let known = self.request.known(previous, history.version());
        let mut plan = Plan::begin(&history.plan, known, &self.request.filter, self.request.max_parallel);
        let pace = &self.shared.pace;
        let time_is_up = began + pace.interval.saturating_sub(pace.limits.timeout);
        let (mut answers, mut unpublished, mut is_up) = (Vec::new(), Unpublished::default(), false);
        let mut calls = FuturesUnordered::new();
        loop {
            while let Some(target) = plan.start_next() {
                // On a host the plan itself keeps what hung behind the others.
                let is_suspect = !self.request.is_host && plan.is_suspect(&target);
                calls.push(self.info(target, is_suspect));
            }
            for (target, reply) in plan.take_unanswered() {
                answers.push(Answer { target, at: Utc::now(), reply });
                unpublished.add();
            }
            if calls.is_empty() {
                break;
            }
            let due = unpublished.due(self.request.quiet).filter(|_| !plan.is_in_doubt());
            tokio::select! {
                Some((target, answer)) = calls.next() => {
                    let Some(answer) = answer else {
                        // All are cancelled. Wait until none runs any more.
                        while calls.next().await.is_some() {}
                        return None;
                    };
                    let answer = answer.and_then(|document| self.keep(document));
                    plan.finished(&target, self.outcome(&target, &answer));
                    if let Ok(document) = answer {
                        answers.push(Answer { target, at: Utc::now(), reply: self.reply(document) });
                        unpublished.add();
                    }
                }
                () = sleep_until(due.unwrap_or(began)), if due.is_some() => {
                    let (answers, apart) = (answers.clone(), plan.apart().clone());
                    let run = Run { answers, finished: false, version: history.version(), apart };
                    publish(&self.merge(previous, run, history).await);
                    unpublished = Unpublished::default();
                }
                () = sleep_until(time_is_up), if !is_up => {
                    plan.abandon_suspects();
                    is_up = true;
                }
            }
            self.shared.beat();
        }
        drop(calls);
        let apart = plan.apart().clone();
        history.plan = plan.into_state();
        Some((answers, apart))
    }

    /// An answer, if there is room for it beside what is known of other clusters.
    fn keep(&self, document: InfoAnswer) -> Result<InfoAnswer, Failure> {
        let bytes = weight::of_stanzas(&document.stanzas);
        self.shared.kept.admit(self.key, bytes).inspect_err(|failure| {
            self.shared.metrics.not_run(Collector::Info, failure.reason);
        })?;
        Ok(document)
    }

    /// An answer without what is not asked for.
    fn reply(&self, document: InfoAnswer) -> Reply {
        let of_stanza = |part| match part {
            Unreadable::Stanza(name) => self.request.filter.admits_stanza(&name).then(|| Some(name.into())),
            Unreadable::Unnamed(_) => Some(None),
            Unreadable::Backup(_) => None,
        };
        let unreadable = document.unreadable.into_iter().filter_map(of_stanza).collect();
        Reply::Stanzas { stanzas: document.stanzas, unreadable }
    }

    async fn info(&self, target: Target, is_suspect: bool) -> (Target, Option<Result<InfoAnswer, Failure>>) {
        let stanza = target.stanza.as_deref().map(str::to_owned);
        let (query, key) =
            (InfoQuery { stanza, repo: target.repo, set: None }, self.request.info_key(&target));
        let limits = &self.shared.pace.limits;
        let make = |runner| call::info(runner, &query, limits);
        let answer = self.call(Collector::Info, key, target.repo, is_suspect, limits.timeout, make).await;
        (target, answer)
    }

    /// What the end of a call means for the calls to come.
    fn outcome(&self, target: &Target, answer: &Result<InfoAnswer, Failure>) -> CallOutcome {
        let failure = match answer {
            Ok(document) => return CallOutcome::Answered(self.named(document)),
            Err(failure) => failure.clone(),
        };
        let is_common = match failure.reason {
            FailureReason::Spawn | FailureReason::RootRefused => true,
            FailureReason::Exit => {
                failure.exit_code.is_some_and(|code| exit_code::reason(code) == Reason::Config)
            }
            _ => false,
        };
        if self.request.is_unknown_repo(target.repo, &failure) {
            CallOutcome::NotConfigured(failure)
        } else if self.request.needs_stanza(target, &failure) {
            CallOutcome::NeedsStanza
        } else if is_common {
            CallOutcome::Hopeless(failure)
        } else {
            CallOutcome::Failed(failure)
        }
    }

    fn named(&self, document: &InfoAnswer) -> Named {
        let is_wanted =
            |stanza: &&Stanza| *stanza.name != *UNLISTED && self.request.filter.admits_stanza(&stanza.name);
        let is_well = |repo: &Repo| repo.is_up() || repo.state == RepoState::BackupNotFound;
        let stanzas = || document.stanzas.iter().filter(is_wanted);
        let doubtful = stanzas().filter(|stanza| !stanza.repos.iter().all(is_well));
        Named {
            stanzas: stanzas().map(|stanza| stanza.name.clone()).collect(),
            doubtful: doubtful.map(|stanza| stanza.name.clone()).collect(),
        }
    }

    /// Asks for the version in the pod of a repository unless it is known. None if the call was cancelled.
    async fn version_in_pod(&self, repo: u32, history: &mut History) -> Option<()> {
        let printed_by = match self.runners.of(Some(repo)) {
            Ok([runner, ..]) => runner.name(),
            Ok([]) | Err(_) => return Some(()),
        };
        let is_known =
            |known: &KnownVersion| known.printed_by == printed_by && known.at.elapsed() < VERSION_LASTS;
        if history.version.as_ref().is_some_and(is_known) {
            return Some(());
        }
        if let Ok(version) = self.version(Some(repo)).await? {
            history.knows(version, printed_by);
        }
        Some(())
    }

    /// Asks for the version. None if the call was cancelled.
    pub(super) async fn version(&self, repo: Option<u32>) -> Option<Result<Version, Failure>> {
        let limits = &self.shared.pace.limits;
        let make = |runner| call::version(runner, limits);
        let answer =
            self.call(Collector::Version, CommandKey::Version, repo, false, limits.timeout, make).await?;
        if let Err(failure) = &answer {
            tracing::debug!(reason = failure.message, "Failed to get pgBackRest version");
        }
        Some(answer)
    }

    /// The snapshot that follows from the answers so far, with what is known besides: the configuration, counted databases,
    /// and what the listings of WAL prove. It takes time in proportion to its size, so a thread of its own makes it.
    async fn merge(&self, previous: &Arc<Snapshot>, run: Run, history: &History) -> Arc<Snapshot> {
        let (before, request) = (Arc::clone(previous), self.request.clone());
        let (counts, listings) = (history.counts.clone(), Arc::clone(&history.listings));
        let pace = self.shared.pace;
        let merging = tokio::task::spawn_blocking(move || {
            let (now, is_finished) = (Utc::now(), run.finished);
            let Request { filter, configured, .. } = &request;
            let policy = Policy { filter, max_staleness: pace.max_staleness(), configured };
            let mut snapshot = merge::merge(&before, run, &policy, now);
            for stanza in &mut snapshot.stanzas {
                for repo in &mut stanza.repos {
                    repo.settings = request.repo_settings(&stanza.name, repo.key);
                }
            }
            snapshot.collection.configuration.clone_from(&request.configuration_health);
            archiving::judge_into(&mut snapshot, &before, &request.archivers);
            programs::judge_into(&mut snapshot, &before, &request.lock_files, now);
            let lock_path = |place: &_, stanza: &_| request.lock_path(place, stanza);
            stopped::judge_into(&mut snapshot, &request.stop_places, lock_path, now);
            if request.is_host {
                attempts::judge_into(&mut snapshot, &before, &request.backup_logs, now);
            }
            counts.fill(&mut snapshot);
            listings.judge_into(&mut snapshot, pace.max_wal_staleness(), now);
            expiry::judge_into(&mut snapshot, now);
            restore_tests::judge_into(&mut snapshot, &request.proofs.restore_tests);
            verifications::judge_into(&mut snapshot, &request.proofs.verifications);
            if !is_finished && !request.is_host {
                // Whether the cluster as a whole answers is not known yet.
                snapshot.collection = before.collection.clone();
            }
            snapshot
        });
        match merging.await {
            Ok(snapshot) => Arc::new(snapshot),
            Err(error) => {
                tracing::error!(%error, "Failed to build snapshot; serving the previous one");
                Arc::clone(previous)
            }
        }
    }

    /// Counts the databases of backups that are not counted yet, for half an interval at most. None if none was.
    async fn count_databases(
        &self,
        snapshot: &Snapshot,
        history: &mut History,
        began: Instant,
    ) -> Option<Snapshot> {
        let (which, max_parallel) = self.request.database_counts;
        if which == DatabaseCounts::Off {
            return None;
        }
        let mut backups = history.counts.missing(snapshot, which, history.version()).into_iter();
        let end = began + self.shared.pace.interval / 2;
        let (mut silent, mut is_new, mut is_cancelled) = (Vec::new(), false, false);
        let mut calls = FuturesUnordered::new();
        loop {
            while !is_cancelled && Instant::now() < end && calls.len() < max_parallel {
                let hangs = |target: &Target| self.shared.in_flight.hangs(self.key, target);
                let is_open = |target: &Target| !silent.contains(target) && !hangs(target);
                let Some(backup) = backups.find(|backup| is_open(&backup.target())) else { break };
                calls.push(async move {
                    let (key, query) =
                        (CommandKey::Backup(backup.target(), backup.label.clone()), backup.query());
                    let (repo, limits) = (Some(backup.repo), &self.shared.pace.limits);
                    let make = |runner| call::info(runner, &query, limits);
                    let answer = self.call(Collector::Info, key, repo, false, limits.timeout, make).await;
                    (backup, answer)
                });
            }
            let Some((backup, answer)) = calls.next().await else { break };
            self.shared.beat();
            match answer {
                Some(Ok(document)) => is_new |= history.counts.learn(backup, &document.stanzas),
                Some(Err(failure)) => {
                    tracing::debug!(reason = failure.message, "Failed to count databases");
                    silent.push(backup.target());
                }
                None => is_cancelled = true,
            }
        }
        if !is_new || is_cancelled {
            return None;
        }
        let mut snapshot = snapshot.clone();
        history.counts.fill(&mut snapshot);
        Some(snapshot)
    }
}

impl History {
    fn knows(&mut self, version: Version, printed_by: &str) {
        let (printed_by, at) = (printed_by.to_owned(), Instant::now());
        self.version = Some(KnownVersion { version, printed_by, at });
    }

    fn version(&self) -> Option<Version> {
        self.version.as_ref().map(|known| known.version)
    }
}
