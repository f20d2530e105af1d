//! What was listed of all archives, and what of it may be judged.
//!
//! A listing takes a while, and backups come and go meanwhile. So it is judged by the backups that `info` named both before
//! it began and after it ended: a new one's WAL may have come too late to be listed, and an expired one's may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::state::archive::{Continuity, Listing, judge};
use crate::state::snapshot::{Failure, Repo, ScopeHealth, ScopeKind, Snapshot, Stanza};
use crate::state::wal_range;

use super::pass::{Before, End, Passed};
use super::plan::{Subject, subjects};

/// One stanza in one repository.
pub(in crate::collect) type Key = (Arc<str>, u32);

/// Shared between rounds, which write, and the making of snapshots. Held while a snapshot is judged, never while a command
/// runs.
#[derive(Debug, Default)]
pub(in crate::collect) struct Book {
    archives: Mutex<BTreeMap<Key, Archive>>,
}

#[derive(Debug)]
struct Archive {
    /// As far as it is known, be it amid a pass.
    listing: Listing,
    /// The last whole listing.
    whole: Option<Whole>,
    /// The last whole listing after whose end `info` has answered.
    judged: Option<Whole>,
    last_run: DateTime<Utc>,
    /// Labels of the backups before the last pass, however that ended.
    backups: BTreeSet<String>,
    failure: Option<Failure>,
    /// Segments that were missing after the last whole listing.
    missing: u64,
}

/// A listing that holds together.
#[derive(Debug, Clone)]
struct Whole {
    listing: Arc<Listing>,
    /// Labels of the backups before it began.
    backups: Arc<BTreeSet<String>>,
    ended: DateTime<Utc>,
}

/// What passes have brought.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::collect) struct Brought {
    /// An archive was listed to its end.
    pub(in crate::collect) whole: bool,
    /// The time was over before one was.
    pub(in crate::collect) unfinished: bool,
    /// More is missing than before in one of them: what is on its way now may be there in a moment.
    pub(in crate::collect) worse: bool,
}

/// How a pass changed what is known of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing worth a word.
    None,
    /// It can be listed again.
    Recovered,
    /// It could be listed before.
    Failed,
}

impl Brought {
    pub(in crate::collect) const fn and(self, other: Self) -> Self {
        Self {
            whole: self.whole || other.whole,
            unfinished: self.unfinished || other.unfinished,
            worse: self.worse || other.worse,
        }
    }
}

impl Book {
    /// What is known of an archive before a pass.
    pub(in crate::collect) fn before(&self, key: &Key) -> Before {
        let archives = self.archives.lock();
        let Some(archive) = archives.get(key) else { return Before::default() };
        let backups = archive.whole.as_ref().map(|whole| BTreeSet::clone(&whole.backups));
        Before { listing: Some(archive.listing.clone()), backups: backups.unwrap_or_default() }
    }

    /// Takes what came of a pass, and tells the log where that is new.
    pub(in crate::collect) fn take(
        &self,
        key: &Key,
        subject: &Subject,
        passed: Passed,
        snapshot: &Snapshot,
    ) -> Brought {
        let (whole, unfinished) = (matches!(passed.end, End::Whole), matches!(passed.end, End::Unfinished));
        let (change, worse) = self.put(key.clone(), subject, passed, snapshot);
        self.log(key, change);
        Brought { whole, unfinished, worse }
    }

    /// True where more is missing than before.
    fn put(&self, key: Key, subject: &Subject, passed: Passed, snapshot: &Snapshot) -> (Change, bool) {
        let now = Utc::now();
        let Passed { listing, end } = passed;
        let is_whole = matches!(end, End::Whole);
        let failure = match end {
            End::Whole | End::Unfinished => None,
            End::Failed(failure) => Some(failure),
            End::GivenUp => return (Change::None, false),
        };
        let mut archives = self.archives.lock();
        let before = archives.remove(&key);
        let had_failed = before.as_ref().is_some_and(|before| before.failure.is_some());
        let (whole, judged, missing) = before
            .filter(|before| before.listing.archive == listing.archive)
            .map_or((None, None, 0), |before| (before.whole, before.judged, before.missing));
        let backups = subject.backups.clone();
        let mut archive = Archive { listing, whole, judged, last_run: now, backups, failure, missing };
        let change = match (had_failed, &archive.failure) {
            (true, None) => Change::Recovered,
            (false, Some(_)) => Change::Failed,
            _ => Change::None,
        };
        let mut is_worse = false;
        if is_whole {
            let whole = Whole {
                listing: Arc::new(archive.listing.clone()),
                backups: Arc::new(subject.backups.clone()),
                ended: now,
            };
            if let Some((stanza, repo)) = find(snapshot, &key) {
                archive.missing = whole.judge(stanza, repo).missing();
                is_worse = archive.missing > missing;
            }
            archive.whole = Some(whole);
        }
        archives.insert(key, archive);
        (change, is_worse)
    }

