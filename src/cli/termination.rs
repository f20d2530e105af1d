//! The termination message of a pod, through which a result reaches Kubernetes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// The kubelet creates the file; elsewhere nothing reads it.
pub(super) fn write(file: &Path, message: &str) {
    let written = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(file)
        .and_then(|mut opened| opened.write_all(message.as_bytes()));
    if let Err(error) = written
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(%error, file = %file.display(), "Failed to write termination message");
    }
}
