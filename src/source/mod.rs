//! Asks pgBackRest: child processes and commands in pods, the program's calls and its configuration files.
//! Knows nothing of intervals or metrics.

pub mod config_files;
pub mod credentials;
pub mod environment;
pub mod info_in_pod;
pub mod pgbackrest;
pub mod pod;
pub mod pods;
pub mod process;
pub mod repository;

mod failure;
mod notices;
