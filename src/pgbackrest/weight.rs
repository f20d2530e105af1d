//! Estimates the memory for parsing a document from its structure, before it is parsed. A stanza of 12 bytes can become
//! thousands of bytes of facts.
//!
//! The estimate counts the values for which parsing creates a structure, by their position: `[{"backup":[{"info":{}}]}]`. The
//! factors are rounded up from the sizes of the model and of the facts that are created from it.

use memchr::memchr2;

use super::sanitize;

/// A stanza, with its facts and those of its only repository.
const STANZA: u64 = 4096;
/// A backup.
const BACKUP: u64 = 1536;
/// An entry of another list of a stanza: databases, repositories, WAL ranges.
const OTHER: u64 = 1024;
/// A file or directory of a listing.
const FILE: u64 = 256;
/// Anything further inside, such as an annotation or a tablespace …
const DETAIL: u64 = 128;
/// … beyond what is usual: a backup of 2.60 has 28 names and values, and is counted with them.
const USUAL_DETAILS: u64 = 40;
/// A byte that may have to be repaired becomes six at most.
const REPAIRED: u64 = 6;

/// Bytes that are used while the output of a command is read, beside the output itself. Output that is no document has none.
#[must_use]
pub fn of(output: &[u8]) -> u64 {
    let (_, listing) = sanitize::split_log(output);
    let is_listing = listing.trim_ascii_start().first() == Some(&b'{');
    let of_listing = if is_listing { of_listing(listing) } else { 0 };
    // It may be read as either.
    of_document(sanitize::document(output)).saturating_add(of_listing)
}

fn of_document(document: &[u8]) -> u64 {
    let unclean = document.iter().filter(|byte| !byte.is_ascii() || **byte < 0x20).count();
    let mut counts = Counts { unclean: unclean as u64, ..Counts::default() };
    let mut depth = 0_u32;
    // Of the text that was read last in a stanza, and of the list that it names.
    let (mut may_name_backups, mut is_backup) = (false, false);
    for token in Tokens(document) {
        match token {
            Token::Text(text) if depth == STANZA_DEPTH => {
                // With an escape it may be that name, too.
                may_name_backups = text == b"backup" || text.contains(&b'\\');
            }
            Token::Other(b':') if depth == STANZA_DEPTH => is_backup = may_name_backups,
            Token::Other(b':') if depth > ENTRY_DEPTH => counts.details += 1,
            Token::Other(b'{' | b'[') => {
                depth = depth.saturating_add(1);
                match depth {
                    STANZA_DEPTH => counts.stanzas += 1,
                    ENTRY_DEPTH if is_backup => counts.backups += 1,
                    ENTRY_DEPTH => counts.others += 1,
                    deeper if deeper > ENTRY_DEPTH => counts.details += 1,
                    _ => {}
                }
            }
            Token::Other(b'}' | b']') => depth = depth.saturating_sub(1),
            Token::Text(_) | Token::Other(_) => {}
        }
    }
    counts.weight()
}

/// Of an object in the list.
const STANZA_DEPTH: u32 = 2;
/// Of an object in a list of a stanza.
const ENTRY_DEPTH: u32 = 4;

#[derive(Default)]
struct Counts {
    stanzas: u64,
    backups: u64,
    others: u64,
    details: u64,
    unclean: u64,
}

impl Counts {
    fn weight(&self) -> u64 {
        let usual = (self.stanzas + self.backups).saturating_mul(USUAL_DETAILS);
        let parts = [
            (self.stanzas, STANZA),
            (self.backups, BACKUP),
            (self.others, OTHER),
            (self.details.saturating_sub(usual), DETAIL),
            (self.unclean, REPAIRED),
        ];
        parts.iter().fold(0, |sum, (count, each)| sum.saturating_add(count.saturating_mul(*each)))
    }
}

fn of_listing(listing: &[u8]) -> u64 {
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for token in Tokens(listing) {
        match token {
            Token::Text(text) => bytes += text.len() as u64 + 1,
            Token::Other(byte) => files += u64::from(matches!(byte, b'{' | b'[')),
        }
    }
    files.saturating_mul(FILE).saturating_add(bytes)
}

/// Splits JSON, valid or not, into strings and the bytes between them.
struct Tokens<'a>(&'a [u8]);

enum Token<'a> {
    /// A string without its quotes, as it is printed.
    Text(&'a [u8]),
    Other(u8),
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        if *byte != b'"' {
            return Some(Token::Other(*byte));
        }
        let mut end = 0;
        while let Some(found) = rest.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            end += found;
            if let (text, [b'"', rest @ ..]) = rest.split_at(end) {
                self.0 = rest;
                return Some(Token::Text(text));
            }
            // What follows a backslash ends nothing.
            end += 2;
        }
        self.0 = &[];
        Some(Token::Text(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stanza_counts_however_short() {
        let tiny = br#"{"name":"a"},"#.repeat(1000);
        let document = [b"P00   WARN: [[[[\n[", tiny.as_slice(), br#"{"name":"a"}]"#].concat();
        assert_eq!(of(&document), 1001 * STANZA);
        assert_eq!(of(br#"[["a"],["b"]]"#), 2 * STANZA, "a list is read as a structure, too");
        assert_eq!(of(b"[]"), 0);
        assert_eq!(of(br#"[{"name":"[{[{"}]"#), STANZA, "text is no structure");
    }

    #[test]
    fn backups_are_told_from_the_rest() {
        let of_list = |name: &str| {
            of(format!(r#"[{{"name":"db","{name}":[{{"a":1}},{{"b":2}}],"status":{{"lock":{{}}}}}}]"#)
                .as_bytes())
        };
        assert_eq!(of_list("backup"), STANZA + 2 * BACKUP + OTHER);
        assert_eq!(of_list("repo"), STANZA + 3 * OTHER);
        assert_eq!(of_list("\\u0062ackup"), of_list("backup"));
    }

    #[test]
    fn details_and_repairs_count_beyond_the_usual() {
        let annotations = r#""a":"","#.repeat(1000);
        let many = format!(r#"[{{"backup":[{{"annotation":{{{annotations}"x":""}}}}]}}]"#);
        assert!(of(many.as_bytes()) > 900 * DETAIL);
        let text = [b"[\"".as_slice(), &[0xff; 100], b"\"]"].concat();
        assert_eq!(of(&text), 100 * REPAIRED);
        let real = include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/info/2.60.0/one_repo_full_diff_incr.json"
        ));
        assert!(of(real) < STANZA + 3 * BACKUP + 8 * OTHER, "{}", of(real));
    }

    #[test]
    fn listings_count_by_file() {
        let listing = br#"{".":{"type":"path"},"a":{"type":"file","size":1}}"#;
        assert!((3 * FILE..4 * FILE).contains(&of(listing)), "{}", of(listing));
        let with_more = [listing.as_slice(), b"\n[]"].concat();
        assert!(of(&with_more) >= of(listing), "the rest makes it no document");
        assert_eq!(of(b"pgBackRest 2.45\n"), 0);
        assert_eq!(of(b""), 0);
    }
}
