//! Parses resources of any kind without giving up at the first error.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::finding::{Finding, codes};

/// Parses any document. Fields of the wrong type are reported and treated as absent; numbers or booleans instead of
/// strings are reported and treated as strings, so that the other checks can continue.
pub(super) fn read<T: DeserializeOwned + Default>(mut document: Value, kind: &str) -> (T, Vec<Finding>) {
    /// With more errors, the document is something else; those found so far are sufficient.
    const MOST: usize = 64;
    let mut findings = Vec::new();
    while findings.len() < MOST {
        let error = match serde_path_to_error::deserialize::<_, T>(&document) {
            Ok(resource) => return (resource, findings),
            Err(error) => error,
        };
        let path = error.path().clone();
        let wants_text = error.inner().to_string().contains("expected a string");
        let Some(node) = at_path(&mut document, &path) else { break };
        findings.push(wrong_type(&path.to_string(), node, wants_text, kind));
        *node = match (&node, wants_text) {
            // An unquoted `y` was meant for pgBackRest; other booleans were `true` or `false`.
            (Value::Bool(yes), true) if path.to_string().contains(".global.") => {
                Value::from(if *yes { "y" } else { "n" })
            }
            (Value::Number(_) | Value::Bool(_), true) => Value::String(node.to_string()),
            (Value::Null, _) => break,
            _ => Value::Null,
        };
    }
    (T::default(), findings)
}

fn wrong_type(path: &str, node: &Value, wants_text: bool, kind: &str) -> Finding {
    let is = match node {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let scalar = matches!(node, Value::Bool(_) | Value::Number(_));
    if wants_text && scalar {
        return Finding::new(
            &codes::WRONG_TYPE,
            path,
            format!("is {is}, but the API server accepts only strings"),
            "quote the value (YAML reads an unquoted y, n, yes, no, on or off as a boolean)",
        );
    }
    Finding::new(
        &codes::WRONG_TYPE,
        path,
        format!("is {is}, which this field does not accept"),
        format!("see the resource's schema: kubectl explain {}", kind.to_lowercase()),
    )
}

fn at_path<'value>(
    document: &'value mut Value,
    path: &serde_path_to_error::Path,
) -> Option<&'value mut Value> {
    use serde_path_to_error::Segment;
    path.iter().try_fold(document, |node, segment| match segment {
        Segment::Seq { index } => node.get_mut(index),
        Segment::Map { key } => node.get_mut(key),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list in which `null` is an empty element, so that positions match the document.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let elements: Vec<Option<T>> = or_default(deserializer)?;
    Ok(elements.into_iter().map(Option::unwrap_or_default).collect())
}

/// A map without the keys whose value is `null`.
pub(super) fn strings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let entries: BTreeMap<String, Option<String>> = or_default(deserializer)?;
    Ok(entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}
