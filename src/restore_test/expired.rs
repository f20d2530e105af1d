//! Whether `expire` has removed the backup while it was tested: what is missing then is no fault of it.

use std::time::Duration;

use crate::pgbackrest::command::InfoQuery;
use crate::source::call;
use crate::source::local::Local;
use crate::source::process::Limits;
use crate::state::proofs::reason::{Reason, ReasonClass};
use crate::state::snapshot::RepoState;

use super::stop::Stop;

const TIMEOUT: Duration = Duration::from_mins(1);

/// A better reason, if the backup is no longer listed.
pub(super) async fn reason(
    reason: &Reason,
    local: &Local,
    (stanza, repo, label): (&str, u32, &str),
) -> Option<Stop> {
    let is_about_files = matches!(
        reason.class,
        ReasonClass::MissingBackup
            | ReasonClass::DamagedBackup
            | ReasonClass::MissingWal
            | ReasonClass::DamagedWal
    );
    if !is_about_files || is_listed(local, (stanza, repo, label)).await != Some(false) {
        return None;
    }
    let message = format!("backup {label} was removed during the test, probably by expire");
    Some(Stop::new(ReasonClass::Expired, message))
}

/// None if that is not known.
async fn is_listed(local: &Local, (stanza, repo, label): (&str, u32, &str)) -> Option<bool> {
    let query = InfoQuery { stanza: Some(stanza.to_owned()), repo: (repo > 0).then_some(repo), set: None };
    let answer = call::info(local, &query, &Limits::with_timeout(TIMEOUT)).await.answer?.ok()?;
    let repo = answer.stanzas.iter().find(|found| &*found.name == stanza)?.repo(repo)?;
    matches!(repo.state, RepoState::Ok | RepoState::NoValidBackups)
        .then(|| repo.backups.iter().any(|backup| backup.label == label))
}
