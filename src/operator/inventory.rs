//! Our existing objects: a cache of the metadata of every object that carries our label, updated by watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use kube::Api;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::store::{Store, Writer, WriterDropped};
use kube::runtime::reflector::{Lookup, ObjectRef};
use kube::runtime::watcher;

use crate::cluster::labels::{CLUSTER, MANAGED_BY, MANAGER};

use super::kinds::ObjectKind;
use super::progress::OperatorProgress;
use super::scope::{Key, Scope};
use super::watch::{self, PAGE, Touch, Watch};

/// The metadata of an object of any kind, without `managedFields`.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// By kind, such as `CronJob`, and by namespace if only some are watched.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    stores: BTreeMap<&'static str, Vec<Store<Metadata>>>,
}

impl Inventory {
    /// Uses these stores, by kind.
    #[must_use]
    pub fn new(stores: BTreeMap<&'static str, Vec<Store<Metadata>>>) -> Self {
        Self { stores }
    }

    /// Watches all our objects. The second value is, for each scope, a stream of clusters whose objects have changed;
    /// the stores are updated while it is polled.
    pub(super) fn watch(
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<OperatorProgress>,
    ) -> (Self, Vec<BoxStream<'static, Key>>) {
        let mut stores: BTreeMap<&'static str, Vec<Store<Metadata>>> = BTreeMap::new();
        let mut changes = Vec::new();
        for scope in scopes {
            let mut of_scope = Vec::new();
            for kind in ObjectKind::watched() {
                let resource = kind.resource();
                let writer = Writer::new(resource.clone());
                stores.entry(kind.name).or_default().push(writer.as_reader());
                of_scope.push(follow(client, scope, kind.name, &resource, writer, progress));
            }
            changes.push(stream::select_all(of_scope).boxed());
        }
        (Self::new(stores), changes)
    }

    /// Waits until every watch has completed its first list.
    pub(super) async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        for store in self.stores.values().flatten() {
            store.wait_until_ready().await?;
        }
        Ok(())
    }

    /// One object of ours.
    #[must_use]
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<Metadata>> {
        let resource = ObjectKind::of(kind)?.resource();
        let place = ObjectRef::<Metadata>::new_with(name, resource).within(namespace);
        self.stores.get(kind)?.iter().find_map(|store| store.get(&place))
    }

    /// Every object that carries our label for this cluster, with its kind.
    #[must_use]
    pub fn of_cluster(&self, namespace: &str, cluster: &str) -> Vec<(&'static str, Arc<Metadata>)> {
        let belongs = |object: &Metadata| {
            object.metadata.namespace.as_deref() == Some(namespace)
                && label(object).is_some_and(|label| label == cluster)
        };
        let mut found = Vec::new();
        for (kind, stores) in &self.stores {
            for store in stores {
                found.extend(store.state_filter(belongs).into_iter().map(|object| (*kind, object)));
            }
        }
        found
    }
}

/// The cluster of an object.
fn label(object: &Metadata) -> Option<&str> {
    object.metadata.labels.as_ref()?.get(CLUSTER).map(String::as_str)
}

fn follow(
    client: &kube::Client,
    scope: &Scope,
    kind: &'static str,
    resource: &ApiResource,
    writer: Writer<Metadata>,
    progress: &Arc<OperatorProgress>,
) -> BoxStream<'static, Key> {
    let api: Api<Metadata> = scope.api(client, resource);
    let selector = format!("{MANAGED_BY}={MANAGER}");
    let watch = Watch {
        kind,
        scope: scope.clone(),
        events: watcher(api, watcher::Config::default().labels(&selector).page_size(PAGE)),
        writer,
        key: |object: &Metadata| Some(Key::new(object.namespace()?.as_ref(), label(object)?)),
    };
    // A deleted object is a change of its cluster.
    watch::follow(watch, Arc::clone(progress))
        .map(|touch| match touch {
            Touch::Changed(key) | Touch::Gone(key) => key,
        })
        .boxed()
}
