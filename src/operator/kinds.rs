//! The kinds of objects that are written, and their API resources.

use kube::core::ApiResource;

/// One kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ObjectKind {
    /// Such as `CronJob`.
    pub(super) name: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    /// Whether our objects of this kind are deleted when they are no longer desired.
    pub(super) removable: bool,
}

/// Only users may delete volumes, since they contain backups; PostgreSQL's pods may need the Service.
const KINDS: &[ObjectKind] = &[
    kind("ServiceAccount", "", "v1", "serviceaccounts", true),
    kind("Role", "rbac.authorization.k8s.io", "v1", "roles", true),
    kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", true),
    kind("Secret", "", "v1", "secrets", true),
    kind("ConfigMap", "", "v1", "configmaps", true),
    kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims", false),
    kind("Service", "", "v1", "services", false),
    kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", true),
    kind("StatefulSet", "apps", "v1", "statefulsets", true),
    kind("CronJob", "batch", "v1", "cronjobs", true),
    kind("Job", "batch", "v1", "jobs", false),
];

const fn kind(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    removable: bool,
) -> ObjectKind {
    ObjectKind { name, group, version, plural, removable }
}

impl ObjectKind {
    /// All watched kinds. Jobs are listed when it matters whether one is running.
    pub(super) fn watched() -> impl Iterator<Item = &'static Self> {
        KINDS.iter().filter(|kind| kind.name != "Job")
    }

    /// The kind of this name.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The resource for `kube`.
    pub(super) fn resource(&self) -> ApiResource {
        let api_version = match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        };
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version,
            kind: self.name.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// Identifies an object in the API.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObjectPath<'a> {
    pub(super) kind: &'static ObjectKind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl std::fmt::Display for ObjectPath<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.kind.name, self.name)
    }
}
