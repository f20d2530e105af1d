//! The web face: listening, TLS, authentication and the limits that keep a bad client from doing harm.
//!
//! Nothing here asks pgBackRest or waits for a poll.

pub mod auth;
mod connection;
mod gate;
pub mod headers;
pub mod health;
pub mod limits;
pub mod listen;
pub mod page;
pub mod rate_limit;
pub mod router;

pub mod server;
mod slots;
pub mod tls;
pub mod web_config;
