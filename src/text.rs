//! Escapes text from outside for terminals, log lines, messages, statuses and JSON documents, and shares text that occurs often.
//!
//! Only [`is_printable`] decides which characters are printable. `cli::output` and `telemetry` pass everything that they write through
//! [`for_terminal`] or [`json`], so that nothing reaches a terminal that controls it or reorders text.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

mod shared;

pub use shared::SharedTexts;

/// Whether a terminal shows a character as itself: not a control character (C0 and C1), which controls the terminal, not a character
/// that reorders text, and not an invisible one.
#[must_use]
pub fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            // Soft hyphen, marks and isolates of bidirectional text, and characters without width.
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
        )
}

/// On one line: runs of white space and unprintable characters become one space. At most this many characters.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || !is_printable(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(most).collect()
}

/// On one line, with unprintable characters escaped, so that names stay recognizable. At most this many characters of the
/// original.
#[must_use]
pub fn escaped(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (count, character) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        push_escaped(&mut out, character);
    }
    out
}

/// Line breaks stay, all other unprintable characters are escaped.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    keep(text, |rest| usize::from(rest.starts_with('\n')))
}

/// For a terminal: line breaks, tabs and colours stay, all other unprintable characters are escaped.
#[must_use]
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    keep(text, |rest| if rest.starts_with(['\n', '\t']) { 1 } else { colour(rest) })
}

/// An indented JSON document that ends in a line break, with unprintable characters as `\uXXXX`.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut document = escaped_json(&serde_json::to_string_pretty(value)?).into_owned();
    document.push('\n');
    Ok(document)
}

/// JSON with unprintable characters as `\uXXXX`. They only occur in its strings, apart from line breaks.
#[must_use]
pub fn escaped_json(document: &str) -> Cow<'_, str> {
    let is_kept = |character: char| character == '\n' || is_printable(character);
    if document.chars().all(is_kept) {
        return Cow::Borrowed(document);
    }
    let mut out = String::with_capacity(document.len() + 32);
    for character in document.chars() {
        if is_kept(character) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

/// At most this many bytes, cut after a whole character and marked as cut.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(MARK.len()));
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

/// Escapes unprintable characters, except for as many bytes as `kept` says of the text from there on.
fn keep(text: &str, kept: impl Fn(&str) -> usize) -> Cow<'_, str> {
    if text.chars().all(|character| character == '\n' || is_printable(character)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let bytes = if is_printable(character) { character.len_utf8() } else { kept(rest) };
        if bytes == 0 {
            push_escaped(&mut out, character);
        }
        let (reported, after) = rest.split_at(bytes);
        out.push_str(reported);
        rest = if bytes == 0 { after.get(character.len_utf8()..).unwrap_or_default() } else { after };
    }
    Cow::Owned(out)
}

fn push_escaped(out: &mut String, character: char) {
    if is_printable(character) {
        out.push(character);
    } else {
        out.extend(character.escape_default());
    }
}

/// The length of a sequence at the start that sets a colour or a weight (SGR), and does not hide text.
fn colour(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return 0 };
    let parameters = rest.split(|c: char| !c.is_ascii_digit() && c != ';').next().unwrap_or_default();
    let is_colour = rest.get(parameters.len()..).is_some_and(|end| end.starts_with('m'));
    if is_colour && !hides(parameters) { "\u{1b}[m".len() + parameters.len() } else { 0 }
}

/// Whether one of the parameters of SGR is 8, which hides text, and not the number of a colour.
fn hides(parameters: &str) -> bool {
    let mut numbers = parameters.split(';').map(|number| number.trim_start_matches('0'));
    while let Some(number) = numbers.next() {
        match number {
            "8" => return true,
            // A colour from a table, or by its parts.
            "38" | "48" => match numbers.next() {
                Some("5") => _ = numbers.next(),
                Some("2") => _ = numbers.nth(2),
                _ => return true,
            },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[31m  c\u{0} ", 100), "a b [31m c");
        assert_eq!(one_line("a\u{9b}b\u{202e}c\u{2028}d", 100), "a b c d");
        assert_eq!(one_line("äöü äöü", 5), "äöü ä");
        assert_eq!(one_line("\n\n", 5), "");
    }

    #[test]
    fn escaped_text_is_bounded() {
        assert_eq!(escaped("a\nb\u{1b}c", 9), "a\\nb\\u{1b}c");
        assert_eq!(escaped("\u{9b}\u{202e}\u{feff}", 9), "\\u{9b}\\u{202e}\\u{feff}");
        assert_eq!(escaped("äöü", 2), "äö…");
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_else_that_steers_it() {
        for kept in ["", "a\tb\n", "\u{1b}[1m\u{1b}[38;5;8mgrey\u{1b}[0m", "\u{1b}[mäöü"] {
            assert_eq!(for_terminal(kept), kept);
        }
        for (text, shown) in [
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}[2J\u{1b}[8mx", "\\u{1b}[2J\\u{1b}[8mx"),
            ("\u{1b}[1;08mx\u{1b}[", "\\u{1b}[1;08mx\\u{1b}["),
            ("\u{1b}[38;5;1;8mx", "\\u{1b}[38;5;1;8mx"),
            ("a\rb\u{9b}31m", "a\\rb\\u{9b}31m"),
            ("abc\u{202e}\u{2066}\u{200b}", "abc\\u{202e}\\u{2066}\\u{200b}"),
        ] {
            assert_eq!(for_terminal(text), shown);
        }
        assert_eq!(lines("a\nb\u{1b}[1m\tc"), "a\nb\\u{1b}[1m\\tc");
    }

    #[test]
    fn json_says_the_same_in_escapes() {
        let value = ["a\u{7f}\u{9b}", "\u{202e}b\n", "\u{e0041}", "ä\u{1f600}"];
        let document = json(&value).unwrap();
        assert!(document.contains(r"a\u007f\u009b") && document.contains(r"\udb40\udc41"), "{document}");
        assert!(document.contains("ä\u{1f600}"), "{document}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&document).unwrap(), value);
    }

    #[test]
    fn a_cut_ends_with_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ab\u{e9}\u{e9}", 5), "ab…");
        assert_eq!(cut("abcdefgh", 7), "abcd…");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_passes(text in any::<String>()) {
            prop_assert!(escaped(&text, usize::MAX).chars().all(is_printable));
            prop_assert!(one_line(&text, usize::MAX).chars().all(is_printable));
            prop_assert!(lines(&text).chars().all(|c| c == '\n' || is_printable(c)));
            let document = json(&text).unwrap();
            prop_assert!(document.chars().all(|c| c == '\n' || is_printable(c)));
            prop_assert_eq!(serde_json::from_str::<String>(&document).unwrap(), text);
        }
    }
}
