//! What the records of restore tests show about each repository: results, which backups were restored, and how long a recovery takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::pgbackrest::label::BackupType;

use super::filter::UNLISTED;
use super::records::Records;
use super::recovery_time;
use super::snapshot::{Repo, Snapshot, Stanza};
use super::test_history::{Coverage, RestoreTests, TestHistory};

mod words;

pub use words::{
    checks_words, coverage_words, estimate_words, lines, outcome_words, recovery_time_words, restored_words,
    target_name,
};

/// Writes into the snapshot what the records show about its repositories. Must run after the listings were evaluated.
pub fn judge_into(snapshot: &mut Snapshot, records: &Records<TestHistory>) {
    snapshot.collection.restore_tests = records.health().cloned();
    for stanza in snapshot.stanzas.iter_mut().filter(|stanza| *stanza.name != *UNLISTED) {
        let found: Vec<Option<Arc<RestoreTests>>> = stanza
            .repos
            .iter()
            .map(|repo| {
                let history = records.of_repo(&stanza.name, repo.key)?;
                Some(Arc::new(of_repo(stanza, repo, history)))
            })
            .collect();
        for (repo, found) in stanza.repos.iter_mut().zip(found) {
            repo.restore_tests = found;
        }
    }
}

fn of_repo(stanza: &Stanza, repo: &Repo, history: &Arc<TestHistory>) -> RestoreTests {
    RestoreTests {
        coverage: coverage(repo, &history.passed),
        recovery_time: recovery_time::of(stanza, repo, &history.measurements),
        history: Arc::clone(history),
    }
}

fn coverage(repo: &Repo, passed: &BTreeSet<String>) -> Option<Coverage> {
    if !repo.knows_backups() {
        return None;
    }
    let stops = || {
        let tested = repo.dated_backups().filter(|backup| passed.contains(&*backup.label));
        tested.map(|backup| backup.stop)
    };
    let full = || repo.backups.iter().filter(|backup| backup.backup_type == BackupType::Full);
    Some(Coverage {
        newest_backup: stops().max(),
        oldest_backup: stops().min(),
        full_backups: full().count() as u64,
        tested_full_backups: full().filter(|backup| passed.contains(&*backup.label)).count() as u64,
    })
}

#[cfg(test)]
mod tests;
