//! The lines of a pgBackRest configuration file, by the rules of `src/common/ini.c`.
//!
//! A general ini reader does not do: `;` begins no comment, only `=` ends a key, everything after it belongs to the value,
//! and every message needs the number of its line.

use std::fmt;

/// Something in a configuration file that pgBackRest would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfError {
    /// The file's name as it was handed in.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what would do.
    pub problem: String,
}

impl fmt::Display for ConfError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

/// One option in its section. Has no `Debug`, since the value may be a secret.
pub(super) struct Line<'a> {
    pub(super) file: &'a str,
    pub(super) number: usize,
    pub(super) section: &'a str,
    pub(super) key: &'a str,
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
            Some(Err(ConfError { file: file.to_owned(), line: number, problem: problem.to_owned() }))
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
            Some((key, value)) => Some(Ok(Line { file, number, section, key, value })),
        }
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}
