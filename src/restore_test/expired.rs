//! Whether `expire` has removed the backup while it was tested: what is missing then is no fault of it.

use crate::source::listed;
use crate::source::local::Local;
use crate::state::proofs::reason::{Reason, ReasonClass};

use super::stop::Stop;

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
    if !is_about_files || listed::labels(local, stanza, repo).await?.contains(label) {
        return None;
    }
    let message = format!("backup {label} was removed during the test, probably by expire");
    Some(Stop::new(ReasonClass::Expired, message))
}
