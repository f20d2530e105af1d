//! Where a target is, and how it is reached.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::ClientConfig;
use serde_saphyr::Location;

use crate::config_file::{Files, Problem};
use crate::http::outgoing::config::HttpConfig;

use super::{LONGEST_TIMEOUT, SECOND, Target, USUAL_TIMEOUT};

/// Where to call. The URL may contain a token, so it is never printed.
pub struct Endpoint {
    pub url: Uri,
    /// For `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name in the server's certificate, if it is another one than in the URL.
    pub server_name: Option<String>,
    pub authorization: Option<HeaderValue>,
    /// Of a whole call.
    pub timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

pub(super) fn read(
    target: &Target<'_>,
    files: &mut Files,
    warnings: &mut Vec<String>,
) -> Result<Endpoint, Problem> {
    let (url, place) = url(target, files)?;
    if url.scheme_str() == Some("http") && !is_local(&url) {
        let (list, name) = (target.list, &target.name);
        warnings.push(format!("{list}: {name}: url: http sends the URL and the body unencrypted; use https"));
    }
    let section = target.section;
    let mut http = HttpConfig::default();
    let mut place = place;
    if let Some(sections) = &section.http_config {
        place = sections.referenced;
        for file in sections.value.files() {
            files.follow(file);
        }
        http = HttpConfig::of(sections.value.clone(), files.directory().to_owned())
            .map_err(|reason| target.wrong_at(place, "http_config", &reason))?;
    }
    let tls = (url.scheme_str() == Some("https")).then(|| http.tls()).transpose();
    let tls = tls.map_err(|reason| target.wrong_at(place, "http_config", &reason))?;
    Ok(Endpoint {
        url,
        tls: tls.map(Arc::new),
        server_name: http.server_name().map(str::to_owned),
        authorization: http.authorization,
        timeout: target.duration(
            "timeout",
            section.timeout.as_ref(),
            USUAL_TIMEOUT,
            (SECOND, LONGEST_TIMEOUT),
        )?,
    })
}

/// The URL, itself or from a file, and its line.
fn url(target: &Target<'_>, files: &mut Files) -> Result<(Uri, Location), Problem> {
    let section = target.section;
    let (text, place, key) = match (&section.url, &section.url_file) {
        (Some(_), Some(file)) => {
            return Err(target.wrong_at(file.referenced, "url_file", "url is also set; remove one"));
        }
        (None, None) => return Err(target.wrong("url", "is missing; set url or url_file")),
        (Some(url), None) => (url.value.0.clone(), url.referenced, "url"),
        (None, Some(file)) => {
            let wrong = |reason: &str| target.wrong_at(file.referenced, "url_file", reason);
            let bytes = files.read_secret(&file.value).map_err(|reason| wrong(&reason))?;
            let text =
                String::from_utf8(bytes).map_err(|_| wrong("the file is not UTF-8; save it as UTF-8"))?;
            (text, file.referenced, "url_file")
        }
    };
    let wrong = |reason: &str| target.wrong_at(place, key, reason);
    let url: Uri =
        text.trim().parse().map_err(|_| wrong("is not a URL; use one such as https://example.com/path"))?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let has_port = authority.rsplit(']').next().is_some_and(|after_host| after_host.contains(':'));
    let is_full = matches!(url.scheme_str(), Some("http" | "https"))
        && url.host().is_some_and(|host| !host.is_empty())
        && has_port == url.port_u16().is_some();
    if !is_full {
        return Err(wrong("is not a full URL; use one such as https://example.com/path"));
    }
    if authority.contains('@') {
        return Err(wrong("contains a user; use basic_auth in http_config"));
    }
    Ok((url, place))
}

/// On this host.
fn is_local(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
