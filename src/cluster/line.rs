//! Values of pgBackRest's options, which are one line each by type: a line break in one would add options, or a section.

use std::fmt;
use std::ops::Deref;

/// Text that is not empty, has no control characters, and begins and ends with something visible. pgBackRest reads it
/// back as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(String);

impl Line {
    /// Text from elsewhere. None if it is no line.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let is_line = !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control);
        is_line.then(|| Self(text.to_owned()))
    }

    /// Text that was made here, of names and flags. Anything that a line cannot have is left out; none if nothing is
    /// left.
    #[must_use]
    pub fn made(text: &str) -> Option<Self> {
        let kept: String = text.chars().filter(|letter| !letter.is_control()).collect();
        Self::of(kept.trim())
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_end() {
        assert_eq!(Line::of("a b=c [d] #e").as_deref(), Some("a b=c [d] #e"));
        for text in ["", " ", " a", "a\t", "a\nb", "a\r", "a\u{85}b", "a\0", "\u{2028}"] {
            assert_eq!(Line::of(text), None, "{text:?}");
        }
        assert_eq!(Line::made(" a\n[global:backup]\r\n").as_deref(), Some("a[global:backup]"));
        assert_eq!(Line::made("\n"), None);
    }
}
