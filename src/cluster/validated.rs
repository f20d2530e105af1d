//! The valid contents of a `postgresql` resource.
//!
//! Only `validate` creates these values. They contain no secrets: passwords and keys are in the Secret that
//! `ValidatedCluster::secret` names, and none of its values is read into them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{
    EnvVar, NodeAffinity, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::pgbackrest::backup_options::BackupOptions;
use crate::pgbackrest::label::BackupType;

use super::line::Line;

/// The stanza of every cluster. CPO's images and scripts support no other.
pub const STANZA: &str = "db";

/// A cluster whose backups can be set up as described.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedCluster {
    /// `metadata.name`: a DNS-1035 label of at most 51 characters, so that `<name>-clusterpods` is one too.
    pub name: String,
    /// `metadata.namespace`, or the default namespace of the settings.
    pub namespace: String,
    /// `metadata.uid`, for owner references and certificate names. `None` for a manifest that is not applied yet.
    pub uid: Option<String>,
    /// `metadata.creationTimestamp`.
    pub created: Option<DateTime<Utc>>,
    /// `spec.teamId`.
    pub team: Option<String>,
    /// `spec.numberOfInstances`: how many PostgreSQL pods (`<name>-0` …) a repo host may find the primary on.
    pub instances: u32,
    /// `spec.tde.enable`, with the major version such as `17`: pgBackRest cannot read it from the data directory, and must
    /// not check archive headers.
    pub encrypted_data_directory: Option<PostgresVersion>,
    /// One to four, ascending by number; numbers and names are unique.
    pub repos: Vec<ValidatedRepo>,
    /// `spec.backup.pgbackrest.image`: pgBackRest for the repo host. Always `Some` if `needs_repo_host`.
    pub image: Option<String>,
    /// `spec.backup.pgbackrest.global`: pgBackRest options by name (without `--`), verbatim, none of them secret
    /// and none empty. They go into `[global]` and win over what is generated.
    pub global: BTreeMap<String, Line>,
    /// `spec.backup.pgbackrest.configuration.secret`: the Secret whose `*.conf` keys pgBackRest reads.
    pub secret: Option<String>,
    /// Why no job may run now; the CronJobs are then suspended.
    pub suspension: Option<Suspension>,
    /// The template of job pods.
    pub jobs: JobTemplate,
    /// The template of the repo host's pod, if `needs_repo_host`.
    pub repo_host: PodTemplate,
    /// What the resource says of PostgreSQL's pods, which are not ours.
    pub database: DatabasePods,
    /// `pgbackrest-keeper.io/backup-standby`: backups are made from a standby.
    pub backup_standby: Option<BackupStandby>,
    /// `pgbackrest-keeper.io/backup-now`: a backup that a user has requested.
    pub backup_now: Option<BackupNow>,
    /// `pgbackrest-keeper.io/stanza-upgrade`: the token of a requested `stanza-upgrade`, which runs once per token.
    pub stanza_upgrade: Option<String>,
    /// `pgbackrest-keeper.io/verify-…`, or what the installation sets: verifications of the repos.
    pub verifications: Verifications,
}

impl ValidatedCluster {
    /// Whether backups are made on a repo host, which needs mutual TLS.
    #[must_use]
    pub fn needs_repo_host(&self) -> bool {
        need_repo_host(&self.repos)
    }

    /// Whether the repo host has volumes with repos.
    #[must_use]
    pub fn has_volumes(&self) -> bool {
        self.repos.iter().any(|repo| repo.storage.is_volume())
    }

    /// Every scheduled backup, by repo number and backup type.
    pub fn schedules(&self) -> impl Iterator<Item = (&ValidatedRepo, BackupType, &str)> {
        self.repos.iter().flat_map(|repo| {
            repo.schedules
                .iter()
                .map(move |(backup_type, expression)| (repo, *backup_type, expression.as_str()))
        })
    }
}

/// A version of PostgreSQL as `pg-version-force` takes it, such as `17` or `9.6`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresVersion(Line);

impl PostgresVersion {
    /// None for any other text.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let is_number =
            |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let is_version = text.split('.').count() <= 2 && text.split('.').all(is_number);
        Line::of(text).filter(|_| is_version).map(Self)
    }

    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.0
    }
}

/// The number of a repo, 1 to 4, as in `--repo=1` and `repo1-path`. Written `repo1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoNumber(u8);

