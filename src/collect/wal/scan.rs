//! Scans the archives of one cluster: all repositories at the same time, the archives of one repository in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::collect::caller::{Caller, span};
use crate::collect::in_flight::CommandKey;
use crate::collect::settings::WalSettings;
use crate::metrics::collection::Collector;
use crate::pgbackrest::command::RepoQuery;
use crate::source::call::{self, Call, Runner};
use crate::source::process::Limits;
use crate::state::archive::Listing;
use crate::state::snapshot::{Failure, FailureReason, Snapshot};

use super::archive::{Archive, ArchiveKey, archives};
use super::listing_store::{ListingStore, ScanEnd, ScanResult};
use super::plan::{ScanPlan, ScanStep};

/// pgBackRest's exit code for a file that does not exist.
const FILE_MISSING: i32 = 55;

/// How often what is listed is weighed.
const STEPS_BETWEEN: u64 = 64;

/// The result of a scan over all archives.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::collect) struct ScanSummary {
    /// An archive was listed completely.
    pub(in crate::collect) complete: bool,
    /// The time was up before an archive was.
    pub(in crate::collect) unfinished: bool,
}

/// The scan of one archive.
struct ArchiveScan<'a> {
    caller: &'a Caller<'a>,
    stanza: &'a str,
    repo: u32,
}

impl Caller<'_> {
    /// Scans the archives that `snapshot` names, and records the listings.
    pub(in crate::collect) async fn scan(
        &self,
        wal: WalSettings,
        snapshot: &Snapshot,
        listings: &ListingStore,
    ) -> ScanSummary {
        listings.retain(snapshot);
        let mut queues: BTreeMap<u32, Vec<(ArchiveKey, Archive)>> = BTreeMap::new();
        for (key, archive) in archives(snapshot) {
            queues.entry(key.1).or_default().push((key, archive));
        }
        let deadline = Instant::now() + wal.timeout;
        let queues = queues.into_values().map(|queue| self.scan_repo(wal, queue, listings, deadline));
        let summaries = join_all(queues).await;
        ScanSummary {
            complete: summaries.iter().any(|one| one.complete),
            unfinished: summaries.iter().any(|one| one.unfinished),
        }
    }

    async fn scan_repo(
        &self,
        wal: WalSettings,
        queue: Vec<(ArchiveKey, Archive)>,
        listings: &ListingStore,
        deadline: Instant,
    ) -> ScanSummary {
        let (mut summary, mut hung) = (ScanSummary::default(), None);
        for (key, archive) in queue {
            let (listing, backups) = listings.previous(&key);
            let scan = ArchiveScan { caller: self, stanza: &key.0, repo: key.1 };
            let result = if let Some(failure) = hung.take() {
                // The repository did not answer for the archive before, so this one is not tried.
                let listing = listing.unwrap_or_else(|| Listing::new(archive.id.clone(), Utc::now()));
                ScanResult { listing, end: ScanEnd::Failed(failure) }
            } else {
                let plan = ScanPlan::begin(listing, &backups, archive.clone(), wal.interval, Utc::now());
                scan.run(plan, deadline).await
            };
            match &result.end {
                ScanEnd::Complete => summary.complete = true,
                ScanEnd::Unfinished => summary.unfinished = true,
                ScanEnd::Failed(failure) if failure.reason == FailureReason::Timeout => {
                    hung = Some(failure.clone());
                }
                ScanEnd::Failed(_) | ScanEnd::Cancelled => {}
            }
            span(self.key).in_scope(|| listings.record(&key, &archive, result));
        }
        summary
    }
}

impl<'a> ArchiveScan<'a> {
    /// Lists what the plan says until `deadline`. What was listed is kept, and the next scan continues from there.
    async fn run(&self, mut plan: ScanPlan, deadline: Instant) -> ScanResult {
        let mut steps = 0_u64;
        let end = loop {
            let Some(step) = plan.next() else { break ScanEnd::Complete };
            if Instant::now() >= deadline {
                break ScanEnd::Unfinished;
            }
            match self.step(&mut plan, step, deadline).await {
                Some(Ok(())) => {}
                Some(Err(failure)) => break ScanEnd::Failed(failure),
                None => break ScanEnd::Cancelled,
            }
            steps += 1;
            // A directory is small; the other answers may not be.
            let is_small = matches!(step, ScanStep::Directory(_)) && !steps.is_multiple_of(STEPS_BETWEEN);
            if !is_small && let Err(failure) = self.keep(&plan) {
                let listing = Listing::new(plan.archive_id().clone(), Utc::now());
                return ScanResult { listing, end: ScanEnd::Failed(failure) };
            }
        };
        ScanResult { listing: plan.into_listing(), end }
    }

