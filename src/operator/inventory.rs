//! Our existing objects: a cache of the metadata of every object that carries our label, updated by watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use kube::Api;
use kube::core::ApiResource;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::watcher;

use crate::cluster::labels::{MANAGED_BY, MANAGER};

use super::kinds::ObjectKind;
use super::objects::{self, Metadata, Objects, ObjectsWriter};
use super::progress::OperatorProgress;
use super::scope::{Key, Scope};
use super::watch::{self, PAGE, Touch, Watch};

/// By kind, such as `CronJob`, and by namespace if only some are watched.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    stores: BTreeMap<&'static str, Vec<Objects>>,
}

impl Inventory {
    /// Uses these stores, by kind.
    #[must_use]
    pub fn new(stores: BTreeMap<&'static str, Vec<Objects>>) -> Self {
        Self { stores }
    }

    /// Watches all our objects. The second value is, for each scope, a stream of clusters whose objects have changed;
    /// the stores are updated while it is polled.
    pub(super) fn watch(
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<OperatorProgress>,
    ) -> (Self, Vec<BoxStream<'static, Key>>) {
        let mut stores: BTreeMap<&'static str, Vec<Objects>> = BTreeMap::new();
        let mut changes = Vec::new();
        for scope in scopes {
            let mut of_scope = Vec::new();
            for kind in ObjectKind::watched() {
                let resource = kind.resource();
                let writer = ObjectsWriter::new(resource.clone());
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
        self.stores.get(kind)?.iter().find_map(|objects| objects.get(namespace, name))
    }

    /// Every object that carries our label for this cluster, with its kind.
    #[must_use]
    pub fn of_cluster(&self, namespace: &str, cluster: &str) -> Vec<(&'static str, Arc<Metadata>)> {
        let key = Key::new(namespace, cluster);
        let mut found = Vec::new();
        for (kind, stores) in &self.stores {
            for objects in stores {
                found.extend(objects.of_cluster(&key).into_iter().map(|object| (*kind, object)));
            }
        }
        found
    }
}

fn follow(
    client: &kube::Client,
    scope: &Scope,
    kind: &'static str,
    resource: &ApiResource,
    writer: ObjectsWriter,
    progress: &Arc<OperatorProgress>,
) -> BoxStream<'static, Key> {
    let api: Api<Metadata> = scope.api(client, resource);
    let selector = format!("{MANAGED_BY}={MANAGER}");
    let watch = Watch {
        kind,
        scope: scope.clone(),
        events: watcher(api, watcher::Config::default().labels(&selector).page_size(PAGE)),
        writer,
        key: objects::cluster,
    };
    // A deleted object is a change of its cluster.
    watch::follow(watch, Arc::clone(progress))
        .map(|touch| match touch {
            Touch::Changed(key) | Touch::Gone(key) => key,
        })
        .boxed()
}
