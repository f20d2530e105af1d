//! Snapshot to text. Pure: the time and the figures of the process are passed in.

pub mod catalogue;
pub mod docs;
pub mod exposition;
pub mod options;

pub mod collection;
pub mod job;
pub mod notifications;
pub mod operator;
pub mod process;

mod archiver;
mod backup;
mod compat;
mod continuity;
mod facts;
mod family;
mod repo;
mod restore_tests;
mod retention;
mod selection;
mod stanza;
mod verifications;
mod wal;

pub use collection::CollectionMetrics;
pub use facts::Fleet;
pub use operator::OperatorMetrics;
pub use options::Options;
pub use process::ProcessFigures;
