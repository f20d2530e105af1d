//! Settings that apply to all clusters of an installation.

use clap::{Args, ValueEnum};

use super::verifications::VerificationArgs;
use crate::cluster::names;
use crate::cluster::settings::{ImagePullPolicy, Settings};

/// Flags that become `cluster::settings::Settings`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clusters")]
pub struct ClusterArgs {
    /// Value of the annotation cpo.opensource.cybertec.at/controller on the resources to manage. Resources without the
    /// annotation are always managed.
    #[arg(long, env = "KEEPER_CONTROLLER_ID", value_name = "ID", default_value = "")]
    pub controller_id: String,

    /// DNS domain of the Kubernetes cluster.
    #[arg(long, env = "KEEPER_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Image of this program for the pods of backup jobs. Defaults to pgbackrest-keeper:VERSION; an operator in a pod
    /// uses its own image.
    #[arg(long, env = "KEEPER_IMAGE", value_name = "IMAGE")]
    pub keeper_image: Option<String>,

    /// Secret with which the images of backup jobs and repo hosts are pulled. It must exist in the namespace of each
    /// cluster. Can be repeated or comma-separated.
    #[arg(long, env = "KEEPER_IMAGE_PULL_SECRETS", value_name = "NAME", value_delimiter = ',', value_parser = secret_name)]
    pub image_pull_secrets: Vec<String>,

    /// When the images of backup jobs and repo hosts are pulled. Defaults to what Kubernetes does.
    #[arg(long, env = "KEEPER_IMAGE_PULL_POLICY", value_name = "POLICY", value_enum)]
    pub image_pull_policy: Option<PullPolicyArg>,

    /// User ID of the repo host. Must be the user ID of PostgreSQL in its image. none: the platform assigns one, as
    /// OpenShift does.
    #[arg(long, env = "KEEPER_REPO_HOST_USER", value_name = "UID", default_value = "26", value_parser = id)]
    pub repo_host_user: OptionalId,

    /// ID of the group that owns the volumes of the repo host. none: the platform assigns one.
    #[arg(long, env = "KEEPER_REPO_HOST_FS_GROUP", value_name = "GID", default_value = "26", value_parser = id)]
    pub repo_host_fs_group: OptionalId,

    /// User and group ID of backup jobs. none: the platform assigns them.
    #[arg(long, env = "KEEPER_JOB_USER", value_name = "UID", default_value = "65532", value_parser = id)]
    pub job_user: OptionalId,

    /// How pods are found.
    #[command(flatten)]
    pub labels: LabelArgs,

    #[command(flatten)]
    pub verifications: VerificationArgs,
}

/// The ID of a user or group; `None` if the platform assigns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalId(Option<i64>);

fn id(text: &str) -> Result<OptionalId, String> {
    if text == "none" {
        return Ok(OptionalId(None));
    }
    let id = text.parse::<i32>().ok().filter(|id| *id > 0);
    id.map(|id| OptionalId(Some(id.into()))).ok_or_else(|| "expected a positive number, or none".to_owned())
}

fn secret_name(text: &str) -> Result<String, String> {
    let is_name = names::is_object_name(text);
    is_name.then(|| text.to_owned()).ok_or_else(|| "not the name of a Secret".to_owned())
}

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullPolicyArg {
    /// At each start of a pod.
    #[value(name = "Always")]
    Always,
    /// If the node does not have the image.
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// The node must have the image.
    #[value(name = "Never")]
    Never,
}

impl From<PullPolicyArg> for ImagePullPolicy {
    fn from(arg: PullPolicyArg) -> Self {
        match arg {
            PullPolicyArg::Always => Self::Always,
            PullPolicyArg::IfNotPresent => Self::IfNotPresent,
            PullPolicyArg::Never => Self::Never,
        }
    }
}

/// Labels by which the pods of clusters are found.
#[derive(Debug, Clone, Args)]
pub struct LabelArgs {
    /// Labels that all pods of all clusters have. Can be repeated or comma-separated. Defaults to application=cpo.
    #[arg(long, env = "KEEPER_CLUSTER_LABELS", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub cluster_labels: Vec<(String, String)>,

    /// Label that holds the name of the cluster. Defaults to cluster.cpo.opensource.cybertec.at/name.
    #[arg(long, env = "KEEPER_CLUSTER_NAME_LABEL", value_name = "KEY")]
    pub cluster_name_label: Option<String>,

    /// Label that distinguishes PostgreSQL pods, repo hosts and backup jobs. Defaults to
    /// member.cpo.opensource.cybertec.at/type.
    #[arg(long, env = "KEEPER_MEMBER_TYPE_LABEL", value_name = "KEY")]
    pub member_type_label: Option<String>,

    /// Label in which Patroni stores the role of a pod. Defaults to member.cpo.opensource.cybertec.at/role.
    #[arg(long, env = "KEEPER_ROLE_LABEL", value_name = "KEY")]
    pub role_label: Option<String>,

    /// Value of the role label on the primary. Can be repeated or comma-separated. Defaults to master and primary.
    #[arg(long, env = "KEEPER_PRIMARY_ROLE", value_name = "VALUE", value_delimiter = ',')]
    pub primary_role: Vec<String>,
}

/// Reads `key=value`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not a label; expected key=value, such as application=cpo".to_owned()),
    }
}

/// The namespace of resources that do not specify one.
#[derive(Debug, Clone, Args)]
pub struct NamespaceArgs {
    /// Namespace of resources that do not specify one.
    #[arg(long, short = 'n', value_name = "NAME", default_value = "default")]
    pub namespace: String,
}

impl From<ClusterArgs> for Settings {
    fn from(args: ClusterArgs) -> Self {
        let usual = Self::from(args.labels);
        Self {
            controller_id: args.controller_id,
            cluster_domain: args.cluster_domain,
            keeper_image: args.keeper_image.unwrap_or(usual.keeper_image),
            image_pull_secrets: args.image_pull_secrets,
            image_pull_policy: args.image_pull_policy.map(Into::into),
            repo_host_user: args.repo_host_user.0,
            repo_host_fs_group: args.repo_host_fs_group.0,
            job_user: args.job_user.0,
            verify: args.verifications.into(),
            ..usual
        }
    }
}

impl From<LabelArgs> for Settings {
    fn from(args: LabelArgs) -> Self {
        let usual = Self::default();
        Self {
            cluster_labels: if args.cluster_labels.is_empty() {
                usual.cluster_labels
            } else {
                args.cluster_labels.into_iter().collect()
            },
            cluster_name_label: args.cluster_name_label.unwrap_or(usual.cluster_name_label),
            member_type_label: args.member_type_label.unwrap_or(usual.member_type_label),
            role_label: args.role_label.unwrap_or(usual.role_label),
            primary_roles: if args.primary_role.is_empty() { usual.primary_roles } else { args.primary_role },
            ..usual
        }
    }
}
