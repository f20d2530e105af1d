//! What one client may take: connections, bytes and time.

use std::time::Duration;

/// The limits of the server. The defaults suit a few Prometheus servers and people with browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, over all listeners. One more closes the one that has been idle longest; where none
    /// is idle it waits, and is closed after `admission`.
    pub connections: usize,
    /// How long a new connection waits for a place.
    pub admission: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a connection may stay without a complete request: from its start, or from the last response.
    /// Longer than Prometheus' usual scrape interval, so that scrapes reuse a connection.
    pub idle: Duration,
    /// How long a handler may take until 503 is answered, waiting for the request's body included.
    pub request: Duration,
    /// How long a write may wait for a client that does not read.
    pub write_stall: Duration,
    /// After this long without a moment of rest a connection is asked to end (HTTP/2 GOAWAY, `Connection: close`); after
    /// as long again it is cut. Bounds the time that a very slow reader holds a place.
    pub busy: Duration,
    /// How long requests in flight may go on after shutdown is asked for.
    pub drain: Duration,
    /// Bytes of a request's line and headers; more is answered with 431.
    pub header_bytes: usize,
    /// Number of a request's headers; more is answered with 431.
    pub header_count: usize,
    /// Bytes of a request's body; more is answered with 413.
    pub body_bytes: usize,
    /// Requests at once in one HTTP/2 connection.
    pub http2_streams: u32,
    /// How often the files of the web configuration are looked at for a change.
    pub config_check: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            admission: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            request: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            busy: Duration::from_mins(1),
            drain: Duration::from_secs(10),
            header_bytes: 32 * 1024,
            header_count: 100,
            body_bytes: 64 * 1024,
            http2_streams: 32,
            config_check: Duration::from_secs(5),
        }
    }
}
