//! Settings that apply to all clusters of an installation.

use clap::Args;

use crate::cluster::settings::Settings;

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

    /// User ID of the repo host. Must be the user ID of PostgreSQL in its image.
    #[arg(long, env = "KEEPER_REPO_HOST_USER", value_name = "UID", default_value_t = 26,
          value_parser = clap::value_parser!(i64).range(1..=i64::from(i32::MAX)))]
    pub repo_host_user: i64,

    /// ID of the group that owns the volumes of the repo host.
    #[arg(long, env = "KEEPER_REPO_HOST_FS_GROUP", value_name = "GID", default_value_t = 26,
          value_parser = clap::value_parser!(i64).range(1..=i64::from(i32::MAX)))]
    pub repo_host_fs_group: i64,

    /// How pods are found.
    #[command(flatten)]
    pub labels: LabelArgs,
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
            repo_host_user: args.repo_host_user,
            repo_host_fs_group: args.repo_host_fs_group,
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
