//! Why a reconcile failed.

use std::time::Duration;

use crate::kubernetes::client::CallError;
use crate::operator::certificates::CertificateError;

/// Why a reconcile failed. It is retried.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Objects that the resource refers to could not be read.
    #[error("cannot read the current state: {0}")]
    Observe(#[source] CallError),
    /// Certificates could not be created.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// Objects could not be written.
    #[error("cannot write objects: {0}")]
    Apply(#[source] CallError),
    /// A Job outside of the schedule could not be created.
    #[error("cannot start a backup: {0}")]
    Job(#[source] CallError),
    /// It took too long.
    #[error("not finished within {}", humantime::format_duration(*.0))]
    Deadline(Duration),
    /// It panicked.
    #[error("reconciling panicked; this is a bug, please report it with the log")]
    Panic,
}

impl ReconcileError {
    /// All values of `category`.
    pub const CATEGORIES: &'static [&'static str] =
        &["observe", "certificates", "apply", "job", "deadline", "panic"];

    /// The phase, as a label value.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Observe(_) => "observe",
            Self::Certificates(_) => "certificates",
            Self::Apply(_) => "apply",
            Self::Job(_) => "job",
            Self::Deadline(_) => "deadline",
            Self::Panic => "panic",
        }
    }
}
