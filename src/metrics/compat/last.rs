//! The last full, diff and incr backup as in the Go exporter: the newest one that satisfies the type.
//!
//! A full backup counts for all three, a diff for incr, and there are no series before the first full.
//! At equal stop times the first in the document wins, which is the repository with the lowest number.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::pgbackrest::label::BackupType;
use crate::state::snapshot::{Backup, Repo, Stanza};

use crate::metrics::catalogue::{Labels, Metric, compat as catalogue};
use crate::metrics::facts::Facts;
use crate::metrics::family::{Families, Label, Value};
use crate::metrics::options::Options;

use super::detail::{block_incremental, seconds};

/// The last backups per stanza, in the order full, diff, incr.
pub(in crate::metrics) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    let options = families.options;
    plain(families, facts, &catalogue::BACKUP_LAST_DURATION_SECONDS, seconds)?;
    plain(families, facts, &catalogue::BACKUP_LAST_SIZE_BYTES, |b| options.or_zero(b.size))?;
    plain(families, facts, &catalogue::BACKUP_LAST_DELTA_BYTES, |b| options.or_zero(b.delta))?;
    plain(families, facts, &catalogue::BACKUP_LAST_REPO_SIZE_BYTES, |b| options.or_zero(b.repo_size))?;
    plain(families, facts, &catalogue::BACKUP_LAST_REPO_DELTA_BYTES, |b| options.or_zero(b.repo_delta))?;
    plain(families, facts, &catalogue::BACKUP_LAST_REPO_SIZE_MAP_BYTES, |b| {
        options.or_zero(b.repo_size_map)
    })?;
    plain(families, facts, &catalogue::BACKUP_LAST_REPO_DELTA_MAP_BYTES, |b| {
        options.or_zero(b.repo_delta_map)
    })?;
    plain(families, facts, &catalogue::BACKUP_LAST_ERROR_STATUS, |backup| backup.error)?;
    plain(families, facts, &catalogue::BACKUP_LAST_ANNOTATIONS, |backup| Some(backup.annotations))?;
    references(families, facts)?;
    plain(families, facts, &catalogue::BACKUP_LAST_DATABASES, |b| {
        options.or_zero(b.databases.map(u64::from))
    })?;
    families.family(&catalogue::BACKUP_REPO_LAST_DURATION_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            last_of(options, stanza, [repo])
                .try_for_each(|last| family.add_known(&repo_labels(&last, repo), seconds(last.backup)))
        })
    })
}

/// The ages of the same backups at `now`.
pub(in crate::metrics) fn write_ages(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    now: DateTime<Utc>,
) -> fmt::Result {
    let options = families.options;
    let age = |backup: &Backup| now.timestamp() - backup.stop.timestamp();
    families.family(&catalogue::BACKUP_SINCE_LAST_COMPLETION_SECONDS, |family| {
        facts.each_stanza(family, |family, stanza| {
            last_of(options, stanza, &stanza.repos)
                .try_for_each(|last| family.add(&labels(&last), age(last.backup)))
        })
    })?;
    families.family(&catalogue::BACKUP_REPO_SINCE_LAST_COMPLETION_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            last_of(options, stanza, [repo])
                .try_for_each(|last| family.add(&repo_labels(&last, repo), age(last.backup)))
        })
    })
}

/// A backup and the type that it satisfies.
struct Last<'a> {
    stanza: &'a Stanza,
    satisfies: BackupType,
    backup: &'a Backup,
}

fn last_of<'a>(
    options: &Options,
    stanza: &'a Stanza,
    repos: impl IntoIterator<Item = &'a Repo>,
) -> impl Iterator<Item = Last<'a>> {
    let mut last: [Option<&Backup>; 3] = [None; 3];
    let backups = repos.into_iter().flat_map(Repo::dated_backups);
    for backup in backups.filter(|backup| options.exposes_type(backup.backup_type)) {
        for (satisfies, last) in BackupType::ALL.into_iter().zip(&mut last) {
            // The order of the types is their strength, strongest first.
            if backup.backup_type <= satisfies && last.is_none_or(|last| backup.stop > last.stop) {
                *last = Some(backup);
            }
        }
    }
    let [full, ..] = last;
    let all = BackupType::ALL.into_iter().zip(last);
    all.filter(move |_| full.is_some())
        .filter_map(move |(satisfies, backup)| Some(Last { stanza, satisfies, backup: backup? }))
}

fn plain<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<3>>,
    value: impl Fn(&Backup) -> Option<V>,
) -> fmt::Result {
    let options = families.options;
    families.family(metric, |family| {
        facts.each_stanza(family, |family, stanza| {
            last_of(options, stanza, &stanza.repos)
                .try_for_each(|last| family.add_known(&labels(&last), value(last.backup)))
        })
    })
}

fn labels<'a>(Last { stanza, satisfies, backup }: &Last<'a>) -> [Label<'a>; 3] {
    [satisfies.as_str().into(), block_incremental(backup).into(), (&*stanza.name).into()]
}

fn repo_labels<'a>(last: &Last<'a>, repo: &Repo) -> [Label<'a>; 4] {
    let [satisfies, block_incr, stanza] = labels(last);
    [satisfies, block_incr, repo.key.into(), stanza]
}

fn references(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    let options = families.options;
    families.family(&catalogue::BACKUP_LAST_REFERENCES, |family| {
        facts.each_stanza(family, |family, stanza| {
            last_of(options, stanza, &stanza.repos).try_for_each(|last| {
                let [satisfies, block_incr, stanza] = labels(&last);
                BackupType::ALL.into_iter().zip(last.backup.references).try_for_each(|(referenced, count)| {
                    family.add(&[satisfies, block_incr, referenced.as_str().into(), stanza], count)
                })
            })
        })
    })
}
