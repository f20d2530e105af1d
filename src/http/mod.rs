//! The web server: listening, TLS, authentication, and limits against misbehaving clients.
//!
//! Nothing here runs pgBackRest or waits for a collection.

pub mod auth;
pub mod client;
mod connection;
pub mod headers;
pub mod health;
pub mod limits;
pub mod listen;
mod middleware;
pub mod outgoing;
pub mod page;
pub mod rate_limit;
pub mod router;

mod connection_limit;
pub mod server;
pub mod tls;
pub mod web_config;
