//! One HTTP request to a server that may be anything: bounded by the caller's deadline, and read piece by piece.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{HOST, HeaderMap};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Any failure of the network, the server, or the reader.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// What to fetch, and how.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    pub(super) url: &'a Uri,
    /// For `https`.
    pub(super) tls: Option<ClientConfig>,
    /// The name in the server's certificate; that of the URL if it is not given.
    pub(super) server_name: Option<&'a str>,
    pub(super) headers: HeaderMap,
}

/// The start of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Fetch<'_> {
    /// Hands the body to `take` as it arrives, with the status, until `take` fails.
    pub(super) async fn run(
        self,
        take: impl FnMut(StatusCode, &[u8]) -> Result<(), Error>,
    ) -> Result<Head, Error> {
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        let stream = match TcpStream::connect(addresses.as_slice()).await {
            // An exporter that listens on all interfaces of an IPv6-only host.
            Err(_) if addresses.iter().any(|address| address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)) => {
                TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await?
            }
            other => other?,
        };
        let Some(tls) = self.tls else { return exchange(self.url, self.headers, stream, take).await };
        let name = ServerName::try_from(self.server_name.unwrap_or(host).to_owned())?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        exchange(self.url, self.headers, stream, take).await
    }
}

async fn exchange<S>(
    url: &Uri,
    headers: HeaderMap,
    stream: S,
    mut take: impl FnMut(StatusCode, &[u8]) -> Result<(), Error>,
) -> Result<Head, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    // Without user and password, if there are any.
    let host = url.authority().map_or("", |authority| authority.as_str());
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let mut request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    request.headers_mut().extend(headers);
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            if let Some(piece) = frame?.data_ref() {
                take(head.status, piece)?;
            }
        }
        Ok(Head { status: head.status, headers: head.headers })
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        head = &mut exchange => head,
        ended = &mut connection => {
            ended?;
            // The connection may close right after the full response.
            exchange.await
        }
    }
}
