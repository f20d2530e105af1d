//! Status files of archiving: PostgreSQL's in `pg_wal/archive_status`, and those of asynchronous `archive-push` in
//! `archive/STANZA/out` below `spool-path`.
//!
//! `NAME.ready` means that NAME is waiting to be archived. `NAME.ok` means that `archive-push` has processed NAME and will report
//! success to PostgreSQL; `NAME.error` means that it failed, and `global.error` that it failed before processing any file. An error,
//! and a warning in an `.ok` file, consists of a line with an exit code, followed by a message (`src/command/archive/common.c`, the
//! same in 2.45 and 2.59). Files that are dropped because of `archive-push-queue-max` have an `.ok` file with such a warning.

use super::archive::ArchiveFile;
use super::exit_code;
use super::redact::Said;
use super::wal::WalSegment;

/// pgBackRest's default of `spool-path`.
pub const DEFAULT_PATH: &str = "/var/spool/pgbackrest";
/// Maximum length of a message.
const MESSAGE_LIMIT: usize = 400;
/// The beginning of the warning about a dropped file (`archivePushDropWarning` in `src/command/archive/push/push.c`).
const DROPPED: &str = "dropped WAL file '";
/// Errors that only collect other errors, each with its class in brackets.
const COLLECTIVE: [&str; 2] = ["RepoInvalidError", "CommandError"];

/// A file in the spool of `archive-push`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolFile<'a> {
    /// This WAL file has been processed.
    Ok(&'a str),
    /// This WAL file failed; all files if absent.
    Error(Option<&'a str>),
}

impl<'a> SpoolFile<'a> {
    /// Classifies a file by its name.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        if name == "global.error" {
            return Some(Self::Error(None));
        }
        let (file, status) = name.rsplit_once('.')?;
        match status {
            _ if !is_archived(file) => None,
            "ok" => Some(Self::Ok(file)),
            "error" => Some(Self::Error(Some(file))),
            _ => None,
        }
    }
}

/// The waiting WAL file, from the name of a file in `archive_status`.
#[must_use]
pub fn waiting(name: &str) -> Option<&str> {
    name.strip_suffix(".ready").filter(|file| is_archived(file))
}

/// Segments, partial ones, histories and backup labels.
fn is_archived(file: &str) -> bool {
    WalSegment::parse(file).is_some()
        || !matches!(ArchiveFile::parse(file), ArchiveFile::Other | ArchiveFile::Segment { .. })
}

/// An error of `archive-push`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolError {
    /// pgBackRest's error class; that of the first repository if the error only collects those of repositories.
    pub class: &'static str,
    /// One line, redacted.
    pub message: String,
}

/// Reads an `.error` file.
#[must_use]
pub fn error(content: &str) -> Option<SpoolError> {
    let (code, message) = content.split_once('\n')?;
    let class = exit_code::name(code.trim().parse().ok()?)?;
    let inner = if COLLECTIVE.contains(&class) { exit_code::class_in(message) } else { None };
    Some(SpoolError { class: inner.unwrap_or(class), message: Said::new(message).one_line(MESSAGE_LIMIT) })
}

/// Whether, according to an `.ok` file, its WAL file was dropped instead of archived.
#[must_use]
pub fn is_drop(content: &str) -> bool {
    content.split_once('\n').is_some_and(|(code, message)| code == "0" && message.starts_with(DROPPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: &str = "00000001000000000000000A";

    #[test]
    fn names_say_what_is_waiting_and_what_is_done() {
        for file in [SEGMENT, "00000002.history", "00000001000000000000000A.partial"] {
            assert_eq!(waiting(&format!("{file}.ready")), Some(file));
            assert_eq!(SpoolFile::parse(&format!("{file}.ok")), Some(SpoolFile::Ok(file)));
            assert_eq!(SpoolFile::parse(&format!("{file}.error")), Some(SpoolFile::Error(Some(file))));
        }
        assert_eq!(
            waiting("00000001000000000000000A.00000028.backup.ready"),
            Some("00000001000000000000000A.00000028.backup")
        );
        assert_eq!(SpoolFile::parse("global.error"), Some(SpoolFile::Error(None)));
        for name in ["00000001000000000000000A.done", "x.ready", ".ready", "", "00000001000000000000000A"] {
            assert_eq!((waiting(name), SpoolFile::parse(name)), (None, None), "{name}");
        }
        for name in ["global.ok", "x.ok", "00000001000000000000000A.pgbackrest.tmp", ".error"] {
            assert_eq!(SpoolFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn errors_have_a_class_and_a_message() {
        let read = |content: &str| error(content).map(|error| (error.class, error.message));
        let said = |class, message: &str| Some((class, message.to_owned()));
        assert_eq!(
            read(
                "45\nWAL file '00000001000000000000000A' already exists in the repo1 archive with a different checksum"
            ),
            said(
                "ArchiveDuplicateError",
                "WAL file '00000001000000000000000A' already exists in the repo1 archive with a different checksum"
            )
        );
        let several = "103\nunable to find a valid repository:\nrepo1: [ArchiveMismatchError] PostgreSQL version 15, system-id 7 do not match repo1 stanza version 14, system-id 8";
        assert_eq!(
            read(several),
            said(
                "ArchiveMismatchError",
                "unable to find a valid repository: repo1: [ArchiveMismatchError] PostgreSQL version 15, system-id 7 do not match repo1 stanza version 14, system-id 8"
            )
        );
        assert_eq!(
            read("104\narchive-push command encountered error(s):\nrepo2: [Invented] x")
                .map(|(class, _)| class),
            Some("CommandError")
        );
        for content in ["", "45", "x\ny", "9999\ny"] {
            assert_eq!(read(content), None, "{content}");
        }
        assert!(error(&format!("82\n{}", "x".repeat(10_000))).unwrap().message.len() <= MESSAGE_LIMIT);
    }

    #[test]
    fn only_the_warning_about_the_queue_is_a_drop() {
        let dropped = "0\ndropped WAL file '00000001000000000000000A' because archive queue exceeded 16MB";
        assert!(is_drop(dropped));
        for content in [
            "",
            "0\nWAL file 'X' already exists in the repo1 archive with the same checksum",
            "45\ndropped WAL file 'X'",
        ] {
            assert!(!is_drop(content), "{content}");
        }
    }
}
