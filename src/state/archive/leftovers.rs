//! Files of incomplete backups in a repository.

use serde::Serialize;

use crate::pgbackrest::label::BackupLabel;

use super::listing::Listing;

/// A directory of a backup that is not in `backup.info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// Its name, the label that the backup would have.
    pub label: String,
    /// Bytes of its files; absent if unknown.
    pub bytes: Option<u64>,
    /// It is newer than every backup: the next backup resumes or removes it. Otherwise `expire` does.
    pub is_newest: bool,
}

/// Directories of incomplete backups, oldest first; None if directories were not listed.
///
/// `is_known` returns whether a backup exists or existed when the listing was made. With `may_run`, the newest directory is omitted,
/// because it may belong to a running backup.
#[must_use]
pub fn leftovers(listing: &Listing, is_known: impl Fn(&str) -> bool, may_run: bool) -> Option<Vec<Leftover>> {
    let labels = listing.backup_directories.as_ref()?;
    let labels: Vec<&String> = labels.iter().filter(|label| BackupLabel::parse(label).is_some()).collect();
    let newest = labels.len().checked_sub(1);
    let is_newest = |at: usize| Some(at) == newest;
    let is_running = |at: usize| may_run && is_newest(at);
    let unknown = labels.iter().enumerate().filter(|(at, label)| !(is_known(label) || is_running(*at)));
    let leftover = |(at, label): (usize, &&String)| Leftover {
        label: (*label).clone(),
        bytes: listing.leftover_bytes.get(*label).copied().flatten(),
        is_newest: is_newest(at),
    };
    Some(unknown.map(leftover).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::examples::day;
    use super::*;
    use crate::pgbackrest::archive::ArchiveId;

    #[test]
    fn only_the_newest_directory_may_be_that_of_a_running_backup() {
        let [old, backup, new] = ["20260101-000000F", "20260102-000000F", "20260103-000000F"];
        let mut listing = Listing::new(ArchiveId::parse("15-1").unwrap(), day(9));
        let is_known = |label: &str| label == backup;
        assert_eq!(leftovers(&listing, is_known, false), None);
        let names = [old, backup, new, "backup.history", "latest"];
        listing.backup_directories = Some(names.map(str::to_owned).into());
        listing.leftover_bytes = [(old.to_owned(), Some(7)), (new.to_owned(), None)].into();
        let leftover = |label: &str, bytes, is_newest| Leftover { label: label.to_owned(), bytes, is_newest };
        let first = leftover(old, Some(7), false);
        assert_eq!(leftovers(&listing, is_known, true), Some(vec![first.clone()]));
        assert_eq!(leftovers(&listing, is_known, false), Some(vec![first, leftover(new, None, true)]));
        assert_eq!(leftovers(&listing, |_| true, false), Some(Vec::new()));
    }
}
