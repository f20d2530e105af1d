//! Consistency of the repository: documents, command-line reference, metric reference, and the layers of the code.
//!
//! Starts no server.

pub(crate) mod backup;
pub(crate) mod benchmarks;
pub(crate) mod check;
pub(crate) mod cli;
pub(crate) mod documents;
pub(crate) mod metrics;
pub(crate) mod operations;
pub(crate) mod tidy;
pub(crate) mod used_functions;
