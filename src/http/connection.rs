//! One connection: handshake, HTTP/1.1 or HTTP/2, and the deadlines that end it.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::memory::responses::{BodyMemory, Reserved, Responses};

use super::client::ClientAddress;
use super::connection_limit::{ConnectionActivity, ConnectionPermit, RequestInFlight};
use super::limits::ServerLimits;
use super::middleware::OPEN_PATHS;
use super::web_config::WebConfig;

/// The first byte of a TLS handshake (RFC 8446 §5.1: content type 22).
const TLS_HANDSHAKE: u8 = 22;

/// The largest part of a body that is sent at once. What is larger is not copied for that.
const PART: usize = 256 * 1024;
/// What a connection may hold of requests that are not read yet, and of responses that are not sent yet.
const BUFFER: usize = 64 * 1024;
/// The same in the kernel, which doubles it.
const KERNEL_BUFFER: usize = 128 * 1024;
/// The least that HTTP/2 allows.
const HTTP2_WINDOW: u32 = 65_535;

/// Everything needed to serve a connection.
pub(super) struct Connection {
    pub(super) client: ClientAddress,
    pub(super) permit: ConnectionPermit,
    pub(super) responses: Responses<ClientAddress>,
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
        // Left to itself, the kernel keeps several MiB for each.
        let socket = SockRef::from(&stream);
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        socket.set_recv_buffer_size(BUFFER)?;
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
            .max_buf_size(BUFFER)
            .max_header_size(self.limits.header_bytes)
            .max_headers(self.limits.header_count);
        let answering = self.answering(activity);
        let service = service_fn(move |request| answering.clone().answer(request));
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
            .max_send_buf_size(BUFFER)
            .initial_stream_window_size(HTTP2_WINDOW)
            .initial_connection_window_size(HTTP2_WINDOW)
            .keep_alive_interval(self.limits.idle / 2)
            .keep_alive_timeout(self.limits.write_stall);
        let answering = self.answering(activity);
        let service = service_fn(move |request| answering.clone().answer(request));
        self.drive(builder.serve_connection(TokioIo::new(stream), service)).await
    }

    fn answering(&self, activity: &Arc<ConnectionActivity>) -> Answering {
        Answering {
            router: self.router.clone(),
            activity: Arc::clone(activity),
            most: self.limits.response,
            client: self.client,
            responses: self.responses.clone(),
        }
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

/// Answers the requests of a connection.
#[derive(Clone)]
struct Answering {
    router: Router,
    activity: Arc<ConnectionActivity>,
    /// How long a request may take.
    most: Duration,
    client: ClientAddress,
    responses: Responses<ClientAddress>,
}

impl Answering {
    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Counted>, Infallible> {
        let in_flight = self.activity.request(self.most);
        // A probe is short, and has to be answered whoever keeps the others waiting.
        let is_probe = OPEN_PATHS.contains(&request.uri().path());
        let mut reserved = None;
        if !is_probe {
            reserved = self.responses.reserve(self.client, &self.activity.cut).await;
            if reserved.is_none() {
                return Ok(no_memory().map(|body| Counted::new(body, None, in_flight)));
            }
        }
        request.extensions_mut().insert(self.client);
        let mut response = self.router.oneshot(request.map(Body::new)).await?;
        let memory = response.extensions_mut().remove::<BodyMemory>().unwrap_or_else(|| BodyMemory {
            own: response.body().size_hint().exact().unwrap_or(0),
            shared: Vec::new(),
        });
        if let Some(held) = &reserved
            && !held.grow(memory).await
        {
            reserved = None;
            response = no_memory();
        }
        Ok(response.map(|body| Counted::new(body, reserved, in_flight)))
    }
}

/// Other responses use all the memory that there is for them.
fn no_memory() -> Response<Body> {
    let text = "too many responses wait for their clients; try again\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
}

/// The body of a response, whose request counts as in flight until all of it is sent.
struct Counted {
    body: Body,
    /// What is left of a part that is larger than is sent at once.
    rest: Bytes,
    reserved: Option<Reserved<ClientAddress>>,
    _in_flight: RequestInFlight,
}

impl Counted {
    const fn new(body: Body, reserved: Option<Reserved<ClientAddress>>, in_flight: RequestInFlight) -> Self {
        Self { body, rest: Bytes::new(), reserved, _in_flight: in_flight }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        if let Some(reserved) = &self.reserved {
            reserved.moved();
        }
        let length = self.rest.len().min(PART);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
