//! Lines of the log of a PostgreSQL that recovers, with `lc_messages` C and an empty `log_line_prefix`.
//!
//! The messages are those of `xlog.c`, `xlogrecovery.c`, `xlogreader.c` and `xlogarchive.c` of PostgreSQL 12 to 18.

use crate::pgbackrest::wal::Lsn;

use super::copy::SIZED;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A file was fetched from the archive.
    Restored { file: &'a str },
    /// The copy is consistent.
    Consistent,
    /// Queries can be made.
    Ready,
    /// The target was found.
    Stopping,
    /// Recovery has paused, at the target or because a setting is too small.
    Paused,
    /// A setting is smaller than the WAL requires.
    TooSmall { setting: &'static str, needed: u64 },
    /// Recovery has ended, and the copy is no standby any more.
    Promoted,
    /// WAL could not be read: it ends there, or it is damaged.
    Invalid { record: InvalidRecord<'a> },
    /// The server or one of its processes gives up.
    Fatal { message: &'a str },
    /// More about it.
    Detail { message: &'a str },
}

/// Why a WAL record could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRecord<'a> {
    pub message: &'a str,
    /// There are zeros where it would start, as at the end of the last WAL.
    pub is_end: bool,
}

/// The beginnings of messages of `xlogreader.c` about what a record, a page or a segment contains.
const INVALID: [&str; 21] = [
    "invalid record offset at ",
    "contrecord is requested by ",
    "invalid record length at ",
    "there is no contrecord flag at ",
    "invalid contrecord length ",
    "record length ",
    "invalid resource manager ID ",
    "record with incorrect prev-link ",
    "incorrect resource manager data checksum in record at ",
    "invalid magic number ",
    "invalid info bits ",
    "WAL file is from different database system",
    "unexpected pageaddr ",
    "out-of-sequence timeline ID ",
    "out-of-order block_id ",
    "BKPBLOCK_",
    "BKPIMAGE_",
    "invalid block_id ",
    "record with invalid length at ",
    "could not decompress image at ",
    "invalid image at ",
];

/// Whether a line begins a message, or a part of one.
#[must_use]
pub fn is_beginning(line: &str) -> bool {
    const LEVELS: [&str; 11] = [
        "LOG",
        "FATAL",
        "PANIC",
        "ERROR",
        "WARNING",
        "NOTICE",
        "INFO",
        "DETAIL",
        "HINT",
        "CONTEXT",
        "STATEMENT",
    ];
    line.split_once(":  ").is_some_and(|(level, _)| LEVELS.contains(&level))
}

/// Reads a line; None if it says nothing of these.
#[must_use]
pub fn event(line: &str) -> Option<Event<'_>> {
    let (level, message) = line.split_once(":  ")?;
    match level {
        "LOG" => of_log(message),
        "FATAL" | "PANIC" => Some(too_small(message).unwrap_or(Event::Fatal { message })),
        "WARNING" => is_too_small(message).then_some(Event::Paused),
        "DETAIL" => Some(too_small(message).unwrap_or(Event::Detail { message })),
        "CONTEXT" => Some(Event::Detail { message }),
        _ => None,
    }
}

fn of_log(message: &str) -> Option<Event<'_>> {
    let restored = message.strip_prefix("restored log file \"").and_then(|rest| rest.split_once('"'));
    if let Some((file, _)) = restored {
        return Some(Event::Restored { file });
    }
    if message.starts_with("consistent recovery state reached at ") {
        return Some(Event::Consistent);
    }
    // PostgreSQL 14 and later write the hyphen.
    if message.starts_with("database system is ready to accept read") {
        return Some(Event::Ready);
    }
    if message.starts_with("selected new timeline ID: ") {
        return Some(Event::Promoted);
    }
    if message.starts_with("recovery stopping ") {
        return Some(Event::Stopping);
    }
    if message.starts_with("pausing at the end of recovery") || message.starts_with("recovery has paused") {
        return Some(Event::Paused);
    }
    let is_end = message.starts_with("invalid record length at ") && message.ends_with(" got 0");
    let is_invalid = INVALID.iter().any(|start| message.starts_with(start));
    is_invalid.then_some(Event::Invalid { record: InvalidRecord { message, is_end } })
}

fn is_too_small(message: &str) -> bool {
    message.starts_with("hot standby is not possible because of insufficient parameter settings")
}

/// `max_connections = 100 is a lower setting than on the primary server, where its value was 200.` PostgreSQL 13 and earlier:
/// `hot standby is not possible because max_connections = 100 is a lower setting than on the master server (its value was 200)`.
fn too_small(message: &str) -> Option<Event<'static>> {
    let message = message.strip_prefix("hot standby is not possible because ").unwrap_or(message);
    let (name, rest) = message.split_once(" = ")?;
    let setting = SIZED.into_iter().find(|setting| *setting == name)?;
    let (_, rest) = rest.split_once(" is a lower setting than on the ")?;
    let (_, needed) = rest.split_once("its value was ")?;
    let needed = needed.trim_end_matches(['.', ')']).parse().ok()?;
    Some(Event::TooSmall { setting, needed })
}

