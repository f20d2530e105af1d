//! The namespaces of a node, held by `scripts/kubernetes-namespaces`.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::place::Place;
use crate::support::machine::is_root;
use crate::support::process::wait_for;

/// When it is dropped, or these tests end however they end, nothing of it is left.
pub(crate) struct Namespaces {
    holder: Child,
    /// Their first process.
    process: u32,
    directory: PathBuf,
}

impl Namespaces {
    /// With a network in which the node has this address; an error tells why this machine cannot have them.
    pub(crate) fn make(node_address: IpAddr) -> Result<Self, String> {
        if !is_root() {
            return Err("only root may make the namespaces of a node".to_owned());
        }
        let directory = tempfile::Builder::new().prefix("node-").tempdir().unwrap().keep();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kubernetes-namespaces");
        // In a group of its own, so that it can still clean up when these tests are interrupted.
        let mut holder = Command::new(script)
            .arg(&directory)
            .arg(node_address.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if let Ok(process) = said.trim().parse() {
            return Ok(Self { holder, process, directory });
        }
        holder.wait().unwrap();
        Err("the namespaces of a node could not be made; see what was said before".to_owned())
    }

    pub(crate) fn place(&self) -> Place {
        Place::Inside(self.process)
    }

    /// It goes with them.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        wait_for("the end of the namespaces", || self.holder.try_wait().unwrap());
    }
}
