//! Why a test ends early.

use std::time::Duration;

use crate::state::proofs::MAX_TEXT;
use crate::state::proofs::reason::ReasonClass;
use crate::text;

/// Why a test ends early: the class of the reason, and one line without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) class: ReasonClass,
    pub(super) message: String,
}

impl Stop {
    #[must_use]
    pub(super) fn new(class: ReasonClass, message: impl AsRef<str>) -> Self {
        Self { class, message: text::one_line(message.as_ref(), MAX_TEXT) }
    }

    /// Something took longer than it may.
    pub(super) fn too_long(what: &str, limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        Self::new(ReasonClass::Deadline, format!("{what} did not end within {limit}"))
    }

    /// The user ended the test.
    pub(super) fn interrupted() -> Self {
        Self::new(ReasonClass::Interrupted, "the test was interrupted")
    }

    /// A file or directory of the test itself cannot be used.
    #[must_use]
    pub(super) fn of_file(what: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let class = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ReasonClass::NoSpace,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ReasonClass::Permission,
            // Landlock.
            ErrorKind::Unsupported => ReasonClass::Configuration,
            _ => ReasonClass::Unclassified,
        };
        Self::new(class, format!("{what}: {error}"))
    }
}
