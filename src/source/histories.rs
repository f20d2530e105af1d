//! Timelines that `info` does not show, because nothing but their history file is archived yet.

use crate::pgbackrest::archive::ArchiveFile;
use crate::pgbackrest::command::RepoQuery;
use crate::pgbackrest::repository::RepoPath;
use crate::pgbackrest::wal::WalSegment;
use crate::state::restore;
use crate::state::snapshot::{Archive, Repo, Snapshot, Stanza};

use super::call::{Runner, repo_ls};
use super::process::Limits;

/// Whether only a scan of the archives tells which timeline a point in time is on. Takes one call for each repository.
pub async fn needs_scan(snapshot: &Snapshot, runner: &dyn Runner, limits: &Limits) -> bool {
    for stanza in &snapshot.stanzas {
        if restore::needs_scan(stanza) || has_unseen_timeline(runner, stanza, limits).await {
            return true;
        }
    }
    false
}

/// Whether an archive of the current database has the history file of a later timeline than its newest segment, or cannot be
/// listed.
async fn has_unseen_timeline(runner: &dyn Runner, stanza: &Stanza, limits: &Limits) -> bool {
    // Key 0: pgBackRest before 2.32 cannot list.
    for repo in stanza.repos.iter().filter(|repo| repo.is_up() && repo.key > 0) {
        for archive in of_current_database(repo) {
            if is_unseen_in(runner, stanza, repo.key, archive, limits).await.unwrap_or(true) {
                return true;
            }
        }
    }
    false
}

fn of_current_database(repo: &Repo) -> impl Iterator<Item = &Archive> {
    let current = repo.current_database_id();
    repo.archives.iter().filter(move |archive| Some(archive.database_id) == current)
}

async fn is_unseen_in(
    runner: &dyn Runner,
    stanza: &Stanza,
    repo: u32,
    archive: &Archive,
    limits: &Limits,
) -> Option<bool> {
    let newest = WalSegment::parse(archive.max.as_deref()?)?.timeline;
    let path = RepoPath::archive(&stanza.name, &[&archive.id])?;
    let query = RepoQuery { stanza: stanza.name.to_string(), repo, path };
    let entries = repo_ls(runner, &query, limits).await.answer?.ok()?;
    let is_later = |name: &String| matches!(ArchiveFile::parse(name), ArchiveFile::History { timeline } if timeline > newest);
    Some(entries.keys().any(is_later))
}
