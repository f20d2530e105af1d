//! A watch of whole objects that reports its state to health checks and metrics.

use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::operator::progress::OperatorProgress;
use crate::operator::scope::Scope;
use crate::operator::watch::OBJECTS_PAGE;

/// Runs forever; errors are retried with backoff. `kind` is the name of the watch.
pub(in crate::operator) fn events<K>(
    client: &Client,
    scope: &Scope,
    kind: &'static str,
    config: Config,
    progress: &Arc<OperatorProgress>,
) -> impl Stream<Item = Event<K>> + Send + 'static
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<K> = match scope {
        Scope::All => Api::all(client.clone()),
        Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let (scope, progress) = (scope.clone(), Arc::clone(progress));
    progress.begins(kind, &scope);
    watcher(api, config.page_size(OBJECTS_PAGE)).default_backoff().filter_map(move |event| {
        let event = event.inspect_err(|error| progress.has_failed(kind, &scope, error)).ok();
        if matches!(event, Some(Event::InitDone)) {
            progress.has_listed(kind, &scope);
        }
        ready(event)
    })
}
