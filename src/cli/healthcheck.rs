//! `healthcheck`: queries the health of a running exporter on this host, for exec probes and container health checks.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::header::HeaderMap;
use hyper::{StatusCode, Uri};
use rustls::ClientConfig;
use thiserror::Error;

use super::args::duration;
use super::args::web::WebPlaceArgs;
use crate::files;
use crate::http::listen::{ListenAddress, ListenError};
use crate::http::outgoing::fetch::{Fetch, FetchError};
use crate::http::tls::server_certificate;
use crate::http::web_config::{Tls, WebConfigError, WebConfigHandle};

/// Maximum number of bytes read from a response.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Larger than any certificate or key.
const LARGEST_FILE: usize = 1024 * 1024;

/// Flags of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// Where the exporter listens; the first of several addresses is used. The web configuration determines whether TLS
    /// is on and which certificate to trust.
    #[command(flatten)]
    pub place: WebPlaceArgs,

    /// Query this URL instead, such as http://127.0.0.1:9854/readyz.
    #[arg(long, env = "KEEPER_HEALTHCHECK_URL")]
    pub url: Option<Uri>,

    /// How long to wait for the response.
    #[arg(
        long,
        env = "KEEPER_HEALTHCHECK_TIMEOUT",
        default_value = "5s",
        value_parser = duration,
        value_name = "DURATION"
    )]
    pub timeout: Duration,

    /// Client certificate (PEM), if the exporter requires one.
    #[arg(long, env = "KEEPER_HEALTHCHECK_CERT_FILE", requires = "key_file", value_name = "FILE")]
    pub cert_file: Option<PathBuf>,

    /// Private key of the client certificate (PEM).
    #[arg(long, env = "KEEPER_HEALTHCHECK_KEY_FILE", requires = "cert_file", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// Why the exporter counts as unhealthy.
#[derive(Debug, Error)]
pub enum HealthcheckError {
    /// The web configuration cannot be used.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// The listen address is invalid.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Flags are missing or contradict each other.
    #[error("{0}")]
    Flags(String),
    /// The exporter cannot be reached.
    #[error("{url}: {problem}")]
    Unreachable {
        /// The URL.
        url: Uri,
        /// The error.
        problem: String,
    },
    /// It reports that it is unhealthy.
    #[error("{url}: returned {status}: {answer}")]
    Unhealthy {
        /// The URL.
        url: Uri,
        /// The status of the response.
        status: StatusCode,
        /// Its first line.
        answer: String,
    },
}

/// Queries once and returns one line of text; an error means unhealthy.
pub async fn run(args: &HealthcheckArgs) -> Result<String, HealthcheckError> {
    let config = WebConfigHandle::load(args.place.config_file.as_deref()).await?.current();
    let url = url(args, config.tls.is_some())?;
    let tls = match (url.scheme_str(), &config.tls) {
        (Some("https"), Some(tls)) => Some(client(args, tls)?),
        (Some("https"), None) => {
            return Err(HealthcheckError::Flags(format!(
                "{url}: no certificate to trust; set --web.config.file to the exporter's web configuration with \
                 tls_server_config"
            )));
        }
        _ => None,
    };
    let unreachable = |problem| HealthcheckError::Unreachable { url: url.clone(), problem };
    let asked = tokio::time::timeout(args.timeout, ask(&url, tls)).await;
    let (status, answer) = asked
        .map_err(|_| unreachable(format!("no response within {}", humantime::format_duration(args.timeout))))?
        .map_err(|error| unreachable(error.to_string()))?;
    if status.is_success() {
        return Ok(format!("{url}: {answer}"));
    }
    Err(HealthcheckError::Unhealthy { url, status, answer })
}

