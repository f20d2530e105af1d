//! Whether what went wrong is the fault of a backup or of WAL, and which.
//!
//! The repository's index was read before, so its passphrase is right: what cannot be decrypted afterwards is damaged.

use crate::pgbackrest::archive_get::ErrorMessage;
use crate::pgbackrest::exit_code;

use super::human;
use super::proofs::ReasonClass;
use super::snapshot::{Repo, RepoState};

/// What pgBackRest was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Backup,
    Wal,
}

/// Errors of the system that are about this host: text, class.
const LOCAL: [(&str, ReasonClass); 7] = [
    ("[28] No space left on device", ReasonClass::NoSpace),
    ("[122] Disk quota exceeded", ReasonClass::NoSpace),
    ("[13] Permission denied", ReasonClass::Permission),
    ("[1] Operation not permitted", ReasonClass::Permission),
    ("[30] Read-only file system", ReasonClass::Permission),
    ("[110] Connection timed out", ReasonClass::Repository),
    ("[5] Input/output error", ReasonClass::Repository),
];

/// The class of an error of `restore`, `archive-get` or `verify`.
#[must_use]
pub fn of_pgbackrest(error: &ErrorMessage, reading: Reading) -> ReasonClass {
    if let Some((_, class)) = LOCAL.iter().find(|(text, _)| error.contains(text)) {
        return *class;
    }
    if error.contains("invalid page checksum") {
        return ReasonClass::DamagedPages;
    }
    // These only say that something else went wrong, which they quote: file read, no valid repository, execution of a command.
    let tells_another = matches!(error.code, 42 | 103 | 102);
    let quoted = tells_another.then(|| error.class_in()).flatten();
    of_code(quoted.unwrap_or(error.code), reading)
}

fn of_code(code: i32, reading: Reading) -> ReasonClass {
    let (damaged, missing) = match reading {
        Reading::Backup => (ReasonClass::DamagedBackup, ReasonClass::MissingBackup),
        Reading::Wal => (ReasonClass::DamagedWal, ReasonClass::MissingWal),
    };
    match code {
        26 | 28 | 29 | 45 | 95 | 99 => damaged,
        55 | 73 | 75 => missing,
        44 | 51 | 58 => ReasonClass::Mismatch,
        39 | 42 | 49 | 66 | 101 | 103 | 105 => ReasonClass::Repository,
        62 | 63 => ReasonClass::Interrupted,
        27 | 30..=37 | 43 | 46 | 48 | 69 | 70 | 72 | 76 | 78 | 80 | 81 | 84 | 90 | 96 => {
            ReasonClass::Configuration
        }
        _ => ReasonClass::Unclassified,
    }
}

/// The exit code of pgBackRest without a message.
#[must_use]
pub fn of_exit(code: i32, reading: Reading) -> ReasonClass {
    if exit_code::name(code).is_some() { of_code(code, reading) } else { ReasonClass::Unclassified }
}

/// The exit code of `info`, which reads the whole configuration before it reads a repository.
#[must_use]
pub fn of_info(code: Option<i32>) -> ReasonClass {
    let class = code.map(|code| of_code(code, Reading::Backup));
    class.filter(|class| *class == ReasonClass::Configuration).unwrap_or(ReasonClass::Repository)
}

/// Why nothing can be restored from a repository, or verified in it.
#[must_use]
pub fn of_repo(repo: &Repo) -> Option<(ReasonClass, String)> {
    let name = human::repo_name(repo.key);
    let has_cipher = repo.printed_cipher.as_deref().is_some_and(|cipher| cipher != "none");
    match repo.state {
        RepoState::Ok => None,
        RepoState::MissingStanzaPath
        | RepoState::NoValidBackups
        | RepoState::MissingStanzaData
        | RepoState::BackupNotFound => {
            Some((ReasonClass::NoBackup, format!("{name} contains no backup of this stanza")))
        }
        RepoState::Timeout => {
            Some((ReasonClass::Repository, format!("{name} did not answer in time; see `info`")))
        }
        RepoState::Other => Some(match repo.error {
            // With a wrong passphrase, the index is decrypted to garbage.
            Some(
                "CryptoError" | "FormatError" | "JsonFormatError" | "ChecksumError" | "FileInvalidError",
            ) if has_cipher => {
                (ReasonClass::WrongPassphrase, format!("{name} cannot be decrypted; check its cipher-pass"))
            }
            Some(
                class @ ("CryptoError" | "FormatError" | "JsonFormatError" | "ChecksumError"
                | "FileInvalidError"),
            ) => (
                ReasonClass::DamagedBackup,
                format!("{name} has a damaged index ({class}), or is encrypted; see `info`"),
            ),
            Some(class) => (ReasonClass::Repository, format!("{name} cannot be read ({class}); see `info`")),
            None => (ReasonClass::Repository, format!("{name} cannot be read; see `info`")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_never_told_as_trouble_of_this_host() {
        use ReasonClass as R;
        let table = [
            (
                26,
                "error restoring 'base/1/1': actual checksum 'a' does not match expected checksum 'b'",
                R::DamagedBackup,
                R::DamagedWal,
            ),
            (26, "invalid page checksum(s) found in file '/t/base/1/1'", R::DamagedPages, R::DamagedPages),
            (29, "zlib threw error: [-3] data error", R::DamagedBackup, R::DamagedWal),
            (95, "unable to flush", R::DamagedBackup, R::DamagedWal),
            (55, "unable to open missing file 'x' for read", R::MissingBackup, R::MissingWal),
            (
                42,
                "unable to get x:\n repo1: x [FormatError] zlib threw error",
                R::DamagedBackup,
                R::DamagedWal,
            ),
            (42, "unable to get x:\n repo1: x [HostConnectError] y", R::Repository, R::Repository),
            (64, "unable to write 'x': [28] No space left on device", R::NoSpace, R::NoSpace),
            (41, "unable to open file 'x' for read: [13] Permission denied", R::Permission, R::Permission),
            // Two contents of one segment.
            (45, "duplicates found for WAL segment x", R::DamagedBackup, R::DamagedWal),
            (49, "unable to connect", R::Repository, R::Repository),
            (
                103,
                "unable to find a valid repository:\n repo1: [CryptoError] x",
                R::DamagedBackup,
                R::DamagedWal,
            ),
            (31, "invalid option", R::Configuration, R::Configuration),
            (80, "database to include 'x' does not exist", R::Configuration, R::Configuration),
            (25, "x", R::Unclassified, R::Unclassified),
        ];
        for (code, text, of_backup, of_wal) in table {
            let mut lines = text.lines();
            let mut error =
                ErrorMessage::new(code, &format!("P00  ERROR: [{code:03}]: {}", lines.next().unwrap()));
            lines.for_each(|line| error.push(line));
            assert_eq!(of_pgbackrest(&error, Reading::Backup), of_backup, "{text}");
            assert_eq!(of_pgbackrest(&error, Reading::Wal), of_wal, "{text}");
        }
    }

    #[test]
    fn an_option_that_is_not_valid_is_no_trouble_of_the_repository() {
        let classes = [Some(32), Some(49), None].map(of_info);
        assert_eq!(classes, [ReasonClass::Configuration, ReasonClass::Repository, ReasonClass::Repository]);
    }
}
