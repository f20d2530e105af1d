//! Polls pgBackRest and keeps the answer.
//!
//! [`poller`] makes runs: it asks what [`plan`] says, has the answers merged and puts the result into the [`store`],
//! from which scrapes read. A scrape starts nothing and waits for nothing here.

pub mod clusters;
pub mod fleet;
pub mod own_process;
pub mod plan;
pub mod poller;
pub mod settings;
pub mod store;

mod changes;
mod database_counts;
mod run;
mod wal;
