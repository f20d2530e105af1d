//! One call of a URL.

use std::fmt;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use rustls::CertificateError;
use tokio::time::timeout;

use crate::http::outgoing::fetch::{Fetch, FetchError, Head};
use crate::metrics::notifications::CallFailure;

use super::body::signature;
use super::config::{Endpoint, SigningKey};

/// Bytes of a response; nothing of it is used.
const LARGEST_RESPONSE: usize = 64 * 1024;
const AGENT: &str = concat!("pgbackrest-keeper/", env!("CARGO_PKG_VERSION"));
/// The header with the signature of the body.
const SIGNATURE: &str = "x-pgbackrest-keeper-signature";

/// Why a call has failed. Contains neither the URL nor its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) reason: CallFailure,
    detail: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)
    }
}

impl Failed {
    fn new(reason: CallFailure, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Calls the URL of a heartbeat.
pub(super) async fn get(endpoint: &Endpoint) -> Result<(), Failed> {
    call(endpoint, HeaderMap::new(), None).await
}

/// Posts a body.
pub(super) async fn post(endpoint: &Endpoint, key: Option<&SigningKey>, body: Bytes) -> Result<(), Failed> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Hexadecimal digits can be in a header.
    let signature = key.and_then(|key| HeaderValue::try_from(signature(key, &body)).ok());
    headers.extend(signature.map(|value| (HeaderName::from_static(SIGNATURE), value)));
    call(endpoint, headers, Some(body)).await
}

/// Anything but a status of 200 to 299 is a failure. Redirects are not followed.
async fn call(endpoint: &Endpoint, mut headers: HeaderMap, body: Option<Bytes>) -> Result<(), Failed> {
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.extend(endpoint.authorization.clone().map(|value| (AUTHORIZATION, value)));
    let fetch = Fetch {
        url: &endpoint.url,
        tls: endpoint.tls.clone(),
        server_name: endpoint.server_name.as_deref(),
        headers,
        body,
    };
    // What happens after the status has arrived does not matter, but the rest is read so that the server is not disturbed.
    let (mut length, mut seen) = (0, None);
    let fetched = fetch.run(|status, piece| {
        seen = Some(status);
        length += piece.len();
        if length > LARGEST_RESPONSE { Err("the response is larger than 64 KiB".to_owned()) } else { Ok(()) }
    });
    let fetched = timeout(endpoint.timeout, fetched).await;
    match (seen, fetched) {
        (Some(status), _) | (None, Ok(Ok(Head { status, .. }))) => judge(status),
        (None, Ok(Err(error))) => Err(failed(&error)),
        (None, Err(_)) => {
            let within = humantime::format_duration(endpoint.timeout);
            Err(Failed::new(CallFailure::Timeout, format!("no response within {within}")))
        }
    }
}

fn judge(status: StatusCode) -> Result<(), Failed> {
    if status.is_success() {
        return Ok(());
    }
    let code = status.as_u16();
    Err(if status.is_redirection() {
        Failed::new(CallFailure::Redirect, format!("returned {code}; redirects are not followed"))
    } else {
        Failed::new(CallFailure::Status, format!("returned {code}"))
    })
}

/// In words that do not name the server, unlike those of the libraries.
fn failed(error: &FetchError) -> Failed {
    match error {
        FetchError::Lookup(_) => Failed::new(CallFailure::Connect, "the host has no address"),
        FetchError::Connect(error) => {
            Failed::new(CallFailure::Connect, format!("cannot connect: {}", error.kind()))
        }
        FetchError::ServerName(_) => {
            Failed::new(CallFailure::Tls, "the host is no name that a certificate can have")
        }
        FetchError::Tls(error) => Failed::new(CallFailure::Tls, handshake(error)),
        FetchError::Request(_) => Failed::new(CallFailure::Response, "the request cannot be written"),
        FetchError::Http(_) => Failed::new(CallFailure::Response, "the response ended early, or is not HTTP"),
        FetchError::Refused(_) => Failed::new(CallFailure::Response, "the response was not read"),
    }
}

fn handshake(error: &std::io::Error) -> String {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let why = match of_tls {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name"
            }
            // A bad signature is one by another authority of the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the certificate has an unknown issuer"
            }
            CertificateError::Revoked => "the certificate was revoked",
            _ => "the certificate is not valid",
        },
        Some(rustls::Error::AlertReceived(_)) => "the server refused the handshake",
        Some(_) => "the server does not speak TLS as expected",
        None => "the connection ended",
    };
    format!("TLS handshake failed: {why}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn failures_do_not_name_the_server() {
        let name = ServerName::try_from("token.example.com").unwrap();
        let other = CertificateError::NotValidForNameContext {
            expected: name,
            presented: vec!["secret.example.com".to_owned()],
        };
        let handshake = |error| FetchError::Tls(io::Error::other(rustls::Error::InvalidCertificate(error)));
        for (error, reason, detail) in [
            (handshake(other), CallFailure::Tls, "TLS handshake failed: the certificate is for another name"),
            (
                handshake(CertificateError::UnknownIssuer),
                CallFailure::Tls,
                "TLS handshake failed: the certificate has an unknown issuer",
            ),
            (
                FetchError::Connect(io::Error::other("token.example.com: no such host")),
                CallFailure::Connect,
                "cannot connect: other error",
            ),
        ] {
            let failed = failed(&error);
            assert_eq!((failed.reason, failed.to_string().as_str()), (reason, detail));
        }
    }

    #[test]
    fn only_success_is_success() {
        assert_eq!(judge(StatusCode::NO_CONTENT), Ok(()));
        for (code, reason) in
            [(302, CallFailure::Redirect), (404, CallFailure::Status), (500, CallFailure::Status)]
        {
            let failed = judge(StatusCode::from_u16(code).unwrap()).unwrap_err();
            assert_eq!(failed.reason, reason);
        }
    }
}
