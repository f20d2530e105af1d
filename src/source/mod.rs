//! Asks pgBackRest: processes on this host and commands in pods, calls and their answers, and its files.
//! Knows nothing of intervals or metrics.

pub mod archivers;
pub mod backup_logs;
pub mod call;
pub mod config_files;
pub mod credentials;
pub mod environment;
pub mod histories;
pub mod in_pod;
pub mod leavers;
pub mod listed;
pub mod local;
pub mod lock_files;
pub mod pod;
pub mod pod_files;
pub mod pods;
pub mod primary;
pub mod process;
pub mod processes_in;
pub mod proof_writer;
pub mod proofs;
pub mod running;
pub mod sandbox;
pub mod signing_key;
pub mod stop_files;

mod document;
mod failure;
mod marks;
mod notices;
