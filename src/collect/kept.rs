//! Limits the memory for the facts about all clusters of a fleet. A cluster may exceed its part as long as the sum stays below
//! the limit. Otherwise its old facts are kept, and the collection fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cluster::key::Key;
use crate::memory::Bounds;
use crate::state::snapshot::{Failure, FailureReason, Snapshot};
use crate::state::weight;

/// Bytes that every cluster may have, however many there are: facts about 80 backups, or those of 20 in four repositories.
pub(super) const LEAST: u64 = 48 << 10;

/// A stanza in a repository.
type ArchiveKey = (Arc<str>, u32);

/// What is kept of each cluster.
#[derive(Debug)]
pub(super) struct Kept {
    total: u64,
    clusters: Mutex<Clusters>,
}

#[derive(Debug, Default)]
struct Clusters {
    bytes: u64,
    of: BTreeMap<Arc<Key>, Parts>,
}

/// Bytes of one cluster.
#[derive(Debug, Default, Clone)]
struct Parts {
    snapshot: u64,
    /// Answers that are not in a snapshot yet.
    answers: u64,
    /// Listings of its WAL archives.
    listings: BTreeMap<ArchiveKey, u64>,
}

impl Parts {
    fn sum(&self) -> u64 {
        let listings = self.listings.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        self.snapshot.saturating_add(self.answers).saturating_add(listings)
    }
}

impl Kept {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { total: bounds.facts(), clusters: Mutex::default() }
    }

    /// A cluster is collected from now on.
    pub(super) fn add(&self, cluster: &Key) {
        self.clusters.lock().of.entry(Arc::new(cluster.clone())).or_default();
    }

    /// Nothing is kept of it any more.
    pub(super) fn remove(&self, cluster: &Key) {
        let mut clusters = self.clusters.lock();
        if let Some(parts) = clusters.of.remove(cluster) {
            clusters.bytes = clusters.bytes.saturating_sub(parts.sum());
        }
    }

    pub(super) fn clear(&self) {
        *self.clusters.lock() = Clusters::default();
    }

    /// Takes note of an answer that has come, if there is room for it. A host, which is not one of many, always has.
    pub(super) fn admit(&self, cluster: &Key, bytes: u64) -> Result<(), Failure> {
        self.change(cluster, |parts| parts.answers = parts.answers.saturating_add(bytes))
    }

    /// The same for the listing of a WAL archive, which replaces an earlier one. Without room nothing is kept of it.
    pub(super) fn admit_listing(
        &self,
        cluster: &Key,
        archive: &ArchiveKey,
        bytes: u64,
    ) -> Result<(), Failure> {
        let admitted = self.change(cluster, |parts| _ = parts.listings.insert(archive.clone(), bytes));
        if admitted.is_err() {
            self.clusters.lock().replace(cluster, |parts| _ = parts.listings.remove(archive));
        }
        admitted
    }

    /// The answers are in this snapshot, or have been dropped.
    pub(super) fn settle(&self, cluster: &Key, snapshot: &Snapshot) {
        let has = |(stanza, repo): &ArchiveKey| {
            snapshot.stanza(stanza).is_some_and(|stanza| stanza.repo(*repo).is_some())
        };
        let bytes = weight::of_snapshot(snapshot);
        self.clusters.lock().replace(cluster, |parts| {
            (parts.snapshot, parts.answers) = (bytes, 0);
            parts.listings.retain(|archive, _| has(archive));
        });
    }

    fn change(&self, cluster: &Key, change: impl FnOnce(&mut Parts)) -> Result<(), Failure> {
        let mut clusters = self.clusters.lock();
        let Some(before) = clusters.of.get(cluster).cloned() else { return Ok(()) };
        let mut after = before.clone();
        change(&mut after);
        let sum = clusters.bytes.saturating_sub(before.sum()).saturating_add(after.sum());
        let part = (self.total / clusters.of.len().max(1) as u64).max(LEAST);
        if after.sum() > before.sum() && after.sum() > part && sum > self.total {
            let message = format!(
                "what is known of all clusters would take more than {} MiB of memory, and of this one more than its part; look \
                 why it has so many backups or so much WAL, or raise the memory limit",
                self.total >> 20
            );
            return Err(Failure::new(FailureReason::OutputTooLarge, message));
        }
        clusters.replace(cluster, |parts| *parts = after);
        Ok(())
    }
}

impl Clusters {
    fn replace(&mut self, cluster: &Key, change: impl FnOnce(&mut Parts)) {
        let Some(parts) = self.of.get_mut(cluster) else { return };
        let before = parts.sum();
        change(parts);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(parts.sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 << 20;
    const MIB: u64 = 1 << 20;

    #[test]
    fn who_keeps_much_leaves_its_part_to_everybody() {
        let kept = Kept::new(Bounds { limit: LIMIT });
        let keys: Vec<Key> = (0..16).map(|number| Key::new("shop", &number.to_string())).collect();
        for key in &keys {
            kept.add(key);
        }
        kept.admit(&keys[0], 7 * MIB).unwrap();
        let refused = kept.admit(&keys[1], 2 * MIB).unwrap_err();
        assert_eq!(refused.reason, FailureReason::OutputTooLarge);
        for key in &keys[1..] {
            kept.admit(key, LIMIT / 8 / 16).expect("its part");
        }
        assert!(kept.admit(&keys[0], MIB).is_err() && kept.admit(&keys[1], MIB / 4).is_err());
        kept.settle(&keys[0], &Snapshot::default());
        kept.admit(&keys[1], MIB / 4).expect("there is room again");
        kept.remove(&keys[0]);
        kept.admit(&keys[0], 100 * MIB).expect("it is none of ours any more");
        kept.clear();
        assert_eq!(kept.clusters.lock().bytes, 0);
    }

    #[test]
    fn listings_replace_each_other() {
        let kept = Kept::new(Bounds { limit: LIMIT });
        let key = Key::new("shop", "ledger");
        kept.add(&key);
        let admit = |repo, mib| kept.admit_listing(&key, &("db".into(), repo), mib * MIB);
        for _ in 0..5 {
            admit(1, 5).unwrap();
        }
        assert!(admit(2, 4).is_err() && kept.admit(&key, 4 * MIB).is_err());
        assert!(admit(1, 9).is_err());
        // Nothing is left of it.
        kept.admit(&key, 8 * MIB).unwrap();
    }
}
