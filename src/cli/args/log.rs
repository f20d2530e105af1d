//! How the program logs.

use clap::Args;

use crate::telemetry::LogFormat;

/// How the program logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// Log level (error, warn, info, debug, trace) or filter directives such as
    /// `info,pgbackrest_keeper::collect=debug`.
    #[arg(long = "log.level", env = "KEEPER_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub level: String,

    /// Format of log lines.
    #[arg(long = "log.format", env = "KEEPER_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Logfmt)]
    pub format: LogFormat,
}
