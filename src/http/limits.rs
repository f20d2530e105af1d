//! Limits per client: connections, bytes and time.

use std::time::Duration;

use crate::memory::Bounds;

/// The limits of the server. The defaults suit a few Prometheus servers and browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Maximum number of open connections over all listeners. Another connection evicts the one that has been idle
    /// longest; if none is idle, it waits, and is closed after `admission`.
    pub connections: usize,
    /// How long a new connection waits for a slot.
    pub admission: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a connection may stay without a complete request: from its start, or from the last response.
    /// Longer than Prometheus' usual scrape interval, so that scrapes reuse a connection.
    pub idle: Duration,
    /// How long a handler may take before 503 is returned, including waiting for the body of the request.
    pub request: Duration,
    /// How long a write may wait for a client that does not read.
    pub write_stall: Duration,
    /// How long a request may take from its header to the last byte of its response; then its connection is closed.
    /// Limits how long a very slow reader holds a slot.
    pub response: Duration,
    /// How long requests in flight may continue after shutdown was requested.
    pub drain: Duration,
    /// Maximum size of a request's line and headers in bytes; more results in 431.
    pub header_bytes: usize,
    /// Maximum number of a request's headers; more results in 431.
    pub header_count: usize,
    /// Maximum size of a request's body in bytes; more results in 413.
    pub body_bytes: usize,
    /// Maximum number of concurrent requests in one HTTP/2 connection.
    pub http2_streams: u32,
    /// Bytes that requests and responses may use which wait for their clients, over all connections.
    pub response_bytes: u64,
    /// How often the files of the web configuration are checked for changes.
    pub config_check: Duration,
}

impl ServerLimits {
    /// With at most that many connections, or as many as there is memory for.
    #[must_use]
    pub fn with_connections(connections: usize) -> Self {
        Self { connections: connections.min(Bounds::of_process().connections()), ..Self::default() }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            admission: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            request: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            response: Duration::from_mins(2),
            drain: Duration::from_secs(10),
            header_bytes: 32 * 1024,
            header_count: 100,
            body_bytes: 64 * 1024,
            http2_streams: 32,
            response_bytes: Bounds::of_process().responses(),
            config_check: Duration::from_secs(5),
        }
    }
}
