//! The web server: listening, TLS, authentication, and limits against misbehaving clients.
//!
//! Nothing here runs pgBackRest or waits for a collection.

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
