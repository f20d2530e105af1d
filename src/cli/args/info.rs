//! Which clusters of Kubernetes `info` asks, in place of pgBackRest on this host.

use std::fmt;
use std::str::FromStr;

use clap::{ArgGroup, Args};

use super::cluster::LabelArgs;
use super::fleet::ConcurrencyArgs;
use super::operator::KubernetesArgs;
use super::{SWITCH, switch};
use crate::cluster::key::Key;

/// The group of the flags that ask for clusters of Kubernetes.
const IN_KUBERNETES: &str = "in_kubernetes";
/// What means a pgBackRest on this host.
const ON_THIS_HOST: [&str; 10] = [
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
];

/// Clusters of Kubernetes. Each of these but the concurrency and the labels says that they are meant.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct FleetInfoArgs {
    /// Ask the clusters of Kubernetes, through exec in their pods, in place of pgBackRest on this host. Implied by
    /// --kubeconfig, --context, --namespaces and CLUSTER.
    #[arg(long = "kubernetes", env = "KEEPER_KUBERNETES", default_value = "false", value_name = SWITCH, value_parser = switch())]
    pub is_meant: bool,

    /// Where the API server is.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// Ask the clusters of these namespaces alone. Can be repeated, or separated by commas.
    #[arg(long, env = "KEEPER_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// How many clusters are asked at once.
    #[command(flatten)]
    pub concurrency: ConcurrencyArgs,

    /// How pods are found.
    #[command(flatten)]
    pub labels: LabelArgs,

    /// Ask this cluster of Kubernetes: NAME or NAMESPACE/NAME. Can be repeated. Unset: all of them.
    #[arg(value_name = "CLUSTER")]
    pub clusters: Vec<ClusterName>,
}

/// What a person calls a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName {
    /// Any, where it is not said.
    pub namespace: Option<String>,
    /// The resource's name.
    pub name: String,
}

impl FleetInfoArgs {
    /// Whether clusters of Kubernetes are to be asked.
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

    /// Where to look: in the namespaces that are named, also with a cluster; empty: in all.
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

/// Together with these, flags about pgBackRest on this host make no sense.
#[must_use]
pub fn not_on_this_host() -> ArgGroup {
    ArgGroup::new(IN_KUBERNETES)
        .args(["is_meant", "kubeconfig", "context", "namespaces", "clusters"])
        .multiple(true)
        .conflicts_with_all(ON_THIS_HOST)
}

impl ClusterName {
    /// Whether this cluster is meant.
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
