//! Whether the program works, as its probes ask.

use crate::collect::store::Store;

/// What /healthz and /readyz are answered from.
pub trait Health: std::fmt::Debug + Send + Sync {
    /// Why the process should be started anew, if it should.
    fn alive(&self) -> Result<(), String>;

    /// Why nobody should rely on it yet, if nobody should.
    fn ready(&self) -> Result<(), String>;

    /// Who does the work instead, if this process stands by for it.
    fn leader(&self) -> Option<String> {
        None
    }
}

impl Health for Store {
    fn alive(&self) -> Result<(), String> {
        let silent = "collection has not been heard of for more than three intervals";
        self.is_alive().then_some(()).ok_or_else(|| silent.to_owned())
    }

    fn ready(&self) -> Result<(), String> {
        Self::ready(self).then_some(()).ok_or_else(|| "the first collection has not ended yet".to_owned())
    }
}
