//! Where and how HTTP is served.

use std::path::PathBuf;

use clap::Args;

use super::{SWITCH, switch};

/// Where and how HTTP is served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Web")]
pub struct WebArgs {
    /// Where, and how secured.
    #[command(flatten)]
    pub place: WebPlaceArgs,

    /// Use listening sockets passed by systemd instead of --web.listen-address.
    #[arg(
        long = "web.systemd-socket",
        env = "KEEPER_WEB_SYSTEMD_SOCKET",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub systemd_socket: bool,

    /// Path under which metrics are served.
    #[arg(
        long = "web.telemetry-path",
        alias = "web.endpoint",
        env = "KEEPER_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = url_path
    )]
    pub telemetry_path: String,

    /// Enable POST /-/reload, and GET and PUT /-/log-filter.
    #[arg(
        long = "web.enable-lifecycle",
        env = "KEEPER_WEB_ENABLE_LIFECYCLE",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub enable_lifecycle: bool,

    /// Maximum number of open connections; never more than one for each MiB of the memory limit.
    #[arg(
        long = "web.max-connections",
        env = "KEEPER_WEB_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub max_connections: u32,
}

/// Where HTTP is served and how it is secured. A client on the same host needs these flags too.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Web")]
pub struct WebPlaceArgs {
    /// Address to listen on. Can be repeated or comma-separated.
    #[arg(
        long = "web.listen-address",
        env = "KEEPER_WEB_LISTEN_ADDRESS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = ":9854"
    )]
    pub listen_address: Vec<String>,

    /// Configuration file for TLS, basic authentication, headers and rate limit, in the format of exporter-toolkit.
    #[arg(long = "web.config.file", env = "KEEPER_WEB_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

fn url_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(plain) {
        return Err("must start with / and contain only letters, digits and - . _ ~ /".to_owned());
    }
    Ok(text.to_owned())
}
