//! The programs for database hosts with real PostgreSQL and pgBackRest: exporter, `info`, package, demo.
//!
//! Covers what fakes cannot: that values match pgBackRest's own, that restores lead to the predicted state, and that child processes
//! leave nothing behind.

pub(crate) mod addresses;
pub(crate) mod archiver;
pub(crate) mod attempts;
pub(crate) mod campaign;
pub(crate) mod check;
pub(crate) mod check_pgbackrest;
pub(crate) mod collection;
pub(crate) mod demo;
pub(crate) mod differential;
pub(crate) mod evidence;
pub(crate) mod expire;
pub(crate) mod exporter;
pub(crate) mod fake;
pub(crate) mod forks;
pub(crate) mod hangs;
pub(crate) mod healthcheck;
pub(crate) mod info_table;
pub(crate) mod install;
pub(crate) mod many_stanzas;
pub(crate) mod messages;
pub(crate) mod notifications;
pub(crate) mod package;
pub(crate) mod pgbackrest;
pub(crate) mod pod_files;
pub(crate) mod process_limits;
pub(crate) mod recovery_time;
pub(crate) mod repository;
pub(crate) mod restore;
pub(crate) mod restore_test_records;
pub(crate) mod restore_tests;
pub(crate) mod secrets;
pub(crate) mod sections;
pub(crate) mod standby;
pub(crate) mod stopped;
pub(crate) mod terminal;
pub(crate) mod trouble;
pub(crate) mod verify;
pub(crate) mod wal;
