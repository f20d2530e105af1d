//! Paths in pods, and the port of pgBackRest's server: the contract between the configuration and the pods that mount
//! it, ours and PostgreSQL's.

use crate::cluster::names;
use crate::cluster::validated::ValidatedCluster;

/// pgBackRest reads every `*.conf` here: the ConfigMap, and the Secret of the resource.
pub(super) const CONFIGURATION: &str = "/etc/pgbackrest/conf.d";
/// Certificates and keys.
pub(super) const CERTIFICATES: &str = "/etc/pgbackrest/certs";
/// Log files of pgBackRest on the repo host; its own default.
pub(super) const REPO_HOST_LOG: &str = "/var/log/pgbackrest";
/// Locks of pgBackRest on the repo host are below this.
pub(super) const TEMPORARY: &str = "/tmp";

/// pgBackRest's default port.
const DEFAULT_SERVER_PORT: u16 = 8432;

/// The path of the generated configuration in a pod.
#[must_use]
pub fn configuration_file() -> String {
    format!("{CONFIGURATION}/{}", names::CONFIGURATION_KEY)
}

/// The port of `pgbackrest server`, on the repo host and in PostgreSQL's pods: 8432, or `tls-server-port` of the
/// resource.
pub(super) fn server_port(cluster: &ValidatedCluster) -> u16 {
    cluster.global.get("tls-server-port").and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_SERVER_PORT)
}
