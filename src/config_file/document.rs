//! The text of a configuration file: values with their lines, and problems that contain no secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, Location, Spanned};
use thiserror::Error as ThisError;

use crate::text;

/// A scalar value with its location in the file.
pub type Text = Spanned<String>;
/// A list of scalars, with the location of each entry and of the list.
pub type List = Spanned<Vec<Text>>;

/// Characters of a problem; a key may have any length.
const LONGEST_PROBLEM: usize = 1000;

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

/// The same for a file whose keys must have values: one without a value is not as one that is not there.
pub fn parse_strictly<T: DeserializeOwned + Default>(
    text: &str,
    known: &[&str],
    name: &str,
) -> Result<T, Problem> {
    let options = serde_saphyr::options! { with_snippet: false };
    let scanned = serde_saphyr::from_str_with_options::<Option<Scanned>>(text, options);
    if let Ok(Some(Scanned(Some(Null { place, key })))) = scanned {
        let key = shown(&key, known).unwrap_or_else(|| "a key or an entry: ".to_owned());
        return Err(Problem::at(place, format!("{key}has no value; set one, or remove it")));
    }
    let document = parse(text, known, name)?;
    // What cannot be scanned cannot be parsed either, as far as is known.
    scanned.map_err(|_| Problem::of_file(format!("this {name} has keys that are no text; correct them")))?;
    Ok(document)
}

/// Where there is no value, and its key.
struct Null {
    place: Location,
    key: String,
}

/// Any value, and the first key or entry below it that has none.
struct Scanned(Option<Null>);

/// Any value, or none.
struct Node(Option<Scanned>);

impl<'de> Deserialize<'de> for Scanned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The document itself may be empty.
        Node::deserialize(deserializer).map(|node| node.0.unwrap_or(Self(None)))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl NodeVisitor {
    const SCALAR: Node = Node(Some(Scanned(None)));
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node(None))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Self::SCALAR)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut first = None;
        while let Some(Spanned { value: Node(entry), referenced: place, .. }) = entries.next_element()? {
            let null = entry.map_or_else(|| Some(Null { place, key: String::new() }), |below| below.0);
            first = first.or(null);
        }
        Ok(Node(Some(Scanned(first))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut keys: A) -> Result<Node, A::Error> {
        let mut first = None;
        while let Some(Spanned { value: key, referenced: place, .. }) = keys.next_key::<Text>()? {
            let Node(value) = keys.next_value()?;
            let null = value.map_or_else(|| Some(Null { place, key }), |below| below.0);
            first = first.or(null);
        }
        Ok(Node(Some(Scanned(first))))
    }
}

/// The key at the start of a line if it is a known key; any other text could be a secret.
fn key_on(line: &str, known: &[&str]) -> String {
    let line = line.trim_start();
    let key = line.strip_prefix("- ").unwrap_or(line).split(':').next().and_then(|key| shown(key, known));
    key.unwrap_or_default()
}

/// A key at the start of a problem, if it is a known one.
fn shown(key: &str, known: &[&str]) -> Option<String> {
    known.contains(&key).then(|| format!("{key}: "))
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
        // The key could be a part of a secret that is not quoted.
        Error::SerdeUnknownField { expected, .. } => {
            format!("unknown key; fix or remove it; known keys here: {}", expected.join(", "))
        }
        Error::DuplicateMappingKey { .. } => format!("{key}a key is given twice; remove one"),
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
    fn a_key_or_an_entry_without_a_value_is_named_with_its_line() {
        type Document = BTreeMap<String, serde_json::Value>;
        let problem = |text: &str| {
            let problem = parse_strictly::<Document>(text, &["key", "list"], "test").err();
            problem.map(|problem| (problem.line.unwrap_or_default(), problem.text))
        };
        let of = |key: &str| format!("{key}: has no value; set one, or remove it");
        for (text, line, key) in [
            ("key:\n", 1, "key"),
            ("a: 1\nkey: ~\n", 2, "key"),
            ("a: 1\nlist:\n- b: c\n  key:\n- d: e\n", 4, "key"),
            ("a:\n- {b: c, key: }\n", 2, "key"),
            ("a: {b: {c: d, key: null}, e: f}\n", 1, "key"),
            ("a: 1\nlist:\n- 1\n-\n- 2\n", 4, "a key or an entry"),
            ("a: 1\nlist: [a, ~]\n", 2, "a key or an entry"),
            ("a: 1\nhunter2:\n", 2, "a key or an entry"),
            ("a: !!null x\n", 1, "a key or an entry"),
        ] {
            assert_eq!(problem(text), Some((line, of(key))), "{text}");
        }
        for text in ["", "# nothing\n", "a: ''\nb: []\nc: {}\nd: 1\ne: 1.5\nf: true\ng: \"null\"\nh: -5\n"] {
            assert_eq!(problem(text), None, "{text}");
        }
    }

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
            ("ulr: x", "unknown key; fix or remove it; known keys here: url, users"),
            ("url: a\nsecret: b", "unknown key; fix or remove it; known keys here: url, users"),
            ("url: [secret]", "url: expected a string; write it on the line of its key, quoted if necessary"),
            ("users: secret", "expected a mapping; write one indented `key: value` per line"),
            ("users: {secret: a, secret: b}", "a key is given twice; remove one"),
            ("url: a\nurl: b", "url: a key is given twice; remove one"),
        ] {
            assert_eq!(parse::<Document>(text, &["url"], "test").unwrap_err().text, expected, "{text}");
        }
    }
}
