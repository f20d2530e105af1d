//! Backups according to the Jobs and CronJobs of a cluster.
//!
//! Facts arrive one by one ([`index`]); each repo and backup type has a [`history`] of runs, and CronJobs have a
//! [`timer`] for when they should have run.

pub mod concern;
pub mod fact;
pub mod history;
pub mod index;
pub mod timer;

#[cfg(test)]
mod tests;

pub use concern::Concern;
pub use fact::{ClusterKey, CronFact, JobEnd, JobFact, JobFailure, Slot, Suspension, Trigger};
pub use history::{RunHistory, RunHistoryView, RunResult, Tally};
pub use index::{ClusterRuns, JobIndex, RunResults};
pub use timer::{ScheduleView, Timer};
