//! All label and annotation keys, and the labels of the objects of a cluster.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::Settings;
use super::validated::{RepoNumber, ValidatedCluster};
use crate::pgbackrest::label::BackupType;

/// The prefix of our annotations and labels.
pub const PREFIX: &str = "pgbackrest-keeper.io/";

/// On all objects that we create.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of `MANAGED_BY`.
pub const MANAGER: &str = "pgbackrest-keeper";
/// The name of the cluster, independent of the label key of the installation.
pub const CLUSTER: &str = "pgbackrest-keeper.io/cluster";
/// `repo1` to `repo4`, on CronJobs, Jobs, their pods, and volume claims.
pub const REPO: &str = "pgbackrest-keeper.io/repo";
/// `full`, `diff` or `incr`, on CronJobs, Jobs and their pods.
pub const BACKUP_TYPE: &str = "pgbackrest-keeper.io/backup-type";
/// The name of a restore test, on its objects, Jobs and pods.
pub const RESTORE_TEST: &str = "pgbackrest-keeper.io/restore-test";
/// The cluster that a restore test tests, on its Jobs and pods. They do not belong to the cluster: what selects the pods of the cluster
/// must not select them, and what waits for the Jobs of the cluster must not wait for them.
pub const TESTED_CLUSTER: &str = "pgbackrest-keeper.io/tested-cluster";
/// The cluster whose repos are verified, on the Jobs of verifications and their pods, which do not belong to the cluster either.
pub const VERIFIED_CLUSTER: &str = "pgbackrest-keeper.io/verified-cluster";
/// Our annotation on a pod template: the hash of its configuration.
pub const CONFIGURATION_HASH: &str = "pgbackrest-keeper.io/config-hash";
/// Our annotation on a CronJob: why we suspended it. Without it, a user has suspended it.
pub const SUSPENDED_BECAUSE: &str = "pgbackrest-keeper.io/suspended-because";

/// Our annotation on a restore test: the test to start now.
pub const TEST_NOW: &str = "pgbackrest-keeper.io/test-now";

/// pgBackRest's annotation on a backup: the Job and the pod that made it. It also identifies their process.
pub const MADE_BY: &str = "pgbackrest-keeper.io-job";
/// The annotation of `kubectl create job --from`, which we also set on Jobs outside of the schedule.
pub const MANUAL: (&str, &str) = ("cronjob.kubernetes.io/instantiate", "manual");

/// Our annotation on a resource: backups are made from a standby.
pub const BACKUP_STANDBY: &str = "pgbackrest-keeper.io/backup-standby";

/// CPO's annotation for the controller of a resource.
pub const CPO_CONTROLLER: &str = "cpo.opensource.cybertec.at/controller";

/// The member type of a backup job.
pub const BACKUP_JOB: &str = "backup-job";
/// The member type of a repo host.
pub const REPO_HOST: &str = "repo-host";
/// The member type of a PostgreSQL pod.
pub const DATABASE: &str = "postgresql";

/// A set of labels.
pub type Labels = BTreeMap<String, String>;

/// The labels of all objects of a cluster.
#[must_use]
pub fn of_cluster(cluster: &ValidatedCluster, settings: &Settings) -> Labels {
    let mut labels = cluster_selector(&cluster.name, settings);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(CLUSTER.to_owned(), cluster.name.clone());
    if let Some(team) = &cluster.team {
        labels.insert(settings.team_label.clone(), team.clone());
    }
    labels
}

/// The labels of a CronJob, its Jobs and their pods.
#[must_use]
pub fn of_backup(
    cluster: &ValidatedCluster,
    repo: RepoNumber,
    backup_type: BackupType,
    settings: &Settings,
) -> Labels {
    let mut labels = of_cluster(cluster, settings);
    labels.insert(settings.member_type_label.clone(), BACKUP_JOB.to_owned());
    labels.insert(REPO.to_owned(), repo.to_string());
    labels.insert(BACKUP_TYPE.to_owned(), backup_type.as_str().to_owned());
    labels
}

/// The labels of the repo host and its pod.
#[must_use]
pub fn of_repo_host(cluster: &ValidatedCluster, settings: &Settings) -> Labels {
    let mut labels = of_cluster(cluster, settings);
    labels.insert(settings.member_type_label.clone(), REPO_HOST.to_owned());
    labels
}

