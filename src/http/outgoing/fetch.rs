//! One HTTP request to a server that may be anything: bounded by the caller's deadline, and read piece by piece.
//!
//! Only the given URL is requested: redirects are the caller's to judge, and the environment names no proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why there is no whole response.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The host has no address.
    #[error(transparent)]
    Lookup(io::Error),
    /// The server does not accept connections.
    #[error(transparent)]
    Connect(io::Error),
    /// The host is no name that a certificate can have.
    #[error(transparent)]
    ServerName(#[from] InvalidDnsNameError),
    /// The handshake failed, such as for a certificate that cannot be trusted.
    #[error(transparent)]
    Tls(io::Error),
    /// The request cannot be written.
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    /// The connection ended early, or the response is not HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The caller does not want the response.
    #[error("{0}")]
    Refused(String),
}

/// What to fetch, and how.
#[derive(Debug)]
pub struct Fetch<'a> {
    pub url: &'a Uri,
    /// For `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name in the server's certificate; that of the URL if it is not given.
    pub server_name: Option<&'a str>,
    pub headers: HeaderMap,
    /// What to post; without it, the request is a GET.
    pub body: Option<Bytes>,
}

/// The start of a response.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Fetch<'_> {
    /// Hands the body to `take` as it arrives, with the status, until `take` fails. Before, `take` gets an empty piece once the status and
    /// headers are complete.
    pub async fn run(
        self,
        take: impl FnMut(StatusCode, &[u8]) -> Result<(), String>,
    ) -> Result<Head, FetchError> {
        let stream = self.connect(None).await?;
        self.over(stream, take).await
    }

    /// The same for an exporter of this host, which may listen on all interfaces of a host with IPv6 only.
    pub async fn run_on_this_host(
        self,
        take: impl FnMut(StatusCode, &[u8]) -> Result<(), String>,
    ) -> Result<Head, FetchError> {
        let stream = self.connect(Some(Ipv6Addr::LOCALHOST)).await?;
        self.over(stream, take).await
    }

    /// `instead` takes the place of 127.0.0.1 if nobody listens there.
    async fn connect(&self, instead: Option<Ipv6Addr>) -> Result<TcpStream, FetchError> {
        let port = self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let found = tokio::net::lookup_host((self.host(), port)).await.map_err(FetchError::Lookup)?;
        let addresses: Vec<SocketAddr> = found.collect();
        let is_local = addresses.iter().any(|address| address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST));
        let connected = match (TcpStream::connect(addresses.as_slice()).await, instead) {
            (Err(_), Some(instead)) if is_local => TcpStream::connect((instead, port)).await,
            (other, _) => other,
        };
        connected.map_err(FetchError::Connect)
    }

    fn host(&self) -> &str {
        self.url.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    async fn over(
        self,
        stream: TcpStream,
        take: impl FnMut(StatusCode, &[u8]) -> Result<(), String>,
    ) -> Result<Head, FetchError> {
        let Some(tls) = self.tls.clone() else { return self.exchange(stream, take).await };
        let name = ServerName::try_from(self.server_name.unwrap_or(self.host()).to_owned())?;
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(FetchError::Tls)?;
        self.exchange(stream, take).await
    }

    async fn exchange<S>(
        self,
        stream: S,
        mut take: impl FnMut(StatusCode, &[u8]) -> Result<(), String>,
    ) -> Result<Head, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Unlike the text of a path and query, what is displayed starts with a slash even if the URL has a query and no path.
        let path = self.url.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        // Without user and password, if there are any.
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(path).header(HOST, host);
        let mut request = request.body(Full::new(self.body.unwrap_or_default()))?;
        request.headers_mut().extend(self.headers);
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (head, mut body) = response.into_parts();
            take(head.status, &[]).map_err(FetchError::Refused)?;
            while let Some(frame) = body.frame().await {
                if let Some(piece) = frame?.data_ref() {
                    take(head.status, piece).map_err(FetchError::Refused)?;
                }
            }
            Ok(Head { status: head.status, headers: head.headers })
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            head = &mut exchange => head,
            ended = &mut connection => {
                // The connection may close right after the full response, or after its head.
                match (exchange.await, ended) {
                    (Err(FetchError::Http(_)), Err(error)) => Err(error.into()),
                    (head, _) => head,
                }
            }
        }
    }
}
