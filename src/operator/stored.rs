//! Resources as they are kept between reconciles.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;

use super::packed::{Alike, Packed};
use super::scope::{Key, PLURAL, group_and_version};
use crate::cluster::resource::KIND;

/// A `postgresql` resource, with the part of its metadata by which it is found.
#[derive(Debug, Clone)]
pub(super) struct StoredResource {
    metadata: ObjectMeta,
    whole: Packed,
}

/// Packs resources and unpacks them.
#[derive(Debug, Default)]
pub(super) struct Packer(Alike);

impl Packer {
    pub(super) fn pack(&self, object: &DynamicObject) -> StoredResource {
        let text = serde_json::to_string(object).unwrap_or_default();
        let DynamicObject { metadata, .. } = object;
        StoredResource {
            metadata: ObjectMeta {
                name: metadata.name.clone(),
                namespace: metadata.namespace.clone(),
                creation_timestamp: metadata.creation_timestamp.clone(),
                labels: metadata.labels.clone(),
                ..ObjectMeta::default()
            },
            whole: self.0.pack(&text).unwrap_or_default(),
        }
    }

    /// As the API server sent it.
    pub(super) fn unpack(&self, stored: &StoredResource) -> Option<DynamicObject> {
        serde_json::from_str(&self.0.unpack(&stored.whole)?).ok()
    }
}

impl Key {
    /// The reference for the queue of reconciles.
    pub(super) fn reference(&self) -> ObjectRef<StoredResource> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl Resource for StoredResource {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        group_and_version().0.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        group_and_version().1.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::scope::postgresql;
    use super::*;

    #[test]
    fn a_resource_is_the_same_after_it_was_packed() {
        let packer = Packer::default();
        let deep = (0..100).fold(json!(0.1), |inner, _| json!([inner]));
        for data in [json!({"spec": {"backup": {}, "deep": deep, "large": u64::MAX}}), json!({})] {
            let mut object = DynamicObject::new("ledger", &postgresql()).within("shop");
            object.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
            object.metadata.finalizers = Some(vec!["x".to_owned()]);
            object.data = data;
            let stored = packer.pack(&object);
            assert_eq!(packer.unpack(&stored), Some(object.clone()));
            assert_eq!(stored.meta().labels, object.metadata.labels);
            assert_eq!(Key::of_metadata(stored.meta()), Some(Key::new("shop", "ledger")));
        }
    }

    #[test]
    fn it_is_of_the_kind_that_is_watched() {
        let kind = postgresql();
        assert_eq!(StoredResource::api_version(&()), kind.api_version);
        assert_eq!(StoredResource::kind(&()), kind.kind);
        assert_eq!(StoredResource::plural(&()), kind.plural);
    }
}
