//! Backups according to the Jobs and CronJobs of a cluster.
//!
//! Facts arrive one by one ([`ledger`]); each repo and backup type has a [`mod@line`] of runs, and CronJobs have a
//! [`timer`] for when they should have run.

pub mod concern;
pub mod fact;
pub mod ledger;
pub mod line;
pub mod timer;

#[cfg(test)]
mod tests;

pub use concern::Concern;
pub use fact::{ClusterKey, CronFact, Failure, JobEnd, JobFact, Slot, Suspension, Trigger};
pub use ledger::{Cluster, Ledger};
pub use line::{Line, LineView, Tally};
pub use timer::{ScheduleView, Timer};
