//! Derives conclusions from facts. Pure: time, policy and configuration are passed in.

pub mod answer;
pub mod archive;
pub mod archiver;
pub mod archiving;
pub mod assemble;
pub mod attempts;
pub mod backup;
pub mod chain;
pub mod comparison;
pub mod expiry;
pub mod faults;
pub mod filter;
pub mod health;
pub mod human;
pub mod jobs;
pub mod merge;
pub mod programs;
pub mod proofs;
pub mod records;
pub mod recovery;
pub mod recovery_time;
pub mod removal;
pub mod restore;
pub mod restore_tests;
pub mod retention;
pub mod snapshot;
pub mod speeds;
pub mod stopped;
pub mod test_history;
pub mod turns;
pub mod verification;
pub mod verification_history;
pub mod verifications;
pub mod wal_range;
pub mod weight;

#[cfg(test)]
#[path = "../../tests/unit/examples.rs"]
pub(crate) mod examples;
