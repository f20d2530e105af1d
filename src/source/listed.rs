//! Which backups `info` lists at the moment.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::pgbackrest::command::InfoQuery;
use crate::state::snapshot::RepoState;

use super::call;
use super::local::Local;
use super::process::Limits;

const TIMEOUT: Duration = Duration::from_mins(1);

/// The labels of the backups in a repository, 0 for the only one of old versions. None if that is not known.
pub async fn labels(local: &Local, stanza: &str, repo: u32) -> Option<BTreeSet<String>> {
    let query = InfoQuery { stanza: Some(stanza.to_owned()), repo: (repo > 0).then_some(repo), set: None };
    let answer = call::info(local, &query, &Limits::with_timeout(TIMEOUT)).await.answer?.ok()?;
    let repo = answer.stanzas.iter().find(|found| &*found.name == stanza)?.repo(repo)?;
    matches!(repo.state, RepoState::Ok | RepoState::NoValidBackups)
        .then(|| repo.backups.iter().map(|backup| backup.label.to_string()).collect())
}
