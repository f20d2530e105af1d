//! One connection: handshake, HTTP/1.1 or HTTP/2, and the deadlines that end it.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::client::ClientAddress;
use super::connection_limit::{ConnectionActivity, ConnectionPermit, RequestInFlight};
use super::limits::ServerLimits;
use super::web_config::WebConfig;

/// The first byte of a TLS handshake (RFC 8446 §5.1: content type 22).
const TLS_HANDSHAKE: u8 = 22;

/// Everything needed to serve a connection.
pub(super) struct Connection {
    pub(super) client: ClientAddress,
    pub(super) permit: ConnectionPermit,
    pub(super) router: Router,
    pub(super) config: Arc<WebConfig>,
    pub(super) limits: ServerLimits,
    /// Requests to close once the requests in flight are finished.
    pub(super) stop: CancellationToken,
}

impl Connection {
    /// Serves until the client disconnects, a limit is exceeded or the server stops.
    pub(super) async fn serve(self, stream: TcpStream) {
        let activity = Arc::clone(&self.permit.activity);
        let cut = activity.cut.clone();
        let end = tokio::select! {
            end = self.speak(stream, &activity) => end,
            () = cut.cancelled() => Err(io::Error::other("closed to free a slot, at a deadline, or at shutdown")),
        };
        if let Err(error) = end {
            tracing::debug!(%error, "Connection closed");
        }
    }

    async fn speak(&self, stream: TcpStream, activity: &Arc<ConnectionActivity>) -> io::Result<()> {
        // Responses are written at once; waiting to fill packets would only delay them.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.config.tls else {
            return self.http1(self.guarded(stream), activity).await;
        };
        let handshake = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first != [TLS_HANDSHAKE] {
                return plain_text_refusal(stream).await;
            }
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
            acceptor.accept(self.guarded(stream)).await.map(Some)
        };
        let stream = tokio::select! {
            stream = timeout(self.limits.handshake, handshake) => stream??,
            () = self.stop.cancelled() => return Ok(()),
        };
        let Some(stream) = stream else { return Ok(()) };
        // ALPN decides; guessing from the first bytes would wait for them without a limit.
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream, activity).await
        } else {
            self.http1(stream, activity).await
        }
    }

    /// Applies the timeouts for silence and for a full send buffer to a stream.
    fn guarded(&self, stream: TcpStream) -> Pin<Box<TimeoutStream<TcpStream>>> {
        let mut stream = TimeoutStream::new(stream);
        // Reading continues while a response is written, and must not abort a response that is in time.
        stream.set_read_timeout(Some(self.limits.idle.max(self.limits.response)));
        stream.set_write_timeout(Some(self.limits.write_stall));
        Box::pin(stream)
    }

    async fn http1<S>(&self, stream: S, activity: &Arc<ConnectionActivity>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_header_size(self.limits.header_bytes)
            .max_headers(self.limits.header_count);
        let most = self.limits.response;
        let service =
            service_fn(|request| answer(self.router.clone(), activity.request(most), self.client, request));
        self.drive(builder.serve_connection(TokioIo::new(stream), service)).await
    }

    async fn http2<S>(&self, stream: S, activity: &Arc<ConnectionActivity>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.http2_streams)
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(256 * 1024)
            .keep_alive_interval(self.limits.idle / 2)
            .keep_alive_timeout(self.limits.write_stall);
        let (router, activity, most) = (self.router.clone(), Arc::clone(activity), self.limits.response);
        let client = self.client;
        let service =
            service_fn(move |request| answer(router.clone(), activity.request(most), client, request));
        self.drive(builder.serve_connection(TokioIo::new(stream), service)).await
    }

    /// Runs a connection. When the server stops, requests in flight may finish.
    async fn drive(&self, connection: impl GracefulConnection<Error = hyper::Error>) -> io::Result<()> {
        let mut connection = pin!(connection);
        tokio::select! {
            end = connection.as_mut() => return end.map_err(io::Error::other),
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await.map_err(io::Error::other)
    }
}

/// Explains the problem to a client that speaks HTTP to a TLS port, as Go's server does.
async fn plain_text_refusal<S>(mut stream: TcpStream) -> io::Result<Option<S>> {
    let text = "This port serves HTTPS; use https:// in the address.\n";
    let response = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(None)
}

async fn answer(
    router: Router,
    in_flight: RequestInFlight,
    client: ClientAddress,
    mut request: Request<Incoming>,
) -> Result<Response<Counted>, Infallible> {
    request.extensions_mut().insert(client);
    let response = router.oneshot(request.map(Body::new)).await?;
    Ok(response.map(|body| Counted { body, _in_flight: in_flight }))
}

/// The body of a response, whose request counts as in flight until all of it is sent.
struct Counted {
    body: Body,
    _in_flight: RequestInFlight,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
