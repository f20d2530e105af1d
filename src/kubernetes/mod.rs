//! Calls to a Kubernetes API server, each with a deadline.

pub mod client;
pub mod exec;
pub mod lease;
pub mod shard;
