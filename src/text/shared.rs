//! Texts that occur often, each kept once.

use std::collections::HashSet;
use std::sync::Arc;

/// Keeps each text once.
#[derive(Debug, Default)]
pub struct SharedTexts {
    known: HashSet<Arc<str>>,
    bytes: u64,
}

impl SharedTexts {
    /// The text as it is kept.
    pub fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.bytes += text.len() as u64;
        self.known.insert(Arc::clone(&text));
        text
    }

    /// Bytes of all texts that are kept.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
