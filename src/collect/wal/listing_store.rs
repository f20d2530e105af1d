//! What was listed of the archives of one cluster, and what of it may be judged.
//!
//! A scan takes a while, and backups come and go meanwhile. So a listing is judged by the backups that `info` named both
//! before the scan began and after it ended: the WAL of a new one may have come too late to be listed, and that of an
//! expired one may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::state::archive::{Continuity, Leftover, Listing, judge, leftovers};
use crate::state::snapshot::{Failure, Repo, ScopeHealth, ScopeKind, Snapshot, Stanza};
use crate::state::wal_range;

use super::archive::{Archive, ArchiveKey, archives};

/// Shared between scans, which write, and collections, which read. Never locked while a command runs.
#[derive(Debug, Default)]
pub(in crate::collect) struct ListingStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    archives: BTreeMap<ArchiveKey, Scanned>,
    /// A new listing shows more missing segments than the one before.
    more_missing: bool,
}

/// An archive that was scanned.
#[derive(Debug)]
struct Scanned {
    /// What is known, also of an unfinished scan.
    listing: Listing,
    /// The last complete listing.
    complete: Option<CompleteListing>,
    /// The last complete listing after which `info` has answered.
    judged: Option<CompleteListing>,
    last_run: DateTime<Utc>,
    /// Labels of the backups before the last scan, whatever its result.
    backups: BTreeSet<Arc<str>>,
    failure: Option<Failure>,
    /// Missing segments in the listing that was judged last.
    missing: u64,
}

/// A consistent listing.
#[derive(Debug, Clone)]
struct CompleteListing {
    listing: Arc<Listing>,
    /// Labels of the backups before the scan.
    backups: Arc<BTreeSet<Arc<str>>>,
    /// The same of all databases.
    labels: Arc<BTreeSet<Arc<str>>>,
    ended: DateTime<Utc>,
}

/// The result of scanning one archive.
#[derive(Debug)]
pub(in crate::collect) struct ScanResult {
    /// What is known now, also if the scan failed.
    pub(super) listing: Listing,
    /// How the scan ended.
    pub(super) end: ScanEnd,
}

/// How the scan of an archive ended.
#[derive(Debug)]
pub(in crate::collect) enum ScanEnd {
    /// All is listed.
    Complete,
    /// The time was up. The next scan continues from there.
    Unfinished,
    /// A call failed, or its answer cannot be true.
    Failed(Failure),
    /// The program is shutting down.
    Cancelled,
}

/// A change between two scans that is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Recovered,
    Failed,
}

impl ListingStore {
    /// What a scan continues from: what is listed, and the backups at the last complete listing.
    pub(super) fn previous(&self, key: &ArchiveKey) -> (Option<Listing>, BTreeSet<Arc<str>>) {
        let inner = self.inner.lock();
        let Some(scanned) = inner.archives.get(key) else { return (None, BTreeSet::new()) };
        let backups = scanned.complete.as_ref().map(|complete| BTreeSet::clone(&complete.backups));
        (Some(scanned.listing.clone()), backups.unwrap_or_default())
    }

    /// Records the result of a scan, and logs if scanning began or ceased to fail.
    pub(super) fn record(&self, key: &ArchiveKey, archive: &Archive, result: ScanResult) {
        let change = self.put(key.clone(), archive, result);
        let (stanza, repo) = (&*key.0, key.1);
        match change {
            Change::None => {}
            Change::Recovered => tracing::info!(stanza, repo, "WAL archive scan recovered"),
            Change::Failed => {
                let why = self.failure(key).unwrap_or_default();
                tracing::warn!(stanza, repo, reason = why, "WAL archive scan failed");
            }
        }
    }

    fn put(&self, key: ArchiveKey, archive: &Archive, ScanResult { listing, end }: ScanResult) -> Change {
        let now = Utc::now();
        let is_complete = matches!(end, ScanEnd::Complete);
        let failure = match end {
            ScanEnd::Complete | ScanEnd::Unfinished => None,
            ScanEnd::Failed(failure) => Some(failure),
            ScanEnd::Cancelled => return Change::None,
        };
        let archives = &mut self.inner.lock().archives;
        let before = archives.remove(&key);
        let had_failed = before.as_ref().is_some_and(|before| before.failure.is_some());
        let change = match (had_failed, &failure) {
            (true, None) => Change::Recovered,
            (false, Some(_)) => Change::Failed,
            _ => Change::None,
        };
        let (mut complete, judged, missing) = before
            .filter(|before| before.listing.archive == listing.archive)
            .map_or((None, None, 0), |before| (before.complete, before.judged, before.missing));
        let backups = archive.backups.clone();
        if is_complete {
            let (listing, backups) = (Arc::new(listing.clone()), Arc::new(backups.clone()));
            let labels = Arc::new(archive.labels.clone());
            complete = Some(CompleteListing { listing, backups, labels, ended: now });
        }
        let scanned = Scanned { listing, complete, judged, last_run: now, backups, failure, missing };
        archives.insert(key, scanned);
        change
    }

    /// Why the last scan of an archive failed, if it did.
    fn failure(&self, key: &ArchiveKey) -> Option<String> {
        let inner = self.inner.lock();
        inner.archives.get(key)?.failure.as_ref().map(|failure| failure.message.clone())
    }

