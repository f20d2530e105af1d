//! What was done for a cluster and is worth an Event.

/// Something that was done, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// CamelCase, one of a fixed set, such as `StanzaCreated`.
    pub reason: &'static str,
    /// One sentence without secrets.
    pub message: String,
}

impl Deed {
    /// A deed.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
