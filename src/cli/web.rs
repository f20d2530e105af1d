//! What the commands that serve HTTP share.

use anyhow::{Context, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::http::listen;
use crate::http::router::RESERVED_PATHS;

use super::args::web::WebArgs;

/// Two handlers cannot share a path.
pub(super) fn check_telemetry_path(path: &str) -> anyhow::Result<()> {
    if RESERVED_PATHS.contains(&path) {
        bail!(
            "--web.telemetry-path {path}: this path serves something else; choose another, such as /metrics"
        );
    }
    Ok(())
}

/// The sockets that the flags ask for.
pub(super) async fn listeners(args: &WebArgs) -> anyhow::Result<Vec<TcpListener>> {
    let listeners =
        if args.systemd_socket { inherited()? } else { listen::bind(&args.place.listen_address).await? };
    for listener in &listeners {
        tracing::info!(address = %listener.local_addr()?, "Listening");
    }
    Ok(listeners)
}

/// The sockets that systemd passes on.
fn inherited() -> anyhow::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener =
            passed.take_tcp_listener(index).context("--web.systemd-socket: a socket is no TCP listener")?;
        if let Some(listener) = listener {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    if listeners.is_empty() {
        bail!("--web.systemd-socket: systemd passed no socket; start the service by its .socket unit");
    }
    Ok(listeners)
}

/// For the status page.
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}
