//! Paths in pods, and the port of pgBackRest's server: the contract between the configuration and the pods that mount
//! it, ours and PostgreSQL's.

use crate::cluster::names;
use crate::cluster::validated::ValidatedCluster;

/// Certificates and keys.
pub(super) const CERTIFICATES: &str = "/etc/pgbackrest/certs";

/// pgBackRest's default port.
const DEFAULT_SERVER_PORT: u16 = 8432;

/// The path of the generated configuration in a pod.
#[must_use]
pub fn configuration_file() -> String {
    format!("{}/{}", names::CONFIGURATION_DIRECTORY, names::CONFIGURATION_KEY)
}

/// The port of `pgbackrest server`, on the repo host and in PostgreSQL's pods: 8432, or `tls-server-port` of the
/// resource.
pub(super) fn server_port(cluster: &ValidatedCluster) -> u16 {
    cluster.global.get("tls-server-port").and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_SERVER_PORT)
}
