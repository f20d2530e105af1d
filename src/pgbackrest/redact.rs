//! Removes quotations of the configuration and of undecryptable files from pgBackRest's messages.
//!
//! pgBackRest quotes lines that it cannot parse and values that it rejects, which may contain a passphrase in the
//! wrong place; and it quotes the result of decrypting a file with a wrong passphrase, which is noise.

use crate::text;

/// Replaces a quotation.
const HIDDEN: &str = "…";
/// The text between a rejected value and the option.
const REFUSALS: [&str; 3] = ["' is not allowed for '", "' is not valid for '", "' is out of range for '"];
/// The endings of options with secret values (as of 2.60).
const SECRET_ENDINGS: [&str; 4] = ["-pass", "-key", "-secret", "-token"];

/// The message without quotations, line by line.
#[must_use]
pub fn redact(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The message without quotations on one line of at most this many characters.
#[must_use]
pub fn one_line(message: &str, most: usize) -> String {
    text::one_line(&redact(message), most)
}

fn line(line: &str) -> String {
    without_secrets(&without_refused_value(&without_quoted_line(line)))
}

/// `... at line 13: what the line holds`.
fn without_quoted_line(line: &str) -> String {
    const PLACE: &str = " at line ";
    let Some((before, after)) = line.split_once(PLACE) else { return line.to_owned() };
    let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match after.split_at_checked(digits) {
        Some((number, rest)) if rest.starts_with(':') && digits > 0 => {
            format!("{before}{PLACE}{number}: {HIDDEN}")
        }
        _ => line.to_owned(),
    }
}

/// `'value' is not allowed for 'option' option`.
fn without_refused_value(line: &str) -> String {
    for refusal in REFUSALS {
        if let Some((before, after)) = line.rsplit_once(refusal)
            && let Some((start, _)) = before.split_once('\'')
        {
            return format!("{start}'{HIDDEN}{refusal}{after}");
        }
    }
    line.to_owned()
}

/// `repo1-cipher-pass=value`.
fn without_secrets(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    for (number, word) in line.split(' ').enumerate() {
        if number > 0 {
            kept.push(' ');
        }
        match word.split_once('=') {
            Some((name, _)) if SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending)) => {
                kept.extend([name, "=", HIDDEN]);
            }
            _ => kept.push_str(word),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_go_and_the_rest_stays() {
        let cases = [
            (
                "ERROR: [029]: missing '=' in key/value at line 13: repo2-cipher-pass SECRET with space",
                "ERROR: [029]: missing '=' in key/value at line 13: …",
            ),
            (
                "[FormatError] unable to load '/r/backup.info':\nFormatError: key/value found outside of section at line 1: T\u{fffd}\u{fffd}Y\nHINT: x",
                "[FormatError] unable to load '/r/backup.info':\nFormatError: key/value found outside of section at line 1: …\nHINT: x",
            ),
            (
                "'SEC'RET' is not allowed for 'repo2-cipher-type' option",
                "'…' is not allowed for 'repo2-cipher-type' option",
            ),
            ("WARN: bad repo1-s3-key-secret=SECRET here", "WARN: bad repo1-s3-key-secret=… here"),
            ("unable to open file '/a' at line of sight: x", "unable to open file '/a' at line of sight: x"),
            (
                "option 'repo1-s3-key' requires option: 'repo1-type'",
                "option 'repo1-s3-key' requires option: 'repo1-type'",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }
}
