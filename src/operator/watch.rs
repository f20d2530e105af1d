//! A watch: updates a store from the API server, and yields changed clusters.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{Error, Event};

use super::progress::OperatorProgress;
use super::scope::{Key, Scope};

/// Page size of lists of metadata.
pub(super) const PAGE: u32 = 100;
/// Page size of lists of whole objects, of which each may be as large as etcd lets it be: 1.5 MB.
pub(super) const OBJECTS_PAGE: u32 = 25;

/// Written by `kubectl apply`; as large as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Touch {
    /// An object of the cluster was created or changed.
    Changed(Key),
    /// An object of the cluster was deleted.
    Gone(Key),
}

/// Where a watch keeps its objects.
pub(super) trait Cache<K> {
    /// A list takes effect when it is complete: until then, readers see the previous state.
    fn apply(&mut self, event: &Event<K>);

    /// The clusters or restore tests of its objects.
    fn keys(&self) -> BTreeSet<Key>;
}

/// Resources.
impl<K> Cache<K> for Writer<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Clone + Eq + Hash,
{
    fn apply(&mut self, event: &Event<K>) {
        self.apply_watcher_event(event);
    }

    fn keys(&self) -> BTreeSet<Key> {
        self.as_reader().state().iter().filter_map(|object| Key::of_metadata(object.meta())).collect()
    }
}

/// A watch and its store.
pub(super) struct Watch<W, Events> {
    pub(super) kind: &'static str,
    pub(super) scope: Scope,
    pub(super) events: Events,
    pub(super) writer: W,
    /// Determines the cluster of an object.
    pub(super) key: fn(&ObjectMeta) -> Option<Key>,
}

/// Runs the watch forever. Errors are retried with backoff, and reported to `progress`.
pub(super) fn follow<K, W, Events>(
    watch: Watch<W, Events>,
    progress: Arc<OperatorProgress>,
) -> impl Stream<Item = Touch> + Send + 'static
where
    K: Resource + Clone + Debug + Send + Sync + 'static,
    W: Cache<K> + Send + 'static,
    Events: Stream<Item = Result<Event<K>, Error>> + Send + 'static,
{
    let Watch { kind, scope, events, mut writer, key } = watch;
    progress.begins(kind, &scope);
    events.default_backoff().flat_map(move |event| {
        let touched = match event {
            Ok(event) => {
                let listed = matches!(event, Event::InitDone);
                let touched = take(event, &mut writer, key);
                if listed {
                    progress.has_listed(kind, &scope);
                }
                touched
            }
            Err(error) => {
                progress.has_failed(kind, &scope, &error);
                Vec::new()
            }
        };
        stream::iter(touched)
    })
}

/// Applies an event to the store.
fn take<K: Resource + Clone>(
    event: Event<K>,
    writer: &mut impl Cache<K>,
    key: fn(&ObjectMeta) -> Option<Key>,
) -> Vec<Touch> {
    let event = event.modify(|object| prune(object.meta_mut()));
    let mut touched: Vec<Touch> = match &event {
        Event::Apply(object) => key(object.meta()).map(Touch::Changed).into_iter().collect(),
        Event::Delete(object) => key(object.meta()).map(Touch::Gone).into_iter().collect(),
        Event::Init | Event::InitApply(_) | Event::InitDone => Vec::new(),
    };
    let listed = matches!(event, Event::InitDone);
    let before = if listed { writer.keys() } else { BTreeSet::new() };
    writer.apply(&event);
    if listed {
        let now = writer.keys();
        touched.extend(before.difference(&now).cloned().map(Touch::Gone));
        touched.extend(now.into_iter().map(Touch::Changed));
    }
    touched
}

/// The same event with another object.
pub(super) fn map<K, L>(event: Event<K>, change: impl Fn(K) -> L) -> Event<L> {
    match event {
        Event::Apply(object) => Event::Apply(change(object)),
        Event::Delete(object) => Event::Delete(change(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(change(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// Removes large parts that are not needed.
pub(super) fn prune(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::json;

    use super::super::scope::postgresql;
    use super::*;

    fn object(name: &str) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {
            "name": name, "namespace": "n", "managedFields": [{"manager": "kubectl"}],
            "annotations": {LAST_APPLIED: "{}", "kept": "yes"}}}))
        .unwrap()
    }

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    #[test]
    fn a_list_is_told_of_once_it_is_whole() {
        let mut writer = Writer::new(postgresql());
        let store = writer.as_reader();
        let mut take = |event| take(event, &mut writer, Key::of_metadata);
        for event in [Event::Init, Event::InitApply(object("a")), Event::InitApply(object("b"))] {
            assert_eq!(take(event), []);
        }
        assert_eq!(take(Event::InitDone), [Touch::Changed(key("a")), Touch::Changed(key("b"))]);
        assert_eq!(take(Event::Apply(object("c"))), [Touch::Changed(key("c"))]);
        assert_eq!(take(Event::Delete(object("c"))), [Touch::Gone(key("c"))]);
        // `a` was deleted while the watch was interrupted.
        assert_eq!(take(Event::Init), []);
        assert_eq!(take(Event::InitApply(object("b"))), []);
        assert_eq!(take(Event::InitDone), [Touch::Gone(key("a")), Touch::Changed(key("b"))]);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn what_is_kept_is_pruned() {
        let mut writer = Writer::new(postgresql());
        take(Event::Apply(object("a")), &mut writer, Key::of_metadata);
        let kept = writer.as_reader().state().remove(0);
        assert_eq!(kept.metadata.managed_fields, None);
        let annotations = kept.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["kept"]);
    }
}
