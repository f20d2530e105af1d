//! Where things are inside pods, and which port pgBackRest's server has: the contract between the configuration that is
//! written here and the pods that mount it, ours and PostgreSQL's.

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

/// The port that pgBackRest's own default names.
const DEFAULT_SERVER_PORT: u16 = 8432;

/// The configuration that is generated, within a pod.
#[must_use]
pub fn configuration_file() -> String {
    format!("{CONFIGURATION}/{}", names::CONFIGURATION_KEY)
}

/// The port of `pgbackrest server`, on the repo host and in PostgreSQL's pods: 8432, or what the resource's
/// `tls-server-port` says.
pub(super) fn server_port(cluster: &ValidatedCluster) -> u16 {
    cluster.global.get("tls-server-port").and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_SERVER_PORT)
}
