//! Backups per repository and type, without fallback: a missing backup has no series.

use std::fmt;

use crate::pgbackrest::exit_code::Reason;
use crate::pgbackrest::label::BackupType;
use crate::state::snapshot::{Backup, BackupAttempt, ByteCount, Repo, Stanza};

use super::catalogue::{Labels, Metric, backups as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Label, Value};

/// Counts, times and sizes.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    per_type(families, facts, &catalogue::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS, |repo, kind| {
        repo.newest(kind).map(stop)
    })?;
    per_type(families, facts, &catalogue::BACKUP_LAST_START_TIMESTAMP_SECONDS, |repo, kind| {
        repo.newest(kind).map(|backup| backup.start.timestamp())
    })?;
    per_type(families, facts, &catalogue::BACKUP_CHAIN_LAST_COMPLETION_TIMESTAMP_SECONDS, |repo, kind| {
        repo.dated_backups().filter(|backup| backup.backup_type <= kind).map(stop).max()
    })?;
    per_type(families, facts, &catalogue::BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS, |repo, kind| {
        of_type(repo, kind).map(stop).min()
    })?;
    per_type(families, facts, &catalogue::BACKUPS, |repo, kind| {
        repo.knows_backups().then(|| count(of_type(repo, kind).count()))
    })?;
    families.family(&catalogue::BACKUPS_WITH_ERRORS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let is_reported =
                repo.backups.is_empty() || repo.backups.iter().any(|backup| backup.error.is_some());
            let bad = repo.backups.iter().filter(|backup| backup.error == Some(true)).count();
            let bad = (is_reported && repo.knows_backups()).then(|| count(bad));
            family.add_known(&repo_labels(stanza, repo), bad)
        })
    })?;
    of_newest(families, facts, &catalogue::REPO_BACKUP_LAST_DURATION_SECONDS, duration)?;
    of_newest(families, facts, &catalogue::REPO_BACKUP_LAST_DATABASE_BYTES, |b| b.size)?;
    of_newest(families, facts, &catalogue::REPO_BACKUP_LAST_COPIED_BYTES, |b| b.delta)?;
    of_newest(families, facts, &catalogue::REPO_BACKUP_LAST_STORED_BYTES, |b| b.repo_delta)?;
    of_newest(families, facts, &catalogue::BACKUP_LAST_THROUGHPUT_BYTES_PER_SECOND, |backup| {
        let duration = duration(backup).filter(|seconds| *seconds > 0)?;
        Some(backup.delta?.get() as f64 / duration as f64)
    })?;
    of_newest(families, facts, &catalogue::BACKUP_LAST_COMPRESSION_RATIO, |backup| {
        let stored = backup.repo_delta.map(ByteCount::get).filter(|stored| *stored > 0)?;
        Some(backup.delta?.get() as f64 / stored as f64)
    })?;
    families.family(&catalogue::RESTORE_SIZE_BYTES, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let newest = repo.dated_backups().max_by_key(|backup| backup.stop);
            family.add_known(&repo_labels(stanza, repo), newest.and_then(|backup| backup.size))
        })
    })?;
    in_progress(families, facts)?;
    last_attempt(families, facts)
}

fn last_attempt(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    let number = |attempt: &BackupAttempt| Some(i64::from(attempt.failure.is_none()));
    per_attempt(families, facts, &catalogue::BACKUP_LAST_ATTEMPT_SUCCESS, number)?;
    let began = |attempt: &BackupAttempt| Some(attempt.began?.timestamp());
    per_attempt(families, facts, &catalogue::BACKUP_LAST_ATTEMPT_START_TIMESTAMP_SECONDS, began)?;
    let ended = |attempt: &BackupAttempt| Some(attempt.ended?.timestamp());
    per_attempt(families, facts, &catalogue::BACKUP_LAST_ATTEMPT_END_TIMESTAMP_SECONDS, ended)?;
    families.family(&catalogue::BACKUP_LAST_ATTEMPT_FAILURE_INFO, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(attempt) = &repo.last_attempt else { return Ok(()) };
            let Some(failure) = &attempt.failure else { return Ok(()) };
            let code = failure.exit_code.and_then(|code| u64::try_from(code).ok());
            let labels = [
                attempt.backup_type.map_or("", BackupType::as_str).into(),
                code.map_or(Label::Text(""), Label::Number),
                failure.reason.map_or("", Reason::as_str).into(),
                repo.key.into(),
                (&*stanza.name).into(),
            ];
            family.add(&labels, 1_u64)
        })
    })
}

