//! What is backed up, and from where.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{duration, path};
use crate::pgbackrest::backup_options::BackupOptions;
use crate::pgbackrest::label::BackupType;

/// Which backup is made. The operator writes these flags into its CronJobs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Backup")]
pub struct BackupOrder {
    /// Name of the PostgreSQL cluster.
    #[arg(long, env = "KEEPER_CLUSTER", value_name = "NAME")]
    pub cluster: String,

    /// Name of the pgBackRest stanza.
    #[arg(long, env = "KEEPER_STANZA", value_name = "NAME", default_value = "db")]
    pub stanza: String,

    /// Number of the repository.
    #[arg(long, env = "KEEPER_REPO", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub repo: u32,

    /// Type of the backup. Without a prior backup, pgBackRest makes a full one.
    #[arg(long = "type", env = "KEEPER_TYPE", value_name = "TYPE", value_enum)]
    pub backup_type: TypeArg,

    /// Options of pgBackRest for this backup, such as `--process-max=8 --start-fast`. docs/backup.md lists those that can be
    /// set.
    #[arg(long, env = "KEEPER_BACKUP_OPTIONS", value_name = "OPTIONS", allow_hyphen_values = true)]
    pub backup_options: Option<BackupOptions>,
}

/// Where pgBackRest is run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pod")]
pub struct TargetArgs {
    /// Pod in which pgBackRest runs: repo-host for a repository on a volume, primary for any other.
    #[arg(long, env = "KEEPER_TARGET", value_name = "TARGET", value_enum, default_value_t = TargetArg::Primary)]
    pub target: TargetArg,

    /// Label selector of the pod, in kubectl syntax. Defaults to the operator's default labels for the target.
    #[arg(long, env = "KEEPER_SELECTOR", value_name = "LABELS")]
    pub selector: Option<String>,

    /// Container in the pod. Defaults to the operator's default container for the target.
    #[arg(long, env = "KEEPER_CONTAINER", value_name = "NAME")]
    pub container: Option<String>,

    /// Namespace of the cluster. Defaults to POD_NAMESPACE, or the namespace of the service account or context.
    #[arg(long, short = 'n', env = "KEEPER_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
}

/// How the job ends.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Job")]
pub struct EndArgs {
    /// activeDeadlineSeconds of the Job; the program stops one minute earlier. Without it, the program stops after one
    /// day.
    #[arg(long, env = "KEEPER_JOB_DEADLINE", value_name = "DURATION", value_parser = duration)]
    pub job_deadline: Option<Duration>,

    /// File that receives the result in one line. It is written only if it exists.
    #[arg(long, env = "KEEPER_TERMINATION_LOG", value_name = "FILE", default_value = "/dev/termination-log",
          value_parser = path())]
    pub termination_log: PathBuf,
}

/// `full`, `diff` or `incr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TypeArg {
    /// Depends on no other backup.
    Full,
    /// Depends on the last full backup.
    Diff,
    /// Depends on the last backup.
    Incr,
}

/// The pod that writes to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TargetArg {
    /// The repo host.
    RepoHost,
    /// The primary.
    Primary,
}

impl From<TypeArg> for BackupType {
    fn from(arg: TypeArg) -> Self {
        match arg {
            TypeArg::Full => Self::Full,
            TypeArg::Diff => Self::Diff,
            TypeArg::Incr => Self::Incr,
        }
    }
}
