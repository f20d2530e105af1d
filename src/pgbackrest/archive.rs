//! Names in a repository's WAL archive (`archive/STANZA/15-1`), and timeline history files.
//!
//! pgBackRest 2.60 keeps a segment as `NAME-SHA1[.EXTENSION]` in the directory named by the first 16 digits of NAME. The same
//! directories hold `NAME.partial-SHA1` and `NAME.OFFSET.backup`, which recovery does not read as segments. Histories are next
//! to the directories.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::wal::{Lsn, WalSegment};

/// Digits of a segment's checksum (SHA-1).
const CHECKSUM_DIGITS: usize = 40;
/// Extensions of compressed segments: `compress-type` of pgBackRest 2.60.
const COMPRESSIONS: [&str; 4] = ["bz2", "gz", "lz4", "zst"];

/// A file of the archive, identified by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFile<'a> {
    /// A whole segment.
    Segment {
        segment: WalSegment,
        /// 40 hexadecimal digits.
        checksum: &'a str,
        /// Extension without the dot; None where it is not compressed.
        compression: Option<&'a str>,
    },
    /// A segment that was incomplete when its timeline ended. Recovery does not read it.
    Partial,
    /// Start and stop of a backup, in a file named by its first segment.
    BackupLabel,
    /// `00000002.history`.
    History {
        /// The timeline that it describes.
        timeline: u32,
    },
    /// Anything else, such as a temporary file.
    Other,
}

impl<'a> ArchiveFile<'a> {
    /// Classifies a file by its name.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        if let Some((digits, "history")) = name.split_once('.') {
            return word(digits).map_or(Self::Other, |timeline| Self::History { timeline });
        }
        let Some((segment, rest)) = name.split_at_checked(24) else { return Self::Other };
        let Some(segment) = upper_hex(segment).and_then(WalSegment::parse) else { return Self::Other };
        if rest.starts_with(".partial") {
            return Self::Partial;
        }
        if is_backup_label(rest) {
            return Self::BackupLabel;
        }
        let Some((checksum, rest)) = rest.strip_prefix('-').and_then(|r| r.split_at_checked(CHECKSUM_DIGITS))
        else {
            return Self::Other;
        };
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let compression = rest.strip_prefix('.').filter(|extension| COMPRESSIONS.contains(extension));
        if !checksum.bytes().all(lower_hex) || (compression.is_none() && !rest.is_empty()) {
            return Self::Other;
        }
        Self::Segment { segment, checksum, compression }
    }
}

fn is_backup_label(rest: &str) -> bool {
    let offset = rest.strip_prefix('.').and_then(|rest| rest.split_once(".backup"));
    offset.is_some_and(|(offset, extension)| {
        word(offset).is_some() && (extension.is_empty() || extension.starts_with('.'))
    })
}

fn upper_hex(digits: &str) -> Option<&str> {
    digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)).then_some(digits)
}

fn word(digits: &str) -> Option<u32> {
    let digits = upper_hex(digits).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
}

/// A directory of segments: timeline and high word, 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DirectoryName {
    pub timeline: u32,
    /// High 32 bits of the positions of its segments.
    pub high: u32,
}

impl DirectoryName {
    /// Reads a name of exactly 16 digits.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (timeline, high) = name.split_at_checked(8)?;
        Some(Self { timeline: word(timeline)?, high: word(high)? })
    }
}

impl fmt::Display for DirectoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08X}{:08X}", self.timeline, self.high)
    }
}

/// Name of the archive of one database of a stanza, such as `15-1` or `9.6-2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ArchiveId {
    /// PostgreSQL's version, as in the name.
    pub version: String,
    /// Number of the database within the stanza.
    pub database_id: u64,
}

impl ArchiveId {
    /// Parses `VERSION-ID`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (version, id) = text.split_once('-')?;
        let mut parts = version.split('.');
        let is_number =
            |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_version = parts.next().is_some_and(is_number) && parts.next().is_none_or(is_number);
        if !is_version || parts.next().is_some() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let archive = Self { version: version.to_owned(), database_id: id.parse().ok()? };
        // `15-01` is another directory than `15-1`.
        (archive.to_string() == text).then_some(archive)
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.version, self.database_id)
    }
}

