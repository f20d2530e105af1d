//! Prepares pgBackRest's output for a parser.
//!
//! There are two problems. From 2.53 on (pgBackRest commit 7d5407309), warnings about options go to stdout before the
//! answer, whatever the log levels are. And with a wrong cipher passphrase, the status message quotes decrypted garbage with invalid UTF-8 and
//! raw control bytes, while the exit code is 0. pgBackRest escapes quotes and backslashes byte by byte, so the ends
//! of strings are still correct.

use std::borrow::Cow;

use memchr::memchr;

use super::redact::Said;

/// Maximum number of lines kept before the document.
const MAX_PREAMBLE_LINES: usize = 50;
/// Maximum characters of each.
const MAX_PREAMBLE_LINE: usize = 500;
/// Bytes that are checked at once.
const CHUNK: usize = 4 << 10;

/// The output of one call, split and repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned<'a> {
    /// The document, borrowed if nothing had to be repaired; empty if there is none.
    pub text: Cow<'a, str>,
    /// Whether the document had to be repaired.
    pub sanitized: bool,
    /// Lines before the document: pgBackRest's warnings, or an error instead of a document. Bounded in number and
    /// length.
    pub preamble: Vec<Said<'static>>,
}

/// Splits off the text before the document and repairs the rest: invalid UTF-8 becomes U+FFFD, and a raw control byte
/// within a string becomes `\u00XX`. A well-formed document is returned unchanged.
#[must_use]
pub fn clean(bytes: &[u8]) -> Cleaned<'_> {
    let (before, document) = bytes.split_at(start_of_document(bytes));
    let preamble = preamble(before);
    match std::str::from_utf8(document) {
        Ok(text) if !has_raw_control(text) => {
            Cleaned { text: Cow::Borrowed(text), sanitized: false, preamble }
        }
        _ => Cleaned { text: Cow::Owned(repair(document)), sanitized: true, preamble },
    }
}

/// The document as it was printed, which may have to be repaired; empty if there is none.
#[must_use]
pub fn document(bytes: &[u8]) -> &[u8] {
    bytes.get(start_of_document(bytes)..).unwrap_or_default()
}

/// The start of the first line that starts with `[`; the document is always an array, and no log line starts like
/// that. The end of that line is not looked for: it is usually the whole document.
fn start_of_document(bytes: &[u8]) -> usize {
    let mut start = 0;
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let is_indent = |byte: &&u8| **byte != b'\n' && byte.is_ascii_whitespace();
        if rest.get(rest.iter().take_while(is_indent).count()) == Some(&b'[') {
            return start;
        }
        start += length_of_line(rest);
    }
    bytes.len()
}

/// Splits off the log lines before an answer of any kind, such as a file: `P00   WARN: text`, and the indented lines
/// that continue a message. Bounded like [`Cleaned::preamble`].
#[must_use]
pub fn split_log(bytes: &[u8]) -> (Vec<Said<'static>>, &[u8]) {
    let mut end = 0;
    while let Some(rest) = bytes.get(end..).filter(|rest| !rest.is_empty()) {
        let goes_on = end > 0 && rest.starts_with(b"          ");
        if !goes_on && !starts_log_line(rest) {
            break;
        }
        end += length_of_line(rest);
    }
    let (log, answer) = bytes.split_at(end);
    (preamble(log), answer)
}

fn starts_log_line(text: &[u8]) -> bool {
    let Some([b'0'..=b'9', b'0'..=b'9', b' ', rest @ ..]) = text.strip_prefix(b"P") else { return false };
    let padding = rest.iter().take_while(|byte| **byte == b' ').count();
    let level = rest.get(padding..).unwrap_or_default();
    [b"WARN: ".as_slice(), b"INFO: ", b"ERROR: "].iter().any(|word| level.starts_with(word))
}

/// With its line break.
fn length_of_line(text: &[u8]) -> usize {
    memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}

fn preamble(before: &[u8]) -> Vec<Said<'static>> {
    let line = |line: &[u8]| {
        // A letter has four bytes at most.
        String::from_utf8_lossy(line.get(..4 * MAX_PREAMBLE_LINE).unwrap_or(line))
            .chars()
            .take(MAX_PREAMBLE_LINE)
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    let lines = before.split(|byte| *byte == b'\n').map(line).filter(|line| !line.is_empty());
    lines.take(MAX_PREAMBLE_LINES).map(Said::new).collect()
}

/// Whether a string contains a control byte, which JSON forbids.
fn has_raw_control(text: &str) -> bool {
    // Almost every document is one line, and this check is faster than tracking strings; in chunks, which are compared as
    // vectors.
    let has_control = |chunk: &[u8]| chunk.iter().fold(0, |found, byte| found | u8::from(*byte < 0x20)) != 0;
    if !text.as_bytes().chunks(CHUNK).any(has_control) {
        return false;
    }
    let mut state = StringState::default();
    text.bytes().any(|byte| state.step(byte) && byte < 0x20)
}

fn repair(document: &[u8]) -> String {
    let mut repaired = String::with_capacity(document.len() + 64);
    let mut state = StringState::default();
    for chunk in document.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let in_string = letter.is_ascii() && state.step(u8::try_from(letter).unwrap_or(b' '));
            if in_string && u32::from(letter) < 0x20 {
                repaired.push_str("\\u00");
                repaired.extend([u32::from(letter) >> 4, u32::from(letter) & 15].map(hexadecimal));
            } else {
                state.escaped &= letter.is_ascii();
                repaired.push(letter);
            }
        }
        if !chunk.invalid().is_empty() {
            state.escaped = false;
            repaired.push(char::REPLACEMENT_CHARACTER);
        }
    }
    repaired
}

