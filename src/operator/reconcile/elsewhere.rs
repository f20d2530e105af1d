//! A look at a cluster of another shard. Nothing is written for it.

use std::sync::Arc;

use kube::core::DynamicObject;

use super::{Reconciler, asks_for_nothing};
use crate::cluster::references::References;
use crate::cluster::validate;
use crate::operator::mode::Mode;
use crate::operator::restore_tests::clusters::Look;
use crate::operator::scope::Key;

impl Reconciler {
    /// Records where the repos of the cluster are, and for restore tests what can be tested. The second value is false if
    /// its Secret could not be read.
    pub(in crate::operator) async fn look_elsewhere(
        &self,
        object: &DynamicObject,
        is_testable: bool,
    ) -> (Look, bool) {
        let Some(key) = Key::of(object) else { return (Look::Nothing, true) };
        let (resource, found) = validate::read(serde_json::to_value(object).unwrap_or_default());
        let read = self.observer.secret(&resource).await;
        let is_complete = read.is_ok();
        let secret = read.map(|(facts, _)| facts).unwrap_or_default();
        // All that is cached of a cluster is for its own shard.
        self.observer.forget(&key.namespace, &key.name);
        let references = References { secret, ..References::default() };
        let is_managed =
            self.mode == Mode::Manage && !validate::conduct(&resource, &self.settings).other_controller;
        let located = validate::locations(&resource, &references);
        // Whether a repo is in use matters only beside another cluster.
        let record = if is_managed && self.locations.is_shared(&key, &located) {
            self.observer.record_elsewhere(&resource).await.ok()
        } else {
            None
        };
        self.locations.compare(object, located, |repo, _| {
            record.as_ref().is_none_or(|record| record.stanzas.contains_key(&repo))
        });
        let is_ours = is_managed || self.mode == Mode::Observe;
        if !is_testable || !is_ours || object.metadata.deletion_timestamp.is_some() {
            return (Look::Nothing, is_complete);
        }
        let (cluster, findings) = validate::judge(&resource, found, &references, &self.settings);
        let look = if cluster.is_none() && asks_for_nothing(&findings) {
            Look::Nothing
        } else {
            Look::of(cluster.map(Arc::new).as_ref())
        };
        (look, is_complete)
    }
}