/// The history file of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineHistory {
    /// The timeline that it belongs to.
    pub timeline: u32,
    /// Its ancestors, oldest first.
    pub parents: Vec<Parent>,
}

/// An ancestor of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Parent {
    pub timeline: u32,
    /// The position where the next timeline branches off.
    pub switch: Lsn,
}

/// Why a history file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// More than [`TimelineHistory::MAX_BYTES`].
    #[error(
        "the history of timeline {timeline} has {bytes} bytes, but the limit is {}",
        TimelineHistory::MAX_BYTES
    )]
    TooLarge { timeline: u32, bytes: usize },
    /// A line without timeline and position.
    #[error("line {line} of the history of timeline {timeline} has no timeline and position")]
    Syntax {
        timeline: u32,
        /// Counted from 1.
        line: usize,
    },
    /// A timeline that is not greater than the previous one, or not an ancestor.
    #[error("line {line} of the history of timeline {timeline} lists timeline {parent} out of order")]
    Order {
        timeline: u32,
        /// Counted from 1.
        line: usize,
        /// The timeline in the line.
        parent: u32,
    },
    /// No ancestor, which only timeline 1 may lack.
    #[error("the history of timeline {timeline} contains no ancestor")]
    Empty { timeline: u32 },
}

impl TimelineHistory {
    /// The largest history file that is read. A line takes about 60 bytes.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Parses `TIMELINE POSITION [REASON]` lines like PostgreSQL's `readTimeLineHistory`: blank lines and comments
    /// (`#`) are ignored, and timelines ascend.
    pub fn parse(timeline: u32, text: &str) -> Result<Self, HistoryError> {
        if text.len() > Self::MAX_BYTES {
            return Err(HistoryError::TooLarge { timeline, bytes: text.len() });
        }
        let mut parents: Vec<Parent> = Vec::new();
        for (index, content) in text.lines().enumerate() {
            let line = index + 1;
            let mut fields = content.split_ascii_whitespace();
            let Some(first) = fields.next().filter(|first| !first.starts_with('#')) else { continue };
            let fields = || Some((first.parse::<u32>().ok()?, Lsn::parse(fields.next()?)?));
            let (parent, switch) = { fields }().ok_or(HistoryError::Syntax { timeline, line })?;
            let follows = parents.last().is_none_or(|last| last.timeline < parent);
            if parent == 0 || parent >= timeline || !follows {
                return Err(HistoryError::Order { timeline, line, parent });
            }
            parents.push(Parent { timeline: parent, switch });
        }
        if parents.is_empty() {
            return Err(HistoryError::Empty { timeline });
        }
        Ok(Self { timeline, parents: effective(parents) })
    }
}

