//! Which backups get their own series: the cardinality limits.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::cluster::key::Key;
use crate::pgbackrest::label::BackupType;
use crate::state::snapshot::{Backup, Repo, Snapshot, Stanza};

use super::catalogue::{self, compat};
use super::facts::Facts;
use super::options::{BackupDetail, Options};

/// A backup with its location.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected<'a> {
    pub(super) cluster: Option<&'a Arc<Key>>,
    pub(super) stanza: &'a Stanza,
    pub(super) repo: &'a Repo,
    pub(super) backup: &'a Backup,
}

/// The backups with their own series, and how many the limit omits.
pub(super) struct Selection<'a> {
    pub(super) backups: Vec<Selected<'a>>,
    hidden: usize,
}

impl<'a> Selection<'a> {
    pub(super) fn of(facts: &'a Facts, options: &Options) -> Self {
        let mut selection = Self { backups: Vec::new(), hidden: 0 };
        let of_part = |(cluster, snapshot): (_, &'a Snapshot)| {
            snapshot.stanzas.iter().map(move |stanza| (cluster, stanza))
        };
        for (cluster, stanza) in facts.parts().flat_map(of_part) {
            let repos = stanza.repos.iter();
            let mut wanted: Vec<_> = repos.flat_map(|repo| of_repo(cluster, stanza, repo, options)).collect();
            let limit = options.max_backups_per_stanza;
            if limit > 0 && wanted.len() > limit {
                selection.hidden += wanted.len() - limit;
                keep_newest(&mut wanted, limit);
            }
            selection.backups.append(&mut wanted);
        }
        selection
    }

    /// The number of series that the limit omits.
    pub(super) fn hidden_series(&self, options: &Options) -> u64 {
        let per_backup = catalogue::all()
            .filter(|metric| metric.per_backup && options.exposes(metric))
            .map(|metric| if metric.name == compat::BACKUP_REFERENCES.name { 3 } else { 1 })
            .sum::<u64>();
        per_backup.saturating_mul(self.hidden.try_into().unwrap_or(u64::MAX))
    }
}

fn of_repo<'a>(
    cluster: Option<&'a Arc<Key>>,
    stanza: &'a Stanza,
    repo: &'a Repo,
    options: &Options,
) -> Vec<Selected<'a>> {
    let selected = |backup| Selected { cluster, stanza, repo, backup };
    match options.backup_detail {
        BackupDetail::All => {
            let exposed = repo.backups.iter().filter(|backup| options.exposes_type(backup.backup_type));
            exposed.map(selected).collect()
        }
        BackupDetail::Last => {
            let types = BackupType::ALL.into_iter().filter(|kind| options.exposes_type(*kind));
            types.filter_map(|kind| repo.newest(kind)).map(selected).collect()
        }
        BackupDetail::None => Vec::new(),
    }
}

/// Preserves the order, so that the output changes as little as possible between scrapes.
fn keep_newest(backups: &mut Vec<Selected<'_>>, limit: usize) {
    let mut by_age: Vec<usize> = (0..backups.len()).collect();
    by_age.sort_by_key(|index| Reverse(backups.get(*index).map(|selected| selected.backup.stop)));
    let mut keep = vec![false; backups.len()];
    for index in by_age.into_iter().take(limit) {
        if let Some(keep) = keep.get_mut(index) {
            *keep = true;
        }
    }
    let mut keep = keep.into_iter();
    backups.retain(|_| keep.next().unwrap_or(false));
}
