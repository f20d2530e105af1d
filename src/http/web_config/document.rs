//! The web configuration file as written: its keys, and the line of each value.
//!
//! Shapes and names are those of Prometheus' exporter-toolkit 0.17 (docs/web-configuration.md). This module
//! only rejects invalid documents; other modules interpret the values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, Location, Spanned};
use thiserror::Error as ThisError;

use crate::text;

/// A scalar value with its location in the file.
pub(super) type Text = Spanned<String>;
/// A list of scalars, with the location of each entry and of the list.
pub(super) type List = Spanned<Vec<Text>>;

/// Characters of a problem; a key may have any length.
const LONGEST_PROBLEM: usize = 1000;
const SECTIONS: [&str; 4] = ["tls_server_config", "http_server_config", "rate_limit", "basic_auth_users"];
/// Keys whose values are often written with the wrong type.
const NOT_TEXT: [&str; 5] = ["headers", "client_allowed_sans", "cipher_suites", "curve_preferences", "http2"];

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

/// A private key or a password hash. It is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<secret>")
    }
}

/// Why a web configuration file is rejected. Never contains a key, certificate or hash.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{}{}: {problem}", .file.display(), place(*.line))]
pub struct WebConfigError {
    /// The file as named on the command line.
    pub file: PathBuf,
    /// The line of the problem, counted from 1, if known.
    pub line: Option<u64>,
    /// The key, its value, the reason and the remedy.
    pub problem: String,
}

fn place(line: Option<u64>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

/// A problem and its location, before the name of the file is known.
#[derive(Debug)]
pub(super) struct Problem {
    line: Option<u64>,
    text: String,
}

impl Problem {
    /// A problem with the value at `location`.
    pub(super) fn at(location: Location, text: impl Into<String>) -> Self {
        let line = Some(location.line()).filter(|line| *line > 0);
        Self { line, ..Self::of_file(text) }
    }

    /// A problem with the whole file.
    pub(super) fn of_file(text: impl Into<String>) -> Self {
        Self { line: None, text: text::escaped(&text.into(), LONGEST_PROBLEM) }
    }

    /// Adds the name of the file.
    pub(super) fn in_file(self, file: &Path) -> WebConfigError {
        WebConfigError { file: file.to_owned(), line: self.line, problem: self.text }
    }
}

/// Parses the text of a file. An empty file is an empty document.
pub(super) fn parse(text: &str) -> Result<WebConfigDocument, Problem> {
    // Snippets of the source and most parser messages could contain a secret.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options::<Option<WebConfigDocument>>(text, options)
        .map(Option::unwrap_or_default)
        .map_err(|error| {
            let place = error.location().unwrap_or(Location::UNKNOWN);
            let above = usize::try_from(place.line()).unwrap_or_default().saturating_sub(1);
            Problem::at(place, describe(&error, text.lines().nth(above).unwrap_or_default()))
        })
}

/// The key at the start of a line if it is a known key; any other text could be a secret.
fn key_on(line: &str) -> String {
    let known = |key: &&str| SECTIONS.contains(key) || NOT_TEXT.contains(key);
    let key = line.trim_start().split(':').next().filter(known);
    key.map(|key| format!("{key}: ")).unwrap_or_default()
}

/// Translates the parser's names of types for users.
fn shape(parsers: &str) -> &'static str {
    match parsers {
        "mapping start" => "expected a mapping; write one indented `key: value` per line",
        "sequence start" => "expected a list; write one `- entry` per line",
        "string scalar" => "expected a string; write it on the line of its key, quoted if necessary",
        _ => "expected another type of value; check indentation and quotes",
    }
}

fn describe(error: &Error, line: &str) -> String {
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key {field:?}; fix or remove it; known keys here: {}", expected.join(", "))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("key {key:?} is given twice; remove one")
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice; remove one".to_owned(),
        Error::MultipleDocuments { .. } => {
            "more than one YAML document; keep one, without --- lines".to_owned()
        }
        Error::Unexpected { expected, .. } => format!("{}{}", key_on(line), shape(expected)),
        Error::Message { .. } | Error::ExternalMessage { .. } | Error::Eof { .. } => {
            "not valid YAML; check indentation, quotes and colons near this line".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            "too large or too deeply nested for a web configuration; refer to certificates by file".to_owned()
        }
        Error::TaggedScalarCannotDeserializeIntoString { .. } | Error::NullIntoString { .. } => {
            "expected a string here; set a value or remove the key".to_owned()
        }
        _ => "this value is not valid here; check its type and indentation".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(text: &str) -> (Option<u64>, String) {
        let problem = parse(text).expect_err("refused");
        (problem.line, problem.text)
    }

    #[test]
    fn nothing_is_an_empty_document() {
        for text in ["", "\n", "# only a comment\n", "---\n", "{}", "tls_server_config:\n"] {
            let document = parse(text).unwrap_or_else(|problem| panic!("{text:?}: {problem:?}"));
            assert!(
                document.tls_server_config.is_none_or(|section| section.value.cert.is_none()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn places_are_kept() {
        let document = parse(
            "tls_server_config:\n  cert_file: a\n  cipher_suites:\n  - x\n  - y\nbasic_auth_users:\n  bob: h\nhttp_server_config:\n  http2: false\n  headers:\n    X-A: b\n",
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
        assert!(line_of("tls_server_config:\n  cert_fil: a\n").1.contains("\"cert_fil\""));
        assert_eq!(line_of("rate_limit:\n  burst: 1\n  burst: 2\n").0, Some(3));
        assert_eq!(line_of("http_server_config:\n  http2: [a]\n").0, Some(2));
        assert_eq!(line_of("a: b\n---\nc: d\n").0, Some(1));
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let document =
            parse("tls_server_config:\n  key: hidden1\nbasic_auth_users:\n  bob: hidden2\n").expect("valid");
        let printed = format!("{document:?}");
        assert!(!printed.contains("hidden"), "{printed}");
    }
}
