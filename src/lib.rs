//! pgbackrest-keeper: monitors pgBackRest backups of PostgreSQL, shows what can be restored, and makes backups in Kubernetes.
//!
//! ARCHITECTURE.md draws the whole.

pub mod check;
pub mod cli;
pub mod cluster;
pub mod collect;
pub mod config_file;
pub mod files;
pub mod http;
pub mod job;
pub mod kubernetes;
pub mod memory;
pub mod metrics;
pub mod notify;
pub mod operator;
pub mod pgbackrest;
pub mod postgres;
pub mod restore_test;
pub mod schedule;
pub mod shutdown;
pub mod source;
pub mod state;
pub mod telemetry;
pub mod text;
pub mod verify;

// The fake that unit tests share with tests/it names this crate as they do there.
#[cfg(test)]
extern crate self as pgbackrest_keeper;
#[cfg(test)]
#[path = "../tests/it/support/fake_pods.rs"]
#[allow(dead_code, reason = "tests/it uses the rest")]
mod fake_pods;