impl RepoNumber {
    /// The number of a repo name, `repo1` to `repo4`; `None` for any other text.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "repo1" => Some(Self(1)),
            "repo2" => Some(Self(2)),
            "repo3" => Some(Self(3)),
            "repo4" => Some(Self(4)),
            _ => None,
        }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for RepoNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "repo{}", self.0)
    }
}

/// A repo, identified by its name and not by its position in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedRepo {
    /// From `repos[].name`.
    pub number: RepoNumber,
    /// The storage of the backups.
    pub storage: Storage,
    /// Whether its backups are made on the repo host: it is on a volume, or they are made from a standby, and only the repo
    /// host reaches all pods. Otherwise they are made in the primary's pod.
    pub on_repo_host: bool,
    /// Cron expressions as written, each accepted by Kubernetes. A type without one is not scheduled.
    pub schedules: BTreeMap<BackupType, String>,
    /// Types whose schedule has an error: their CronJobs stay as they are.
    pub held: BTreeSet<BackupType>,
    /// `backup-options…`: options of pgBackRest for the backups of each type; none for a type without any.
    pub backup_options: BTreeMap<BackupType, BackupOptions>,
    /// Options of pgBackRest in the environment of the container that makes its backups, by name. The values are those of
    /// options that end in `-type` or `-path`, if they are known.
    pub environment: BTreeMap<String, Option<String>>,
}

/// The storage of a repo. No field is empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Storage {
    /// `pvc`: a volume of the repo host.
    Volume(Volume),
    /// `s3`: key and key secret are in the Secret.
    S3 {
        /// `resource`.
        bucket: Line,
        /// `host`, `host:port` or `https://host:port`.
        endpoint: Line,
        /// `region`.
        region: Line,
    },
    /// `azure`: the key is in the Secret.
    Azure {
        /// `resource`.
        container: Line,
        /// `account`. `None` when the Secret holds it.
        account: Option<Line>,
        /// `endpoint`. `None`: pgBackRest's default, `blob.core.windows.net`.
        endpoint: Option<Line>,
    },
    /// `gcs`.
    Gcs {
        /// `resource`.
        bucket: Line,
        /// `endpoint`. `None`: pgBackRest's default, `storage.googleapis.com`.
        endpoint: Option<Line>,
        /// How pgBackRest authenticates.
        credentials: GcsCredentials,
    },
}

impl Storage {
    /// The name in the resource: `pvc`, `s3`, `azure` or `gcs`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Volume(_) => "pvc",
            Self::S3 { .. } => "s3",
            Self::Azure { .. } => "azure",
            Self::Gcs { .. } => "gcs",
        }
    }

    /// Whether the repo is on a volume of the repo host.
    #[must_use]
    pub const fn is_volume(&self) -> bool {
        matches!(self, Self::Volume(_))
    }
}

/// A volume for a repo (`repos[].volume`).
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// A Kubernetes quantity, such as `15Gi`.
    pub size: String,
    /// `None`: the default storage class.
    pub storage_class: Option<String>,
    /// Which existing volumes may be taken.
    pub selector: Option<LabelSelector>,
    /// `volume-access-modes…`: not empty. What exists is not changed.
    pub access_modes: Vec<AccessMode>,
}

/// How a volume can be mounted, if the repo host can write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessMode {
    /// On one node.
    ReadWriteOnce,
    /// On several nodes, as with NFS.
    ReadWriteMany,
    /// In one pod. Cannot be combined with others.
    ReadWriteOncePod,
    /// On several nodes, for reading; in addition to another one.
    ReadOnlyMany,
}

impl AccessMode {
    pub const ALL: [Self; 4] =
        [Self::ReadWriteOnce, Self::ReadWriteMany, Self::ReadWriteOncePod, Self::ReadOnlyMany];

    /// The name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
            Self::ReadOnlyMany => "ReadOnlyMany",
        }
    }
}

/// `repos[].keyType` and `repos[].key` of a gcs repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcsCredentials {
    /// `service`: a key file.
    Service(KeyFile),
    /// `auto`: the identity of the pod.
    Auto,
    /// `token`: the Secret's configuration holds it as `repoN-gcs-key`.
    Token,
}

/// The key file of a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// A key of the Secret, such as `gcs.json`, mounted beside the `*.conf` files.
    InSecret(String),
    /// The path of a file that PostgreSQL's pods mount.
    Mounted(Line),
    /// `repoN-gcs-key` in the Secret or in the environment names the path.
    Named,
}

