//! Configured retention compared with the existing backups.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::state::retention::{self, RetentionCheck};
use crate::state::snapshot::{Removal, Repo};

use super::backup::type_labels;
use super::catalogue::{Labels, Metric, backups as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Value};

/// The configured window, what will be removed, and what keeps backups from being expired.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::EXPIRY_BACKUPS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            removals(repo).into_iter().try_for_each(|(after, removal)| {
                let labels = [after.into(), repo.key.into(), (&*stanza.name).into()];
                family.add(&labels, removal.backups.len() as u64)
            })
        })
    })?;
    families.family(&catalogue::EXPIRY_BYTES, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            removals(repo).into_iter().try_for_each(|(after, removal)| {
                let kinds = [("backup", removal.backup_bytes), ("wal", removal.wal_bytes)];
                kinds.into_iter().try_for_each(|(kind, bytes)| {
                    let labels = [after.into(), kind.into(), repo.key.into(), (&*stanza.name).into()];
                    family.add_known(&labels, bytes)
                })
            })
        })
    })?;
    families.family(&catalogue::EXPIRY_AGE_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let aged = repo.expiry.as_deref().and_then(|expiry| expiry.aged.as_ref());
            family.add_known(&repo_labels(stanza, repo), aged.map(|aged| aged.at.timestamp()))
        })
    })?;
    families.family(&catalogue::RETENTION_REACHED, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let is_reached = repo.expiry.as_deref().and_then(|expiry| expiry.is_retention_reached);
            family.add_known(&repo_labels(stanza, repo), is_reached)
        })
    })?;
    families.family(&catalogue::EXPIRY_OVERDUE_SINCE_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let since = repo.expiry.as_deref().and_then(|expiry| expiry.overdue_since);
            family.add_known(&repo_labels(stanza, repo), since.map(|since| since.timestamp()))
        })
    })?;
    families.family(&catalogue::EXPIRY_BLOCKED_SINCE_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let since = repo.expiry_blocked.as_ref().map(|blocked| blocked.since.timestamp());
            family.add_known(&repo_labels(stanza, repo), since)
        })
    })?;
    families.family(&catalogue::RETENTION_WINDOW_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            family.add_known(&repo_labels(stanza, repo), retention::window(repo))
        })
    })
}

/// What will be removed, by what happens before.
fn removals(repo: &Repo) -> Vec<(&'static str, &Removal)> {
    let Some(expiry) = repo.expiry.as_deref() else { return Vec::new() };
    let present = [("now", &expiry.now)].into_iter();
    let after_backup =
        expiry.after_backup.iter().map(|(backup_type, removal)| (backup_type.as_str(), removal));
    let aged = expiry.aged.iter().map(|aged| ("age", &aged.removal));
    present.chain(after_backup).chain(aged).collect()
}

/// Whether retention is met at `now`; a young repository gets time to fill.
pub(super) fn write_checks(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    now: DateTime<Utc>,
) -> fmt::Result {
    per_check(families, facts, now, &catalogue::RETENTION_BACKUPS_REQUIRED, |check| check.required)?;
    per_check(families, facts, now, &catalogue::RETENTION_SATISFIED, |check| check.satisfied)
}

fn per_check<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    now: DateTime<Utc>,
    metric: &Metric<Labels<3>>,
    value: fn(&RetentionCheck) -> V,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            retention::checks(repo, now)
                .iter()
                .try_for_each(|check| family.add(&type_labels(stanza, repo, check.backup_type), value(check)))
        })
    })
}
