//! Whether an error of PostgreSQL is the fault of the backup, and which. Pure.

use crate::state::proofs::reason::ReasonClass;

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

#[cfg(test)]
mod tests {
    use super::*;

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
