//! The web configuration file as written: its keys, and the line of each value.
//!
//! Shapes and names are those of Prometheus' exporter-toolkit 0.17 (docs/web-configuration.md). This module
//! only rejects invalid documents; other modules interpret the values.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::config_file::{self, List, Problem, Secret, Text};

/// The sections, and keys whose values are often written with the wrong type.
const KEYS: [&str; 9] = [
    "tls_server_config",
    "http_server_config",
    "rate_limit",
    "basic_auth_users",
    "headers",
    "client_allowed_sans",
    "cipher_suites",
    "curve_preferences",
    "http2",
];

/// The whole file. An absent or empty section is `None`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebConfigDocument {
    pub(super) tls_server_config: Option<Spanned<TlsSection>>,
    pub(super) http_server_config: Option<HttpSection>,
    pub(super) rate_limit: Option<Spanned<RateLimitSection>>,
    #[serde(deserialize_with = "users")]
    pub(super) basic_auth_users: UsersSection,
}

/// `basic_auth_users`.
#[derive(Debug, Default)]
pub(super) enum UsersSection {
    #[default]
    Absent,
    /// A key without a value, as where the end of the file is missing.
    Empty,
    /// All users; empty only for an explicit `{}`.
    Listed(BTreeMap<String, Spanned<Option<Secret>>>),
}

/// Called only where the key is there.
fn users<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UsersSection, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(UsersSection::Empty, UsersSection::Listed))
}

/// `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsSection {
    pub(super) cert: Option<Text>,
    pub(super) cert_file: Option<Text>,
    pub(super) key: Option<Spanned<Secret>>,
    pub(super) key_file: Option<Text>,
    pub(super) client_auth_type: Option<Text>,
    pub(super) client_ca: Option<Text>,
    pub(super) client_ca_file: Option<Text>,
    pub(super) client_allowed_sans: Option<List>,
    pub(super) min_version: Option<Text>,
    pub(super) max_version: Option<Text>,
    pub(super) cipher_suites: Option<List>,
    pub(super) curve_preferences: Option<List>,
    pub(super) prefer_server_cipher_suites: Option<Text>,
}

/// `http_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpSection {
    pub(super) http2: Option<Text>,
    pub(super) headers: Option<BTreeMap<String, Spanned<Option<String>>>>,
}

/// `rate_limit`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RateLimitSection {
    pub(super) interval: Option<Text>,
    pub(super) burst: Option<Text>,
}

/// Parses the text of a file. An empty file is an empty document.
pub(super) fn parse(text: &str, name: &str) -> Result<WebConfigDocument, Problem> {
    config_file::parse(text, &KEYS, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(text: &str) -> (Option<u64>, String) {
        let problem = parse(text, "test").expect_err("refused");
        (problem.line, problem.text)
    }

    #[test]
    fn nothing_is_an_empty_document() {
        for text in ["", "\n", "# only a comment\n", "---\n", "{}", "tls_server_config:\n"] {
            let document = parse(text, "test").unwrap_or_else(|problem| panic!("{text:?}: {problem:?}"));
            assert!(
                document.tls_server_config.is_none_or(|section| section.value.cert.is_none()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn places_are_kept() {
        let document = config_file::parse::<WebConfigDocument>(
            "tls_server_config:\n  cert_file: a\n  cipher_suites:\n  - x\n  - y\nbasic_auth_users:\n  bob: h\nhttp_server_config:\n  http2: false\n  headers:\n    X-A: b\n",
            &KEYS,
            "test",
        )
        .expect("valid");
        let tls = document.tls_server_config.expect("section").value;
        assert_eq!(tls.cert_file.expect("set").referenced.line(), 2);
        let suites = tls.cipher_suites.expect("set");
        assert_eq!(suites.value[1].referenced.line(), 5);
        let UsersSection::Listed(users) = &document.basic_auth_users else { panic!("no users") };
        assert_eq!(users["bob"].referenced.line(), 7);
        let http = document.http_server_config.expect("set");
        assert_eq!(http.http2.expect("set").value, "false");
        assert_eq!(http.headers.expect("set")["X-A"].referenced.line(), 11);
    }

    #[test]
    fn mistakes_have_a_line() {
        assert_eq!(line_of("tls_server_config:\n  cert_fil: a\n").0, Some(2));
        assert!(!line_of("tls_server_config:\n  hunter2: a\n").1.contains("hunter2"));
        assert_eq!(line_of("rate_limit:\n  burst: 1\n  burst: 2\n").0, Some(3));
        assert_eq!(line_of("http_server_config:\n  http2: [a]\n").0, Some(2));
        assert_eq!(line_of("a: b\n---\nc: d\n").0, Some(1));
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let document =
            parse("tls_server_config:\n  key: hidden1\nbasic_auth_users:\n  bob: hidden2\n", "test")
                .expect("valid");
        let printed = format!("{document:?}");
        assert!(!printed.contains("hidden"), "{printed}");
    }
}