/// Why no scheduled backup may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// `spec.standby` is set: the backup belongs to the primary cluster.
    Standby,
    /// `spec.numberOfInstances` is 0: there is nothing to back up.
    NoInstances,
}

impl Suspension {
    /// The reason, for annotations and Events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::NoInstances => "no-instances",
        }
    }
}

/// Settings of jobs without a field in the schema of the resource (annotations `pgbackrest-keeper.io/…`).
#[derive(Debug, Clone, PartialEq)]
pub struct JobTemplate {
    /// `job-deadline`: `activeDeadlineSeconds`, whole seconds, at least two minutes. `None`: no deadline.
    pub deadline: Option<Duration>,
    /// `job-ttl`: `ttlSecondsAfterFinished`, whole seconds. `None`: the history limits alone decide.
    pub time_to_live: Option<Duration>,
    /// `starting-deadline`: `startingDeadlineSeconds`, whole seconds, at least ten; 300 s unless set.
    pub starting_deadline: Duration,
    /// `successful-jobs-history`: `None` leaves Kubernetes' own default of 3.
    pub successful_history: Option<i32>,
    /// `failed-jobs-history`: 3 unless set.
    pub failed_history: i32,
    /// `time-zone`: an IANA name. `None`: the zone of kube-controller-manager.
    pub time_zone: Option<String>,
    /// `job-resources`. `None`: the default of the installation.
    pub resources: Option<ResourceRequirements>,
    /// Labels, annotations, environment and placement.
    pub pod: PodTemplate,
}

/// Settings of the resource for its pods.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodTemplate {
    /// `spec.labels`, overlaid by `spec.backup.pgbackrest.labels`. None of them is a label that selects pods.
    pub labels: BTreeMap<String, String>,
    /// `spec.podAnnotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.backup.pgbackrest.env`; names are unique, none holds a literal secret or changes this program.
    pub env: Vec<EnvVar>,
    /// `spec.backup.pgbackrest.resources`, for the repo host alone. `None`: the installation's default.
    pub resources: Option<ResourceRequirements>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.nodeAffinity`.
    pub node_affinity: Option<NodeAffinity>,
    /// `spec.topologySpreadConstraints`.
    pub topology_spread: Vec<TopologySpreadConstraint>,
    /// `spec.schedulerName`.
    pub scheduler: Option<String>,
    /// `spec.podPriorityClassName`.
    pub priority_class: Option<String>,
}

/// PostgreSQL's pods, as far as a copy of the database in another pod must be like them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatabasePods {
    /// `spec.dockerImage`.
    pub image: Option<String>,
    /// `spec.volume.size`, unchecked.
    pub volume_size: Option<String>,
    /// Those of `spec.env` that pgBackRest reads; none holds a literal secret.
    pub env: Vec<EnvVar>,
}

/// Verifications of the repos.
#[derive(Debug, Clone, PartialEq)]
pub enum Verifications {
    Off,
    /// The schedule has an error: the CronJob stays as it is.
    Held,
    Scheduled(VerifyTemplate),
}

/// When repos are verified, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyTemplate {
    /// A cron expression that Kubernetes accepts.
    pub schedule: String,
    /// An IANA name. `None`: the zone of kube-controller-manager.
    pub time_zone: Option<String>,
    /// How long one verification may take, in whole seconds.
    pub timeout: Duration,
    /// Of the container that runs pgBackRest. `None`: the default of the installation.
    pub resources: Option<ResourceRequirements>,
}

/// Whether any of these repos is backed up on a repo host.
#[must_use]
pub fn need_repo_host(repos: &[ValidatedRepo]) -> bool {
    repos.iter().any(|repo| repo.on_repo_host)
}

/// How pgBackRest chooses the PostgreSQL whose files it copies (`backup-standby`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStandby {
    /// `y`: a standby. Without one, backups fail.
    Required,
    /// `prefer`: a standby, or the primary if there is none. From pgBackRest 2.54 on.
    Preferred,
}

impl BackupStandby {
    /// pgBackRest's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "y",
            Self::Preferred => "prefer",
        }
    }
}

/// A backup asked for by annotation: `full@repo1`, or `full@repo1#why` to ask for the same again, with optional options of
/// pgBackRest, such as ` --process-max=8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupNow {
    pub backup_type: BackupType,
    /// Into which repo of the cluster.
    pub repo: RepoNumber,
    /// Options of pgBackRest, including those for all backups of the repo and type.
    pub options: BackupOptions,
    /// The annotation's whole value. A value that was served before is not served again.
    pub token: String,
}
