//! The backups of a stanza, and how they are taken out of a document while it is printed: they are most of it, and need not be kept.

use std::fmt;
use std::ops::Range;

use memchr::{memchr, memchr2};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::InfoBackup;

/// Bytes of a backup that is taken, of which reading can make ten times as many. Those that depend on 1,500 others have less.
const LONGEST: usize = 64 << 10;
/// Stands for a backup that was taken. It is valid where a backup is, and is none.
const TAKEN: &[u8] = b"true";

/// `[].backup`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InfoBackups<'a> {
    /// Those in the document.
    list: Vec<InfoBackup<'a>>,
    /// Number of those before them that were taken.
    taken: usize,
}

impl<'a> InfoBackups<'a> {
    /// Those in the document, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &InfoBackup<'a>> {
        self.list.iter()
    }

    /// Number of those that were taken, which are older.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// Whether the stanza has backups, in the document or not.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.taken > 0 || !self.list.is_empty()
    }

    pub(super) fn retain(&mut self, is_kept: impl FnMut(&InfoBackup<'a>) -> bool) {
        self.list.retain(is_kept);
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for InfoBackups<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BackupsVisitor)
    }
}

struct BackupsVisitor;

impl<'de> Visitor<'de> for BackupsVisitor {
    type Value = InfoBackups<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of backups")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<InfoBackups<'de>, A::Error> {
        let mut backups = InfoBackups::default();
        while let Some(Entry(backup)) = entries.next_element()? {
            match backup {
                None if backups.list.is_empty() => backups.taken += 1,
                None => return Err(A::Error::custom("not a backup")),
                Some(backup) => backups.list.push(backup),
            }
        }
        Ok(backups)
    }
}

/// None was taken.
struct Entry<'a>(Option<InfoBackup<'a>>);

impl<'de> Deserialize<'de> for Entry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a backup")
    }

    fn visit_bool<E: Error>(self, is_taken: bool) -> Result<Entry<'de>, E> {
        if is_taken { Ok(Entry(None)) } else { Err(E::custom("not a backup")) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry<'de>, A::Error> {
        InfoBackup::deserialize(MapAccessDeserializer::new(map)).map(|backup| Entry(Some(backup)))
    }
}

/// Takes backups out of what `info` prints, while it is printed.
///
/// Each backup that can be read is handed over and replaced. Everything else stays in the text as it was printed, whether it is valid or
/// not, so that [`super::parse_rest`] reads and judges it like a whole document: also the rest of a list from the first entry on that
/// was not taken, because what is before decides about what follows.
#[derive(Debug, Default)]
pub struct BackupReader {
    state: State,
    /// Bytes of the text that were read.
    at: usize,
    /// Bytes of text below which there is nothing to read.
    enough: usize,
    depth: usize,
    /// Of the stanza.
    place: usize,
    /// The last string in the stanza was `backup`.
    is_backup_key: bool,
    /// In a list of backups of which all were taken so far.
    is_in_backups: bool,
    expects_backup: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Lines of the log may come before the document.
    #[default]
    LineStart,
    Line,
    Document,
}

/// Of the list of stanzas.
const STANZAS: usize = 1;
/// Of a stanza.
const STANZA: usize = 2;
/// Of a list in a stanza.
const LIST: usize = 3;

