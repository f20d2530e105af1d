//! pgBackRest's error classes, which are its exit codes.
//!
//! The list is `src/build/error/error.yaml` of pgBackRest; `file-missing` there is `FileMissingError` in messages.
//! Classes that only early 2.x releases had are included.

use serde::Serialize;

/// The message of pgBackRest 2.59 and later when run as root (exit code 31; `--allow-root` overrides it; pgBackRest
/// commit 0daf53da0). `restore` and `version` may run as root.
const ROOT_REFUSAL: &str = "must not be run as the root user";

/// Code and class, ascending by code.
const CLASSES: [(i32, &str); 84] = [
    (25, "AssertError"),
    (26, "ChecksumError"),
    (27, "ConfigError"),
    (28, "FileInvalidError"),
    (29, "FormatError"),
    (30, "CommandRequiredError"),
    (31, "OptionInvalidError"),
    (32, "OptionInvalidValueError"),
    (33, "OptionInvalidRangeError"),
    (34, "OptionInvalidPairError"),
    (35, "OptionDuplicateKeyError"),
    (36, "OptionNegateError"),
    (37, "OptionRequiredError"),
    (38, "PgRunningError"),
    (39, "ProtocolError"),
    (40, "PathNotEmptyError"),
    (41, "FileOpenError"),
    (42, "FileReadError"),
    (43, "ParamRequiredError"),
    (44, "ArchiveMismatchError"),
    (45, "ArchiveDuplicateError"),
    (46, "VersionNotSupportedError"),
    (47, "PathCreateError"),
    (48, "CommandInvalidError"),
    (49, "HostConnectError"),
    (50, "LockAcquireError"),
    (51, "BackupMismatchError"),
    (52, "FileSyncError"),
    (53, "PathOpenError"),
    (54, "PathSyncError"),
    (55, "FileMissingError"),
    (56, "DbConnectError"),
    (57, "DbQueryError"),
    (58, "DbMismatchError"),
    (59, "DbTimeoutError"),
    (60, "FileRemoveError"),
    (61, "PathRemoveError"),
    (62, "StopError"),
    (63, "TermError"),
    (64, "FileWriteError"),
    (66, "ProtocolTimeoutError"),
    (67, "FeatureNotSupportedError"),
    (68, "ArchiveCommandInvalidError"),
    (69, "LinkExpectedError"),
    (70, "LinkDestinationError"),
    (72, "HostInvalidError"),
    (73, "PathMissingError"),
    (74, "FileMoveError"),
    (75, "BackupSetInvalidError"),
    (76, "TablespaceMapError"),
    (77, "PathTypeError"),
    (78, "LinkMapError"),
    (79, "FileCloseError"),
    (80, "DbMissingError"),
    (81, "DbInvalidError"),
    (82, "ArchiveTimeoutError"),
    (83, "FileModeError"),
    (84, "OptionMultipleValueError"),
    (85, "ProtocolOutputRequiredError"),
    (86, "LinkOpenError"),
    (87, "ArchiveDisabledError"),
    (88, "FileOwnerError"),
    (89, "UserMissingError"),
    (90, "OptionCommandError"),
    (91, "GroupMissingError"),
    (92, "PathExistsError"),
    (93, "FileExistsError"),
    (94, "MemoryError"),
    (95, "CryptoError"),
    (96, "ParamInvalidError"),
    (97, "PathCloseError"),
    (98, "FileInfoError"),
    (99, "JsonFormatError"),
    (100, "KernelError"),
    (101, "ServiceError"),
    (102, "ExecuteError"),
    (103, "RepoInvalidError"),
    (104, "CommandError"),
    (105, "AccessError"),
    (106, "ClockError"),
    (122, "RuntimeError"),
    (123, "InvalidError"),
    (124, "UnhandledError"),
    (125, "UnknownError"),
];

/// The reason why a command failed, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Another backup, expire or stanza command holds the lock.
    LockConflict,
    /// WAL did not reach the repository in time.
    ArchiveTimeout,
    /// PostgreSQL cannot be reached or queried, or is not as expected.
    Database,
    /// The repository host or another pgBackRest process cannot be reached, or violates the protocol.
    RepoHost,
    /// The object store rejected the credentials.
    Access,
    /// The object store failed.
    Service,
    /// A wrong passphrase, or a broken certificate.
    Crypto,
    /// `pgbackrest stop` has been called.
    Stopped,
    /// Ended by SIGTERM or a similar signal.
    Terminated,
    /// A required file or path is missing.
    MissingFile,
    /// Reading or writing failed.
    Io,
    /// The same WAL segment was archived with two contents.
    ArchiveDuplicate,
    /// Cluster, archive and backup do not match.
    Mismatch,
    /// The command line or the configuration is wrong.
    Config,
    /// The command completed with errors.
    CompletedWithErrors,
    /// Killed by SIGKILL, for example when memory runs out.
    OomOrKill,
    /// Anything else.
    Other,
}

impl Reason {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LockConflict => "lock_conflict",
            Self::ArchiveTimeout => "archive_timeout",
            Self::Database => "database",
            Self::RepoHost => "repo_host",
            Self::Access => "access",
            Self::Service => "service",
            Self::Crypto => "crypto",
            Self::Stopped => "stopped",
            Self::Terminated => "terminated",
            Self::MissingFile => "missing_file",
            Self::Io => "io",
            Self::ArchiveDuplicate => "archive_duplicate",
            Self::Mismatch => "mismatch",
            Self::Config => "config",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::OomOrKill => "oom_or_kill",
            Self::Other => "other",
        }
    }
}

