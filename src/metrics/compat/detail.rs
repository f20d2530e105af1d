//! One series for each backup, within the cardinality limits.

use std::fmt;
use std::sync::Arc;

use crate::cluster::key::Key;
use crate::pgbackrest::label::BackupType;
use crate::state::snapshot::{Backup, Database};

use crate::metrics::catalogue::{Labels, Metric, compat as catalogue};
use crate::metrics::facts::Facts;
use crate::metrics::family::{Families, Label, Value};
use crate::metrics::selection::{Selected, Selection};

use super::postgresql_version;

/// All families with a series per backup.
pub(in crate::metrics) fn write(families: &mut Families<'_, '_>, selection: &Selection<'_>) -> fmt::Result {
    let options = families.options;
    info(families, selection)?;
    duration(families, selection)?;
    plain(families, selection, &catalogue::BACKUP_SIZE_BYTES, |b| options.or_zero(b.size))?;
    plain(families, selection, &catalogue::BACKUP_DELTA_BYTES, |b| options.or_zero(b.delta))?;
    plain(families, selection, &catalogue::BACKUP_REPO_SIZE_BYTES, |b| options.or_zero(b.repo_size))?;
    plain(families, selection, &catalogue::BACKUP_REPO_DELTA_BYTES, |b| options.or_zero(b.repo_delta))?;
    plain(families, selection, &catalogue::BACKUP_REPO_SIZE_MAP_BYTES, |b| options.or_zero(b.repo_size_map))?;
    plain(families, selection, &catalogue::BACKUP_REPO_DELTA_MAP_BYTES, |b| {
        options.or_zero(b.repo_delta_map)
    })?;
    plain(families, selection, &catalogue::BACKUP_ERROR_STATUS, |backup| backup.error)?;
    plain(families, selection, &catalogue::BACKUP_ANNOTATIONS, |backup| Some(backup.annotations))?;
    references(families, selection)?;
    plain(families, selection, &catalogue::BACKUP_DATABASES, |b| options.or_zero(b.databases.map(u64::from)))
}

/// Whether these families are the same for both, with the same options.
pub(in crate::metrics) fn are_same(one: &Facts, other: &Facts) -> bool {
    inputs(one).eq(inputs(other))
}

/// All that they show of a repository.
#[derive(PartialEq)]
struct Shown<'a> {
    cluster: Option<&'a Arc<Key>>,
    stanza: &'a str,
    repo: u32,
    databases: &'a [Database],
    backups: &'a [Backup],
}

fn inputs(facts: &Facts) -> impl Iterator<Item = Shown<'_>> {
    facts.parts().flat_map(|(cluster, snapshot)| {
        snapshot.stanzas.iter().flat_map(move |stanza| {
            stanza.repos.iter().map(move |repo| Shown {
                cluster,
                stanza: &stanza.name,
                repo: repo.key,
                databases: &repo.databases,
                backups: &repo.backups,
            })
        })
    })
}

fn plain<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    selection: &Selection<'_>,
    metric: &Metric<Labels<6>>,
    value: impl Fn(&Backup) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        selection.backups.iter().try_for_each(|one| {
            family.of(one.cluster);
            family.add_known(&labels(one), value(one.backup))
        })
    })
}

fn labels<'a>(Selected { stanza, repo, backup, .. }: &Selected<'a>) -> [Label<'a>; 6] {
    [
        (&*backup.label).into(),
        backup.backup_type.as_str().into(),
        block_incremental(backup).into(),
        backup.database_id.into(),
        repo.key.into(),
        (&*stanza.name).into(),
    ]
}

/// `y` for a backup with block incremental, detected by its maps.
pub(super) fn block_incremental(backup: &Backup) -> &'static str {
    if backup.repo_size_map.is_some() || backup.repo_delta_map.is_some() { "y" } else { "n" }
}

fn info(families: &mut Families<'_, '_>, selection: &Selection<'_>) -> fmt::Result {
    families.family(&catalogue::BACKUP_INFO, |family| {
        selection.backups.iter().try_for_each(|one| {
            family.of(one.cluster);
            let backup = one.backup;
            let [name, kind, block_incr, database_id, repo_key, stanza] = labels(one);
            let labels = [
                (&*backup.backrest_version).into(),
                name,
                kind,
                block_incr,
                database_id,
                Label::Lsn(backup.lsn_start),
                Label::Lsn(backup.lsn_stop),
                postgresql_version(one.repo, backup.database_id).into(),
                backup.prior.as_deref().unwrap_or_default().into(),
                repo_key,
                stanza,
                Label::Segment(backup.wal_start),
                Label::Segment(backup.wal_stop),
            ];
            family.add(&labels, 1_u64)
        })
    })
}

fn duration(families: &mut Families<'_, '_>, selection: &Selection<'_>) -> fmt::Result {
    let options = families.options;
    let local = |at: chrono::DateTime<chrono::Utc>| {
        Label::Time(options.backup_time_labels.then(|| at.with_timezone(&(options.time_zone)(at))))
    };
    families.family(&catalogue::BACKUP_DURATION_SECONDS, |family| {
        selection.backups.iter().try_for_each(|one| {
            family.of(one.cluster);
            let [name, kind, block_incr, database_id, repo_key, stanza] = labels(one);
            let (start, stop) = (local(one.backup.start), local(one.backup.stop));
            family.add_known(
                &[name, kind, block_incr, database_id, repo_key, stanza, start, stop],
                seconds(one.backup),
            )
        })
    })
}

/// Whole seconds that the backup took.
pub(super) fn seconds(backup: &Backup) -> Option<i64> {
    backup.duration().map(|duration| duration.num_seconds())
}

fn references(families: &mut Families<'_, '_>, selection: &Selection<'_>) -> fmt::Result {
    families.family(&catalogue::BACKUP_REFERENCES, |family| {
        selection.backups.iter().try_for_each(|one| {
            family.of(one.cluster);
            let [name, kind, block_incr, database_id, repo_key, stanza] = labels(one);
            BackupType::ALL.into_iter().zip(one.backup.references).try_for_each(|(referenced, count)| {
                let referenced = referenced.as_str().into();
                family.add(&[name, kind, block_incr, database_id, referenced, repo_key, stanza], count)
            })
        })
    })
}
