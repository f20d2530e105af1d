//! The lines of a pgBackRest configuration file, by the rules of `src/common/ini.c`.
//!
//! A general ini reader does not do: `;` begins no comment, only `=` ends a key, everything after it belongs to the value,
//! and every message needs the number of its line.

use std::fmt;

/// Something in the configuration that pgBackRest would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfError {
    /// The file's name as it was handed in, or `environment`.
    pub file: String,
    /// Line of the file, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what would do.
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

/// What an option is set to, and where. Has no `Debug`, since the value may be a secret.
pub(super) struct Setting<'a> {
    pub(super) file: &'a str,
    pub(super) line: Option<usize>,
    /// What stands before the value there.
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

/// The options of one file, in order. Each file begins outside of any section.
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
                None => error("the section does not end with ]; write nothing after it on its line"),
            };
        }
        let Some(section) = section else {
            return error("an option stands before the first section; put [global] or [STANZA] above it");
        };
        match line.split_once('=').map(|(key, value)| (trim(key), trim(value))) {
            None => error("the line has no =; write OPTION=VALUE, or # before a remark"),
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
