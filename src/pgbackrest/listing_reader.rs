//! Reads the output of `repo-ls --output=json` while it is printed: a recursive listing of a WAL archive is too large to be kept.

use serde::de::{Error as _, IgnoredAny};

use super::repository::{Entries, Entry, EntryKind, ListingError};
use super::sanitize;

/// Reads entries in the order in which they are printed.
#[derive(Debug, Default)]
pub struct ListingReader {
    state: State,
    /// An entry, as a document of its own.
    document: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Lines of the log may come before the document.
    #[default]
    Log,
    Entries,
    End,
}

impl ListingReader {
    /// Reads the entries of which `text` contains all, and hands on each with its name. Returns how many bytes were read; the rest
    /// must be passed again, with what follows it.
    ///
    /// # Errors
    /// This is not a listing.
    pub fn read(&mut self, text: &[u8], mut take: impl FnMut(String, Entry)) -> Result<usize, ListingError> {
        let mut at = 0;
        if self.state == State::Log {
            let answer = sanitize::split_log(text).1.trim_ascii_start();
            match answer.first() {
                Some(b'{') => at = text.len() - answer.len() + 1,
                // A line of the log that is not complete yet.
                None | Some(b'P') => return Ok(0),
                Some(_) => return Err(not_a_listing(answer)),
            }
            self.state = State::Entries;
        }
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let is_between = |byte: &&u8| byte.is_ascii_whitespace() || **byte == b',';
            let between = rest.iter().take_while(is_between).count();
            let rest = rest.get(between..).unwrap_or_default();
            match (self.state, rest.first()) {
                (_, None) => return Ok(at + between),
                (State::Entries, Some(b'}')) => {
                    self.state = State::End;
                    at += between + 1;
                }
                (State::Entries, Some(b'"')) => {
                    let Some(length) = length_of_entry(rest) else { return Ok(at + between) };
                    let (name, entry) = self.entry(rest.get(..length).unwrap_or_default())?;
                    if name != "." {
                        take(name, entry);
                    } else if entry.kind != EntryKind::Path {
                        return Err(ListingError::NotADirectory(entry.kind));
                    }
                    at += between + length;
                }
                _ => return Err(not_a_listing(rest)),
            }
        }
    }

    /// Whether the listing was read to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    fn entry(&mut self, text: &[u8]) -> Result<(String, Entry), ListingError> {
        self.document.clear();
        self.document.push(b'{');
        self.document.extend_from_slice(text);
        self.document.push(b'}');
        let mut entries: Entries = serde_json::from_slice(&self.document)?;
        entries.pop_first().ok_or_else(|| not_a_listing(text))
    }
}

/// Bytes of `"name":{…}`; none if its end is still to come.
fn length_of_entry(text: &[u8]) -> Option<usize> {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn not_a_listing(text: &[u8]) -> ListingError {
    let error = match serde_json::from_slice::<IgnoredAny>(text) {
        Err(error) => error,
        Ok(_) => serde_json::Error::custom("it is not an object with an entry for each file"),
    };
    ListingError::Unreadable(error)
}

#[cfg(test)]
mod tests {
    use super::super::repository::parse_listing;
    use super::*;

    const LISTING: &str = r#"{".":{"type":"path"},"0000000100000000":{"type":"path"},
        "0000000100000000/a \"}{,\\":{"type":"file","size":2,"time":1795445548,"new":[{"x":1}]},"l":{"type":"link","destination":"}"}}
"#;

    /// Hands over `step` bytes more at a time.
    fn read(text: &[u8], step: usize) -> Result<(Vec<(String, Entry)>, bool), ListingError> {
        let (mut reader, mut entries, mut kept) = (ListingReader::default(), Vec::new(), Vec::new());
        for piece in text.chunks(step) {
            kept.extend_from_slice(piece);
            let parsed = reader.read(&kept, |name, entry| entries.push((name, entry)))?;
            kept.drain(..parsed);
        }
        Ok((entries, reader.is_complete() && kept.is_empty()))
    }

    #[test]
    fn entries_are_read_however_the_text_is_cut() {
        let log = "P00   WARN: environment contains invalid option 'x'\n          and more\nP00   INFO: y\n";
        for text in [LISTING.to_owned(), format!("{log}{LISTING}")] {
            for step in 1..=text.len() {
                let (entries, is_complete) = read(text.as_bytes(), step).unwrap();
                assert!(is_complete, "{step}");
                assert_eq!(entries.len(), 3);
                let expected = parse_listing(LISTING.as_bytes()).unwrap();
                assert_eq!(entries.into_iter().collect::<Entries>(), expected, "{step}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_not_complete() {
        let end = LISTING.trim_end().len();
        for length in 0..end {
            let (entries, is_complete) = read(&LISTING.as_bytes()[..length], 7).unwrap();
            assert!(!is_complete && entries.len() <= 3, "{length}");
        }
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        for text in [
            "[]",
            "true",
            "<html>",
            r#"{"a":{}}"#,
            r#"{"a":{"type":"file","size":-1}}"#,
            r#"{"a":1}}"#,
            "{]",
            r#"{".":{"type":"file","size":2,"time":1}}"#,
            "{}{}",
            r#"{"a":{"type":"path"}} x"#,
        ] {
            read(text.as_bytes(), 3).map(|_| ()).expect_err(text);
        }
        assert_eq!(read(b"{}", 1).unwrap(), (Vec::new(), true));
    }
}
