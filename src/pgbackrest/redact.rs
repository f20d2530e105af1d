//! pgBackRest's messages without secrets.
//!
//! Messages quote anything that causes an error: values of options, lines of the configuration, URLs with a password, keys that were
//! given instead of file names, the garbage that a wrong passphrase decrypts to. So text is never shown only because it looks
//! harmless. A line is shown only if its wording is known, and its variable parts only if they cannot be secrets: names of options,
//! stanzas and backups, numbers, the parts of a path that pgBackRest derives. Everything else is replaced by [`HIDDEN`].
//!
//! The wordings are those of pgBackRest 2.45 to 2.60 (`THROW`, `LOG_WARN` and others in its source), of the C library, libpq and
//! the shell.

mod path;
mod prefix;
mod slot;
mod template;

use std::borrow::Cow;
use std::fmt;

use crate::text;

/// Replaces text that is not shown.
pub const HIDDEN: &str = "…";
/// Longer messages are truncated before processing.
const LONGEST: usize = 64 * 1024;
/// Quoted values with more lines are not recognized in a message; then neither is shown.
const MOST_LINES_OF_A_VALUE: usize = 8;

/// Output of pgBackRest or of a program that it started. It can only be read in redacted form.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said<'a>(Cow<'a, str>);

impl fmt::Debug for Said<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.redacted(), formatter)
    }
}

impl<'a> Said<'a> {
    /// This output.
    pub fn new(words: impl Into<Cow<'a, str>>) -> Self {
        Self(words.into())
    }

    /// Lines of one message.
    #[must_use]
    pub fn of_lines(lines: &[Said<'_>]) -> Said<'static> {
        let lines: Vec<&str> = lines.iter().map(|line| &*line.0).collect();
        Said(lines.join("\n").into())
    }

    /// Whether it contains a fixed text of pgBackRest, such as a log level.
    #[must_use]
    pub fn contains(&self, word: &'static str) -> bool {
        self.0.contains(word)
    }

    /// Line by line, redacted.
    #[must_use]
    pub fn redacted(&self) -> String {
        let words = self.0.get(..self.0.floor_char_boundary(LONGEST)).unwrap_or_default();
        let lines: Vec<&str> = words.lines().collect();
        let mut shown: Vec<String> = Vec::new();
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            let (line, used) = first(rest);
            rest = rest.get(used..).unwrap_or_default();
            if line != HIDDEN || shown.last().is_none_or(|last| !last.ends_with(HIDDEN)) {
                shown.push(line);
            }
        }
        shown.join("\n")
    }

    /// The same on one line of at most this many characters.
    #[must_use]
    pub fn one_line(&self, most: usize) -> String {
        text::one_line(&self.redacted(), most)
    }
}

/// The first line, redacted, and the number of lines that it consists of: a quoted value may have several.
fn first(lines: &[&str]) -> (String, usize) {
    for used in 1..=lines.len().min(MOST_LINES_OF_A_VALUE) {
        let joined = lines.get(..used).unwrap_or_default().join("\n");
        if joined.chars().all(|c| c.is_whitespace() || !text::is_printable(c)) {
            return (String::new(), used);
        }
        if let Some(shown) = known(&joined) {
            return (shown, used);
        }
    }
    let (prefix, _) = prefix::split(lines.first().copied().unwrap_or_default());
    (prefix + HIDDEN, 1)
}

/// A message whose wording is known.
fn known(line: &str) -> Option<String> {
    let (prefix, rest) = prefix::split(line);
    if rest.trim().is_empty() {
        return (!prefix.is_empty()).then_some(prefix);
    }
    let message = template::shown(rest).or_else(|| {
        // An error of the system can follow any message.
        let (message, error) = prefix::split_system_error(rest)?;
        Some(format!("{}{error}", template::shown(message)?))
    });
    Some(prefix + &message?)
}

/// A message within a message.
fn nested(message: &str) -> String {
    known(message).unwrap_or_else(|| HIDDEN.to_owned())
}

#[cfg(test)]
mod tests;
