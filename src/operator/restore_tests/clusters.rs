//! The clusters that can be tested, as their resources were validated last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::store::Store;
use parking_lot::Mutex;

use crate::cluster::labels::Labels;
use crate::cluster::restore_test::validated::ClusterSelection;
use crate::cluster::validated::ValidatedCluster;
use crate::kubernetes::shard::Shard;
use crate::operator::revisits::Revisits;
use crate::operator::scope::Key;
use crate::operator::stored::StoredResource;

/// Written by the reconciles of clusters, read by those of restore tests.
#[derive(Debug)]
pub(in crate::operator) struct Clusters {
    /// All resources, by scope.
    resources: Vec<Store<StoredResource>>,
    known: Mutex<BTreeMap<Key, KnownCluster>>,
    /// Clusters that have changed, or of which a backup has begun or ended.
    changed: Arc<Revisits>,
    shard: Shard,
    /// Namespaces with restore tests of the own shard, in which the clusters of other shards have to be known, too.
    wanted: Mutex<BTreeSet<String>>,
    /// Where clusters go that have to be looked at, by scope.
    revisits: Vec<Arc<Revisits>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct KnownCluster {
    labels: Labels,
    /// `None`: it has no backups, or errors that affect all of it.
    cluster: Option<Arc<ValidatedCluster>>,
}

/// A cluster that a restore test selects.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    pub(super) name: String,
    pub(super) created: Option<DateTime<Utc>>,
    pub(super) cluster: Option<Arc<ValidatedCluster>>,
}

/// What is known of the clusters of a namespace.
#[derive(Debug, Default)]
pub(super) struct InNamespace {
    /// All of them, by name.
    pub(super) names: Vec<String>,
    pub(super) selected: Vec<Selected>,
    /// Whether all that are selected were looked at in this term.
    pub(super) is_complete: bool,
}

/// What a reconcile found out about a cluster.
#[derive(Debug, Clone, Default)]
pub(in crate::operator) enum Look {
    /// Nothing new: what was valid before is what runs there.
    #[default]
    AsBefore,
    /// It has no backups, or is not ours.
    Nothing,
    Valid(Arc<ValidatedCluster>),
}

impl Look {
    pub(in crate::operator) fn of(cluster: Option<&Arc<ValidatedCluster>>) -> Self {
        cluster.map_or(Self::AsBefore, |cluster| Self::Valid(Arc::clone(cluster)))
    }
}

impl Clusters {
    pub(in crate::operator) fn new(
        resources: Vec<Store<StoredResource>>,
        shard: Shard,
        revisits: Vec<Arc<Revisits>>,
    ) -> Self {
        let (known, changed, wanted) = Default::default();
        Self { resources, known, changed, shard, wanted, revisits }
    }

    /// Whether clusters of other shards in this namespace have to be known.
    pub(in crate::operator) fn wants(&self, namespace: &str) -> bool {
        self.wanted.lock().contains(namespace)
    }

    /// There is a restore test in this namespace: clusters of other shards are looked at.
    pub(super) fn want(&self, namespace: &str) {
        if self.shard.is_all() || !self.wanted.lock().insert(namespace.to_owned()) {
            return;
        }
        for object in self.resources.iter().flat_map(Store::state) {
            let key = Key::of_metadata(object.meta()).filter(|key| key.namespace == namespace);
            if let Some(key) = key.filter(|key| !self.shard.covers(&key.namespace, &key.name)) {
                self.revisits.iter().for_each(|revisits| revisits.add(&key));
            }
        }
    }

    /// There are no restore tests in this namespace any more.
    pub(super) fn leave(&self, namespace: &str) {
        if self.wanted.lock().remove(namespace) {
            let is_kept = |key: &Key| key.namespace != namespace || self.shard.covers(namespace, &key.name);
            self.known.lock().retain(|key, _| is_kept(key));
        }
    }

    /// To add clusters of which a backup has begun or ended.
    pub(in crate::operator) fn changed(&self) -> Arc<Revisits> {
        Arc::clone(&self.changed)
    }

