//! Actions for a cluster that are reported as Events.

/// A completed action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// CamelCase, one of a fixed set, such as `StanzaCreated`.
    pub reason: &'static str,
    /// One sentence without secrets.
    pub message: String,
}

impl Action {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
