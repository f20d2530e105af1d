//! Clusters of other shards: what checks between clusters and restore tests need to know of them.

use std::time::Duration;

use kube::core::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Store;

use super::{Context, spread};
use crate::cluster::resource;
use crate::kubernetes::shard::Shard;
use crate::operator::scope::{Key, postgresql};

/// A cluster of another shard is looked at again after this time, since its Secret is not watched.
const USUAL: Duration = Duration::from_hours(12);
/// Its Secret could not be read.
const UNTIL_READ: Duration = Duration::from_mins(5);

impl Context {
    pub(super) async fn look_elsewhere(
        &self,
        key: &Key,
        object: &DynamicObject,
        store: &Store<DynamicObject>,
    ) -> Action {
        let testable = self.testable.as_ref().filter(|testable| testable.wants(&key.namespace));
        let (look, is_complete) = self.reconciler.look_elsewhere(object, testable.is_some()).await;
        if let Some(testable) = testable {
            testable.set(key, object, look);
        }
        if store.get(&ObjectRef::from_obj_with(object, postgresql())).is_none() {
            self.forget(key);
            return Action::await_change();
        }
        Action::requeue(spread(if is_complete { USUAL } else { UNTIL_READ }, rand::random()))
    }
}

/// Of a cluster of another shard, only what is looked at here is kept.
pub(super) fn prune(object: &mut DynamicObject, shard: Shard) {
    if Key::of(object).is_some_and(|key| !shard.covers(&key.namespace, &key.name)) {
        resource::prune(&mut object.data);
    }
}
