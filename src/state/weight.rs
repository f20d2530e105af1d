//! Estimates the memory that facts take.

use super::snapshot::{Backup, Repo, Snapshot, Stanza};

/// What a label takes on the heap, beside its text.
const LABEL: usize = 32;
/// What is derived from a repository and kept with it: its expiry, recovery and continuity.
const DERIVED: usize = 1024;

/// Bytes of a snapshot.
#[must_use]
pub fn of_snapshot(snapshot: &Snapshot) -> u64 {
    of_stanzas(&snapshot.stanzas)
}

/// Bytes of facts about stanzas.
#[must_use]
pub fn of_stanzas(stanzas: &[Stanza]) -> u64 {
    stanzas.iter().fold(0, |sum, stanza| sum.saturating_add(of_stanza(stanza) as u64))
}

fn of_stanza(stanza: &Stanza) -> usize {
    let repos: usize = stanza.repos.iter().map(of_repo).sum();
    size_of::<Stanza>() + stanza.name.len() + stanza.status_message.len() + repos
}

fn of_repo(repo: &Repo) -> usize {
    let backups: usize = repo.backups.iter().map(of_backup).sum();
    let archives = repo.archives.iter().map(|archive| {
        let names = [&archive.min, &archive.max].into_iter().flatten();
        size_of_val(archive) + archive.id.len() + names.map(String::len).sum::<usize>()
    });
    let databases = repo.databases.iter().map(|database| size_of_val(database) + database.version.len());
    let lists = archives.chain(databases).sum::<usize>();
    size_of::<Repo>() + DERIVED + repo.status_message.len() + lists + backups
}

fn of_backup(backup: &Backup) -> usize {
    size_of::<Backup>() + LABEL + backup.label.len()
}

#[cfg(test)]
mod tests {
    use crate::pgbackrest::info::{InfoBackup, InfoStanza};
    use crate::pgbackrest::weight;

    use super::super::examples::{backup, day, repo, stanza};
    use super::*;

    #[test]
    fn a_document_is_not_lighter_than_what_is_made_of_it() {
        // A list that grows is copied into one of twice the size.
        let in_list = |size: usize| 2 * size as u64;
        let facts = of_stanzas(&[stanza(vec![repo(1, Vec::new())])]);
        let stanza_alone = weight::of(b"[{}]");
        assert!(in_list(size_of::<InfoStanza<'_>>()) + facts <= stanza_alone, "{facts} {stanza_alone}");
        let with_backup = weight::of(br#"[{"backup":[{}]}]"#) - stanza_alone;
        let fact = of_backup(&backup("20260101-000000F", day(0), 1)) as u64;
        assert!(in_list(size_of::<InfoBackup<'_>>()) + fact <= with_backup, "{fact} {with_backup}");
    }
}
