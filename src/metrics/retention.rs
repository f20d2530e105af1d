//! Configured retention beside what is kept.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::state::retention::{self, Verdict};
use crate::state::snapshot::Snapshot;

use super::backup::type_labels;
use super::catalogue::{Metric, backups as catalogue};
use super::compat::each_repo;
use super::family::{Families, Value};

/// The configured window.
pub(super) fn write(families: &mut Families<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
    families.family(&catalogue::RETENTION_WINDOW_SECONDS, |family| {
        each_repo(snapshot, |stanza, repo| {
            family.add_known(&[repo.key.into(), (&*stanza.name).into()], retention::window(repo))
        })
    })
}

/// Whether retention is met at `now`: a young repository is given time.
pub(super) fn write_verdicts(
    families: &mut Families<'_, '_>,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> fmt::Result {
    per_verdict(families, snapshot, now, &catalogue::RETENTION_BACKUPS_REQUIRED, |verdict| verdict.required)?;
    per_verdict(families, snapshot, now, &catalogue::RETENTION_SATISFIED, |verdict| verdict.satisfied)
}

fn per_verdict<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
    metric: &Metric,
    value: fn(&Verdict) -> V,
) -> fmt::Result {
    families.family(metric, |family| {
        each_repo(snapshot, |stanza, repo| {
            retention::verdicts(repo, now).iter().try_for_each(|verdict| {
                family.add(&type_labels(stanza, repo, verdict.backup_type), value(verdict))
            })
        })
    })
}
