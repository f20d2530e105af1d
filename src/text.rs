//! Text from elsewhere, made fit for a log line, a message or a status.

/// On one line: runs of white space and control characters become one space. At most this many characters.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(most).collect()
}

/// With control characters escaped, so that names stay recognizable. At most this many characters of the original.
#[must_use]
pub fn escaped(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (count, character) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[31m  c\u{0} ", 100), "a b [31m c");
        assert_eq!(one_line("äöü äöü", 5), "äöü ä");
        assert_eq!(one_line("\n\n", 5), "");
    }

    #[test]
    fn escaped_text_is_bounded() {
        assert_eq!(escaped("a\nb\u{1b}c", 9), "a\\nb\\u{1b}c");
        assert_eq!(escaped("äöü", 2), "äö…");
    }

    #[test]
    fn a_cut_ends_with_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ab\u{e9}\u{e9}", 5), "ab…");
        assert_eq!(cut("abcdefgh", 7), "abcd…");
    }
}
