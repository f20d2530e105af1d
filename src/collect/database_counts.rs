//! How many databases each backup contains. Takes one call per backup, once: a backup does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::pgbackrest::command::InfoQuery;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::{Feature, Version};
use crate::state::merge::Target;
use crate::state::snapshot::{RepoState, Snapshot, Stanza};

use super::settings::DatabaseCounts;

/// One backup in one repository of one stanza.
type Key = (Arc<str>, u32, Arc<str>);

/// What is known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    known: Arc<BTreeMap<Key, u32>>,
}

/// A backup whose databases are not counted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UncountedBackup {
    stanza: Arc<str>,
    pub(super) repo: u32,
    pub(super) label: Arc<str>,
}

impl UncountedBackup {
    /// What must answer for this; if it hangs, no more is asked of it.
    pub(super) fn target(&self) -> Target {
        Target { stanza: Some(self.stanza.clone()), repo: Some(self.repo) }
    }

    pub(super) fn query(&self) -> InfoQuery {
        InfoQuery {
            stanza: Some(self.stanza.to_string()),
            repo: (self.repo > 0).then_some(self.repo),
            set: Some(self.label.to_string()),
        }
    }
}

impl Counts {
    /// Writes what is known into the snapshot.
    pub(super) fn fill(&self, snapshot: &mut Snapshot) {
        if self.known.is_empty() {
            return;
        }
        for stanza in &mut snapshot.stanzas {
            for repo in &mut stanza.repos {
                let new = repo.backups.iter().enumerate().filter_map(|(place, backup)| {
                    let key = (stanza.name.clone(), repo.key, backup.label.clone());
                    let count = self.known.get(&key).copied()?;
                    (backup.databases != Some(count)).then_some((place, count))
                });
                // Backups that are not changed are not copied.
                for (place, count) in new.collect::<Vec<_>>() {
                    if let Some(backup) = repo.backups.get_mut(place) {
                        backup.databases = Some(count);
                    }
                }
            }
        }
    }

    /// What is to be counted, newest backups first. Forgets backups that no longer exist.
    pub(super) fn missing(
        &mut self,
        snapshot: &Snapshot,
        which: DatabaseCounts,
        version: Option<Version>,
    ) -> Vec<UncountedBackup> {
        if which == DatabaseCounts::Off || version.is_some_and(|version| !version.has(Feature::Annotation)) {
            self.known = Arc::default();
            return Vec::new();
        }
        let (mut wanted, mut kept) = (Vec::new(), BTreeSet::new());
        for stanza in &snapshot.stanzas {
            for repo in &stanza.repos {
                let newest = BackupType::ALL.map(|backup_type| repo.newest(backup_type));
                let is_newest = |label: &str| newest.iter().flatten().any(|backup| *backup.label == *label);
                for backup in &repo.backups {
                    let key = (stanza.name.clone(), repo.key, backup.label.clone());
                    let asked_for = which == DatabaseCounts::All || is_newest(&backup.label);
                    if asked_for && repo.state == RepoState::Ok && !self.known.contains_key(&key) {
                        wanted.push((backup.stop, key.clone()));
                    }
                    kept.insert(key);
                }
            }
        }
        Arc::make_mut(&mut self.known).retain(|key, _| kept.contains(key));
        wanted.sort_by(|one, other| other.cmp(one));
        wanted.into_iter().map(|(_, (stanza, repo, label))| UncountedBackup { stanza, repo, label }).collect()
    }

    /// Takes an answer. False if it contains no count.
    pub(super) fn learn(&mut self, backup: UncountedBackup, stanzas: &[Stanza]) -> bool {
        let answer = stanzas
            .iter()
            .filter(|stanza| stanza.name == backup.stanza)
            .flat_map(|stanza| &stanza.repos)
            .filter(|repo| repo.key == backup.repo)
            .flat_map(|repo| &repo.backups)
            .find(|listed| listed.label == backup.label)
            .and_then(|listed| listed.databases);
        if let Some(count) = answer {
            Arc::make_mut(&mut self.known).insert((backup.stanza, backup.repo, backup.label), count);
        }
        answer.is_some()
    }
}
