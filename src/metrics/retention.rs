//! Configured retention compared with the existing backups.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::state::retention::{self, RetentionCheck};

use super::backup::type_labels;
use super::catalogue::{Labels, Metric, backups as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Value};

/// The configured window, and what keeps backups from being expired.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
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
