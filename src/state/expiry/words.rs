//! What `expire` will remove, in words.

use super::super::human;
use super::super::removal::{Expiry, Removal};
use super::super::snapshot::Repo;

/// One line for each occasion on which more is removed than now; none if nothing is known to be removed.
#[must_use]
pub fn lines(expiry: &Expiry) -> Vec<String> {
    let mut lines = Vec::new();
    if !expiry.now.is_empty() {
        lines.push(format!("if expire ran now: {}", words(&expiry.now)));
    }
    let what = |removal: &Removal| (removal.backups.len(), removal.wal_bytes);
    let is_more = |removal: &&Removal| !removal.is_empty() && what(removal) != what(&expiry.now);
    if let Some(aged) = expiry.aged.as_ref().filter(|aged| is_more(&&aged.removal)) {
        lines.push(format!(
            "with the first backup after {}: {}",
            human::instant(aged.at),
            words(&aged.removal)
        ));
    }
    for (backup_type, removal) in expiry.after_backup.iter().filter(|(_, removal)| is_more(removal)) {
        lines.push(format!("after the next {} backup: {}", backup_type.as_str(), words(removal)));
    }
    lines
}

/// `2, 1.5 GiB` for the directories of incomplete backups; None if there are none.
#[must_use]
pub fn leftovers_words(repo: &Repo) -> Option<String> {
    let leftovers = repo.leftovers.as_deref().filter(|leftovers| !leftovers.is_empty())?;
    let bytes: Option<u64> = leftovers.iter().map(|leftover| leftover.bytes).sum();
    let size = bytes.map_or_else(String::new, |bytes| format!(", {}", human::bytes(bytes)));
    Some(format!("{}{size}", leftovers.len()))
}

fn words(removal: &Removal) -> String {
    let backups = match removal.backups.as_slice() {
        [] => None,
        [label] => Some(human::line(label, 60)),
        [label, others @ ..] => Some(format!("{} and {} more", human::line(label, 60), others.len())),
    };
    let backups = backups.map(|labels| match removal.backup_bytes {
        Some(bytes) => format!("{labels} ({})", human::bytes(bytes)),
        None => labels,
    });
    let wal =
        removal.wal_bytes.filter(|bytes| *bytes > 0).map(|bytes| format!("{} of WAL", human::bytes(bytes)));
    let all: Vec<String> = backups.into_iter().chain(wal).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::super::examples::day;
    use super::super::super::removal::Aged;
    use super::*;
    use crate::pgbackrest::label::BackupType;

    fn removal(labels: &[&str], backup_bytes: Option<u64>, wal_bytes: Option<u64>) -> Removal {
        let backups = labels.iter().map(|label| (*label).into()).collect();
        Removal { backups, backup_bytes, wal_bytes, ..Removal::default() }
    }

    #[test]
    fn only_what_is_removed_is_reported() {
        let nothing = removal(&[], Some(0), None);
        let mut expiry = Expiry {
            now: nothing.clone(),
            after_backup: [(BackupType::Incr, nothing.clone())].into(),
            aged: Some(Aged {
                at: day(3),
                removal: removal(&["20260101-000000F"], Some(1 << 20), Some(1 << 30)),
            }),
            is_retention_reached: Some(true),
            overdue_since: None,
        };
        assert_eq!(
            lines(&expiry),
            [
                "with the first backup after 2026-01-04 00:00:00 UTC: 20260101-000000F (1.0 MiB), 1.0 GiB of WAL"
            ]
        );
        let two = removal(&["20260101-000000F", "20260102-000000F"], None, None);
        (expiry.aged, expiry.now) = (None, removal(&[], Some(0), Some(1024)));
        expiry.after_backup.insert(BackupType::Full, two);
        assert_eq!(
            lines(&expiry),
            ["if expire ran now: 1.0 KiB of WAL", "after the next full backup: 20260101-000000F and 1 more"]
        );
    }
}
