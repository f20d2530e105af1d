//! The lines of a pgBackRest configuration file, by the rules of `src/common/ini.c`.
//!
//! A general INI parser is not suitable: `;` does not start a comment, only `=` ends a key, everything after it is
//! the value, and every message needs a line number.

use std::fmt;

/// An error in the configuration that pgBackRest would reject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfError {
    /// The name of the file, or `environment`.
    pub file: String,
    /// Line of the file, from 1.
    pub line: Option<usize>,
    /// The problem and its remedy.
    pub problem: String,
}

impl fmt::Display for ConfError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(formatter, "{}{line}: {}", self.file, self.problem)
    }
}

/// One option in its section.
pub(super) struct Line<'a> {
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) setting: Setting<'a>,
}

/// The value of an option and its location. Not `Debug`, since the value may be a secret.
pub(super) struct Setting<'a> {
    pub(super) file: &'a str,
    pub(super) line: Option<usize>,
    /// The text before the value.
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

/// The options of one file, in order. Each file starts outside of any section.
pub(super) fn lines<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = Result<Line<'a>, ConfError>> {
    let mut section = None;
    text.split('\n').zip(1..).filter_map(move |(line, number)| {
        let line = trim(line);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let error = |problem: &str| {
            Some(Err(ConfError { file: file.to_owned(), line: Some(number), problem: problem.to_owned() }))
        };
        if let Some(rest) = line.strip_prefix('[') {
            return match rest.strip_suffix(']') {
                Some("") => error("the section has no name; write [global] or [STANZA]"),
                Some(name) => {
                    section = Some(name);
                    None
                }
                None => error("the section does not end with ]; remove everything after it on its line"),
            };
        }
        let Some(section) = section else {
            return error("an option is before the first section; add [global] or [STANZA] above it");
        };
        match line.split_once('=').map(|(key, value)| (trim(key), trim(value))) {
            None => error("the line has no =; write OPTION=VALUE, or # before a comment"),
            Some(("", _)) => error("there is no option before the ="),
            Some((key, value)) => {
                let setting = Setting { file, line: Some(number), name: key, value };
                Some(Ok(Line { section, key, setting }))
            }
        }
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}