    fn log(&self, key: &Key, change: Change) {
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

    /// Why the last pass over an archive failed, if it did.
    fn failure(&self, key: &Key) -> Option<String> {
        self.archives.lock().get(key)?.failure.as_ref().map(|failure| failure.message.clone())
    }

    /// Forgets archives that are no more.
    pub(in crate::collect) fn retain(&self, snapshot: &Snapshot) {
        self.archives.lock().retain(|key, _| find(snapshot, key).is_some());
    }

    /// Whether there is an archive, or a backup, that there was not before the last pass. It is not waited for the next one
    /// until something is proven of it.
    pub(in crate::collect) fn has_news(&self, snapshot: &Snapshot) -> bool {
        let archives = self.archives.lock();
        subjects(snapshot).any(|(key, subject)| {
            archives.get(&key).is_none_or(|known| {
                known.listing.archive != subject.archive || !subject.backups.is_subset(&known.backups)
            })
        })
    }

    /// Writes into a snapshot what the listings prove, and how listing goes. A listing older than `max_staleness` proves
    /// nothing any more.
    pub(in crate::collect) fn fill(
        &self,
        snapshot: &mut Snapshot,
        max_staleness: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let mut archives = self.archives.lock();
        let mut proofs: BTreeMap<Key, Arc<Continuity>> = BTreeMap::new();
        for (key, archive) in archives.iter_mut() {
            let Some((stanza, repo)) = find(snapshot, key) else { continue };
            if archive.whole.as_ref().is_some_and(|whole| whole.ended < repo.collected_at) {
                archive.judged = archive.whole.clone();
            }
            let is_own = |whole: &&Whole| {
                Subject::of(stanza, repo).is_some_and(|subject| subject.archive == whole.listing.archive)
            };
            let fresh = archive.judged.as_ref().filter(|whole| now - whole.ended <= max_staleness);
            if let Some(whole) = fresh.filter(is_own) {
                proofs.insert(key.clone(), Arc::new(whole.judge(stanza, repo)));
            }
        }
        snapshot.collection.wal = health(&archives);
        drop(archives);
        for stanza in &mut snapshot.stanzas {
            for repo in &mut stanza.repos {
                repo.wal = proofs.remove(&(stanza.name.clone(), repo.key));
            }
        }
    }
}

impl Whole {
    fn judge(&self, stanza: &Stanza, repo: &Repo) -> Continuity {
        let backups = repo.backups.iter().filter(|backup| self.backups.contains(&backup.label));
        judge(&self.listing, backups, wal_range::database_facts(stanza, repo))
    }
}

fn find<'a>(snapshot: &'a Snapshot, (stanza, repo): &Key) -> Option<(&'a Stanza, &'a Repo)> {
    let stanza = snapshot.stanza(stanza)?;
    Some((stanza, stanza.repo(*repo)?))
}

/// By stanza, over its repositories.
fn health(archives: &BTreeMap<Key, Archive>) -> BTreeMap<Arc<str>, ScopeHealth> {
    let mut all: BTreeMap<Arc<str>, ScopeHealth> = BTreeMap::new();
    for ((stanza, _), archive) in archives {
        let (up, last_run) = (archive.failure.is_none(), archive.last_run);
        let last_success = archive.whole.as_ref().map(|whole| whole.ended);
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
        // All were listed then at the latest.
        joined.last_success = joined.last_success.min(last_success);
        joined.failure = joined.failure.take().or_else(|| archive.failure.clone());
    }
    all
}

#[cfg(test)]
#[path = "book/tests.rs"]
mod tests;
