//! The programs that run on a database host, with real PostgreSQL and pgBackRest beside them: exporter, `info`, package, demo.
//!
//! Proves what no fake can: that facts are pgBackRest's own, that a restore leads to where the program says, and that a child
//! process leaves nothing behind.

pub(crate) mod archiver;
pub(crate) mod attempts;
pub(crate) mod campaign;
pub(crate) mod collection;
pub(crate) mod demo;
pub(crate) mod differential;
pub(crate) mod expire;
pub(crate) mod exporter;
pub(crate) mod fake;
pub(crate) mod forks;
pub(crate) mod hangs;
pub(crate) mod healthcheck;
pub(crate) mod info_table;
pub(crate) mod install;
pub(crate) mod package;
pub(crate) mod pgbackrest;
pub(crate) mod process_limits;
pub(crate) mod repository;
pub(crate) mod restore;
pub(crate) mod secrets;
pub(crate) mod sections;
pub(crate) mod stopped;
pub(crate) mod terminal;
pub(crate) mod trouble;
pub(crate) mod wal;