impl BackupReader {
    /// Reads what `text` contains, which must not be changed otherwise between calls. `take` gets each backup with the place of its
    /// stanza, and returns whether it takes it.
    pub fn read(&mut self, text: &mut Vec<u8>, mut take: impl FnMut(usize, &InfoBackup<'_>) -> bool) {
        if text.len() < self.enough {
            return;
        }
        let mut cut = Cut { text, kept: 0, begins: 0 };
        let is_whole = self.read_on(&mut cut, &mut take);
        let removed = cut.finish();
        self.at -= removed;
        // What has no end yet is read again only when it is twice as long, so that the time for it grows with its length.
        let unread = text.len() - self.at;
        self.enough = if is_whole { 0 } else { self.at + 2 * unread };
    }

    /// Returns whether it was read to its end.
    fn read_on(&mut self, cut: &mut Cut<'_>, take: &mut impl FnMut(usize, &InfoBackup<'_>) -> bool) -> bool {
        while let Some(rest) = cut.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let mut is_taken = false;
            let length = match self.state {
                State::LineStart => self.line_start(rest),
                State::Line => Some(self.line(rest)),
                State::Document if self.expects_backup && rest.first() == Some(&b'{') => {
                    match next_backup(rest) {
                        Ok(Some((backup, length))) => {
                            is_taken = take(self.place, &backup);
                            (self.expects_backup, self.is_in_backups) = (false, is_taken);
                            Some(length)
                        }
                        Err(Incomplete) if rest.len() < LONGEST => None,
                        Ok(None) | Err(Incomplete) => {
                            self.is_in_backups = false;
                            self.step(rest)
                        }
                    }
                }
                State::Document => self.step(rest),
            };
            let Some(length) = length else { return false };
            if is_taken {
                cut.replace(self.at..self.at + length);
            }
            self.at += length;
        }
        true
    }

    /// As [`super::super::sanitize::document`] finds it: the first line that starts with `[`.
    fn line_start(&mut self, rest: &[u8]) -> Option<usize> {
        let is_indent = |byte: &&u8| **byte != b'\n' && byte.is_ascii_whitespace();
        let indent = rest.iter().take_while(is_indent).count();
        self.state = if *rest.get(indent)? == b'[' { State::Document } else { State::Line };
        Some(indent)
    }

    fn line(&mut self, rest: &[u8]) -> usize {
        let Some(end) = memchr(b'\n', rest) else { return rest.len() };
        self.state = State::LineStart;
        end + 1
    }

    /// Reads a string, or one other byte of the document. Returns its length, or none if its end is still to come.
    fn step(&mut self, rest: &[u8]) -> Option<usize> {
        let byte = *rest.first()?;
        match byte {
            b'"' => {
                let length = length_of_string(rest)?;
                if self.depth == STANZA {
                    self.is_backup_key = rest.get(..length) == Some(br#""backup""#);
                }
                self.expects_backup = false;
                return Some(length);
            }
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth == LIST {
                    self.is_in_backups = self.is_backup_key && byte == b'[';
                }
                self.expects_backup = self.depth == LIST && self.is_in_backups;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.expects_backup = false;
            }
            b',' => {
                self.place += usize::from(self.depth == STANZAS);
                self.is_backup_key &= self.depth > STANZA;
                self.expects_backup = self.depth == LIST && self.is_in_backups;
            }
            other => self.expects_backup &= other.is_ascii_whitespace(),
        }
        Some(1)
    }
}

/// The end is still to come.
struct Incomplete;

/// A backup with the length of its text; none if it is no backup, or one that must be repaired first.
fn next_backup(text: &[u8]) -> Result<Option<(InfoBackup<'_>, usize)>, Incomplete> {
    let text = text.get(..LONGEST).unwrap_or(text);
    let mut values = serde_json::Deserializer::from_slice(text).into_iter();
    match values.next() {
        Some(Ok(backup)) => {
            let length = values.byte_offset();
            // In what is not read, it may still be invalid.
            let is_clean = text.get(..length).is_some_and(|text| str::from_utf8(text).is_ok());
            Ok(is_clean.then_some((backup, length)))
        }
        Some(Err(error)) if error.is_eof() => Err(Incomplete),
        _ => Ok(None),
    }
}

/// With its quotes.
fn length_of_string(text: &[u8]) -> Option<usize> {
    let mut end = 1;
    loop {
        end += memchr2(b'"', b'\\', text.get(end..)?)?;
        if text.get(end) == Some(&b'"') {
            return Some(end + 1);
        }
        // What follows a backslash ends nothing.
        end += 2;
    }
}

/// A text of which parts are replaced. What is kept moves only once.
struct Cut<'a> {
    text: &'a mut Vec<u8>,
    /// Bytes at the beginning that are where they belong.
    kept: usize,
    /// Where that begins which is kept next.
    begins: usize,
}

impl Cut<'_> {
    /// By [`TAKEN`], which is shorter.
    fn replace(&mut self, part: Range<usize>) {
        self.keep(part.start);
        let end = self.kept + TAKEN.len();
        if let Some(place) = self.text.get_mut(self.kept..end) {
            place.copy_from_slice(TAKEN);
        }
        (self.kept, self.begins) = (end, part.end);
    }

    fn keep(&mut self, end: usize) {
        if self.kept != self.begins {
            self.text.copy_within(self.begins..end, self.kept);
        }
        self.kept += end - self.begins;
        self.begins = end;
    }

    /// Returns how many bytes shorter the text is.
    fn finish(mut self) -> usize {
        let length = self.text.len();
        self.keep(length);
        self.text.truncate(self.kept);
        length - self.kept
    }
}
