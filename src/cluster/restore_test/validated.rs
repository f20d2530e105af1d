//! The valid contents of a `RestoreTest` resource.
//!
//! Only `validate` creates these values. They contain no secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use kube::core::{Selector, SelectorExt};

use crate::cluster::labels::Labels;
use crate::cluster::validated::RepoNumber;

/// Restore tests that can be run as described.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedRestoreTest {
    /// `metadata.name`: a DNS label of at most `names::LONGEST_RESTORE_TEST` characters.
    pub name: String,
    /// `metadata.namespace`, or the default namespace of the settings. The clusters are in it, too.
    pub namespace: String,
    /// `metadata.uid`, for owner references. `None` for a manifest that is not applied yet.
    pub uid: Option<String>,
    pub clusters: ClusterSelection,
    /// A cron expression that Kubernetes accepts, moved by the jitter.
    pub schedule: String,
    /// An IANA name. `None`: the zone of kube-controller-manager.
    pub time_zone: Option<String>,
    /// Whole seconds, at least ten.
    pub starting_deadline: Duration,
    /// Whether the user has suspended it.
    pub is_suspended: bool,
    /// Whether a cluster is tested while a backup of it runs.
    pub runs_during_backups: bool,
    pub repo: RepoWish,
    /// As `restore-test --backup` takes it.
    pub backup: String,
    /// As `restore-test --target` takes it.
    pub target: String,
    /// Databases to restore; all if empty.
    pub databases: Vec<String>,
    pub process_max: Option<u16>,
    pub timeouts: Timeouts,
    pub storage: Storage,
    /// A Secret to be read instead of that of each cluster.
    pub secret: Option<String>,
    pub postgresql: Postgresql,
    pub checks: Checks,
    pub pod: Pod,
    pub keeps_failed: bool,
    pub history: History,
    pub test_now: Option<TestNow>,
}

/// A test that a user has requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestNow {
    /// The value of the annotation. Each value starts one test.
    pub token: String,
    /// `None`: the cluster whose turn it is.
    pub cluster: Option<String>,
    /// `None`: the repo whose turn it is.
    pub repo: Option<RepoNumber>,
}

/// Which clusters of the namespace are tested.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterSelection {
    /// Not empty.
    Names(BTreeSet<String>),
    /// By the labels of the resources.
    Labels(Selector),
}

impl ClusterSelection {
    #[must_use]
    pub fn selects(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Names(names) => names.contains(name),
            Self::Labels(selector) => selector.matches(labels),
        }
    }
}

/// Which repo of a cluster is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoWish {
    /// The one whose last test is the oldest.
    Any,
    Repo(RepoNumber),
}

/// How long a test and its phases may take, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub total: Duration,
    pub restore: Duration,
    pub replay: Duration,
    /// Of each check.
    pub check: Duration,
}

/// Where the copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A volume that exists as long as its pod.
    Ephemeral {
        /// `None`: the default storage class.
        storage_class: Option<String>,
        /// A Kubernetes quantity. `None`: as large as the cluster needs.
        size: Option<String>,
    },
    /// A directory on the node.
    EmptyDir {
        /// A Kubernetes quantity. `None`: as large as the cluster needs.
        size_limit: Option<String>,
    },
}

/// How PostgreSQL runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgresql {
    /// `None`: where distributions install it.
    pub bin_directory: Option<String>,
    /// A superuser. `None`: `postgres`.
    pub user: Option<String>,
    /// Settings by name.
    pub parameters: BTreeMap<String, String>,
}

/// What is checked besides the target, all relations and all pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    pub amcheck: bool,
    pub assertions: Option<Assertions>,
}

/// A file with assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertions {
    pub config_map: String,
    pub key: String,
}

/// Settings of the pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// `None`: that of PostgreSQL's containers.
    pub image: Option<String>,
    /// Besides those of the installation.
    pub image_pull_secrets: Vec<String>,
    pub service_account: Option<String>,
    pub resources: Option<ResourceRequirements>,
    /// None of them is a label that selects pods.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub node_selector: BTreeMap<String, String>,
    /// `None`: the node affinity of the cluster.
    pub affinity: Option<Affinity>,
    /// `None`: those of the cluster.
    pub tolerations: Option<Vec<Toleration>>,
    pub priority_class: Option<String>,
}

/// How long Jobs that have ended are kept, with their pods and volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    pub successful: i32,
    pub failed: i32,
    /// Whole seconds.
    pub time_to_live: Duration,
}
