//! Whether an error is the fault of the backup, and which. Pure.
//!
//! The repository's index was read before, so its passphrase is right: what cannot be decrypted afterwards is damaged.

use crate::pgbackrest::archive_get::ErrorMessage;
use crate::pgbackrest::exit_code;
use crate::state::proofs::reason::ReasonClass;

/// What pgBackRest was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
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

/// The class of an error of `restore` or `archive-get`.
pub(super) fn of_pgbackrest(error: &ErrorMessage, reading: Reading) -> ReasonClass {
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

/// Parts of PostgreSQL's messages, with the class of each. The first that fits counts.
const OF_POSTGRES: [(&[&str], ReasonClass); 28] = [
    (&["No space left on device"], ReasonClass::NoSpace),
    (&["Disk quota exceeded"], ReasonClass::NoSpace),
    // WAL creates a tablespace, in the place where the original database has it. There are its files, or it may not be written there.
    (&["for Tablespace/CREATE"], ReasonClass::Tablespace),
    (&["for Storage/CREATE: pg_tblspc/", "File exists"], ReasonClass::Tablespace),
    (&["\"pg_tblspc/", "Permission denied"], ReasonClass::Tablespace),
    (&["could not access file", "No such file or directory"], ReasonClass::MissingLibrary),
    (&["could not load library"], ReasonClass::MissingLibrary),
    (&["resource manager with ID", "not registered"], ReasonClass::MissingLibrary),
    (&["Permission denied"], ReasonClass::Permission),
    (&["Operation not permitted"], ReasonClass::Permission),
    (&["Read-only file system"], ReasonClass::Permission),
    (&["recovery target timeline", "does not exist"], ReasonClass::MissingWal),
    (&["could not locate required checkpoint record"], ReasonClass::MissingWal),
    (&["could not find redo location"], ReasonClass::MissingWal),
    (&["requested recovery stop point is before consistent recovery point"], ReasonClass::UnreachableTarget),
    (&["recovery ended before configured recovery target was reached"], ReasonClass::UnreachableTarget),
    (&["requested timeline"], ReasonClass::Mismatch),
    (&["WAL file is from different database system"], ReasonClass::Mismatch),
    (&["archive file", "has wrong size"], ReasonClass::DamagedWal),
    (&["WAL contains references to invalid pages"], ReasonClass::DamagedBackup),
    (&["invalid page in block"], ReasonClass::DamagedBackup),
    (&["incorrect checksum in control file"], ReasonClass::DamagedBackup),
    (&["invalid data in file \"backup_label\""], ReasonClass::DamagedBackup),
    (&["database files are incompatible with server"], ReasonClass::MissingPrograms),
    (&["unrecognized configuration parameter"], ReasonClass::Settings),
    (&["invalid value for parameter"], ReasonClass::Settings),
    (&["could not map anonymous shared memory"], ReasonClass::Settings),
    (&["could not create semaphores"], ReasonClass::Settings),
];

/// The class of a fatal error of PostgreSQL.
pub(super) fn of_postgres(message: &str) -> ReasonClass {
    let fits = |parts: &[&str]| parts.iter().all(|part| message.contains(part));
    OF_POSTGRES.iter().find(|(parts, _)| fits(parts)).map_or(ReasonClass::Unclassified, |(_, class)| *class)
}

/// Whether trying again later may help.
pub(super) const fn may_pass(class: ReasonClass) -> bool {
    matches!(class, ReasonClass::Repository | ReasonClass::Unclassified)
}

/// The exit code of pgBackRest without a message.
pub(super) fn of_exit(code: i32, reading: Reading) -> ReasonClass {
    if exit_code::name(code).is_some() { of_code(code, reading) } else { ReasonClass::Unclassified }
}

/// The exit code of `info`, which reads the whole configuration before it reads a repository.
pub(super) fn of_info(code: Option<i32>) -> ReasonClass {
    let class = code.map(|code| of_code(code, Reading::Backup));
    class.filter(|class| *class == ReasonClass::Configuration).unwrap_or(ReasonClass::Repository)
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

    #[test]
    fn a_missing_library_is_no_damage() {
        use ReasonClass as R;
        let table = [
            ("could not access file \"nosuch\": No such file or directory", R::MissingLibrary),
            ("resource manager with ID 128 not registered", R::MissingLibrary),
            ("recovery target timeline 9 does not exist", R::MissingWal),
            ("could not extend file \"base/1/2\": No space left on device", R::NoSpace),
            (
                "could not create directory \"/srv/a\": Permission denied: WAL redo at 0/3 for Tablespace/CREATE: 16390 \"/srv/a\"",
                R::Tablespace,
            ),
            (
                "could not create file \"pg_tblspc/16387/PG_15_202209061/5/16388\": File exists: WAL redo at 0/B003E0 for Storage/CREATE: \
                 pg_tblspc/16387/PG_15_202209061/5/16388",
                R::Tablespace,
            ),
            ("something new", R::Unclassified),
        ];
        for (message, class) in table {
            assert_eq!(of_postgres(message), class, "{message}");
        }
    }
}
