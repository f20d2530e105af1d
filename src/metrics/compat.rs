//! Layer (a): the metrics of the Go exporter with its values, for existing dashboards and rules.

use std::fmt;

use crate::state::snapshot::{Activity, Progress, Repo, ScopeKind, Stanza, Version};

use super::catalogue::{Labels, Metric, compat as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Label};
use super::options::BuildInfo;

pub(super) mod detail;
pub(super) mod last;

/// Repository number of the only repository in versions before 2.32.
const UNNUMBERED_REPO: u32 = 0;

/// Status of stanzas and repositories, locks and progress.
pub(super) fn status(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::STANZA_STATUS, |family| {
        facts.each_stanza(family, |family, stanza| family.add(&[(&*stanza.name).into()], stanza.status_code))
    })?;
    let backup: LockOf = |stanza| stanza.backup_lock;
    let restore: LockOf = |stanza| stanza.restore_lock;
    lock_status(families, facts, &catalogue::STANZA_BACKUP_LOCK_STATUS, backup)?;
    progress(families, facts, &catalogue::STANZA_BACKUP_COMPLETE_BYTES, backup, COMPLETE)?;
    progress(families, facts, &catalogue::STANZA_BACKUP_TOTAL_BYTES, backup, TOTAL)?;
    repo_progress(families, facts, &catalogue::STANZA_BACKUP_REPO_COMPLETE_BYTES, COMPLETE)?;
    repo_progress(families, facts, &catalogue::STANZA_BACKUP_REPO_TOTAL_BYTES, TOTAL)?;
    lock_status(families, facts, &catalogue::STANZA_RESTORE_LOCK_STATUS, restore)?;
    progress(families, facts, &catalogue::STANZA_RESTORE_COMPLETE_BYTES, restore, COMPLETE)?;
    progress(families, facts, &catalogue::STANZA_RESTORE_TOTAL_BYTES, restore, TOTAL)?;
    lock_status(families, facts, &catalogue::LEGACY_STANZA_LOCK_STATUS, backup)?;
    progress(families, facts, &catalogue::LEGACY_STANZA_BACKUP_COMPETE_BYTES, backup, COMPLETE)?;
    families.family(&catalogue::REPO_STATUS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let unnumbered = repo.key == UNNUMBERED_REPO;
            let cipher = repo.printed_cipher.as_deref().unwrap_or("none");
            let code = if unnumbered { Some(0) } else { repo.status_code };
            family.add_known(&[cipher.into(), repo.key.into(), (&*stanza.name).into()], code)
        })
    })
}

type LockOf = fn(&Stanza) -> Activity;
type BytesOf = fn(Progress) -> u64;
const COMPLETE: BytesOf = |progress| progress.complete;
const TOTAL: BytesOf = |progress| progress.total;

fn lock_status(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<1>>,
    lock: LockOf,
) -> fmt::Result {
    let options = families.options;
    families.family(metric, |family| {
        facts.each_stanza(family, |family, stanza| {
            family.add_known(&[(&*stanza.name).into()], options.or_zero(lock(stanza).held.map(u64::from)))
        })
    })
}

fn progress(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<1>>,
    lock: LockOf,
    bytes: BytesOf,
) -> fmt::Result {
    let options = families.options;
    families.family(metric, |family| {
        facts.each_stanza(family, |family, stanza| {
            let bytes = options.or_zero(lock(stanza).progress.map(bytes));
            family.add_known(&[(&*stanza.name).into()], bytes)
        })
    })
}

fn repo_progress(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    bytes: BytesOf,
) -> fmt::Result {
    let options = families.options;
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let bytes = options.or_zero(repo.progress.map(bytes));
            family.add_known(&repo_labels(stanza, repo), bytes)
        })
    })
}

/// Whether WAL exists, by database.
pub(super) fn wal_archive_status(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    let verbose = families.options.verbose_wal;
    families.family(&catalogue::WAL_ARCHIVE_STATUS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            repo.archives.iter().try_for_each(|archive| {
                let shown = |name: &Option<String>| name.clone().filter(|_| verbose).unwrap_or_default();
                let (min, max) = (shown(&archive.min), shown(&archive.max));
                let labels: [Label<'_>; 6] = [
                    archive.database_id.into(),
                    postgresql_version(repo, archive.database_id).into(),
                    repo.key.into(),
                    (&*stanza.name).into(),
                    max.as_str().into(),
                    min.as_str().into(),
                ];
                family.add(&labels, archive.min.is_some() && archive.max.is_some())
            })
        })
    })
}

/// The scopes of calls, whether they succeeded, and the build of the exporter.
pub(super) fn exporter(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    let options = families.options;
    families.family(&catalogue::VERSION_INFO, |family| {
        facts.each(family, |family, snapshot| {
            family.add_known(&[], options.or_zero(snapshot.version.map(Version::number)))
        })
    })?;
    families.family(&catalogue::EXPORTER_STATUS, |family| {
        facts.each(family, |family, snapshot| {
            let scopes = snapshot.collection.scopes.iter();
            let mut calls = scopes.filter(|(_, health)| health.kind == ScopeKind::Call);
            calls.try_for_each(|(scope, health)| family.add(&[(&**scope).into()], health.up))
        })
    })?;
    let BuildInfo { version, revision, branch, operating_system, architecture, .. } = options.build;
    families.family(&catalogue::EXPORTER_BUILD_INFO, |family| {
        let labels = [branch, architecture, operating_system, "", revision, "unknown", version];
        family.add(&labels.map(Label::Text), 1_u64)
    })?;
    families.family(&catalogue::LEGACY_EXPORTER_INFO, |family| family.add(&[version.into()], 1_u64))
}

/// PostgreSQL version of a database in a repository; empty if `info` does not contain it.
pub(super) fn postgresql_version(repo: &Repo, database_id: u64) -> &str {
    let database = repo.databases.iter().find(|database| database.id == database_id);
    database.map_or("", |database| database.version.as_str())
}
