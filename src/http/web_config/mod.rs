//! `--web.config.file`: Prometheus' exporter-toolkit format, read strictly.
//!
//! An absent or empty file means plain HTTP without passwords. Anything that cannot be applied as written is rejected
//! with file, line, key, reason and remedy, so that no configured protection is silently missing.

mod document;
mod reload;
mod tls_section;
mod values;

use std::path::Path;

use axum::http::{HeaderName, HeaderValue};

pub use crate::config_file::{ConfigFileError as WebConfigError, LastReload};
pub use tls_section::Tls;

use super::auth::Users;
use super::headers;
use super::rate_limit::RateLimit;
use crate::config_file::{self, ConfigHandle, Configuration, Files, Problem};
use document::{HttpSection, RateLimitSection, UsersSection, WebConfigDocument};
use serde_saphyr::Spanned;

/// The current configuration, shared by the server, the reload endpoint and the metrics.
pub type WebConfigHandle = ConfigHandle<WebConfig>;

/// The validated configuration, including the contents of all referenced files.
#[derive(Debug, Clone, Default)]
pub struct WebConfig {
    /// TLS; `None` means plain HTTP.
    pub tls: Option<Tls>,
    /// Headers of every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The rate limit, if configured.
    pub rate_limit: Option<RateLimit>,
    /// The users; without any, no password is required.
    pub users: Users,
    /// The file says that there are no users, rather than nothing about them.
    pub states_no_users: bool,
    /// Settings that work but are probably not intended.
    pub warnings: Vec<String>,
}

impl Configuration for WebConfig {
    const NAME: &'static str = "web configuration";

    fn check(text: &str, files: &mut Files) -> Result<Self, Problem> {
        check(text, files)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn refused_change(&self, to: &Self) -> Option<&'static str> {
        reload::refused_change(self, to)
    }
}

/// Reads and validates a web configuration file and the files that it references. Blocks on file I/O.
pub fn load(file: &Path) -> Result<WebConfig, WebConfigError> {
    config_file::load(file)
}

fn check(text: &str, files: &mut Files) -> Result<WebConfig, Problem> {
    let document = document::parse(text, WebConfig::NAME)?;
    let users = users(&document)?;
    let states_no_users = users.is_empty() && !matches!(document.basic_auth_users, UsersSection::Absent);
    let mut config = WebConfig { users, states_no_users, ..WebConfig::default() };
    let mut http2 = true;
    if let Some(section) = &document.http_server_config {
        http2 = wants_http2(section)?;
        config.headers = configured_headers(section)?;
    }
    if let Some(section) = &document.rate_limit {
        config.rate_limit = rate_limit(section, &mut config.warnings)?;
    }
    if let Some(section) = &document.tls_server_config {
        config.tls = tls_section::build(section, http2, files, &mut config.warnings)?;
    }
    if config.tls.is_none() && !config.users.is_empty() {
        let warning =
            "basic_auth_users without tls_server_config: passwords are sent in clear text; add a certificate";
        config.warnings.push(warning.to_owned());
    }
    Ok(config)
}

fn users(document: &WebConfigDocument) -> Result<Users, Problem> {
    let mut users = Users::default();
    let listed = match &document.basic_auth_users {
        UsersSection::Absent => return Ok(users),
        UsersSection::Empty => {
            return Err(Problem::of_file(
                "basic_auth_users: has no users; add one, or write basic_auth_users: {} to require no password",
            ));
        }
        UsersSection::Listed(listed) => listed,
    };
    for (name, hash) in listed {
        // Messages contain neither the value nor the name: the one may be the password itself, the other a part of a hash without quotes.
        let wrong = |reason: &str| Problem::at(hash.referenced, format!("basic_auth_users: {reason}"));
        if name.is_empty() || name.contains(':') {
            return Err(wrong("a user name must not be empty or contain a colon; rename the user"));
        }
        let text = hash.value.as_ref().map_or("", |secret| secret.0.as_str());
        users.add(name, text).map_err(|reason| wrong(&reason))?;
    }
    Ok(users)
}

fn wants_http2(section: &HttpSection) -> Result<bool, Problem> {
    let Some(text) = &section.http2 else { return Ok(true) };
    values::boolean(&text.value)
        .map_err(|reason| Problem::at(text.referenced, format!("http_server_config.http2: {reason}")))
}

fn configured_headers(section: &HttpSection) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let mut configured = Vec::new();
    for (name, value) in section.headers.iter().flatten() {
        let text = value.value.as_deref().unwrap_or_default();
        let header = headers::configured(name, text).map_err(|reason| {
            Problem::at(value.referenced, format!("http_server_config.headers.{name}: {reason}"))
        })?;
        configured.extend(header);
    }
    Ok(configured)
}

fn rate_limit(
    section: &Spanned<RateLimitSection>,
    warnings: &mut Vec<String>,
) -> Result<Option<RateLimit>, Problem> {
    let RateLimitSection { interval, burst } = &section.value;
    let burst_count = burst
        .as_ref()
        .map(|text| {
            text.value.parse::<u32>().map_err(|_| {
                let reason = format!("{:?} is not an integer from 1 to {}; fix it", text.value, u32::MAX);
                Problem::at(text.referenced, format!("rate_limit.burst: {reason}"))
            })
        })
        .transpose()?;
    let Some(interval_text) = interval else {
        if burst.is_some() {
            warnings.push("rate_limit.burst without interval has no effect; add interval".to_owned());
        }
        return Ok(None);
    };
    let interval = values::duration(&interval_text.value)
        .map_err(|reason| Problem::at(interval_text.referenced, format!("rate_limit.interval: {reason}")))?;
    if interval.is_zero() {
        return Ok(None);
    }
    match burst_count {
        Some(burst) if burst > 0 => Ok(Some(RateLimit { interval, burst })),
        _ => {
            let place = burst.as_ref().map_or(interval_text.referenced, |text| text.referenced);
            let text = "rate_limit.burst: 0 or missing, which would reject every request; set it to 1 or more, or \
                 set interval to 0 to disable the limit";
            Err(Problem::at(place, text))
        }
    }
}
