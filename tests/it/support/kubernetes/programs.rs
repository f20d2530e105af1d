//! The programs from `scripts/fetch-kubernetes`, and etcd.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::machine;
use crate::support::process::output;

/// The programs of a control plane.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    kubernetes: PathBuf,
    pub(crate) etcd: PathBuf,
}

impl Programs {
    /// An error tells what the machine lacks.
    pub(crate) fn find() -> Result<Self, String> {
        Ok(Self { kubernetes: fetched("kubernetes")?, etcd: machine::program("etcd")? })
    }

    /// One of Kubernetes' own programs.
    pub(crate) fn kubernetes(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }
}

/// The CoreDNS of the cluster.
pub(crate) fn coredns() -> Result<PathBuf, String> {
    fetched("coredns").map(|directory| directory.join("coredns"))
}

fn fetched(what: &str) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-kubernetes");
    let said = output(Command::new(script).args(["--path", what]));
    if !said.status.success() {
        return Err(format!("{what} is not here; run scripts/fetch-kubernetes"));
    }
    Ok(PathBuf::from(String::from_utf8(said.stdout).unwrap().trim()))
}
