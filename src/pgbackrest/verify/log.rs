//! The log of `verify` at level detail: which files are missing or damaged, and which WAL is there.

use std::collections::BTreeMap;

use crate::pgbackrest::archive::ArchiveId;
use crate::pgbackrest::archive_get::{self, ErrorLog, ErrorMessage};
use crate::pgbackrest::label::BackupLabel;
use crate::pgbackrest::wal::WalSegment;
use crate::text;

/// Files that are named.
const MAX_FILES: usize = 100;
/// Characters of a path.
const MAX_PATH: usize = 300;
/// Archives whose WAL is followed.
const MAX_ARCHIVES: usize = 100;
/// Runs of segments of an archive.
const MAX_RUNS: usize = 10_000;

/// Parts of the errors of a storage that does not answer, in messages without a code about a file that could not be loaded.
const TROUBLE: [&str; 6] = [
    "Permission denied",
    "Input/output error",
    "unable to connect",
    "timeout",
    "HTTP request failed",
    "unexpected eof",
];

/// What the log tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The first files with a fault, each path once.
    pub files: Vec<FileFault>,
    /// Faults of files that are not among them.
    pub more_faults: u64,
    /// Segments of each archive with several files of different content.
    pub duplicates: BTreeMap<ArchiveId, u64>,
    /// The WAL of each archive.
    pub wal: BTreeMap<ArchiveId, Span>,
    /// Whether a file with information about backups or WAL could not be loaded for a reason that says nothing about it.
    pub has_trouble: bool,
    /// Whether there are archives of databases that the stanza does not know.
    pub has_unlisted_archives: bool,
    /// The error that ended the command.
    pub error: Option<ErrorMessage>,
}

/// A file that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// Below the backups or the archive of the stanza, such as `20260101-000000F/pg_data/base/1/2619.gz`. On one line.
    pub path: String,
    pub fault: LogFault,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFault {
    Missing,
    Checksum,
    Size,
    /// It could not be read to the end. The code of the error, if there is one.
    Other(Option<i32>),
}

/// The WAL of an archive: the first and the last segment of each run of consecutive segments on one timeline, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    runs: Vec<(WalSegment, WalSegment)>,
    has_more: bool,
}

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    Backup(&'a str),
    Archive,
}

impl Log {
    /// Reads what `verify` printed on stderr.
    #[must_use]
    pub fn parse(stderr: &[u8]) -> Self {
        let (mut log, mut errors) = (Self::default(), ErrorLog::default());
        let text = String::from_utf8_lossy(stderr);
        for line in text.lines() {
            let is_beginning = archive_get::is_beginning(line);
            let _ = errors.read(line, is_beginning);
            if is_beginning {
                log.read(line);
            }
        }
        log.error = errors.last;
        log
    }

    fn read(&mut self, line: &str) {
        let message = |level| archive_get::message(line, level);
        // The same message has the level WARN if it is about WAL, which may have been removed by `expire`.
        if let Some(message) = message("INFO").or_else(|| message("WARN")) {
            if let Some((path, fault)) = fault(message) {
                self.add_file(path, fault);
            } else if let Some(archive) = duplicate(message) {
                self.duplicates.entry(archive).and_modify(|count| *count += 1).or_insert(1);
            } else {
                self.has_unlisted_archives |= message.ends_with("' are not in the archive.info history list");
            }
        } else if let Some(message) = message("DETAIL") {
            match run(message) {
                Some((archive, first, last)) => {
                    if self.wal.contains_key(&archive) || self.wal.len() < MAX_ARCHIVES {
                        self.wal.entry(archive).or_default().add(first, last);
                    }
                }
                None => self.has_trouble |= TROUBLE.iter().any(|part| message.contains(part)),
            }
        }
    }

    fn add_file(&mut self, path: &str, fault: LogFault) {
        let path = text::escaped(path, MAX_PATH);
        if self.files.iter().any(|file| file.path == path) {
            return;
        }
        if self.files.len() < MAX_FILES && Place::of(&path).is_some() {
            self.files.push(FileFault { path, fault });
        } else {
            self.more_faults += 1;
        }
    }
}

impl<'a> Place<'a> {
    /// None if it is not a path in a repository.
    #[must_use]
    pub fn of(path: &'a str) -> Option<Self> {
        let (first, _) = path.split_once('/')?;
        if BackupLabel::parse(first).is_some() {
            return Some(Self::Backup(first));
        }
        ArchiveId::parse(first).map(|_| Self::Archive)
    }
}

impl Span {
    fn add(&mut self, first: WalSegment, last: WalSegment) {
        if self.runs.len() < MAX_RUNS {
            self.runs.push((first, last));
        } else {
            self.has_more = true;
        }
    }

    /// Places within a timeline where segments are missing. None if not all runs are known.
    #[must_use]
    pub fn gaps(&self) -> Option<u64> {
        let is_gap = |pair: &&[(WalSegment, WalSegment)]| matches!(pair, [(_, before), (next, _)] if before.timeline == next.timeline);
        (!self.has_more).then(|| self.runs.windows(2).filter(is_gap).count() as u64)
    }

    /// Whether no segment from the first to the last is missing. None if not all runs are known.
    #[must_use]
    pub fn contains(&self, first: WalSegment, last: WalSegment) -> Option<bool> {
        let is_in = self.runs.iter().any(|(start, stop)| *start <= first && last <= *stop);
        if is_in { Some(true) } else { (!self.has_more).then_some(false) }
    }
}

/// `invalid checksum '20260101-000000F/pg_data/PG_VERSION.gz'`, or `invalid result 15-1/…: [29] zlib threw error`.
fn fault(message: &str) -> Option<(&str, LogFault)> {
    const QUOTED: [(&str, LogFault); 4] = [
        ("file missing '", LogFault::Missing),
        ("invalid checksum '", LogFault::Checksum),
        ("invalid size '", LogFault::Size),
        ("invalid result '", LogFault::Other(None)),
    ];
    for (start, fault) in QUOTED {
        if let Some(path) = message.strip_prefix(start).and_then(|rest| rest.strip_suffix('\'')) {
            return Some((path, fault));
        }
    }
    let (path, error) = message.strip_prefix("invalid result ")?.split_once(": [")?;
    let code = error.split_once(']').and_then(|(code, _)| code.parse().ok());
    Some((path, LogFault::Other(code)))
}

/// `duplicate WAL '000000010000000000000004' for '15-1' exists, skipping`
fn duplicate(message: &str) -> Option<ArchiveId> {
    let (_, rest) = message.strip_prefix("duplicate WAL '")?.split_once("' for '")?;
    ArchiveId::parse(rest.strip_suffix("' exists, skipping")?)
}

/// `archiveId: 15-1, wal start: 000000010000000000000001, wal stop: 000000010000000000000003`
fn run(message: &str) -> Option<(ArchiveId, WalSegment, WalSegment)> {
    let (archive, rest) = message.strip_prefix("archiveId: ")?.split_once(", wal start: ")?;
    let (first, last) = rest.split_once(", wal stop: ")?;
    Some((ArchiveId::parse(archive)?, WalSegment::parse(first)?, WalSegment::parse(last)?))
}
