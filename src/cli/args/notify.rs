//! Who is notified.

use std::path::PathBuf;

use clap::Args;

use super::path;

/// Who is notified. There are no flags for URLs and keys, because every user of a host can see flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Notifications")]
pub struct NotifyArgs {
    /// Configuration file for heartbeats and webhooks; see docs/notifications.md.
    #[arg(
        id = "notify_config_file",
        long = "notify.config.file",
        env = "KEEPER_NOTIFY_CONFIG_FILE",
        value_name = "FILE",
        value_parser = path()
    )]
    config_file: Option<PathBuf>,
}

impl NotifyArgs {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        self.config_file.as_deref().filter(|file| !file.as_os_str().is_empty())
    }
}
