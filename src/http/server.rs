//! Serves a router on sockets bound by the caller, within limits, until shutdown.
//!
//! No client can stop the server: a connection error closes only that connection, an error of `accept` causes a short
//! pause, and a panic in an endpoint results in 500.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::memory::responses::Responses;

use super::auth::Checker;
use super::client::ClientAddress;
use super::connection::Connection;
use super::connection_limit::ConnectionLimit;
use super::limits::ServerLimits;
use super::middleware::{self, Middleware};
use super::rate_limit::Buckets;
use super::web_config::WebConfigHandle;

/// The pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Minimum time between log messages about errors of `accept`.
const ACCEPT_LOG: Duration = Duration::from_secs(30);
/// How long aborted connections may take to close at the end of the drain.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why serving stopped before shutdown.
#[derive(Debug, Error)]
pub enum ServerError {
    /// There is no socket to serve on.
    #[error("no address to listen on; set --web.listen-address")]
    NoListener,
    /// The system provides no random numbers.
    #[error("cannot set up password protection: {0}")]
    Random(#[source] io::Error),
    /// A task of the server stopped unexpectedly.
    #[error("the web server stopped unexpectedly: {0}")]
    Task(#[source] JoinError),
}

/// Serves `router` on `listeners` until `shutdown`, then lets requests in flight finish for at most `limits.drain`.
///
/// TLS, passwords, headers and rate limit come from `config`, whose files are watched. `/healthz` and `/readyz` need no
/// password and do not count towards the rate limit.
pub async fn run(
    listeners: Vec<TcpListener>,
    router: Router,
    config: WebConfigHandle,
    limits: ServerLimits,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    if listeners.is_empty() {
        return Err(ServerError::NoListener);
    }
    let middleware = Middleware {
        config: config.clone(),
        checker: Checker::new().map_err(ServerError::Random)?,
        buckets: Arc::new(Buckets::default()),
    };
    let server = Server {
        router: layered(router, middleware, &limits),
        config: config.clone(),
        limits,
        connection_limit: ConnectionLimit::new(limits.connections),
        responses: Responses::new(limits.response_bytes),
        connections: TaskTracker::new(),
        stop: shutdown.child_token(),
    };
    let _stop_on_return = server.stop.clone().drop_guard();
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(server.clone().accept(listener));
    }
    tasks.spawn({
        let stop = server.stop.clone();
        async move {
            config.watch(limits.config_check, stop.clone()).await;
            stop.cancelled().await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(ServerError::Task)?;
    }
    server.drain().await;
    Ok(())
}

/// From the outside in: panics, timeout, the gate, the size of the body.
fn layered(router: Router, middleware: Middleware, limits: &ServerLimits) -> Router {
    router
        .layer(RequestBodyLimitLayer::new(limits.body_bytes))
        .layer(from_fn_with_state(middleware, middleware::filter))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits.request))
        .layer(CatchPanicLayer::custom(on_panic))
}

fn on_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast::<String>()
        .map(|text| *text)
        .or_else(|panic| panic.downcast::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|_| "no message".to_owned());
    tracing::error!(panic = text, "Endpoint panicked; this is a bug, please report it");
    (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n").into_response()
}

/// State shared by all connections.
#[derive(Clone)]
struct Server {
    router: Router,
    config: WebConfigHandle,
    limits: ServerLimits,
    connection_limit: ConnectionLimit,
    responses: Responses<ClientAddress>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        let mut logged: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.admit(stream, peer) => {}
                },
                Err(error) if concerns_one_client(&error) => {
                    tracing::debug!(%error, "Client disconnected before accept");
                }
                Err(error) => {
                    if logged.is_none_or(|at| at.elapsed() > ACCEPT_LOG) {
                        logged = Some(Instant::now());
                        tracing::error!(%error, "Failed to accept connections; if this persists, raise the \
                                                 limit of open files");
                    }
                    // Out of file descriptors: closing an idle connection helps.
                    self.connection_limit.cut_longest_idle();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(permit) = self.connection_limit.admit(self.limits.admission).await else {
            tracing::debug!(%peer, "Rejected connection; all slots are busy");
            return;
        };
        let connection = Connection {
            client: peer.ip().into(),
            permit,
            responses: self.responses.clone(),
            router: self.router.clone(),
            config: self.config.current(),
            limits: self.limits,
            stop: self.stop.clone(),
        };
        self.connections.spawn(connection.serve(stream));
    }

    async fn drain(self) {
        self.connections.close();
        if tokio::time::timeout(self.limits.drain, self.connections.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(connections = self.connections.len(), "Aborting requests still in flight at shutdown");
        self.connection_limit.cut_all();
        // Aborted connections close when they are polled next; it does no harm if one does not.
        let _ = tokio::time::timeout(LAST_WAIT, self.connections.wait()).await;
    }
}

/// Errors of `accept` for a connection that was reset before it was accepted.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