fn hexadecimal(digit: u32) -> char {
    char::from_digit(digit, 16).unwrap_or('0')
}

/// Tracks strings in a document.
#[derive(Default)]
struct StringState {
    in_string: bool,
    escaped: bool,
}

impl StringState {
    /// Reads the next byte; returns whether it is within a string.
    fn step(&mut self, byte: u8) -> bool {
        let was_in_string = self.in_string;
        if self.escaped {
            self.escaped = false;
            return was_in_string;
        }
        match byte {
            b'"' => self.in_string = !self.in_string,
            b'\\' if self.in_string => self.escaped = true,
            _ => {}
        }
        was_in_string
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_clean_document_is_borrowed() {
        for text in ["[]", "[]\n", "[\n\t{\"a\": \"b\\n\\\"\\\\\"}\n]\n", "[\"ä€\"]", "[\"\\u0001\"]"] {
            let cleaned = clean(text.as_bytes());
            assert!(matches!(cleaned.text, Cow::Borrowed(same) if same == text), "{text}");
            assert_eq!((cleaned.sanitized, cleaned.preamble.len()), (false, 0), "{text}");
        }
    }

    #[test]
    fn garbage_in_a_message_is_repaired() {
        let table: [(&[u8], &str); 5] = [
            (b"[\"a\xFFb\"]", "a\u{FFFD}b"),
            (b"[\"a\x01b\x1F\"]", "a\u{1}b\u{1F}"),
            (b"[\"\xC3\\\"\x02\\\\\"]", "\u{FFFD}\"\u{2}\\"),
            (b"[\"\xE2\x82\"]", "\u{FFFD}"),
            (b"[\"line\nbreak\ttab\"]\n", "line\nbreak\ttab"),
        ];
        for (bytes, message) in table {
            let cleaned = clean(bytes);
            assert!(cleaned.sanitized);
            assert_eq!(serde_json::from_str::<Vec<String>>(&cleaned.text).unwrap(), [message]);
        }
    }

    #[test]
    fn lines_before_the_document_are_split_off() {
        let cleaned =
            clean(b"P00   WARN: configuration file contains invalid option 'x'\n   HINT: [y]?\n\n[{}]");
        assert_eq!(cleaned.text, "[{}]");
        assert!(!cleaned.sanitized);
        assert_eq!(
            cleaned.preamble[0],
            Said::new("P00   WARN: configuration file contains invalid option 'x'")
        );
        assert_eq!(cleaned.preamble.len(), 2);
    }

    #[test]
    fn output_without_a_document_is_all_preamble() {
        let cleaned = clean(b"P00  ERROR: [037]: info command requires option: repo1-cipher-pass\x07\n");
        assert_eq!(cleaned.text, "");
        let error = "P00  ERROR: [037]: info command requires option: repo1-cipher-pass";
        assert_eq!(cleaned.preamble, [Said::new(error)]);
        assert_eq!(clean(b"").preamble.len(), 0);
    }

    #[test]
    fn only_log_lines_before_an_answer_are_split_off() {
        // As 2.55.1 and 2.60.0 print it with `--log-level-console=off`; an option of a later version is one that it ignores.
        let warning = "P00   WARN: configuration file contains invalid option 'x'\n";
        let history = "1\t0/3000000\tno recovery target\n# P00   WARN: a comment\n";
        for log in ["", warning, &format!("{warning}                 more of it\n{warning}")] {
            for answer in ["{}", history, "", "          indented", "P00   WARN", "P0x   WARN: no process\n"]
            {
                let printed = format!("{log}{answer}");
                let (lines, rest) = split_log(printed.as_bytes());
                let goes_on = !log.is_empty() && answer.starts_with(' ');
                assert_eq!(String::from_utf8_lossy(rest), if goes_on { "" } else { answer }, "{printed}");
                assert_eq!(lines.len(), log.lines().count() + usize::from(goes_on), "{printed}");
            }
        }
    }

    #[test]
    fn the_preamble_is_bounded() {
        let long = b"warning ".repeat(100_000);
        let cleaned = clean(&long);
        assert_eq!(cleaned.preamble.len(), 1);
        assert_eq!(
            cleaned.preamble[0],
            Said::new("warning ".repeat(100_000)[..MAX_PREAMBLE_LINE].trim_end())
        );
        let many = b"warning\n".repeat(100_000);
        assert_eq!(clean(&many).preamble.len(), MAX_PREAMBLE_LINES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn cleaning_twice_changes_nothing_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let framed = [b"[\"", bytes.as_slice()].concat();
            for input in [bytes, framed] {
                let once = clean(&input);
                let twice = clean(once.text.as_bytes());
                prop_assert!(!twice.sanitized);
                prop_assert_eq!(&twice.text, &once.text);
                prop_assert!(twice.preamble.is_empty());
            }
        }

        #[test]
        fn any_message_that_pgbackrest_quotes_can_be_read(message in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut quoted = b"[\"".to_vec();
            for byte in &message {
                match byte {
                    b'"' | b'\\' => quoted.extend([b'\\', *byte]),
                    b'\n' => quoted.extend(b"\\n"),
                    _ => quoted.push(*byte),
                }
            }
            quoted.extend(b"\"]");
            let cleaned = clean(&quoted);
            let read: Vec<String> = serde_json::from_str(&cleaned.text).unwrap();
            prop_assert_eq!(&read[0], &*String::from_utf8_lossy(&message));
        }

        #[test]
        fn clean_json_is_left_alone(texts in prop::collection::vec(".{0,20}", 0..5), pretty: bool) {
            let value = Value::from(texts);
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let cleaned = clean(text.as_bytes());
            prop_assert!(!cleaned.sanitized);
            prop_assert_eq!(&*cleaned.text, text.as_str());
        }
    }
}