/// The class of an exit code, such as `CryptoError` for 95.
#[must_use]
pub fn name(code: i32) -> Option<&'static str> {
    CLASSES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The exit code of a class.
#[must_use]
pub fn code_of(name: &str) -> Option<i32> {
    CLASSES.iter().find(|(_, known)| *known == name).map(|(code, _)| *code)
}

/// The reason for an exit code other than 0; 129 and above as a shell reports a signal.
#[must_use]
pub const fn reason(code: i32) -> Reason {
    match code {
        50 => Reason::LockConflict,
        82 => Reason::ArchiveTimeout,
        56 | 57 | 59 | 80 | 81 => Reason::Database,
        39 | 49 | 66 => Reason::RepoHost,
        105 => Reason::Access,
        101 => Reason::Service,
        95 => Reason::Crypto,
        62 => Reason::Stopped,
        63 | 129 | 130 | 143 => Reason::Terminated,
        55 | 73 => Reason::MissingFile,
        41 | 42 | 47 | 52 | 53 | 54 | 60 | 61 | 64 | 74 | 79 | 97 | 98 => Reason::Io,
        45 => Reason::ArchiveDuplicate,
        44 | 51 | 58 => Reason::Mismatch,
        27 | 30..=37 | 43 | 48 | 72 | 84 | 90 | 96 => Reason::Config,
        104 => Reason::CompletedWithErrors,
        137 => Reason::OomOrKill,
        _ => Reason::Other,
    }
}

/// The first class in brackets in a status message of `info`, such as `[CryptoError]`.
///
/// Only classes from pgBackRest's list are found, so the result can be a label.
#[must_use]
pub fn class_in(message: &str) -> Option<&'static str> {
    message.split('[').skip(1).find_map(|rest| {
        let (word, _) = rest.split_once(']')?;
        CLASSES.iter().map(|(_, name)| *name).find(|name| *name == word)
    })
}

/// Whether pgBackRest refused to run as root. The message is on stdout, because options are not applied yet (see
/// [`super::sanitize`]); programs in front of pgBackRest may move it to stderr.
#[must_use]
pub fn is_root_refusal(code: i32, stdout: &str, stderr: &str) -> bool {
    code == 31 && (stdout.contains(ROOT_REFUSAL) || stderr.contains(ROOT_REFUSAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_ascending() {
        for (one, next) in CLASSES.iter().zip(&CLASSES[1..]) {
            assert!(one.0 < next.0, "{one:?} {next:?}");
        }
        for (code, class) in CLASSES {
            assert_eq!((name(code), code_of(class)), (Some(class), Some(code)));
            assert!(class.ends_with("Error") && class.bytes().all(|byte| byte.is_ascii_alphabetic()));
        }
        for code in [-1, 0, 1, 24, 65, 71, 107, 121, 126, 137] {
            assert_eq!(name(code), None, "{code}");
        }
        assert_eq!(code_of("cryptoerror"), None);
    }

    #[test]
    fn each_code_has_its_reason() {
        let table = [
            (50, "lock_conflict"),
            (82, "archive_timeout"),
            (56, "database"),
            (57, "database"),
            (49, "repo_host"),
            (39, "repo_host"),
            (105, "access"),
            (101, "service"),
            (95, "crypto"),
            (62, "stopped"),
            (63, "terminated"),
            (143, "terminated"),
            (55, "missing_file"),
            (73, "missing_file"),
            (41, "io"),
            (42, "io"),
            (52, "io"),
            (64, "io"),
            (45, "archive_duplicate"),
            (44, "mismatch"),
            (58, "mismatch"),
            (51, "mismatch"),
            (31, "config"),
            (32, "config"),
            (37, "config"),
            (27, "config"),
            (104, "completed_with_errors"),
            (137, "oom_or_kill"),
            (25, "other"),
            (1, "other"),
            (-1, "other"),
        ];
        for (code, word) in table {
            assert_eq!(reason(code).as_str(), word, "{code}");
            assert_eq!(serde_json::to_value(reason(code)).unwrap(), word);
        }
    }

    #[test]
    fn the_class_is_found_in_a_status_message() {
        let table = [
            ("ok", None),
            (
                "[HostConnectError] unable to connect to '127.0.0.1:1': [111] Connection refused",
                Some("HostConnectError"),
            ),
            ("unable to open [2] x: [FileMissingError] gone", Some("FileMissingError")),
            ("[InventedError] x", None),
            ("[]", None),
            ("[[CryptoError]", Some("CryptoError")),
            ("[CryptoError", None),
            ("CryptoError: unable to flush", None),
            ("[FormatError] first\n[CryptoError] second", Some("FormatError")),
        ];
        for (message, class) in table {
            assert_eq!(class_in(message), class, "{message}");
        }
    }

    #[test]
    fn the_refusal_of_root_is_recognised() {
        let message = "P00  ERROR: [031]: the 'info' command must not be run as the root user";
        assert!(is_root_refusal(31, message, ""));
        assert!(is_root_refusal(31, "", message));
        assert!(!is_root_refusal(0, message, ""));
        assert!(!is_root_refusal(31, "P00  ERROR: [031]: invalid option '--x'", ""));
    }
}
