//! Configured retention compared with the existing backups.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::state::retention::{self, Verdict};

use super::backup::type_labels;
use super::catalogue::{Labels, Metric, backups as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Value};

/// The configured window.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::RETENTION_WINDOW_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            family.add_known(&repo_labels(stanza, repo), retention::window(repo))
        })
    })
}

/// Whether retention is met at `now`; a young repository gets time to fill.
pub(super) fn write_verdicts(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    now: DateTime<Utc>,
) -> fmt::Result {
    per_verdict(families, facts, now, &catalogue::RETENTION_BACKUPS_REQUIRED, |verdict| verdict.required)?;
    per_verdict(families, facts, now, &catalogue::RETENTION_SATISFIED, |verdict| verdict.satisfied)
}

fn per_verdict<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    now: DateTime<Utc>,
    metric: &Metric<Labels<3>>,
    value: fn(&Verdict) -> V,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            retention::verdicts(repo, now).iter().try_for_each(|verdict| {
                family.add(&type_labels(stanza, repo, verdict.backup_type), value(verdict))
            })
        })
    })
}
