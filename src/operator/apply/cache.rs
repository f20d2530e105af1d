//! Caches what was written, so that an unchanged object costs no request.
//!
//! It contains only hashes, and only for existing clusters.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

/// How long the watch may take to report a new object.
pub(super) const WATCH_DELAY: Duration = Duration::from_secs(3);

/// How long the result of a check for objects of other owners is reused.
const SERVICE_STAYS: Duration = Duration::from_hours(1);

/// By cluster and object.
#[derive(Debug, Default)]
pub(in crate::operator) struct ApplyCache {
    clusters: Mutex<HashMap<(String, String), CachedCluster>>,
}

#[derive(Debug, Default)]
struct CachedCluster {
    objects: HashMap<u64, CachedObject>,
    foreign_service: Option<Instant>,
    no_others_since: Option<Instant>,
}

/// An object after its last write.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedObject {
    /// Hash of the desired object.
    pub(super) desired: u64,
    live: u64,
    version: u64,
    at: Instant,
}

impl CachedObject {
    /// Whether the object is unchanged. Metadata from before the write does not count: the watch lags behind, and
    /// will report later changes.
    pub(super) fn is_in_place(&self, desired: u64, live: &ObjectMeta) -> bool {
        self.desired == desired && (self.live == fingerprint(live) || version(live) < self.version)
    }

    /// Whether the object may be too recent for the watch to have reported it.
    pub(super) fn is_young(&self, desired: u64) -> bool {
        self.desired == desired && self.at.elapsed() < WATCH_DELAY
    }
}

impl ApplyCache {
    fn with<T>(&self, namespace: &str, cluster: &str, act: impl FnOnce(&mut CachedCluster) -> T) -> T {
        act(self.clusters.lock().entry((namespace.to_owned(), cluster.to_owned())).or_default())
    }

    pub(super) fn find(
        &self,
        namespace: &str,
        cluster: &str,
        kind: &str,
        name: &str,
    ) -> Option<CachedObject> {
        self.with(namespace, cluster, |known| known.objects.get(&key(kind, name)).copied())
    }

    pub(super) fn store(
        &self,
        namespace: &str,
        cluster: &str,
        (kind, name): (&str, &str),
        desired: u64,
        after: &ObjectMeta,
    ) {
        let cached =
            CachedObject { desired, live: fingerprint(after), version: version(after), at: Instant::now() };
        self.with(namespace, cluster, |known| _ = known.objects.insert(key(kind, name), cached));
    }

    /// Removes all objects but these.
    pub(super) fn keep<'a>(
        &self,
        namespace: &str,
        cluster: &str,
        objects: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        let keys: HashSet<u64> = objects.map(|(kind, name)| key(kind, name)).collect();
        self.with(namespace, cluster, |known| known.objects.retain(|key, _| keys.contains(key)));
    }

    /// Removes a cluster.
    pub(in crate::operator) fn forget(&self, namespace: &str, cluster: &str) {
        self.clusters.lock().remove(&(namespace.to_owned(), cluster.to_owned()));
    }

    /// The version of an object after its last write. Older versions were read before that.
    pub(in crate::operator) fn version(
        &self,
        namespace: &str,
        cluster: &str,
        kind: &str,
        name: &str,
    ) -> Option<u64> {
        self.find(namespace, cluster, kind, name).map(|cached| cached.version)
    }

    pub(super) fn service_is_foreign(&self, namespace: &str, cluster: &str) -> bool {
        self.with(namespace, cluster, |known| {
            known.foreign_service.is_some_and(|seen| seen.elapsed() < SERVICE_STAYS)
        })
    }

    pub(super) fn note_foreign_service(&self, namespace: &str, cluster: &str) {
        self.with(namespace, cluster, |known| known.foreign_service = Some(Instant::now()));
    }

    /// Whether a recent search found no CronJobs of another controller.
    pub(super) fn is_alone(&self, namespace: &str, cluster: &str) -> bool {
        self.with(namespace, cluster, |known| {
            known.no_others_since.is_some_and(|seen| seen.elapsed() < SERVICE_STAYS)
        })
    }

    pub(super) fn note_alone(&self, namespace: &str, cluster: &str, alone: bool) {
        self.with(namespace, cluster, |known| known.no_others_since = alone.then(Instant::now));
    }
}

/// A hash of the desired object.
pub(super) fn hash(body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish()
}

/// `resourceVersion` as a number, which increases with every write; 0 if it is not a number.
pub(in crate::operator) fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// A hash of everything that we write. A `generation`, which counts changes of the `spec`, stands for the spec, since
/// controllers write the status all the time.
pub(super) fn fingerprint(metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.labels.hash(&mut hasher);
    metadata.annotations.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for owner in metadata.owner_references.iter().flatten() {
        (&owner.uid, owner.controller).hash(&mut hasher);
    }
    match metadata.generation {
        Some(generation) => generation.hash(&mut hasher),
        None => metadata.resource_version.hash(&mut hasher),
    }
    hasher.finish()
}

fn key(kind: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, name).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(version: &str, generation: Option<i64>) -> ObjectMeta {
        ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some(version.to_owned()),
            generation,
            ..ObjectMeta::default()
        }
    }

    fn cached(after: &ObjectMeta) -> CachedObject {
        let cache = ApplyCache::default();
        cache.store("shop", "orders", ("CronJob", "a"), 1, after);
        cache.find("shop", "orders", "CronJob", "a").unwrap()
    }

    #[test]
    fn a_status_is_no_change_where_there_is_a_generation() {
        let cron_job = cached(&metadata("10", Some(1)));
        assert!(cron_job.is_in_place(1, &metadata("11", Some(1))));
        assert!(!cron_job.is_in_place(1, &metadata("11", Some(2))));
        assert!(!cron_job.is_in_place(2, &metadata("10", Some(1))));
        let config_map = cached(&metadata("10", None));
        assert!(config_map.is_in_place(1, &metadata("10", None)));
        assert!(!config_map.is_in_place(1, &metadata("11", None)));
    }

    #[test]
    fn a_watch_that_is_behind_is_no_change() {
        let config_map = cached(&metadata("10", None));
        assert!(config_map.is_in_place(1, &metadata("9", None)));
    }

    #[test]
    fn labels_and_owners_count() {
        let before = metadata("10", Some(1));
        let mut labelled = metadata("11", Some(1));
        labelled.labels = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(!cached(&before).is_in_place(1, &labelled));
        let mut leaving = metadata("11", Some(1));
        leaving.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-01-01T00:00:00Z".parse().unwrap(),
        ));
        assert!(!cached(&before).is_in_place(1, &leaving));
    }

    #[test]
    fn only_what_exists_is_kept() {
        let cache = ApplyCache::default();
        for name in ["a", "b"] {
            cache.store("shop", "orders", ("CronJob", name), 1, &metadata("1", None));
        }
        cache.keep("shop", "orders", [("CronJob", "b")].into_iter());
        assert!(cache.find("shop", "orders", "CronJob", "a").is_none());
        assert_eq!(cache.version("shop", "orders", "CronJob", "b"), Some(1));
        cache.forget("shop", "orders");
        assert!(cache.clusters.lock().is_empty());
    }
}
