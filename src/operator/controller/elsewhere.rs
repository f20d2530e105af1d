//! Clusters of other shards: what checks between clusters and restore tests need to know of them.

use std::time::Duration;

use kube::core::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::store::Store;

use super::{Context, spread};
use crate::operator::scope::Key;
use crate::operator::stored::StoredResource;

/// A cluster of another shard is looked at again after this time, since its Secret is not watched.
const USUAL: Duration = Duration::from_hours(12);
/// Its Secret could not be read.
const UNTIL_READ: Duration = Duration::from_mins(5);

impl Context {
    pub(super) async fn look_elsewhere(
        &self,
        key: &Key,
        object: &DynamicObject,
        store: &Store<StoredResource>,
    ) -> Action {
        let testable = self.testable.as_ref().filter(|testable| testable.wants(&key.namespace));
        let (look, is_complete) = self.reconciler.look_elsewhere(object, testable.is_some()).await;
        if let Some(testable) = testable {
            testable.set(key, &object.metadata, look);
        }
        if store.get(&key.reference()).is_none() {
            self.forget(key);
            return Action::await_change();
        }
        Action::requeue(spread(if is_complete { USUAL } else { UNTIL_READ }, rand::random()))
    }
}