/// The position in a message such as `consistent recovery state reached at 0/2000100`.
#[must_use]
pub fn position(message: &str) -> Option<Lsn> {
    message.split_whitespace().find_map(|word| Lsn::parse(word.trim_end_matches([',', ':', '.'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recovery_does_is_recognised() {
        let table = [
            (
                "LOG:  restored log file \"000000010000000000000002\" from archive",
                Some(Event::Restored { file: "000000010000000000000002" }),
            ),
            ("LOG:  consistent recovery state reached at 0/2000100", Some(Event::Consistent)),
            ("LOG:  database system is ready to accept read-only connections", Some(Event::Ready)),
            ("LOG:  database system is ready to accept read only connections", Some(Event::Ready)),
            (
                "LOG:  recovery stopping before commit of transaction 739, time 2026-11-22 09:30:00.1+00",
                Some(Event::Stopping),
            ),
            ("LOG:  recovery stopping after reaching consistency", Some(Event::Stopping)),
            ("LOG:  pausing at the end of recovery", Some(Event::Paused)),
            ("LOG:  recovery has paused", Some(Event::Paused)),
            (
                "WARNING:  hot standby is not possible because of insufficient parameter settings",
                Some(Event::Paused),
            ),
            (
                "DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its value was 200.",
                Some(Event::TooSmall { setting: "max_connections", needed: 200 }),
            ),
            (
                "FATAL:  hot standby is not possible because max_connections = 100 is a lower setting than on the master server \
                 (its value was 200)",
                Some(Event::TooSmall { setting: "max_connections", needed: 200 }),
            ),
            ("LOG:  selected new timeline ID: 3", Some(Event::Promoted)),
            ("DETAIL:  other", Some(Event::Detail { message: "other" })),
            ("CONTEXT:  WAL redo", Some(Event::Detail { message: "WAL redo" })),
            (
                "FATAL:  could not access file \"nosuch\": No such file or directory",
                Some(Event::Fatal { message: "could not access file \"nosuch\": No such file or directory" }),
            ),
            ("LOG:  redo starts at 0/2000028", None),
            ("INFO: found 000000010000000000000002 in the repo1: 15-1 archive", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(event(line), expected, "{line}");
        }
    }

    #[test]
    fn the_end_of_wal_is_told_from_damage() {
        let is_end = |line: &str| match event(line) {
            Some(Event::Invalid { record }) => Some(record.is_end),
            _ => None,
        };
        assert_eq!(is_end("LOG:  invalid record length at 0/5000060: wanted 24, got 0"), Some(true));
        assert_eq!(
            is_end("LOG:  invalid record length at 0/5000060: expected at least 24, got 0"),
            Some(true)
        );
        assert_eq!(is_end("LOG:  invalid record length at 0/5000060: wanted 24, got 7"), Some(false));
        assert_eq!(
            is_end("LOG:  incorrect resource manager data checksum in record at 0/5000060"),
            Some(false)
        );
        assert_eq!(position("invalid record length at 0/5000060: wanted 24, got 0"), Lsn::parse("0/5000060"));
    }
}
