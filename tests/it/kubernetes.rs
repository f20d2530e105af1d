//! Calls to an API server that rejects requests, disconnects, contradicts itself or does not respond.
//!
//! Covers what the real server does not do on demand; `operator` covers the rest.

pub(crate) mod apply_faults;
pub(crate) mod client;
pub(crate) mod exec;
pub(crate) mod info_fleet;
pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod reporting;
