//! Assertions of the user: queries with an expected result.

use std::cmp::Ordering;

use serde::Deserialize;

use crate::state::proofs::{MAX_CHECKS, MAX_TEXT};
use crate::text;

/// Bytes of the file.
pub const MAX_FILE: usize = 1 << 20;
/// Leaves room for the other checks in a record.
const MAX_ASSERTIONS: usize = MAX_CHECKS - 10;
/// Characters of a result that are shown.
const MAX_SHOWN: usize = 40;

/// One assertion.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    /// Unique in the file.
    pub name: String,
    /// The database in which the query runs.
    pub database: String,
    /// Returns one value.
    pub query: String,
    pub expected: Expected,
}

/// An assertion as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    database: String,
    query: String,
    equals: Option<Text>,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

/// What the query must return.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// This text, as `psql` prints it: `t` for true, and nothing for NULL.
    Equals(Text),
    /// A number that is at least this.
    AtLeast(f64),
    /// A number that is at most this.
    AtMost(f64),
}

/// A text, which may be written as a number or a truth value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Text {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// Reads a YAML list of assertions.
pub fn parse(document: &str) -> Result<Vec<Assertion>, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let written: Vec<Written> = serde_saphyr::from_str_with_options(document, options)
        .map_err(|error| text::one_line(&error.to_string(), MAX_TEXT))?;
    if written.len() > MAX_ASSERTIONS {
        return Err(format!("there are more than {MAX_ASSERTIONS} assertions"));
    }
    let assertions = written.into_iter().map(Written::read).collect::<Result<Vec<_>, _>>()?;
    for (place, Assertion { name, database, query, .. }) in assertions.iter().enumerate() {
        let shown = text::escaped(name, MAX_SHOWN);
        let is_name =
            |name: &str| (1..=100).contains(&name.chars().count()) && name.chars().all(text::is_printable);
        if !is_name(name) || !is_name(database) {
            return Err(format!("assertion {}: name and database must have 1 to 100 characters", place + 1));
        }
        if assertions.iter().take(place).any(|other| other.name == *name) {
            return Err(format!("assertion {shown}: the name is not unique"));
        }
        if query.trim().is_empty() || query.trim_start().starts_with('\\') {
            return Err(format!("assertion {shown}: the query must be SQL"));
        }
    }
    Ok(assertions)
}

impl Written {
    fn read(self) -> Result<Assertion, String> {
        let Self { name, database, query, equals, at_least, at_most } = self;
        let expected = match (equals, at_least, at_most) {
            (Some(text), None, None) => Expected::Equals(text),
            (None, Some(limit), None) => Expected::AtLeast(limit),
            (None, None, Some(limit)) => Expected::AtMost(limit),
            _ => {
                let shown = text::escaped(&name, MAX_SHOWN);
                return Err(format!("assertion {shown}: must have one of equals, at_least and at_most"));
            }
        };
        Ok(Assertion { name, database, query, expected })
    }
}

impl Expected {
    /// Why this is not the expected result. The result is shown if it is a number or a truth value.
    pub fn check(&self, result: &str) -> Result<(), String> {
        let number = result.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let is_shown = number.is_some() || matches!(result, "t" | "f" | "");
        let shown = if is_shown { text::escaped(result, MAX_SHOWN) } else { "another text".to_owned() };
        let shown = if shown.is_empty() { "NULL or an empty text".to_owned() } else { shown };
        let compare = |limit: f64, wrong: Ordering, words: &str| match number {
            None => Err(format!("the result is not a number: {shown}")),
            Some(number) if number.partial_cmp(&limit) == Some(wrong) => {
                Err(format!("the result is {shown}, expected {words} {limit}"))
            }
            Some(_) => Ok(()),
        };
        match self {
            Self::AtLeast(limit) => compare(*limit, Ordering::Less, "at least"),
            Self::AtMost(limit) => compare(*limit, Ordering::Greater, "at most"),
            Self::Equals(expected) if expected.as_printed() == result => Ok(()),
            Self::Equals(_) => Err(format!("the result is {shown}, which is not the expected one")),
        }
    }
}

impl Text {
    /// As `psql` prints it.
    fn as_printed(&self) -> String {
        match self {
            Self::Bool(true) => "t".to_owned(),
            Self::Bool(false) => "f".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_are_checked() {
        let document = "
- name: orders
  database: shop
  query: SELECT count(*) FROM public.orders
  at_least: 1000
- name: schema
  database: shop
  query: SELECT max(version) FROM public.migrations
  equals: 42
- name: no negative stock
  database: shop
  query: SELECT bool_and(stock >= 0) FROM public.items
  equals: true
- name: currency
  database: shop
  query: SELECT min(code) FROM public.currencies
  equals: EUR
";
        let assertions = parse(document).unwrap();
        let checked: Vec<[Result<(), String>; 2]> = assertions
            .iter()
            .zip([["1000", "999"], ["42", "41"], ["t", "f"], ["EUR", "secret"]])
            .map(|(assertion, results)| results.map(|result| assertion.expected.check(result)))
            .collect();
        assert!(checked.iter().all(|[good, bad]| good.is_ok() && bad.is_err()), "{checked:?}");
        assert_eq!(checked[0][1], Err("the result is 999, expected at least 1000".to_owned()));
        assert_eq!(
            checked[3][1],
            Err("the result is another text, which is not the expected one".to_owned())
        );
        assert!(assertions[0].expected.check("many").is_err());
    }

    #[test]
    fn a_file_with_mistakes_is_refused() {
        let one = |lines: &str| parse(&format!("- name: a\n  database: d\n  query: SELECT 1\n{lines}"));
        assert!(one("  equals: 1\n").is_ok());
        for wrong in ["", "  equal: 1\n", "  equals: 1\n  other: 2\n", "  at_least: many\n"] {
            assert!(one(wrong).is_err(), "{wrong}");
        }
        for (document, why) in [
            ("- {name: a, database: d, query: '\\! ls', equals: 1}", "must be SQL"),
            ("- {name: '', database: d, query: SELECT 1, equals: 1}", "1 to 100 characters"),
            (
                "- {name: a, database: d, query: SELECT 1, equals: 1}\n- {name: a, database: d, query: SELECT 1, equals: 1}",
                "not unique",
            ),
        ] {
            let error = parse(document).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
