//! A store of the metadata of our objects that finds those of a cluster or of a restore test without a look at all others.
//!
//! It keeps each as compressed text, which takes a fraction of the memory of what is read from it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use tokio::sync::watch::{Receiver, Sender};

use crate::cluster::labels::{CLUSTER, RESTORE_TEST};

use super::packed::{Alike, Packed};
use super::scope::Key;
use super::sorted;
use super::watch::Cache;

/// The metadata of an object of any kind, without `managedFields`.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// The resource that an object belongs to, by its labels.
pub(super) type Belonging = fn(&ObjectMeta) -> Option<Key>;

/// The objects of one kind in one scope.
#[derive(Debug, Clone)]
pub struct Objects {
    contents: Arc<RwLock<Contents>>,
    /// Whether a list was complete.
    is_listed: Receiver<bool>,
}

/// The writer is gone, so the objects will never be listed.
#[derive(Debug)]
pub(super) struct WriterGone;

#[derive(Debug, Default)]
struct Contents {
    /// Metadata as JSON, by namespace and name.
    texts: HashMap<Arc<str>, HashMap<Arc<str>, Packed>>,
    /// The names of the objects of each cluster, in order. Most clusters have one or two of a kind.
    names: HashMap<Key, Vec<Arc<str>>>,
    packer: Alike,
}

impl Contents {
    fn insert(&mut self, object: &Metadata, belonging: Belonging) {
        let metadata = &object.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { return };
        let text = serde_json::to_string(metadata).ok().and_then(|text| self.packer.pack(&text));
        let Some(text) = text else { return };
        self.remove(object, belonging);
        let name: Arc<str> = name.as_str().into();
        if let Some(key) = belonging(metadata) {
            sorted::insert(self.names.entry(key).or_default(), Arc::clone(&name));
        }
        let of_namespace = match self.texts.get_mut(namespace.as_str()) {
            Some(known) => known,
            None => self.texts.entry(namespace.as_str().into()).or_default(),
        };
        of_namespace.insert(name, text);
    }

    /// What it belongs to may have changed.
    fn remove(&mut self, object: &Metadata, belonging: Belonging) {
        let (Some(namespace), Some(name)) = (&object.metadata.namespace, &object.metadata.name) else {
            return;
        };
        let before = self.get(namespace, name);
        let Some(of_namespace) = self.texts.get_mut(namespace.as_str()) else { return };
        of_namespace.remove(name.as_str());
        if of_namespace.is_empty() {
            self.texts.remove(namespace.as_str());
        }
        let Some(key) = before.as_ref().and_then(belonging) else { return };
        let Some(names) = self.names.get_mut(&key) else { return };
        names.retain(|known| **known != **name);
        if names.is_empty() {
            self.names.remove(&key);
        }
    }

    fn get(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let text = self.packer.unpack(self.texts.get(namespace)?.get(name)?)?;
        serde_json::from_str(&text).ok()
    }
}

/// Updates the objects.
#[derive(Debug)]
pub struct ObjectsWriter {
    objects: Objects,
    is_listed: Sender<bool>,
    /// A list that is not complete yet.
    list: Contents,
    belonging: Belonging,
}

impl Default for ObjectsWriter {
    /// Of clusters; without objects so far.
    fn default() -> Self {
        Self::by(cluster)
    }
}

impl ObjectsWriter {
    /// By what they belong to; without objects so far.
    pub(super) fn by(belonging: Belonging) -> Self {
        let (sender, is_listed) = tokio::sync::watch::channel(false);
        let objects = Objects { contents: Arc::default(), is_listed };
        Self { objects, is_listed: sender, list: Contents::default(), belonging }
    }

    /// To read them.
    #[must_use]
    pub fn as_reader(&self) -> Objects {
        self.objects.clone()
    }

    /// A list takes effect when it is complete.
    pub fn apply_watcher_event(&mut self, event: &Event<Metadata>) {
        let belonging = self.belonging;
        match event {
            Event::Apply(object) => self.objects.contents.write().insert(object, belonging),
            Event::Delete(object) => self.objects.contents.write().remove(object, belonging),
            Event::Init => self.list = Contents::default(),
            Event::InitApply(object) => self.list.insert(object, belonging),
            Event::InitDone => {
                *self.objects.contents.write() = std::mem::take(&mut self.list);
                self.is_listed.send_replace(true);
            }
        }
    }
}

impl Cache<Metadata> for ObjectsWriter {
    fn apply(&mut self, event: &Event<Metadata>) {
        self.apply_watcher_event(event);
    }

    fn keys(&self) -> BTreeSet<Key> {
        self.objects.contents.read().names.keys().cloned().collect()
    }
}

impl Objects {
    /// Waits until the first list is complete.
    pub(super) async fn wait_until_ready(&self) -> Result<(), WriterGone> {
        self.is_listed.clone().wait_for(|is_listed| *is_listed).await.map(|_| ()).map_err(|_| WriterGone)
    }

    /// The metadata of the object of this name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        self.contents.read().get(namespace, name)
    }

    /// The metadata of those that carry our label for a cluster or a restore test.
    #[must_use]
    pub fn of_resource(&self, key: &Key) -> Vec<ObjectMeta> {
        let contents = self.contents.read();
        let names = contents.names.get(key).into_iter().flatten();
        names.filter_map(|name| contents.get(&key.namespace, name)).collect()
    }
}

/// The cluster of an object.
pub(super) fn cluster(metadata: &ObjectMeta) -> Option<Key> {
    of_label(metadata, CLUSTER)
}

/// The restore test of an object.
pub(super) fn restore_test(metadata: &ObjectMeta) -> Option<Key> {
    of_label(metadata, RESTORE_TEST)
}

fn of_label(metadata: &ObjectMeta, label: &str) -> Option<Key> {
    let name = metadata.labels.as_ref()?.get(label)?;
    Some(Key::new(metadata.namespace.as_deref()?, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, cluster: &str) -> Metadata {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "shop", "labels": {CLUSTER: cluster}}}),
        )
        .unwrap()
    }

    #[test]
    fn objects_are_found_by_cluster() {
        let mut writer = ObjectsWriter::default();
        let objects = writer.as_reader();
        let of = |cluster: &str| -> Vec<String> {
            let found = objects.of_resource(&Key::new("shop", cluster)).into_iter();
            found.map(|metadata| metadata.name.clone().unwrap()).collect()
        };
        for event in
            [Event::Init, Event::InitApply(object("a", "orders")), Event::InitApply(object("b", "ledger"))]
        {
            writer.apply_watcher_event(&event);
        }
        assert!(of("orders").is_empty(), "a list counts once it is complete");
        writer.apply_watcher_event(&Event::InitDone);
        writer.apply_watcher_event(&Event::Apply(object("c", "orders")));
        assert_eq!(
            (of("orders"), of("ledger")),
            (vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()])
        );
        assert!(objects.get("shop", "b").is_some() && objects.get("other", "b").is_none());
        // It changes to another cluster, one is deleted, and one goes while the watch is interrupted.
        writer.apply_watcher_event(&Event::Apply(object("c", "ledger")));
        assert_eq!(
            (of("orders"), of("ledger")),
            (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()])
        );
        writer.apply_watcher_event(&Event::Delete(object("b", "ledger")));
        assert_eq!(of("ledger"), ["c"]);
        for event in [Event::Init, Event::InitApply(object("c", "ledger")), Event::InitDone] {
            writer.apply_watcher_event(&event);
        }
        assert_eq!((of("orders"), of("ledger")), (vec![], vec!["c".to_owned()]));
        assert_eq!(objects.contents.read().names.len(), 1);
    }
}
