//! The `backup` command and stanza management, with pgBackRest on this host instead of in pods.
//!
//! Covers the results of a backup: every exit code, lost connections, signals and locks, which are too rare in pods.

pub(crate) mod ensure_stanza;
pub(crate) mod faults;
pub(crate) mod pgbackrest;