/// The WAL that recovery reads of each ancestor. A restore on the way to a timeline can end before that timeline
/// began: PostgreSQL 15 still names it as the last ancestor, with a position before its start, and reads nothing of
/// it.
fn effective(mut parents: Vec<Parent>) -> Vec<Parent> {
    let mut left = Lsn(u64::MAX);
    for parent in parents.iter_mut().rev() {
        left = left.min(parent.switch);
        parent.switch = left;
    }
    parents.dedup_by_key(|parent| parent.switch);
    parents
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn only_whole_segments_are_segments() {
        let name = "00000001000000000000001D";
        for (extension, compression) in
            [("", None), (".gz", Some("gz")), (".zst", Some("zst")), (".lz4", Some("lz4"))]
        {
            let file = format!("{name}-{SHA}{extension}");
            let segment = WalSegment::parse(name).unwrap();
            assert_eq!(
                ArchiveFile::parse(&file),
                ArchiveFile::Segment { segment, checksum: SHA, compression }
            );
        }
        for (file, kind) in [
            (format!("{name}.partial-{SHA}.gz"), ArchiveFile::Partial),
            (format!("{name}.00000028.backup"), ArchiveFile::BackupLabel),
            (format!("{name}.00000028.backup.gz"), ArchiveFile::BackupLabel),
            ("0000000A.history".to_owned(), ArchiveFile::History { timeline: 10 }),
            (format!("{name}-{SHA}.gz.pgbackrest.tmp"), ArchiveFile::Other),
            (format!("{name}-{SHA}.xz"), ArchiveFile::Other),
            (format!("{name}-{}", SHA.to_uppercase()), ArchiveFile::Other),
            (format!("{}-{SHA}", name.to_lowercase()), ArchiveFile::Other),
            (format!("{name}-{}", &SHA[1..]), ArchiveFile::Other),
            (name.to_owned(), ArchiveFile::Other),
            ("0000000g.history".to_owned(), ArchiveFile::Other),
            ("archive.info".to_owned(), ArchiveFile::Other),
            ("00000001000000000000001ä".to_owned(), ArchiveFile::Other),
            (String::new(), ArchiveFile::Other),
        ] {
            assert_eq!(ArchiveFile::parse(&file), kind, "{file}");
        }
    }

    #[test]
    fn directories_and_archive_ids_survive_print_and_parse() {
        let directory = DirectoryName::parse("0000000200000A00").unwrap();
        assert_eq!((directory.timeline, directory.high), (2, 0xA00));
        assert_eq!(directory.to_string(), "0000000200000A00");
        for bad in ["", "0000000200000a00", "0000000200000A0", "0000000200000A000", "00000002.history"] {
            assert_eq!(DirectoryName::parse(bad), None, "{bad}");
        }
        for good in ["15-1", "9.6-12"] {
            assert_eq!(ArchiveId::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "15", "15-", "-1", "a-1", "15-1-2", "../15-1", "1.2.3-1", "15-+1", "15-01"] {
            assert_eq!(ArchiveId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn histories_are_read_as_postgresql_does() {
        let text = "# comment\n1\t0/3000110\tno recovery target specified\n\n  3\t1/A0\tbefore 2026-01-01 10:00:00+00\n";
        let parents = TimelineHistory::parse(4, text).unwrap().parents;
        let expected = [(1, "0/3000110"), (3, "1/A0")];
        let expected = expected.map(|(timeline, at)| Parent { timeline, switch: Lsn::parse(at).unwrap() });
        assert_eq!(parents, expected);
    }

    #[test]
    fn an_ancestor_that_was_left_before_it_began_gives_nothing() {
        let parents = |text| TimelineHistory::parse(5, text).unwrap().parents;
        let at = |timeline, switch| Parent { timeline, switch: Lsn(switch) };
        assert_eq!(parents("1\t0/20\n3\t0/10\n"), [at(1, 0x10)]);
        assert_eq!(parents("1\t0/8\n2\t0/20\n3\t0/10\n"), [at(1, 8), at(2, 0x10)]);
        assert_eq!(parents("1\t0/20\n3\t0/10\n4\t0/30\n"), [at(1, 0x10), at(4, 0x30)]);
    }

    #[test]
    fn broken_histories_say_what_is_wrong() {
        let order = |line, parent| HistoryError::Order { timeline: 3, line, parent };
        for (text, error) in [
            ("", HistoryError::Empty { timeline: 3 }),
            ("# only\n", HistoryError::Empty { timeline: 3 }),
            ("x", HistoryError::Syntax { timeline: 3, line: 1 }),
            ("1\t0/1\n2", HistoryError::Syntax { timeline: 3, line: 2 }),
            ("1 nowhere", HistoryError::Syntax { timeline: 3, line: 1 }),
            ("2\t0/1\n1\t0/2", order(2, 1)),
            ("3\t0/1", order(1, 3)),
            ("0\t0/1", order(1, 0)),
        ] {
            assert_eq!(TimelineHistory::parse(3, text), Err(error), "{text}");
        }
        let long = "#".repeat(TimelineHistory::MAX_BYTES + 1);
        assert!(matches!(TimelineHistory::parse(3, &long), Err(HistoryError::TooLarge { .. })));
    }
}