    /// Forgets archives that no longer exist.
    pub(super) fn retain(&self, snapshot: &Snapshot) {
        self.inner.lock().archives.retain(|key, _| find(snapshot, key).is_some());
    }

    /// Whether nothing was scanned yet.
    pub(in crate::collect) fn is_empty(&self) -> bool {
        self.inner.lock().archives.is_empty()
    }

    /// Whether there is an archive or a backup that did not exist before the last scan. These are scanned immediately.
    pub(in crate::collect) fn has_news(&self, snapshot: &Snapshot) -> bool {
        let known = &self.inner.lock().archives;
        archives(snapshot).any(|(key, archive)| {
            known.get(&key).is_none_or(|known| {
                known.listing.archive != archive.id || !archive.backups.is_subset(&known.backups)
            })
        })
    }

    /// Whether a listing that was judged since the last call shows more missing segments than the one before. Segments that
    /// were on their way may have arrived since.
    pub(in crate::collect) fn take_more_missing(&self) -> bool {
        std::mem::take(&mut self.inner.lock().more_missing)
    }

    /// Writes into a snapshot what the listings prove, and the health of scanning. Listings older than `max_staleness`
    /// prove nothing any more.
    pub(in crate::collect) fn judge_into(
        &self,
        snapshot: &mut Snapshot,
        max_staleness: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let mut inner = self.inner.lock();
        let Inner { archives, more_missing } = &mut *inner;
        let mut proofs: BTreeMap<ArchiveKey, (Arc<Continuity>, Option<Vec<Leftover>>)> = BTreeMap::new();
        for (key, scanned) in archives.iter_mut() {
            let Some((stanza, repo)) = find(snapshot, key) else { continue };
            let is_new = scanned.take_over(repo.collected_at);
            let is_current = |complete: &&CompleteListing| {
                Archive::of(stanza, repo).is_some_and(|archive| archive.id == complete.listing.archive)
            };
            let fresh = scanned.judged.as_ref().filter(|complete| now - complete.ended <= max_staleness);
            let Some(complete) = fresh.filter(is_current) else { continue };
            let proof = complete.judge(stanza, repo);
            if is_new {
                *more_missing |= proof.missing() > scanned.missing;
                scanned.missing = proof.missing();
            }
            proofs.insert(key.clone(), (Arc::new(proof), complete.leftovers(stanza, repo)));
        }
        snapshot.collection.wal = health(archives);
        drop(inner);
        for stanza in &mut snapshot.stanzas {
            for repo in &mut stanza.repos {
                let proof = proofs.remove(&(stanza.name.clone(), repo.key));
                (repo.wal, repo.leftovers) =
                    proof.map_or((None, None), |(wal, leftovers)| (Some(wal), leftovers));
            }
        }
    }
}

impl Scanned {
    /// Makes the last complete listing the one that is judged, if `info` has answered since. True if it is a new one.
    fn take_over(&mut self, answered_at: DateTime<Utc>) -> bool {
        let Some(complete) = self.complete.as_ref().filter(|complete| complete.ended < answered_at) else {
            return false;
        };
        if self.judged.as_ref().is_some_and(|judged| Arc::ptr_eq(&judged.listing, &complete.listing)) {
            return false;
        }
        self.judged = Some(complete.clone());
        true
    }
}

impl CompleteListing {
    fn judge(&self, stanza: &Stanza, repo: &Repo) -> Continuity {
        let backups = repo.backups.iter().filter(|backup| self.backups.contains(&backup.label));
        judge(&self.listing, backups, wal_range::database_facts(stanza, repo))
    }

    fn leftovers(&self, stanza: &Stanza, repo: &Repo) -> Option<Vec<Leftover>> {
        let labels: BTreeSet<&str> = repo.backups.iter().map(|backup| &*backup.label).collect();
        let is_known = |label: &str| labels.contains(label) || self.labels.contains(label);
        leftovers(&self.listing, is_known, stanza.backup_lock.held != Some(false))
    }
}

fn find<'a>(snapshot: &'a Snapshot, (stanza, repo): &ArchiveKey) -> Option<(&'a Stanza, &'a Repo)> {
    let stanza = snapshot.stanza(stanza)?;
    Some((stanza, stanza.repo(*repo)?))
}

/// By stanza, over its repositories.
fn health(archives: &BTreeMap<ArchiveKey, Scanned>) -> BTreeMap<Arc<str>, ScopeHealth> {
    let mut all: BTreeMap<Arc<str>, ScopeHealth> = BTreeMap::new();
    for ((stanza, _), archive) in archives {
        let (up, last_run) = (archive.failure.is_none(), archive.last_run);
        let last_success = archive.complete.as_ref().map(|complete| complete.ended);
        let one = || ScopeHealth {
            kind: ScopeKind::Stanza,
            up,
            last_run,
            last_success,
            failure: archive.failure.clone(),
        };
        let joined = all.entry(stanza.clone()).or_insert_with(one);
        joined.up &= up;
        joined.last_run = joined.last_run.max(last_run);
        // The oldest counts: since then at the latest, all were listed.
        joined.last_success = joined.last_success.min(last_success);
        joined.failure = joined.failure.take().or_else(|| archive.failure.clone());
    }
    all
}

#[cfg(test)]
mod tests;
