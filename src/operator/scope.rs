//! The managed namespaces, and the identity of `postgresql` clusters.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, GroupVersionKind, Resource};
use kube::{Api, Client};

pub use crate::cluster::key::Key;
use crate::cluster::resource::{API_VERSION, KIND};

/// The plural name in URLs and RBAC rules.
pub(super) const PLURAL: &str = "postgresqls";

/// All namespaces, or one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every namespace.
    All,
    /// This one.
    Namespace(String),
}

impl Scope {
    /// One scope per namespace, or all namespaces if none is given. Duplicates are removed.
    #[must_use]
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        let mut scopes: Vec<Self> = namespaces.iter().cloned().map(Self::Namespace).collect();
        scopes.sort();
        scopes.dedup();
        if scopes.is_empty() { vec![Self::All] } else { scopes }
    }

    /// Objects of this kind within the scope.
    pub(super) fn api<K>(&self, client: &Client, resource: &ApiResource) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match self {
            Self::All => Api::all_with(client.clone(), resource),
            Self::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all namespaces"),
            Self::Namespace(namespace) => write!(formatter, "namespace {namespace}"),
        }
    }
}

impl Key {
    /// The cluster that a resource describes. The API server ensures a name and a namespace.
    #[must_use]
    pub fn of(object: &DynamicObject) -> Option<Self> {
        Self::of_metadata(&object.metadata)
    }

    /// The same, from the metadata of the resource.
    pub(super) fn of_metadata(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?))
    }
}

pub(super) fn group_and_version() -> (&'static str, &'static str) {
    API_VERSION.split_once('/').unwrap_or(("", API_VERSION))
}

/// The kind of the resource.
#[must_use]
pub fn postgresql() -> ApiResource {
    let (group, version) = group_and_version();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, KIND), PLURAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_is_all_of_them() {
        assert_eq!(Scope::of(&[]), [Scope::All]);
        let named = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(Scope::of(&named), [Scope::Namespace("a".to_owned()), Scope::Namespace("b".to_owned())]);
    }

    #[test]
    fn the_kind_is_the_one_of_the_seed() {
        let kind = postgresql();
        assert_eq!(
            (kind.api_version.as_str(), kind.kind.as_str(), kind.plural.as_str()),
            ("cpo.opensource.cybertec.at/v1", "postgresql", "postgresqls")
        );
    }
}
