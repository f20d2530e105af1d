//! One watch: keeps a store as the API server is, and tells which clusters are touched.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Lookup;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{Error, Event};

use super::progress::Progress;
use super::scope::{Key, Scope};

/// How many objects one answer to a list may hold.
pub(super) const PAGE: u32 = 500;

/// Written by `kubectl apply`; as long as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a watch has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Touch {
    /// An object of the cluster is new or another one.
    Changed(Key),
    /// An object of the cluster is gone.
    Gone(Key),
}

/// What is watched, and where it is kept.
pub(super) struct Watch<K, Events>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    pub(super) kind: &'static str,
    pub(super) scope: Scope,
    pub(super) events: Events,
    pub(super) writer: Writer<K>,
    /// The cluster that an object belongs to.
    pub(super) key: fn(&K) -> Option<Key>,
}

/// Follows the watch for ever. Errors are tried again with a back-off, and told to `progress`.
pub(super) fn follow<K, Events>(
    watch: Watch<K, Events>,
    progress: Arc<Progress>,
) -> impl Stream<Item = Touch> + Send + 'static
where
    K: Lookup + Resource + Clone + Debug + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Send + Sync,
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

/// Puts an event into the store. A list is told of when it is there as a whole: whoever looks earlier sees what was.
fn take<K>(event: Event<K>, writer: &mut Writer<K>, key: fn(&K) -> Option<Key>) -> Vec<Touch>
where
    K: Lookup + Resource + Clone + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone,
{
    let event = event.modify(|object| prune(object.meta_mut()));
    let mut touched: Vec<Touch> = match &event {
        Event::Apply(object) => key(object).map(Touch::Changed).into_iter().collect(),
        Event::Delete(object) => key(object).map(Touch::Gone).into_iter().collect(),
        Event::Init | Event::InitApply(_) | Event::InitDone => Vec::new(),
    };
    let in_store = |writer: &Writer<K>| -> BTreeSet<Key> {
        writer.as_reader().state().iter().filter_map(|object| key(object)).collect()
    };
    let listed = matches!(event, Event::InitDone);
    let before = if listed { in_store(writer) } else { BTreeSet::new() };
    writer.apply_watcher_event(&event);
    if listed {
        let now = in_store(writer);
        touched.extend(before.difference(&now).cloned().map(Touch::Gone));
        touched.extend(now.into_iter().map(Touch::Changed));
    }
    touched
}

/// Leaves out what is long and of no use here.
fn prune(metadata: &mut ObjectMeta) {
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
        let mut take = |event| take(event, &mut writer, Key::of);
        for event in [Event::Init, Event::InitApply(object("a")), Event::InitApply(object("b"))] {
            assert_eq!(take(event), []);
        }
        assert_eq!(take(Event::InitDone), [Touch::Changed(key("a")), Touch::Changed(key("b"))]);
        assert_eq!(take(Event::Apply(object("c"))), [Touch::Changed(key("c"))]);
        assert_eq!(take(Event::Delete(object("c"))), [Touch::Gone(key("c"))]);
        // `a` went while nobody was watching.
        assert_eq!(take(Event::Init), []);
        assert_eq!(take(Event::InitApply(object("b"))), []);
        assert_eq!(take(Event::InitDone), [Touch::Gone(key("a")), Touch::Changed(key("b"))]);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn what_is_kept_is_pruned() {
        let mut writer = Writer::new(postgresql());
        take(Event::Apply(object("a")), &mut writer, Key::of);
        let kept = writer.as_reader().state().remove(0);
        assert_eq!(kept.metadata.managed_fields, None);
        let annotations = kept.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["kept"]);
    }
}
