//! The `backup` command and stanza care, with pgBackRest on this host in place of pods.
//!
//! Proves what becomes of one backup: every exit code, lost connections, signals and locks, which pods produce too rarely.

pub(crate) mod ensure_stanza;
pub(crate) mod faults;
pub(crate) mod pgbackrest;
