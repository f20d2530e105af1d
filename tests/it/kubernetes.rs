//! Calls to an API server that refuses, breaks off, contradicts itself or says nothing.
//!
//! Proves what the real server does not do on demand. What it does do is left to `operator`.

pub(crate) mod apply_faults;
pub(crate) mod client;
pub(crate) mod exec;
pub(crate) mod info_fleet;
pub(crate) mod lease;
pub(crate) mod reporting;
