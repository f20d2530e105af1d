//! Which part of a Kubernetes cluster the operator manages, and how.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{SWITCH, duration, path, switch};
use crate::kubernetes::client::ConnectOptions;
use crate::kubernetes::shard::Shard;
use crate::operator::mode::Mode;

/// Where the API server is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Kubeconfig file. Defaults to KUBECONFIG, ~/.kube/config, or the service account of the pod.
    #[arg(long, env = "KEEPER_KUBECONFIG", value_name = "FILE", value_parser = path())]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig to use.
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
    /// This program manages the backup objects.
    Manage,
    /// Another program manages them.
    Observe,
}

impl WorkArgs {
    /// The share of the clusters that this operator looks after.
    ///
    /// # Errors
    /// If there is no such shard.
    pub fn own_shard(&self) -> anyhow::Result<Shard> {
        Shard::new(self.shard, self.total_shards).map_err(anyhow::Error::msg)
    }
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Manage => Self::Manage,
            ModeArg::Observe => Self::Observe,
        }
    }
}

/// What the operator manages, and how replicas share the work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Operator")]
pub struct WorkArgs {
    /// Whether this program manages the backup objects, or only observes clusters whose backups another program such as
    /// CPO manages. When observing, it writes only the Lease and Events.
    #[arg(long, env = "KEEPER_MODE", value_name = "MODE", default_value = "manage")]
    pub mode: ModeArg,

    /// Watch only the clusters in these namespaces. Can be repeated or comma-separated. If several operators share a
    /// fleet, each needs its own Lease.
    #[arg(long, env = "KEEPER_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Into how many shards the clusters are divided, by a hash of their namespaces and names, at most 64. Each needs an operator
    /// of its own, with the same value and with another --shard.
    #[arg(long, env = "KEEPER_TOTAL_SHARDS", value_name = "N", default_value_t = 1)]
    pub total_shards: u16,

    /// The shard of this operator, counted from 0.
    #[arg(long, env = "KEEPER_SHARD", value_name = "I", default_value_t = 0)]
    pub shard: u16,

    /// Run restore tests as RestoreTest resources describe them. Their definition and more permissions must be installed. When
    /// observing, CronJobs and NetworkPolicies of restore tests are written, too.
    #[arg(long, env = "KEEPER_RESTORE_TESTS", default_value = "false", value_name = SWITCH, value_parser = switch())]
    pub restore_tests: bool,

    /// Maximum number of clusters reconciled concurrently.
    #[arg(long, env = "KEEPER_CONCURRENCY", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Elect a leader: one replica works while the others stand by.
    #[arg(long, env = "KEEPER_LEADER_ELECTION", default_value = "true", value_name = SWITCH, value_parser = switch())]
    pub leader_election: bool,

    /// Name of the Lease. With several shards, -I-of-N is appended, for example -0-of-4.
    #[arg(
        long,
        env = "KEEPER_LEASE_NAME",
        value_name = "NAME",
        default_value = "pgbackrest-keeper-operator"
    )]
    pub lease_name: String,

    /// Namespace of the Lease. Defaults to POD_NAMESPACE, or the namespace of the service account or context.
    #[arg(long, env = "KEEPER_LEASE_NAMESPACE", value_name = "NAME")]
    pub lease_namespace: Option<String>,

    /// How long the Lease is valid without renewal, from 5s to 10m. The leader stops working when it could not renew the
    /// Lease for two thirds of it. Increase this if the API server is sometimes slow; after a crash, another replica takes
    /// over when the Lease has expired.
    #[arg(
        long,
        env = "KEEPER_LEASE_DURATION",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = lease_duration
    )]
    pub lease_duration: Duration,
}

/// The default is that of client-go. The API counts in whole seconds.
fn lease_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if !(Duration::from_secs(5)..=Duration::from_mins(10)).contains(&duration) {
        return Err("must be between 5s and 10m".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_seconds_to_minutes() {
        for (text, seconds) in [("5", 5), ("15s", 15), ("2m", 120), ("10m", 600)] {
            assert_eq!(lease_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "4999ms", "601", "1h", "-15s"] {
            assert!(lease_duration(text).is_err(), "{text}");
        }
    }
}
