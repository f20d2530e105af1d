//! A store of the metadata of our objects that finds those of a cluster or of a restore test without a look at all others.

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::store::{Store, Writer, WriterDropped};
use kube::runtime::reflector::{Lookup, ObjectRef};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;

use crate::cluster::labels::{CLUSTER, RESTORE_TEST};

use super::scope::Key;
use super::watch::Cache;

/// The metadata of an object of any kind, without `managedFields`.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// The resource that an object belongs to, by its labels.
pub(super) type Belonging = fn(&Metadata) -> Option<Key>;

/// The objects of one kind in one scope.
#[derive(Debug, Clone)]
pub struct Objects {
    resource: ApiResource,
    store: Store<Metadata>,
    names: Arc<RwLock<Names>>,
    belonging: Belonging,
}

/// The names of the objects of each cluster, in order: at least of those in the store. Most clusters have one or two of a kind.
#[derive(Debug, Default)]
struct Names(HashMap<Key, Vec<Box<str>>>);

impl Names {
    fn add(&mut self, object: &Metadata, belonging: Belonging) {
        let (Some(key), Some(name)) = (belonging(object), object.name()) else { return };
        let names = self.0.entry(key).or_default();
        if let Err(place) = names.binary_search_by(|known| (**known).cmp(&*name)) {
            names.reserve_exact(1);
            names.insert(place, name.into());
        }
    }

    fn remove(&mut self, object: &Metadata, belonging: Belonging) {
        let (Some(key), Some(name)) = (belonging(object), object.name()) else { return };
        let Some(names) = self.0.get_mut(&key) else { return };
        names.retain(|known| **known != *name);
        if names.is_empty() {
            self.0.remove(&key);
        }
    }
}

/// Updates the objects.
#[derive(Debug)]
pub struct ObjectsWriter {
    writer: Writer<Metadata>,
    objects: Objects,
}

impl ObjectsWriter {
    /// Of clusters; without objects so far.
    #[must_use]
    pub fn new(resource: ApiResource) -> Self {
        Self::by(resource, cluster)
    }

    /// The same, of what they belong to.
    pub(super) fn by(resource: ApiResource, belonging: Belonging) -> Self {
        let writer = Writer::new(resource.clone());
        let objects = Objects { resource, store: writer.as_reader(), names: Arc::default(), belonging };
        Self { writer, objects }
    }

    /// To read them.
    #[must_use]
    pub fn as_reader(&self) -> Objects {
        self.objects.clone()
    }

    /// A name is there before its object, and leaves after it. A list takes effect when it is complete.
    pub fn apply_watcher_event(&mut self, event: &Event<Metadata>) {
        let belonging = self.objects.belonging;
        if let Event::Apply(object) | Event::InitApply(object) = event {
            self.objects.names.write().add(object, belonging);
        }
        self.writer.apply_watcher_event(event);
        match event {
            Event::InitDone => *self.objects.names.write() = self.objects.in_store(),
            Event::Delete(object) => self.objects.names.write().remove(object, belonging),
            Event::Init | Event::InitApply(_) | Event::Apply(_) => {}
        }
    }
}

impl Cache<Metadata> for ObjectsWriter {
    fn apply(&mut self, event: &Event<Metadata>) {
        self.apply_watcher_event(event);
    }

    fn all(&self) -> Vec<Arc<Metadata>> {
        self.objects.store.state()
    }
}

impl Objects {
    /// Waits until the first list is complete.
    pub(super) async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Metadata>> {
        self.store.get(&ObjectRef::new_with(name, self.resource.clone()).within(namespace))
    }

    /// Those that carry our label for a cluster or a restore test.
    #[must_use]
    pub fn of_resource(&self, key: &Key) -> Vec<Arc<Metadata>> {
        let names = self.names.read().0.get(key).cloned().unwrap_or_default();
        // The label may have changed.
        let belongs = |object: &Arc<Metadata>| (self.belonging)(object).as_ref() == Some(key);
        names.iter().filter_map(|name| self.get(&key.namespace, name)).filter(belongs).collect()
    }

    fn in_store(&self) -> Names {
        let mut names = Names::default();
        self.store.state().iter().for_each(|object| names.add(object, self.belonging));
        names
    }
}

/// The cluster of an object.
pub(super) fn cluster(object: &Metadata) -> Option<Key> {
    of_label(object, CLUSTER)
}

/// The restore test of an object.
pub(super) fn restore_test(object: &Metadata) -> Option<Key> {
    of_label(object, RESTORE_TEST)
}

fn of_label(object: &Metadata, label: &str) -> Option<Key> {
    let name = object.metadata.labels.as_ref()?.get(label)?;
    Some(Key::new(object.namespace()?.as_ref(), name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::ObjectKind;
    use super::*;

    fn object(name: &str, cluster: &str) -> Metadata {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "shop", "labels": {CLUSTER: cluster}}}),
        )
        .unwrap()
    }

    #[test]
    fn objects_are_found_by_cluster() {
        let mut writer = ObjectsWriter::new(ObjectKind::of("ConfigMap").unwrap().resource());
        let objects = writer.as_reader();
        let of = |cluster: &str| -> Vec<String> {
            let found = objects.of_resource(&Key::new("shop", cluster)).into_iter();
            found.map(|object| object.metadata.name.clone().unwrap()).collect()
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
        assert_eq!(objects.names.read().0.len(), 1);
    }
}
