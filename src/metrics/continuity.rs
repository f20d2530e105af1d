//! What a listing of the WAL archive proves.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::state::archive::{BranchState, Continuity, DefaultRestore, Leftover, PathContinuity};

use super::catalogue::{Labels, Metric, wal as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Value};
use super::selection::{Selected, Selection};

/// Counts of segments, gaps and backups that cannot be restored. Absent without a listing.
pub(super) fn write(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    selection: &Selection<'_>,
) -> fmt::Result {
    listed(families, facts, &catalogue::WAL_SEGMENTS, |wal| Some(wal.segments))?;
    listed(families, facts, &catalogue::WAL_STORED_BYTES, |wal| Some(wal.bytes))?;
    listed(families, facts, &catalogue::WAL_UNNEEDED_BYTES, |wal| wal.unneeded_bytes)?;
    families.family(&catalogue::BACKUP_WAL_STORED_BYTES, |family| {
        selection.backups.iter().try_for_each(|Selected { cluster, stanza, repo, backup }| {
            family.of(*cluster);
            let (label, kind) = (&*backup.label, backup.backup_type.as_str());
            let labels = [label.into(), kind.into(), repo.key.into(), (&*stanza.name).into()];
            let bytes = repo.wal.as_deref().and_then(|wal| wal.backup_bytes.get(label));
            family.add_known(&labels, bytes.copied())
        })
    })?;
    leftovers(families, facts, &catalogue::REPO_LEFTOVER_BACKUPS, |found| Some(found.len() as u64))?;
    leftovers(families, facts, &catalogue::REPO_LEFTOVER_BYTES, |found| {
        found.iter().map(|leftover| leftover.bytes).sum()
    })?;
    families.family(&catalogue::WAL_MISSING_SEGMENTS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(wal) = &repo.wal else { return Ok(()) };
            let on_path = |count: fn(&PathContinuity) -> u64| wal.path.as_ref().map(count);
            let classes = [
                ("backup", Some(wal.missing_backup)),
                ("expired", on_path(|path| path.missing_expired)),
                ("pitr_new", on_path(|path| path.missing_new)),
                ("pitr_old", on_path(|path| path.missing_old)),
                ("wrong_size", Some(wal.wrong_sizes)),
            ];
            classes.into_iter().try_for_each(|(class, count)| {
                family.add_known(&[class.into(), repo.key.into(), (&*stanza.name).into()], count)
            })
        })
    })?;
    on_path(families, facts, &catalogue::WAL_GAPS, |path| path.gaps)?;
    listed(families, facts, &catalogue::WAL_DUPLICATE_SEGMENTS, |wal| Some(wal.duplicates))?;
    on_path(families, facts, &catalogue::WAL_ORPHAN_TIMELINES, |path| path.orphan_timelines)?;
    listed(families, facts, &catalogue::WAL_LIVE_TIMELINE, |wal| wal.live().map(|live| live.timeline))?;
    families.family(&catalogue::WAL_BRANCHES, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(wal) = &repo.wal else { return Ok(()) };
            BranchState::ALL.into_iter().try_for_each(|state| {
                let count = wal.branches.iter().filter(|branch| branch.state == state).count() as u64;
                family.add(&[repo.key.into(), (&*stanza.name).into(), state.as_str().into()], count)
            })
        })
    })?;
    listed(families, facts, &catalogue::RECOVERY_DEFAULT_RESTORE_OK, |wal| {
        wal.default_restore.map(|outcome| outcome == DefaultRestore::Live)
    })?;
    listed(families, facts, &catalogue::REPO_CLOCK_BEHIND_SECONDS, |wal| wal.clock_behind_seconds)?;
    families.family(&catalogue::REPO_FUTURE_TIMESTAMPS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let backups = repo.backups.iter().filter(|backup| repo.is_in_future(backup)).count() as u64;
            let backups = repo.knows_backups().then_some(backups);
            let kinds = [("backup", backups), ("wal", repo.wal.as_ref().map(|wal| wal.future))];
            kinds.into_iter().try_for_each(|(kind, count)| {
                family.add_known(&[kind.into(), repo.key.into(), (&*stanza.name).into()], count)
            })
        })
    })?;
    listed(families, facts, &catalogue::RECOVERY_LATEST_LSN_BYTES, |wal| {
        wal.path.and_then(|path| path.latest_lsn).map(|lsn| lsn.0)
    })?;
    listed(families, facts, &catalogue::WAL_MISSING_HISTORY_FILES, |wal| Some(wal.missing_histories))?;
    listed(families, facts, &catalogue::WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS, |wal| {
        seconds(wal.last_archived)
    })?;
    listed(families, facts, &catalogue::WAL_LISTED_TIMESTAMP_SECONDS, |wal| seconds(Some(wal.listed_at)))?;
    families.family(&catalogue::BACKUP_UNRESTORABLE, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(wal) = &repo.wal else { return Ok(()) };
            let unrestorable = &wal.unrestorable;
            // Without the directories, those that are known to be lost are not all.
            let is_known = unrestorable.directory.is_some() || unrestorable.reference > 0;
            let reference = is_known.then_some(unrestorable.reference);
            let reasons = [
                ("directory", unrestorable.directory),
                ("reference", reference),
                ("unknown", Some(unrestorable.unknown)),
                ("wal", Some(unrestorable.wal)),
            ];
            reasons.into_iter().try_for_each(|(reason, count)| {
                family.add_known(&[reason.into(), repo.key.into(), (&*stanza.name).into()], count)
            })
        })
    })
}

/// Directories of backups that did not end, by state.
fn leftovers(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<3>>,
    value: fn(&[&Leftover]) -> Option<u64>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(leftovers) = &repo.leftovers else { return Ok(()) };
            [("abandoned", false), ("unfinished", true)].into_iter().try_for_each(|(state, is_newest)| {
                let of_state: Vec<&Leftover> =
                    leftovers.iter().filter(|leftover| leftover.is_newest == is_newest).collect();
                let labels = [repo.key.into(), (&*stanza.name).into(), state.into()];
                family.add_known(&labels, value(&of_state))
            })
        })
    })
}

fn on_path(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: fn(&PathContinuity) -> u64,
) -> fmt::Result {
    listed(families, facts, metric, |wal| wal.path.as_ref().map(value))
}

fn listed<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: impl Fn(&Continuity) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let value = repo.wal.as_deref().and_then(&value);
            family.add_known(&repo_labels(stanza, repo), value)
        })
    })
}

fn seconds(at: Option<DateTime<Utc>>) -> Option<i64> {
    at.map(|at| at.timestamp())
}
