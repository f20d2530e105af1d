//! One stanza over its repositories: its cluster, and how much the repositories differ.

use std::fmt;

use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::Product;
use crate::state::comparison::{self, What};
use crate::state::snapshot::{Stanza, StopScope};

use super::catalogue::{Labels, Metric, backups as catalogue};
use super::facts::Facts;
use super::family::{Families, Label, Value};

/// Cluster, system ids, skew and size deviations.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::STANZA_CLUSTER_INFO, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(database) = repo.current_database() else { return Ok(()) };
            let system_id = database.system_id.map_or(Label::Text(""), Label::Number);
            let labels = [
                database.id.into(),
                database.version.as_str().into(),
                repo.key.into(),
                (&*stanza.name).into(),
                system_id,
            ];
            family.add(&labels, 1_u64)
        })
    })?;
    families.family(&catalogue::OTHER_PROGRAM_SEEN_TIMESTAMP_SECONDS, |family| {
        facts.each_stanza(family, |family, stanza| {
            let Some(other) = stanza.other_program else { return Ok(()) };
            let product = other.product.map_or("", Product::name);
            let labels = [other.evidence.as_str().into(), product.into(), (&*stanza.name).into()];
            family.add(&labels, other.seen_at.timestamp())
        })
    })?;
    per_stanza(families, facts, &catalogue::STANZA_STOPPED, |stanza| {
        stanza.stop_files.as_ref().map(|files| u64::from(!files.is_empty()))
    })?;
    families.family(&catalogue::STANZA_STOPPED_SINCE_TIMESTAMP_SECONDS, |family| {
        facts.each_stanza(family, |family, stanza| {
            StopScope::ALL.into_iter().try_for_each(|scope| {
                let files = stanza.stop_files.iter().flatten().filter(|file| file.scope == scope);
                // The first of those in several pods.
                let since = files.filter_map(|file| file.since).min();
                let labels = [scope.as_str().into(), (&*stanza.name).into()];
                family.add_known(&labels, since.map(|since| since.timestamp()))
            })
        })
    })?;
    per_stanza(families, facts, &catalogue::STANZA_REPO_SYSTEM_ID_MATCH, comparison::system_ids_match)?;
    per_stanza(families, facts, &catalogue::STANZA_REPO_BACKUP_SKEW_SECONDS, comparison::backup_skew)?;
    per_stanza(families, facts, &catalogue::STANZA_REPO_WAL_SKEW_SEGMENTS, comparison::wal_skew_segments)?;
    families.family(&catalogue::BACKUP_SIZE_DEVIATION_RATIO, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            BackupType::ALL.into_iter().try_for_each(|kind| {
                What::ALL.into_iter().try_for_each(|what| {
                    let stanza = (&*stanza.name).into();
                    let labels = [kind.as_str().into(), repo.key.into(), stanza, what.as_str().into()];
                    family.add_known(&labels, comparison::size_deviation(repo, kind, what))
                })
            })
        })
    })
}

fn per_stanza<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<1>>,
    value: fn(&Stanza) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_stanza(family, |family, stanza| family.add_known(&[(&*stanza.name).into()], value(stanza)))
    })
}