    /// Whether there is room for what is listed beside what is known of other clusters.
    fn keep(&self, plan: &ScanPlan) -> Result<(), Failure> {
        let shared = self.caller.shared;
        // The listing that is made, and the two that are judged.
        let bytes = plan.weight().saturating_mul(3);
        let archive = (Arc::from(self.stanza), self.repo);
        shared.kept.admit_listing(self.caller.key, &archive, bytes).inspect_err(|failure| {
            shared.metrics.not_run(Collector::Wal, failure.reason);
        })
    }

    /// Makes one call and hands the answer to the plan. None if it was cancelled.
    async fn step(
        &self,
        plan: &mut ScanPlan,
        step: ScanStep,
        deadline: Instant,
    ) -> Option<Result<(), Failure>> {
        let Some(path) = step.path(self.stanza, plan.archive_id()) else {
            let message = format!("{:?} is not a valid directory name", self.stanza);
            return Some(Err(Failure::new(FailureReason::Parse, message)));
        };
        let query = RepoQuery { stanza: self.stanza.to_owned(), repo: self.repo, path };
        let (query, limits) = (&query, &self.caller.shared.pace.limits);
        if let ScanStep::History(timeline) = step {
            return Some(match self.call(limits, |runner| call::repo_get(runner, query, limits)).await? {
                Ok(text) => {
                    plan.take_history(timeline, &text);
                    Ok(())
                }
                // It was there when the archive was listed.
                Err(failure) if failure.exit_code == Some(FILE_MISSING) => Ok(()),
                Err(failure) => Err(failure),
            });
        }
        if step == ScanStep::Directories {
            return self.list_all(plan, query, deadline).await;
        }
        if let ScanStep::Leftover(label) = step {
            match self.call(limits, |runner| call::repo_ls_recursive(runner, query, limits)).await? {
                Ok(entries) => return Some(plan.take(step, &entries, Utc::now())),
                // What it proves of the WAL does not depend on it.
                Err(failure) => {
                    tracing::debug!(%label, reason = failure.message, "Failed to determine the size of an unfinished backup");
                    plan.take_leftover(label, None);
                    return Some(Ok(()));
                }
            }
        }
        let entries = self.call(limits, |runner| call::repo_ls(runner, query, limits)).await?;
        Some(entries.and_then(|entries| plan.take(step, &entries, Utc::now())))
    }

    /// Lists all directories with one call, which may take as long as the scan if it does not stop printing.
    async fn list_all(
        &self,
        plan: &mut ScanPlan,
        query: &RepoQuery,
        deadline: Instant,
    ) -> Option<Result<(), Failure>> {
        let usual = &self.caller.shared.pace.limits;
        let left = deadline.saturating_duration_since(Instant::now());
        let limits = &Limits { timeout: left.max(usual.timeout), ..*usual };
        let reader = Arc::new(Mutex::new(plan.reader()));
        let listed = self.call(limits, |runner| {
            let reader = Arc::clone(&reader);
            let take = move |name: String, entry| reader.lock().take(&name, entry, Utc::now());
            call::repo_ls_each(runner, query, limits, usual.timeout, take)
        });
        let listed = listed.await?;
        let directories = reader.lock().finish(listed.is_ok(), Utc::now());
        if let Err(failure) = listed {
            if directories.is_empty() {
                return Some(Err(failure));
            }
            tracing::debug!(
                stanza = self.stanza,
                repo = self.repo,
                reason = failure.message,
                "Failed to list all directories of a WAL archive at once; listing the rest one by one"
            );
        }
        plan.take_directories(directories);
        Some(Ok(()))
    }

    async fn call<T, C: Future<Output = Call<T>>>(
        &self,
        limits: &Limits,
        make: impl Fn(&'a dyn Runner) -> C,
    ) -> Option<Result<T, Failure>> {
        let (key, repo) = (CommandKey::Repo(self.repo), Some(self.repo));
        self.caller.call(Collector::Wal, key, repo, false, limits.timeout, make).await
    }
}
