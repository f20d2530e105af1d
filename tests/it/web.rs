//! The web interface with real clients: slow, greedy, hostile and well behaved ones, TLS, passwords, and a browser.
//!
//! Covers serving pages and metrics within limits, independently of collection.

pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod guesses;
pub(crate) mod http_limits;
pub(crate) mod memory;
pub(crate) mod middleware;
pub(crate) mod page;
pub(crate) mod tls_auth;
