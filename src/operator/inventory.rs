//! Our existing objects: a cache of the metadata of every object that carries our label, updated by watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::runtime::watcher;

use crate::cluster::labels::{MANAGED_BY, MANAGER, RESTORE_TEST};

use crate::kubernetes::shard::Shard;

use super::kinds::ObjectKind;
use super::objects::{self, Belonging, Metadata, Objects, ObjectsWriter, WriterGone};
use super::own;
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

    /// Watches all our objects of the clusters of a shard. The second value is, for each scope, a stream of clusters whose objects have
    /// changed; the stores are updated while it is polled.
    pub(super) fn watch(
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<OperatorProgress>,
        shard: Shard,
    ) -> (Self, Vec<BoxStream<'static, Key>>) {
        let watched = Watched {
            kinds: ObjectKind::watched().map(|kind| (kind, kind.name)).collect(),
            selector: format!("{MANAGED_BY}={MANAGER}"),
            belonging: objects::cluster,
            covers: |shard, key| shard.covers(&key.namespace, &key.name),
            shard,
        };
        Self::watch_these(&watched, client, scopes, progress)
    }

    /// The same for our objects of restore tests.
    pub(super) fn watch_of_restore_tests(
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<OperatorProgress>,
        shard: Shard,
    ) -> (Self, Vec<BoxStream<'static, Key>>) {
        let kinds = [("CronJob", "RestoreTest/CronJob"), ("NetworkPolicy", "RestoreTest/NetworkPolicy")];
        let watched = Watched {
            kinds: kinds.iter().filter_map(|(kind, name)| Some((ObjectKind::of(kind)?, *name))).collect(),
            selector: format!("{MANAGED_BY}={MANAGER},{RESTORE_TEST}"),
            belonging: objects::restore_test,
            covers: |shard, key| shard.covers_restore_tests(&key.namespace),
            shard,
        };
        Self::watch_these(&watched, client, scopes, progress)
    }

    fn watch_these(
        watched: &Watched,
        client: &kube::Client,
        scopes: &[Scope],
        progress: &Arc<OperatorProgress>,
    ) -> (Self, Vec<BoxStream<'static, Key>>) {
        let mut stores: BTreeMap<&'static str, Vec<Objects>> = BTreeMap::new();
        let mut changes = Vec::new();
        for scope in scopes {
            let mut of_scope = Vec::new();
            for (kind, name) in &watched.kinds {
                let resource = kind.resource();
                let writer = ObjectsWriter::by(watched.belonging);
                stores.entry(kind.name).or_default().push(writer.as_reader());
                let api: Api<Metadata> = scope.api(client, &resource);
                let config = watcher::Config::default().labels(&watched.selector).page_size(PAGE);
                let watch = Watch {
                    kind: name,
                    scope: scope.clone(),
                    events: watched.only_ours(watcher(api, config)),
                    writer,
                    key: watched.belonging,
                };
                of_scope.push(watched.changed(watch, progress));
            }
            changes.push(stream::select_all(of_scope).boxed());
        }
        (Self::new(stores), changes)
    }

    /// Waits until every watch has completed its first list.
    pub(super) async fn wait_until_ready(&self) -> Result<(), WriterGone> {
        for store in self.stores.values().flatten() {
            store.wait_until_ready().await?;
        }
        Ok(())
    }

    /// Whether every watch has completed its first list.
    pub(super) fn is_ready(&self) -> bool {
        let is_ready = |store: &Objects| matches!(store.wait_until_ready().now_or_never(), Some(Ok(())));
        self.stores.values().flatten().all(is_ready)
    }

    /// The metadata of one object of ours.
    #[must_use]
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<ObjectMeta> {
        self.stores.get(kind)?.iter().find_map(|objects| objects.get(namespace, name))
    }

    /// The metadata of every object that carries our label for this cluster or restore test, with its kind.
    #[must_use]
    pub fn of_resource(&self, namespace: &str, name: &str) -> Vec<(&'static str, ObjectMeta)> {
        let key = Key::new(namespace, name);
        let mut found = Vec::new();
        for (kind, stores) in &self.stores {
            for objects in stores {
                found.extend(objects.of_resource(&key).into_iter().map(|object| (*kind, object)));
            }
        }
        found
    }
}

/// What is watched.
struct Watched {
    /// With the names of their watches.
    kinds: Vec<(&'static ObjectKind, &'static str)>,
    selector: String,
    belonging: Belonging,
    /// Whether a cluster or restore test belongs to the shard.
    covers: fn(Shard, &Key) -> bool,
    shard: Shard,
}

impl Watched {
    fn only_ours(
        &self,
        events: impl Stream<Item = Result<watcher::Event<Metadata>, watcher::Error>> + Send + 'static,
    ) -> impl Stream<Item = Result<watcher::Event<Metadata>, watcher::Error>> + Send + 'static {
        let (belonging, covers, shard) = (self.belonging, self.covers, self.shard);
        own::only(events, move |object| belonging(&object.metadata).is_none_or(|key| covers(shard, &key)))
    }

    /// A deleted object is a change of what it belongs to.
    fn changed<Events>(
        &self,
        watch: Watch<ObjectsWriter, Events>,
        progress: &Arc<OperatorProgress>,
    ) -> BoxStream<'static, Key>
    where
        Events: Stream<Item = Result<watcher::Event<Metadata>, watcher::Error>> + Send + 'static,
    {
        let (covers, shard) = (self.covers, self.shard);
        watch::follow(watch, Arc::clone(progress))
            .map(|(Touch::Changed(key) | Touch::Gone(key))| key)
            .filter(move |key| std::future::ready(covers(shard, key)))
            .boxed()
    }
}
