//! What was done for a cluster and is worth an Event.

/// Something that was done, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// CamelCase, one of a fixed set, such as `StanzaCreated`.
    pub reason: &'static str,
    /// One sentence without secrets.
    pub message: String,
}

impl Action {
    /// A deed.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
