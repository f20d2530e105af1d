//! Settings of the installation for all clusters: label keys, domain, images, users.

use std::collections::BTreeMap;
use std::time::Duration;

/// When an image is pulled, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl ImagePullPolicy {
    /// The value in a container.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// When repositories are verified, as far as a cluster does not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifySettings {
    /// A cron expression that Kubernetes accepts. `None`: only clusters that ask for it are verified.
    pub schedule: Option<String>,
    /// An IANA name. `None`: the zone of kube-controller-manager.
    pub time_zone: Option<String>,
    /// The longest time by which `schedule` is moved, differently for each cluster.
    pub jitter: Duration,
    /// How long one verification may take.
    pub timeout: Duration,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self { schedule: None, time_zone: None, jitter: Duration::ZERO, timeout: Duration::from_hours(24) }
    }
}

/// Settings for all clusters of one installation.
///
/// The defaults are those of CPO (CYBERTEC-PG-Operator 0.9), so that objects find the pods that CPO makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The value of `cpo.opensource.cybertec.at/controller` that is ours. Empty: resources without the annotation.
    pub controller_id: String,
    /// The domain of the Kubernetes cluster, the end of every pod's DNS name.
    pub cluster_domain: String,
    /// The namespace of resources without one, as with `kubectl`.
    pub default_namespace: String,
    /// Labels of all pods of all clusters.
    pub cluster_labels: BTreeMap<String, String>,
    /// The label key whose value is the cluster's name.
    pub cluster_name_label: String,
    /// The label key that distinguishes PostgreSQL pods, repo hosts and backup jobs.
    pub member_type_label: String,
    /// The label key for the role that Patroni sets.
    pub role_label: String,
    /// The values of the role label on the primary: `master` of older Patronis, `primary` of newer ones. CPO's Patroni also sets
    /// it on a standby leader.
    pub primary_roles: Vec<String>,
    /// The label key for `spec.teamId`.
    pub team_label: String,
    /// The container in which pgBackRest runs in PostgreSQL's pods.
    pub database_container: String,
    /// The image of this program, for the job's pods.
    pub keeper_image: String,
    /// The Secrets with which the images of jobs and repo hosts are pulled. Each namespace has its own.
    pub image_pull_secrets: Vec<String>,
    /// When these images are pulled. `None`: the default of Kubernetes.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// The numeric user of the repo host, the same as that of PostgreSQL in the database image. `None`: the platform decides.
    pub repo_host_user: Option<i64>,
    /// The group that owns the repo host's volumes and may read its key. `None`: the platform decides.
    pub repo_host_fs_group: Option<i64>,
    /// The numeric user of the job's pods. `None`: the image or the platform decides (OpenShift).
    pub job_user: Option<i64>,
    /// The data directory of PostgreSQL in its pods, `pg1-path` for pgBackRest.
    pub database_path: String,
    /// The port of PostgreSQL in its pods, `pg1-port` for pgBackRest.
    pub database_port: u16,
    /// The directory of PostgreSQL's socket in its pods, `pg1-socket-path` for pgBackRest.
    pub database_socket_path: String,
    /// The directory of pgBackRest's log files in PostgreSQL's pods.
    pub database_log_path: String,
    /// The directory of pgBackRest's spool for asynchronous archiving in PostgreSQL's pods.
    pub database_spool_path: String,
    /// When repositories are verified.
    pub verify: VerifySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller_id: String::new(),
            cluster_domain: "cluster.local".to_owned(),
            default_namespace: "default".to_owned(),
            cluster_labels: BTreeMap::from([("application".to_owned(), "cpo".to_owned())]),
            cluster_name_label: "cluster.cpo.opensource.cybertec.at/name".to_owned(),
            member_type_label: "member.cpo.opensource.cybertec.at/type".to_owned(),
            role_label: "member.cpo.opensource.cybertec.at/role".to_owned(),
            primary_roles: vec!["master".to_owned(), "primary".to_owned()],
            team_label: "team".to_owned(),
            database_container: "postgres".to_owned(),
            keeper_image: concat!("pgbackrest-keeper:", env!("CARGO_PKG_VERSION")).to_owned(),
            image_pull_secrets: Vec::new(),
            image_pull_policy: None,
            repo_host_user: Some(26),
            repo_host_fs_group: Some(26),
            job_user: Some(65_532),
            database_path: "/home/postgres/pgdata/pgroot/data".to_owned(),
            database_port: 5432,
            database_socket_path: "/var/run/postgresql".to_owned(),
            database_log_path: "/home/postgres/pgdata/pgbackrest/log".to_owned(),
            database_spool_path: "/home/postgres/pgdata/pgbackrest/spool-path".to_owned(),
            verify: VerifySettings::default(),
        }
    }
}
