//! From `--web.listen-address` to sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;

/// The backlog of the listening socket.
const BACKLOG: i32 = 1024;

/// Why listening on an address failed.
#[derive(Debug, Error)]
#[error("--web.listen-address {address:?}: {problem}")]
pub struct ListenError {
    /// As given.
    pub address: String,
    /// Reason and remedy.
    pub problem: String,
}

/// Where to listen, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// A host name, or an address without brackets; empty for all interfaces.
    pub host: String,
    /// The port; 0 for any free port.
    pub port: u16,
}

impl ListenAddress {
    /// Parses `:9854`, `127.0.0.1:0`, `[::1]:9854` or `localhost:9854`.
    pub fn parse(text: &str) -> Result<Self, ListenError> {
        let wrong = |problem: &str| ListenError { address: text.to_owned(), problem: problem.to_owned() };
        if text.starts_with("vsock://") {
            return Err(wrong(
                "vsock sockets are not supported; use HOST:PORT and forward to it, for example with socat",
            ));
        }
        if text.contains("://") || text.contains('/') {
            return Err(wrong("an address must not contain a scheme or path; use HOST:PORT, such as :9854"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(wrong("the port is missing; use HOST:PORT, such as :9854"));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) if inner.parse::<Ipv6Addr>().is_err() => {
                return Err(wrong("brackets must contain an IPv6 address, such as [::1]:9854"));
            }
            Some(inner) => inner,
            None if host.contains(':') => {
                return Err(wrong("an IPv6 address needs brackets, such as [::1]:9854"));
            }
            None => host,
        };
        let port = port.parse().map_err(|_| wrong("the port must be a number from 0 to 65535"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Listens on each address, in order. `:PORT` means all interfaces, with one socket for IPv6 and IPv4 if the system has
/// IPv6, otherwise IPv4. For a name with several addresses the first is used, preferring IPv4 (as in Go).
///
/// Must run inside a tokio runtime.
pub async fn bind(addresses: &[String]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for (position, address) in addresses.iter().enumerate() {
        let parsed = ListenAddress::parse(address)?;
        if parsed.port != 0 && addresses.iter().take(position).any(|before| before == address) {
            return Err(ListenError {
                address: address.clone(),
                problem: "specified twice; remove one".to_owned(),
            });
        }
        let listener = listen(&parsed)
            .await
            .map_err(|error| ListenError { address: address.clone(), problem: describe(&error, &parsed) })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn listen(address: &ListenAddress) -> io::Result<TcpListener> {
    if address.host.is_empty() {
        let all_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port));
        return match socket(all_v6) {
            Err(error) if lacks_ipv6(&error) => {
                socket(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port)))
            }
            other => other,
        };
    }
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host((address.host.as_str(), address.port)).await?.collect();
    let chosen = found.iter().find(|found| found.is_ipv4()).or(found.first());
    socket(*chosen.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "the host name does not resolve to an address")
    })?)
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

fn describe(error: &io::Error, address: &ListenAddress) -> String {
    let port = address.port;
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the address is in use by another process; find it with ss -ltnp 'sport = :{port}' and stop it, or \
             choose another port"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("port {port} requires privileges; choose one above 1023 or grant CAP_NET_BIND_SERVICE")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this host has no address {}; use one of its addresses, or :{port} for all", address.host)
        }
        _ => format!("cannot listen: {error}; check host and port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let parsed = |text| ListenAddress::parse(text).map(|address| (address.host, address.port)).ok();
        assert_eq!(parsed(":9854"), Some((String::new(), 9854)));
        assert_eq!(parsed("127.0.0.1:0"), Some(("127.0.0.1".to_owned(), 0)));
        assert_eq!(parsed("[::1]:9854"), Some(("::1".to_owned(), 9854)));
        assert_eq!(parsed("localhost:9854"), Some(("localhost".to_owned(), 9854)));
        for wrong in
            ["9854", "", ":", ":http", ":70000", "::1:9854", "[localhost]:1", "http://x:1", "a:1/metrics"]
        {
            assert!(ListenAddress::parse(wrong).is_err(), "{wrong:?}");
        }
        let vsock = ListenAddress::parse("vsock://:9854").expect_err("refused").to_string();
        assert!(vsock.contains("vsock sockets are not supported"), "{vsock}");
    }

    #[tokio::test]
    async fn sockets_are_bound() {
        let texts = [":0", "127.0.0.1:0", "localhost:0"].map(str::to_owned);
        let listeners = bind(&texts).await.expect("free ports");
        assert_eq!(listeners.len(), 3);
        let everywhere = listeners[0].local_addr().expect("address");
        std::net::TcpStream::connect(("127.0.0.1", everywhere.port())).expect("IPv4 is served");
        if everywhere.is_ipv6() {
            std::net::TcpStream::connect(("::1", everywhere.port())).expect("IPv6 is served");
        }
        assert!(listeners[2].local_addr().expect("address").ip().is_loopback());
    }

    #[tokio::test]
    async fn what_cannot_be_bound_is_explained() {
        let taken = bind(&["127.0.0.1:0".to_owned()]).await.expect("free port");
        let address = taken[0].local_addr().expect("address").to_string();
        let error = bind(std::slice::from_ref(&address)).await.expect_err("in use").to_string();
        assert!(
            error.contains(&address) && error.contains("in use") && error.contains("ss -ltnp"),
            "{error}"
        );
        let foreign = bind(&["192.0.2.1:0".to_owned()]).await.expect_err("not ours").to_string();
        assert!(foreign.contains("no address 192.0.2.1"), "{foreign}");
        let twice = bind(&[address.clone(), address]).await.expect_err("twice").to_string();
        assert!(twice.contains("in use") || twice.contains("twice"), "{twice}");
        let nowhere = bind(&["no-such-host.invalid:1".to_owned()]).await.expect_err("unknown").to_string();
        assert!(nowhere.contains("cannot listen"), "{nowhere}");
    }
}
