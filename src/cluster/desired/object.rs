//! An object of any kind that we create.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;

use crate::cluster::labels;
use crate::cluster::labels::Labels;
use crate::cluster::restore_test;
use crate::cluster::restore_test::validated::ValidatedRestoreTest;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;

macro_rules! objects {
    ($($kind:ident: $meaning:literal,)*) => {
        /// An object, serialized with `apiVersion` and `kind`.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Object {
            $(#[doc = $meaning] $kind(Box<$kind>),)*
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        })*

        impl Object {
            /// Name, namespace, labels, owner.
            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => object.metadata(),)*
                }
            }

            /// Such as `CronJob`.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $kind::KIND,)*
                }
            }

            /// Such as `batch/v1`.
            #[must_use]
            pub const fn api_version(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $kind::API_VERSION,)*
                }
            }
        }
    };
}

objects! {
    ServiceAccount: "Whose rights a pod has.",
    Role: "What the jobs may do.",
    RoleBinding: "Gives the jobs their role.",
    Secret: "Keys and certificates.",
    ConfigMap: "pgBackRest's configuration.",
    PersistentVolumeClaim: "Where a repo on a volume lives. Never owned, never deleted by us.",
    Service: "Gives the pods their DNS names.",
    NetworkPolicy: "Who may speak to the repo host.",
    StatefulSet: "The repo host.",
    CronJob: "One backup type of one repo.",
}

impl Object {
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }
}

/// The metadata of an object that is deleted together with the resource.
pub(super) fn owned(cluster: &ValidatedCluster, name: String, labels: Labels) -> ObjectMeta {
    let owner = cluster.uid.clone().map(|uid| OwnerReference {
        api_version: "cpo.opensource.cybertec.at/v1".to_owned(),
        kind: "postgresql".to_owned(),
        name: cluster.name.clone(),
        uid,
        controller: Some(true),
        // Blocking would require permission to set finalizers on the resource.
        block_owner_deletion: None,
    });
    ObjectMeta { owner_references: owner.map(|owner| vec![owner]), ..free(cluster, name, labels) }
}

/// The metadata of an object that is deleted together with the restore test.
pub(super) fn of_restore_test(test: &ValidatedRestoreTest, name: String) -> ObjectMeta {
    let owner = test.uid.clone().map(|uid| OwnerReference {
        api_version: restore_test::resource::API_VERSION.to_owned(),
        kind: restore_test::resource::KIND.to_owned(),
        name: test.name.clone(),
        uid,
        controller: Some(true),
        block_owner_deletion: None,
    });
    ObjectMeta {
        name: Some(name),
        namespace: Some(test.namespace.clone()),
        labels: Some(labels::of_restore_test(&test.name)),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The metadata of an object that is kept when the resource is deleted.
pub(super) fn free(cluster: &ValidatedCluster, name: String, labels: Labels) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

/// The metadata of an object that belongs to the cluster as a whole.
pub(super) fn of_cluster(cluster: &ValidatedCluster, settings: &Settings, name: String) -> ObjectMeta {
    owned(cluster, name, labels::of_cluster(cluster, settings))
}
