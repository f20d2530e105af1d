//! Problems, risks and unknowns of a resource, with remedies.

pub mod codes;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::text::escaped;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// What it is about is not set up: the cluster, a repo, or only the field.
    Error,
    /// The backups are set up, but something is likely to fail.
    Warning,
    /// For information.
    Info,
    /// It could not be checked, for example because there is no Kubernetes API.
    NotChecked,
}

impl Severity {
    /// The display name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::NotChecked => "not checked",
        }
    }
}

/// A kind of finding: a stable name, its severity and meaning. All are in `codes`.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Kebab-case; stable between releases, for filters and label values.
    pub word: &'static str,
    /// The severity of all findings of this code.
    pub severity: Severity,
    /// One sentence, for the table of codes.
    pub meaning: &'static str,
}

impl Serialize for &'static Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word)
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The same as `code.severity`, for readers of the JSON.
    pub severity: Severity,
    /// The code.
    pub code: &'static Code,
    /// The path of the field in the resource, such as `spec.backup.pgbackrest.repos[0].endpoint`.
    pub field: String,
    /// The value of the field, if it is short and cannot be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The problem, as a predicate of the field.
    pub message: String,
    /// The remedy.
    pub remedy: String,
}

/// Longer values are cut.
const LONGEST: usize = 200;
/// Longer sentences are cut; they may contain names from a resource.
const LONGEST_SENTENCE: usize = 600;

impl Finding {
    /// A finding without the field's value.
    #[must_use]
    pub fn new(
        code: &'static Code,
        field: impl AsRef<str>,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Self {
        Self {
            severity: code.severity,
            code,
            field: escaped(field.as_ref(), LONGEST_SENTENCE),
            value: None,
            message: escaped(message.as_ref(), LONGEST_SENTENCE),
            remedy: escaped(remedy.as_ref(), LONGEST_SENTENCE),
        }
    }

    /// Adds the value of the field, which must not be a secret.
    #[must_use]
    pub fn with_value(mut self, value: impl AsRef<str>) -> Self {
        let value: String = value.as_ref().chars().take(LONGEST).collect();
        self.value = Some(escaped(&value, LONGEST));
        self
    }

    /// Whether something is not set up because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    /// One line: `error secret-missing: FIELD (is "VALUE") MESSAGE; REMEDY`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.severity.as_str(), self.code.word, self.field)?;
        if let Some(value) = &self.value {
            write!(formatter, " (is \"{value}\")")?;
        }
        write!(formatter, " {}; {}", self.message, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_printable_line() {
        let finding =
            Finding::new(&codes::WRONG_TYPE, "spec.\u{1b}[31mx", "is\nodd", "mend it").with_value("a\tb");
        assert_eq!(
            finding.to_string(),
            "error wrong-type: spec.\\u{1b}[31mx (is \"a\\tb\") is\\nodd; mend it"
        );
    }

    #[test]
    fn texts_are_bounded() {
        let finding = Finding::new(&codes::WRONG_TYPE, "é".repeat(5000), "", "").with_value("é".repeat(5000));
        assert_eq!(finding.field.chars().count(), 601);
        assert_eq!(finding.value.unwrap().chars().count(), 200);
    }

    #[test]
    fn json_names_code_and_severity() {
        let json = serde_json::to_value(Finding::new(&codes::SECRET_NOT_CHECKED, "a", "b", "c")).unwrap();
        assert_eq!(json["severity"], "not_checked");
        assert_eq!(json["code"], "secret-not-checked");
        assert!(json.get("value").is_none());
    }
}
