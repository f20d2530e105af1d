//! What the tests of the web face share: certificates made on the spot, a running server, and clients.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pgbackrest_keeper::http::limits::ServerLimits;
use pgbackrest_keeper::http::server::{self, ServerError};
use pgbackrest_keeper::http::web_config::WebConfigHandle;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// No step of a test takes longer on any machine, unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// For limits that a test must not reach. What ends within [`PATIENCE`] was not ended by one of these.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// A certificate authority that lives for one test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "keeper test CA");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("issuer"))
    }

    pub(crate) fn certificate_pem(&self) -> String {
        self.0.as_ref().pem()
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.as_ref().der().clone()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        change(&mut params);
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.0).expect("certificate");
        Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

impl Issued {
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).expect("certificate")
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("key")
    }
}

/// A server of the library, on a free port of 127.0.0.1.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) config: WebConfigHandle,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServerError>>,
    /// How many requests have reached `/slow` or `/endless`.
    working: watch::Sender<usize>,
    /// Whether `/slow` answers.
    let_go: watch::Sender<bool>,
}

impl Server {
    /// Serves the endpoints of [`endpoints`] with a configuration file, or plainly.
    pub(crate) async fn start(config: Option<&Path>, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let address = listener.local_addr().expect("address");
        let config = WebConfigHandle::load(config).await.expect("good configuration");
        let shutdown = CancellationToken::new();
        let (working, let_go) = (watch::Sender::new(0), watch::Sender::new(false));
        let router = endpoints(working.clone(), let_go.clone());
        let run = server::run(vec![listener], router, config.clone(), limits, shutdown.clone());
        Self { address, config, shutdown, task: tokio::spawn(run), working, let_go }
    }

    /// Waits until so many requests have reached `/slow` or `/endless`.
    pub(crate) async fn until_working(&self, count: usize) {
        let mut working = self.working.subscribe();
        timeout(PATIENCE, working.wait_for(|now| *now >= count)).await.expect("requests").expect("a server");
    }

    /// Lets `/slow` answer.
    pub(crate) fn let_go(&self) {
        self.let_go.send_replace(true);
    }

    /// Asks for the end while `/slow` has requests, lets it answer once nobody listens any more, and waits for the end.
    pub(crate) async fn stop_before_it_answers(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, async { while TcpStream::connect(self.address).await.is_ok() {} })
            .await
            .expect("nobody listens any more");
        self.let_go();
        self.stop().await;
    }

    /// Stops it, and fails where it ended otherwise before.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = timeout(PATIENCE, self.task).await.expect("ends in time");
        ended.expect("no panic").expect("no error");
    }
}

/// Endpoints that do what the tests need.
fn endpoints(working: watch::Sender<usize>, let_go: watch::Sender<bool>) -> Router {
    let also_working = working.clone();
    Router::new()
        .route("/metrics", get(async || "up 1\n"))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async || (StatusCode::SERVICE_UNAVAILABLE, "no collection yet\n")))
        .route(
            "/slow",
            get(async move || {
                working.send_modify(|count| *count += 1);
                let_go.subscribe().wait_for(|now| *now).await.expect("a server");
                "done\n"
            }),
        )
        .route(
            "/endless",
            get(async move || {
                also_working.send_modify(|count| *count += 1);
                std::future::pending::<&str>().await
            }),
        )
        .route(
            "/large",
            get(async || {
                let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
                Body::from_stream(stream::iter(
                    (0..2_000).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
                ))
            }),
        )
        .route("/panic", get(async || -> &'static str { panic!("as asked") }))
        .route("/echo", post(async |body: String| body))
}

/// Sends bytes as they are and reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    rest(&mut stream).await
}

/// Reads until the server closes.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("closed in time");
    String::from_utf8_lossy(&read).into_owned()
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Asks once by plain HTTP/1.1.
pub(crate) async fn ask(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = TcpStream::connect(address).await.expect("connected");
    Session::http1(stream).await.expect("session").ask(path, headers).await.expect("answer")
}

/// A connection on which several requests can be sent.
pub(crate) enum Session {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Session {
    pub(crate) async fn http1<S>(stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    pub(crate) async fn http2<S>(stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    pub(crate) async fn ask(&mut self, path: &str, headers: &[(&str, &str)]) -> hyper::Result<Answer> {
        let uri = format!("https://localhost{path}");
        let mut request = Request::get(if matches!(self, Self::Http1(_)) { path } else { &uri });
        request = request.header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).expect("request");
        // The connection may still be busy with the end of the last answer.
        let response = match self {
            Self::Http1(sender) => {
                timeout(PATIENCE, sender.ready()).await.expect("in time")?;
                timeout(PATIENCE, sender.send_request(request)).await.expect("in time")?
            }
            Self::Http2(sender) => {
                timeout(PATIENCE, sender.ready()).await.expect("in time")?;
                timeout(PATIENCE, sender.send_request(request)).await.expect("in time")?
            }
        };
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("in time")?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: parts.status, version: parts.version, headers: parts.headers, body })
    }
}

/// A TLS client that trusts `authority`, shows `own` and offers the protocols `alpn`.
pub(crate) fn tls_client(authority: &Authority, own: Option<&Issued>, alpn: &[&str]) -> ClientConfig {
    tls_client_of(authority, own, alpn, rustls::ALL_VERSIONS)
}

/// The same for chosen versions of TLS.
pub(crate) fn tls_client_of(
    authority: &Authority,
    own: Option<&Issued>,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).expect("authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            builder.with_client_auth_cert(vec![own.certificate()], own.key()).expect("own certificate")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Connects and shakes hands.
pub(crate) async fn tls_connect(
    address: SocketAddr,
    client: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("name");
    timeout(PATIENCE, TlsConnector::from(Arc::new(client)).connect(name, stream)).await.expect("in time")
}
