//! Which clusters in Kubernetes `info` queries, instead of pgBackRest on this host.

use std::fmt;
use std::str::FromStr;

use clap::{ArgGroup, Args};

use super::cluster::LabelArgs;
use super::fleet::ConcurrencyArgs;
use super::operator::KubernetesArgs;
use super::{SWITCH, switch};
use crate::cluster::key::Key;

/// The group of flags that select clusters in Kubernetes.
const IN_KUBERNETES: &str = "in_kubernetes";
/// Flags that apply only to pgBackRest on this host.
const ON_THIS_HOST: [&str; 11] = [
    "binary",
    "config",
    "config_include_path",
    "stanza_include",
    "stanza_exclude",
    "stanza_include_regex",
    "stanza_exclude_regex",
    "repo",
    "max_processes",
    "pass_env",
    "state_directory",
];

/// Clusters in Kubernetes. Each of these flags selects them, except concurrency and labels.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct FleetInfoArgs {
    /// Query clusters in Kubernetes, through exec in their pods, instead of pgBackRest on this host. Implied by
    /// --kubeconfig, --context, --namespaces and CLUSTER.
    #[arg(long = "kubernetes", env = "KEEPER_KUBERNETES", default_value = "false", value_name = SWITCH, value_parser = switch())]
    pub is_meant: bool,

    /// Where the API server is.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// Query only the clusters in these namespaces. Can be repeated or comma-separated.
    #[arg(long, env = "KEEPER_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// How many calls run concurrently.
    #[command(flatten)]
    pub concurrency: ConcurrencyArgs,

    /// How pods are found.
    #[command(flatten)]
    pub labels: LabelArgs,

    /// Query this cluster in Kubernetes: NAME or NAMESPACE/NAME. Can be repeated. Defaults to all clusters.
    #[arg(value_name = "CLUSTER")]
    pub clusters: Vec<ClusterName>,
}

/// A cluster as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName {
    /// `None` matches any namespace.
    pub namespace: Option<String>,
    /// The resource's name.
    pub name: String,
}

impl FleetInfoArgs {
    /// Whether to query clusters in Kubernetes.
    #[must_use]
    pub fn are_meant(&self) -> bool {
        let place = &self.kubernetes;
        let has_file = place.kubeconfig.as_ref().is_some_and(|file| !file.as_os_str().is_empty());
        self.is_meant
            || has_file
            || place.context.is_some()
            || !self.namespaces.is_empty()
            || !self.clusters.is_empty()
    }

    /// The namespaces to search, from --namespaces or from the cluster names; empty means all.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        if !self.namespaces.is_empty() {
            return self.namespaces.clone();
        }
        let named: Option<Vec<String>> =
            self.clusters.iter().map(|cluster| cluster.namespace.clone()).collect();
        named.unwrap_or_default()
    }
}

/// Conflicts with the flags for pgBackRest on this host.
#[must_use]
pub fn not_on_this_host() -> ArgGroup {
    ArgGroup::new(IN_KUBERNETES)
        .args(["is_meant", "kubeconfig", "context", "namespaces", "clusters"])
        .multiple(true)
        .conflicts_with_all(ON_THIS_HOST)
}

impl ClusterName {
    /// Whether the name matches this cluster.
    #[must_use]
    pub fn fits(&self, key: &Key) -> bool {
        self.name == key.name && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }
}

impl FromStr for ClusterName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let is_no_name = |part: &str| part.is_empty() || part.contains('/');
        if is_no_name(name) || namespace.is_some_and(is_no_name) {
            return Err("must be NAME or NAMESPACE/NAME");
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(formatter, "{namespace}/")?;
        }
        formatter.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_one_name_in_one_namespace_or_any() {
        let key = Key::new("shop", "ledger");
        for (text, fits) in [("ledger", true), ("shop/ledger", true), ("bank/ledger", false), ("shop", false)]
        {
            let name: ClusterName = text.parse().unwrap();
            assert_eq!((name.to_string(), name.fits(&key)), (text.to_owned(), fits));
        }
        for text in ["", "/", "shop/", "/ledger", "a/b/c"] {
            assert!(text.parse::<ClusterName>().is_err(), "{text}");
        }
    }
}