    pub(in crate::operator) fn set(&self, key: &Key, metadata: &ObjectMeta, look: Look) {
        let labels = metadata.labels.clone().unwrap_or_default();
        let mut known = self.known.lock();
        let before = known.get(key);
        let cluster = match look {
            Look::AsBefore => before.and_then(|before| before.cluster.clone()),
            Look::Nothing => None,
            Look::Valid(cluster) => Some(cluster),
        };
        let now = KnownCluster { labels, cluster };
        if before != Some(&now) {
            known.insert(key.clone(), now);
            self.changed.add(key);
        }
    }

    /// The resource was deleted.
    pub(in crate::operator) fn forget(&self, key: &Key) {
        if self.known.lock().remove(key).is_some() {
            self.changed.add(key);
        }
    }

    /// The clusters of a namespace. Which of them are selected is what their resources say now.
    pub(super) fn in_namespace(&self, namespace: &str, selection: &ClusterSelection) -> InNamespace {
        let is_listed =
            |store: &Store<StoredResource>| matches!(store.wait_until_ready().now_or_never(), Some(Ok(())));
        let mut found =
            InNamespace { is_complete: self.resources.iter().all(is_listed), ..InNamespace::default() };
        let known = self.known.lock();
        for object in self.resources.iter().flat_map(Store::state) {
            let Some(key) = Key::of_metadata(object.meta()).filter(|key| key.namespace == namespace) else {
                continue;
            };
            found.names.push(key.name.clone());
            let nothing = Labels::new();
            if !selection.selects(&key.name, object.meta().labels.as_ref().unwrap_or(&nothing)) {
                continue;
            }
            let cluster = known.get(&key);
            found.is_complete &= cluster.is_some();
            let cluster = cluster.and_then(|known| known.cluster.clone());
            let created = created(object.meta());
            found.selected.push(Selected { name: key.name, created, cluster });
        }
        found.names.sort_unstable();
        found.selected.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        found
    }
}

/// When an object was created.
pub(super) fn created(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(metadata.creation_timestamp.as_ref()?.0.as_second(), 0)
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::operator::stored::Packer;

    fn object(namespace: &str, name: &str, tier: &str) -> StoredResource {
        let object = json!({"metadata": {"name": name, "namespace": namespace, "labels": {"tier": tier}}});
        Packer::default().pack(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_is_selected_is_known_when_it_was_looked_at() {
        let mut writer = Writer::new(());
        let clusters = Clusters::new(vec![writer.as_reader()], Shard::default(), Vec::new());
        let names = ClusterSelection::Names(["ledger", "orders"].map(str::to_owned).into());
        let look = || {
            let found = clusters.in_namespace("shop", &names);
            let selected: Vec<String> = found.selected.into_iter().map(|selected| selected.name).collect();
            (selected, found.names.len(), found.is_complete)
        };
        assert_eq!(look(), (vec![], 0, false), "nothing is listed");
        let objects =
            [object("shop", "orders", "a"), object("shop", "stock", "a"), object("bank", "ledger", "a")];
        writer.apply_watcher_event(&Event::Init);
        for object in &objects {
            writer.apply_watcher_event(&Event::InitApply(object.clone()));
        }
        writer.apply_watcher_event(&Event::InitDone);
        assert_eq!(look(), (vec!["orders".to_owned()], 2, false));
        let orders = Key::new("shop", "orders");
        clusters.set(&orders, objects[0].meta(), Look::Nothing);
        assert_eq!(look(), (vec!["orders".to_owned()], 2, true));
        assert_eq!(clusters.changed.take(), std::slice::from_ref(&orders));
        clusters.set(&orders, objects[0].meta(), Look::AsBefore);
        assert_eq!(clusters.changed.take(), [], "nothing has changed");
        clusters.set(&orders, object("shop", "orders", "b").meta(), Look::AsBefore);
        assert_eq!(clusters.changed.take(), [orders], "its labels may matter");
    }
}
