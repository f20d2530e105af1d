//! What a run in a pod is told.

use std::path::PathBuf;

use clap::Args;

use super::path;
use crate::state::proofs::Source;

/// The operator writes these flags into its CronJobs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pod")]
pub struct PodArgs {
    /// Name of the PostgreSQL cluster in Kubernetes that the record is about.
    #[arg(long, env = "KEEPER_CLUSTER", value_name = "NAME", requires = "namespace")]
    pub cluster: Option<String>,

    /// Namespace of the cluster.
    #[arg(long, short = 'n', env = "KEEPER_NAMESPACE", value_name = "NAME", requires = "cluster")]
    pub namespace: Option<String>,

    /// File that also receives the record, in at most 4096 bytes. It is written only if it exists.
    #[arg(long, env = "KEEPER_TERMINATION_LOG", value_name = "FILE", value_parser = path())]
    pub termination_log: Option<PathBuf>,
}

impl PodArgs {
    /// What the record is about.
    #[must_use]
    pub fn source(&self) -> Source {
        let cluster = self.namespace.clone().zip(self.cluster.clone());
        cluster.map_or(Source::Host, |(namespace, pg_cluster)| Source::Cluster { namespace, pg_cluster })
    }
}
