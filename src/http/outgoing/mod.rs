//! Requests to other servers: to an exporter that is checked, and to those who are notified.

pub mod config;
pub mod fetch;
