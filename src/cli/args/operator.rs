//! Which part of a Kubernetes cluster the operator looks after, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{SWITCH, path, switch};
use crate::kubernetes::client::ConnectOptions;
use crate::operator::mode::Mode;

/// Where the API server is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Kubeconfig file. Unset: the pod's own service account, or what KUBECONFIG and ~/.kube/config say.
    #[arg(long, env = "KEEPER_KUBECONFIG", value_name = "FILE", value_parser = path())]
    pub kubeconfig: Option<PathBuf>,

    /// Context within the kubeconfig.
    #[arg(long, env = "KEEPER_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

impl From<KubernetesArgs> for ConnectOptions {
    fn from(args: KubernetesArgs) -> Self {
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        Self { kubeconfig: args.kubeconfig.filter(given), context: args.context }
    }
}

/// The values of `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// This program keeps the backup objects.
    Manage,
    /// Somebody else does.
    Observe,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Manage => Self::Manage,
            ModeArg::Observe => Self::Observe,
        }
    }
}

/// What is looked after, and by whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Operator")]
pub struct WorkArgs {
    /// Who keeps the backup objects: this program (manage), or somebody else such as CPO (observe). In observe nothing is
    /// written but the Lease and Events.
    #[arg(long, env = "KEEPER_MODE", value_name = "MODE", default_value = "manage")]
    pub mode: ModeArg,

    /// Look after the clusters of these namespaces alone. Can be repeated, or separated by commas. Each operator of a
    /// fleet that is split needs a lease of its own.
    #[arg(long, env = "KEEPER_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// How many clusters are looked after at once.
    #[arg(long, env = "KEEPER_CONCURRENCY", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Let one of several replicas work while the others stand by.
    #[arg(long, env = "KEEPER_LEADER_ELECTION", default_value = "true", value_name = SWITCH, value_parser = switch())]
    pub leader_election: bool,

    /// Name of the Lease.
    #[arg(
        long,
        env = "KEEPER_LEASE_NAME",
        value_name = "NAME",
        default_value = "pgbackrest-keeper-operator"
    )]
    pub lease_name: String,

    /// Namespace of the Lease. Unset: POD_NAMESPACE, or the namespace of the service account or context.
    #[arg(long, env = "KEEPER_LEASE_NAMESPACE", value_name = "NAME")]
    pub lease_namespace: Option<String>,
}
