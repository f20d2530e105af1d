//! Shared by the commands that serve HTTP.

use anyhow::{Context, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::http::listen;
use crate::http::router::{RESERVED_PATHS, ReloadRequest};
use crate::http::web_config::WebConfigHandle;
use crate::notify::config::NotifyConfigHandle;
use crate::shutdown::{Request, Signals};

use super::args::web::WebArgs;

/// How many reloads may wait while one is running.
pub(super) const RELOADS_WAITING: usize = 1;

/// Two handlers cannot share a path.
pub(super) fn check_telemetry_path(path: &str) -> anyhow::Result<()> {
    if RESERVED_PATHS.contains(&path) {
        bail!("--web.telemetry-path {path}: this path is reserved; choose another, such as /metrics");
    }
    Ok(())
}

/// Opens the sockets that the flags specify.
pub(super) async fn listeners(args: &WebArgs) -> anyhow::Result<Vec<TcpListener>> {
    let listeners =
        if args.systemd_socket { inherited()? } else { listen::bind(&args.place.listen_address).await? };
    for listener in &listeners {
        tracing::info!(address = %listener.local_addr()?, "Listening");
    }
    Ok(listeners)
}

/// The sockets that systemd passes.
fn inherited() -> anyhow::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = passed
            .take_tcp_listener(index)
            .context("--web.systemd-socket: systemd passed a socket that is not a TCP listener")?;
        if let Some(listener) = listener {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    if listeners.is_empty() {
        bail!("--web.systemd-socket: systemd passed no socket; start the service through its .socket unit");
    }
    Ok(listeners)
}

/// Reloads on signals and requests until a signal to stop, whose name it returns. Calls `before` before each reload of
/// the configurations.
pub(super) async fn handle_signals(
    mut signals: Signals,
    mut requests: mpsc::Receiver<ReloadRequest>,
    (web_config, notify_config): (WebConfigHandle, NotifyConfigHandle),
    before: impl Fn(),
) -> &'static str {
    loop {
        let answer = tokio::select! {
            signal = signals.next() => match signal {
                Request::Stop(signal) => return signal,
                Request::Reload => None,
            },
            Some(request) = requests.recv() => Some(request),
        };
        before();
        let errors: Vec<String> = [web_config.reload().await, notify_config.reload().await]
            .into_iter()
            .filter_map(|outcome| Some(outcome.err()?.to_string()))
            .collect();
        let outcome = if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) };
        if let Some(answer) = answer {
            // The client may have disconnected.
            let _ = answer.send(outcome);
        }
    }
}

/// For the status page.
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}