/// The URL to query: the given one, or the listen address as seen from this host.
fn url(args: &HealthcheckArgs, tls: bool) -> Result<Uri, HealthcheckError> {
    if let Some(url) = &args.url {
        if matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() {
            return Ok(url.clone());
        }
        let text = format!("--url {url}: not a full URL; use one such as http://127.0.0.1:9854/healthz");
        return Err(HealthcheckError::Flags(text));
    }
    let first = args.place.listen_address.first().map_or(":9854", String::as_str);
    let address = ListenAddress::parse(first)?;
    if address.port == 0 {
        let text = format!(
            "--web.listen-address {first}: port 0 stands for any free port; give the actual one with --url"
        );
        return Err(HealthcheckError::Flags(text));
    }
    let host = match address.host.as_str() {
        "" | "0.0.0.0" => Ipv4Addr::LOCALHOST.to_string(),
        "::" => format!("[{}]", Ipv6Addr::LOCALHOST),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{host}:{}/healthz", address.port).parse().map_err(|error| {
        HealthcheckError::Flags(format!("--web.listen-address {first}: {error}; correct the host"))
    })
}

fn client(args: &HealthcheckArgs, tls: &Tls) -> Result<ClientConfig, HealthcheckError> {
    let own = match (&args.cert_file, &args.key_file) {
        (Some(certificate), Some(key)) => Some((read("--cert-file", certificate)?, read("--key-file", key)?)),
        _ if tls.client_auth.is_mandatory() => {
            return Err(HealthcheckError::Flags(format!(
                "the exporter requires a client certificate (client_auth_type: {:?}); set --cert-file and --key-file",
                tls.client_auth
            )));
        }
        _ => None,
    };
    let own = own.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    server_certificate::client_config(&tls.chain, own)
        .map_err(|problem| HealthcheckError::Flags(format!("--cert-file, --key-file: {problem}")))
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, HealthcheckError> {
    let wrong = |problem: String| {
        HealthcheckError::Flags(format!(
            "{flag} {}: {problem}; correct the path or its permissions",
            file.display()
        ))
    };
    let read = files::read(file, LARGEST_FILE).map_err(|error| wrong(error.to_string()))?;
    read.ok_or_else(|| wrong("is larger than 1 MiB".to_owned()))
}

/// The status, and the first line of the body.
async fn ask(url: &Uri, tls: Option<ClientConfig>) -> Result<(StatusCode, String), FetchError> {
    let mut body = Vec::new();
    let tls = tls.map(Arc::new);
    let fetch = Fetch { url, tls, server_name: None, headers: HeaderMap::new(), body: None };
    let head = fetch
        .run_on_this_host(|_, piece| {
            body.extend_from_slice(piece);
            if body.len() <= LONGEST_ANSWER { Ok(()) } else { Err("the response is too long".to_owned()) }
        })
        .await?;
    let text = String::from_utf8_lossy(&body);
    Ok((head.status, text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestCommand {
        #[command(flatten)]
        args: HealthcheckArgs,
    }

    fn asked(flags: &[&str], tls: bool) -> String {
        let flags = std::iter::once("healthcheck").chain(flags.iter().copied());
        let args = TestCommand::try_parse_from(flags).expect("flags").args;
        url(&args, tls).map_or_else(|error| format!("error: {error}"), |url| url.to_string())
    }

    #[test]
    fn the_listen_address_becomes_a_local_url() {
        assert_eq!(asked(&[], false), "http://127.0.0.1:9854/healthz");
        assert_eq!(asked(&[], true), "https://127.0.0.1:9854/healthz");
        assert_eq!(asked(&["--web.listen-address=0.0.0.0:80"], false), "http://127.0.0.1:80/healthz");
        assert_eq!(asked(&["--web.listen-address=[::]:81"], false), "http://[::1]:81/healthz");
        assert_eq!(
            asked(&["--web.listen-address=[2001:db8::1]:82"], true),
            "https://[2001:db8::1]:82/healthz"
        );
        assert_eq!(asked(&["--web.listen-address=db1:83,:84"], false), "http://db1:83/healthz");
        assert_eq!(asked(&["--url=http://x:1/readyz"], true), "http://x:1/readyz");
        assert!(asked(&["--web.listen-address=:0"], false).contains("--url"));
        assert!(asked(&["--url=/readyz"], false).contains("full URL"));
        assert!(asked(&["--web.listen-address=vsock://:1"], false).contains("vsock"));
    }
}
