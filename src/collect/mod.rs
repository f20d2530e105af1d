//! Asks pgBackRest periodically, and keeps the answers.
//!
//! The `scheduler` runs a collection of each cluster in the `registry` when it is due. A collection makes the calls of
//! info that its [`plan`] says, merges the answers with the previous snapshot, and reports the result; the scheduler
//! publishes it in the [`store`], from which scrapes read. A scrape starts nothing and waits for nothing here.
//!
//! A host is a fleet with one cluster without labels. [`host`] and [`fleet`] differ in where commands run, and in what is
//! asked for, a `request`.

pub mod cluster_metrics;
pub mod fleet;
pub mod host;
pub mod own_process;
pub mod plan;
pub mod settings;
pub mod store;

mod caller;
mod changes;
mod collection;
mod database_counts;
mod in_flight;
mod kept;
mod limit;
mod registry;
mod request;
mod scheduler;
mod wal;
