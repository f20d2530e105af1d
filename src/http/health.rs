//! The health of the program, for its probes.

use crate::collect::store::Store;

/// The source of /healthz and /readyz.
pub trait ProbeSource: std::fmt::Debug + Send + Sync {
    /// The reason to restart the process, if any.
    fn alive(&self) -> Result<(), String>;

    /// The reason why it is not ready, if any.
    fn ready(&self) -> Result<(), String>;

    /// The leader, if this process is on standby.
    fn leader(&self) -> Option<String> {
        None
    }
}

impl ProbeSource for Store {
    fn alive(&self) -> Result<(), String> {
        let silent = "collection has made no progress for more than three intervals";
        self.is_alive().then_some(()).ok_or_else(|| silent.to_owned())
    }

    fn ready(&self) -> Result<(), String> {
        Self::ready(self).then_some(()).ok_or_else(|| "the first collection has not finished yet".to_owned())
    }
}
