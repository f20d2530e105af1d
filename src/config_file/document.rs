//! The text of a configuration file: values with their lines, and problems that contain no secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location, Spanned};
use thiserror::Error as ThisError;

use crate::text;

/// A scalar value with its location in the file.
pub type Text = Spanned<String>;
/// A list of scalars, with the location of each entry and of the list.
pub type List = Spanned<Vec<Text>>;

/// Characters of a problem; a key may have any length.
const LONGEST_PROBLEM: usize = 1000;
/// Characters of a key.
const LONGEST_KEY: usize = 40;

/// A private key, a password or its hash, or a URL with a token. It is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<secret>")
    }
}

/// Why a configuration file is rejected. Never contains a key, certificate, hash or URL.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{}{}: {problem}", .file.display(), place(*.line))]
pub struct ConfigFileError {
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
pub struct Problem {
    /// Counted from 1, if known.
    pub line: Option<u64>,
    /// On one line.
    pub text: String,
}

impl Problem {
    /// A problem with the value at `location`.
    pub fn at(location: Location, text: impl Into<String>) -> Self {
        let line = Some(location.line()).filter(|line| *line > 0);
        Self { line, ..Self::of_file(text) }
    }

    /// A problem with the whole file.
    pub fn of_file(text: impl Into<String>) -> Self {
        Self { line: None, text: text::escaped(&text.into(), LONGEST_PROBLEM) }
    }

    /// Adds the name of the file.
    pub(super) fn in_file(self, file: &Path) -> ConfigFileError {
        ConfigFileError { file: file.to_owned(), line: self.line, problem: self.text }
    }
}

/// Parses the text of a file. An empty file is an empty document. `known` are the keys that a problem may name, `name` is what the
/// file is called.
pub fn parse<T: DeserializeOwned + Default>(text: &str, known: &[&str], name: &str) -> Result<T, Problem> {
    // Snippets of the source and most parser messages could contain a secret.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options::<Option<T>>(text, options).map(Option::unwrap_or_default).map_err(
        |error| {
            let place = error.location().unwrap_or(Location::UNKNOWN);
            let above = usize::try_from(place.line()).unwrap_or_default().saturating_sub(1);
            let line = text.lines().nth(above).unwrap_or_default();
            Problem::at(place, describe(&error, &key_on(line, known), name))
        },
    )
}

/// The key at the start of a line if it is a known key; any other text could be a secret.
fn key_on(line: &str, known: &[&str]) -> String {
    let line = line.trim_start();
    let key = line.strip_prefix("- ").unwrap_or(line).split(':').next().filter(|key| known.contains(key));
    key.map(|key| format!("{key}: ")).unwrap_or_default()
}

/// A key as it can be shown: one that looks like a key, not like a URL or a token.
fn shown(key: &str) -> String {
    let is_key =
        |key: &str| key.len() <= LONGEST_KEY && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_key(key) { format!("key {key:?}") } else { "key".to_owned() }
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

fn describe(error: &Error, key: &str, name: &str) -> String {
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown {}; fix or remove it; known keys here: {}", shown(field), expected.join(", "))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("{} is given twice; remove one", shown(key))
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice; remove one".to_owned(),
        Error::MultipleDocuments { .. } => {
            "more than one YAML document; keep one, without --- lines".to_owned()
        }
        Error::Unexpected { expected, .. } => format!("{key}{}", shape(expected)),
        Error::Message { .. } | Error::ExternalMessage { .. } | Error::Eof { .. } => {
            "not valid YAML; check indentation, quotes and colons near this line".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            format!("too large or too deeply nested for a {name}; refer to certificates by file")
        }
        Error::TaggedScalarCannotDeserializeIntoString { .. } | Error::NullIntoString { .. } => {
            "expected a string here; set a value or remove the key".to_owned()
        }
        _ => "this value is not valid here; check its type and indentation".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_could_be_a_secret_is_not_shown() {
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[allow(dead_code, reason = "only parsed")]
        struct Document {
            url: Option<Text>,
            users: Option<BTreeMap<String, Text>>,
        }
        for (text, expected) in [
            ("ulr: x", "unknown key \"ulr\"; fix or remove it; known keys here: url, users"),
            ("a1b2-c3d4/secret: x", "unknown key; fix or remove it; known keys here: url, users"),
            ("url: [secret]", "url: expected a string; write it on the line of its key, quoted if necessary"),
            ("users: secret", "expected a mapping; write one indented `key: value` per line"),
            ("users: {sec-ret: a, sec-ret: b}", "key is given twice; remove one"),
        ] {
            assert_eq!(parse::<Document>(text, &["url"], "test").unwrap_err().text, expected, "{text}");
        }
    }
}