/// The labels of the objects of a restore test.
#[must_use]
pub fn of_restore_test(name: &str) -> Labels {
    let mut labels = restore_test_selector(name);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// The labels of a Job of a restore test and its pod.
#[must_use]
pub fn of_test_pod(name: &str, cluster: &str, repo: RepoNumber) -> Labels {
    let mut labels = of_restore_test(name);
    labels.insert(TESTED_CLUSTER.to_owned(), cluster.to_owned());
    labels.insert(REPO.to_owned(), repo.to_string());
    labels
}

/// The selector of the pods of a restore test.
#[must_use]
pub fn restore_test_selector(name: &str) -> Labels {
    Labels::from([(RESTORE_TEST.to_owned(), name.to_owned())])
}

/// The labels of a Job that verifies a repo, and of its pod.
#[must_use]
pub fn of_verification(cluster: &str, repo: RepoNumber) -> Labels {
    let mut labels = verification_selector(cluster);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(REPO.to_owned(), repo.to_string());
    labels
}

/// The selector of the pods that verify the repos of a cluster.
#[must_use]
pub fn verification_selector(cluster: &str) -> Labels {
    Labels::from([(VERIFIED_CLUSTER.to_owned(), cluster.to_owned())])
}

/// The selector of all pods of a cluster.
#[must_use]
pub fn cluster_selector(cluster: &str, settings: &Settings) -> Labels {
    let mut labels = settings.cluster_labels.clone();
    labels.insert(settings.cluster_name_label.clone(), cluster.to_owned());
    labels
}

/// The selector of the primary. It has no member type, like CPO's selector.
#[must_use]
pub fn primary_selector(cluster: &str, settings: &Settings) -> Selector {
    let labels = cluster_selector(cluster, settings);
    Selector { labels, one_of: Some((settings.role_label.clone(), settings.primary_roles.clone())) }
}

/// The selector of the repo host's pod.
#[must_use]
pub fn repo_host_selector(cluster: &str, settings: &Settings) -> Labels {
    let mut labels = cluster_selector(cluster, settings);
    labels.insert(settings.member_type_label.clone(), REPO_HOST.to_owned());
    labels
}

/// Selects pods that have all labels, and one of several values of another label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    labels: Labels,
    one_of: Option<(String, Vec<String>)>,
}

impl Selector {
    /// Whether it selects a pod with these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self
                .one_of
                .as_ref()
                .is_none_or(|(key, values)| labels.get(key).is_some_and(|value| values.contains(value)))
    }
}

impl From<Labels> for Selector {
    fn from(labels: Labels) -> Self {
        Self { labels, one_of: None }
    }
}

/// As for the API server and `kubectl --selector`.
impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&selector_text(&self.labels))?;
        match &self.one_of {
            None => Ok(()),
            Some((key, values)) => match values.as_slice() {
                [value] => write!(formatter, ",{key}={value}"),
                values => write!(formatter, ",{key} in ({})", values.join(",")),
            },
        }
    }
}

/// Labels as a selector for the API server and `kubectl --selector`.
#[must_use]
pub fn selector_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Whether a label is used in selectors, so that a resource may not set it on pods.
#[must_use]
pub fn is_reserved(key: &str, settings: &Settings) -> bool {
    key.starts_with(PREFIX)
        || key == MANAGED_BY
        || settings.cluster_labels.contains_key(key)
        || [
            &settings.cluster_name_label,
            &settings.member_type_label,
            &settings.role_label,
            &settings.team_label,
        ]
        .into_iter()
        .any(|reserved| reserved == key)
}

/// Whether Kubernetes takes this as the key of a label or an annotation.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_is_good = prefix.is_none_or(|prefix| {
        prefix.len() <= 253 && prefix.split('.').all(|label| super::names::is_dns_label(label, 63))
    });
    prefix_is_good && !name.is_empty() && is_value(name)
}

/// Whether Kubernetes takes this as the value of a label.
#[must_use]
pub fn is_value(value: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || value.len() <= 63
            && value.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
            && value.starts_with(edge)
            && value.ends_with(edge)
}
