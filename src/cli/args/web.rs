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

    /// Take the listening sockets from systemd instead.
    #[arg(
        long = "web.systemd-socket",
        env = "KEEPER_WEB_SYSTEMD_SOCKET",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub systemd_socket: bool,

    /// Path of the metrics.
    #[arg(
        long = "web.telemetry-path",
        alias = "web.endpoint",
        env = "KEEPER_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = url_path
    )]
    pub telemetry_path: String,

    /// Serve POST /-/reload and GET and PUT /-/log-filter.
    #[arg(
        long = "web.enable-lifecycle",
        env = "KEEPER_WEB_ENABLE_LIFECYCLE",
        default_value = "false",
        value_name = SWITCH,
        value_parser = switch()
    )]
    pub enable_lifecycle: bool,

    /// How many connections may be open at once.
    #[arg(
        long = "web.max-connections",
        env = "KEEPER_WEB_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub max_connections: u32,
}

/// Where HTTP is served and how it is secured: what also a client on the same host needs to know.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Web")]
pub struct WebPlaceArgs {
    /// Address to listen on. Can be repeated; separate by commas in the variable.
    #[arg(
        long = "web.listen-address",
        env = "KEEPER_WEB_LISTEN_ADDRESS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = ":9854"
    )]
    pub listen_address: Vec<String>,

    /// File for TLS, basic authentication, headers and rate limit, as exporter-toolkit defines it.
    #[arg(long = "web.config.file", env = "KEEPER_WEB_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

fn url_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(plain) {
        return Err("must begin with / and hold only letters, digits and - . _ ~ /".to_owned());
    }
    Ok(text.to_owned())
}