fn per_attempt(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: fn(&BackupAttempt) -> Option<i64>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            family.add_known(&repo_labels(stanza, repo), repo.last_attempt.as_ref().and_then(value))
        })
    })
}

fn in_progress(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::BACKUP_IN_PROGRESS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            family.add_known(&repo_labels(stanza, repo), stanza.is_backing_up(repo))
        })
    })?;
    families.family(&catalogue::BACKUP_IN_PROGRESS_SINCE_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let since = repo.in_progress_since.or(stanza.backup_lock.since);
            let since =
                since.filter(|_| stanza.is_backing_up(repo) == Some(true)).map(|since| since.timestamp());
            family.add_known(&repo_labels(stanza, repo), since)
        })
    })
}

fn per_type<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<3>>,
    value: impl Fn(&Repo, BackupType) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            BackupType::ALL
                .into_iter()
                .try_for_each(|kind| family.add_known(&type_labels(stanza, repo, kind), value(repo, kind)))
        })
    })
}

fn of_newest<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<3>>,
    value: impl Fn(&Backup) -> Option<V>,
) -> fmt::Result {
    per_type(families, facts, metric, |repo, kind| repo.newest(kind).and_then(&value))
}

/// Labels of everything that exists once per backup type in a repository.
pub(super) fn type_labels<'a>(stanza: &'a Stanza, repo: &Repo, kind: BackupType) -> [Label<'a>; 3] {
    [kind.as_str().into(), repo.key.into(), (&*stanza.name).into()]
}

fn of_type(repo: &Repo, kind: BackupType) -> impl Iterator<Item = &Backup> {
    repo.backups.iter().filter(move |backup| backup.backup_type == kind)
}

fn stop(backup: &Backup) -> i64 {
    backup.stop.timestamp()
}

fn duration(backup: &Backup) -> Option<i64> {
    backup.duration().map(|duration| duration.num_seconds())
}

fn count(items: usize) -> u64 {
    items.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::pgbackrest::info;
    use crate::state::assemble;
    use crate::state::snapshot::Progress;

    use super::*;

    fn stanza(text: &str) -> Stanza {
        let document = info::parse(text).unwrap();
        assemble::stanza(document.stanzas().next().unwrap(), DateTime::UNIX_EPOCH)
    }

    fn runs_of(stanza: &Stanza) -> Vec<Option<bool>> {
        stanza.repos.iter().map(|repo| stanza.is_backing_up(repo)).collect()
    }

    #[test]
    fn a_lock_alone_does_not_show_that_a_backup_runs() {
        let idle = stanza(include_str!("../../fixtures/info/2.60.0/two_repos_one_encrypted.json"));
        assert_eq!(runs_of(&idle), [Some(false), Some(false)]);
        let mut locked = idle.clone();
        locked.backup_lock.held = Some(true);
        assert_eq!(runs_of(&locked), [None, None]);
        // 2.48 to 2.58 report one sum for all repositories.
        locked.backup_lock.progress = Some(Progress { complete: 1, total: 2 });
        assert_eq!(runs_of(&locked), [None, None]);
        locked.repos[1].progress = locked.backup_lock.progress;
        assert_eq!(runs_of(&locked), [Some(false), Some(true)]);
        let mut single = locked;
        single.repos.pop();
        assert_eq!(runs_of(&single), [Some(true)]);
    }
}
