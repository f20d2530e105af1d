//! What is kept longer than the backups need, in sentences.

use crate::pgbackrest::label::BackupType;

use super::super::archive::ArchiveRetention;
use super::super::human;
use super::super::snapshot::{Expiry, Repo, Retention};

/// If no backup needs more than this percentage of the archive, there is a finding. The alert has the same limit.
const UNNEEDED_PERCENT: u64 = 20;

pub(super) fn sentences(repo: &Repo) -> Vec<String> {
    [blocked(repo), overdue(repo), unneeded(repo), leftovers(repo)].into_iter().flatten().collect()
}

fn blocked(repo: &Repo) -> Option<String> {
    let blocked = repo.expiry_blocked.as_ref()?;
    Some(format!(
        "expire has refused to remove backups and WAL since {}: backup {} has page checksum errors and would be the oldest",
        human::instant(blocked.since),
        human::line(&blocked.by, 60),
    ))
}

fn overdue(repo: &Repo) -> Option<String> {
    let expiry = repo.expiry.as_deref().filter(|_| repo.expiry_blocked.is_none())?;
    let since = expiry.overdue_since?;
    let backups = human::count(expiry.now.backups.len(), "backup");
    Some(format!(
        "{backups} should have been expired after the backup that ended at {}: check expire-auto and the log of that backup, and run \
         pgbackrest expire",
        human::instant(since),
    ))
}

/// Only once the retention is reached: until then, WAL from before the first backup stays.
fn unneeded(repo: &Repo) -> Option<String> {
    let (wal, expiry) = (repo.wal.as_deref()?, repo.expiry.as_deref()?);
    let bytes = wal.unneeded_bytes.filter(|_| expiry.is_retention_reached == Some(true))?;
    let percent = u128::from(bytes) * 100 / u128::from(wal.bytes.max(1));
    (percent > u128::from(UNNEEDED_PERCENT)).then(|| {
        let why = why_it_is_kept(repo, expiry);
        format!("no backup needs {} of WAL, {percent} % of the archive: {why}", human::bytes(bytes))
    })
}

/// Why WAL that is older than every backup is still there, and what to do.
fn why_it_is_kept(repo: &Repo, expiry: &Expiry) -> String {
    let key = repo.key.max(1);
    let settings = repo.settings.as_ref();
    let archive = settings.and_then(|settings| settings.retention_archive);
    let full = settings.and_then(|settings| settings.retention_full);
    if repo.expiry_blocked.is_some() {
        return "expire refuses to remove it".to_owned();
    }
    if expiry.now.wal_bytes.is_some_and(|bytes| bytes > 0) {
        return "the next expire removes it".to_owned();
    }
    match (archive, full) {
        (
            Some(ArchiveRetention::Backups { backup_type: BackupType::Full, count }),
            Some(Retention::Count(full)),
        ) if usize::try_from(full).is_ok_and(|full| count > full) => {
            format!(
                "repo{key}-retention-archive={count} is larger than repo{key}-retention-full={full}, so there are never enough full \
                 backups for expire to remove WAL: remove repo{key}-retention-archive from the configuration"
            )
        }
        (Some(ArchiveRetention::Backups { backup_type, count }), _) => format!(
            "expire removes it once there are {count} backups, as counted by repo{key}-retention-archive-type={}",
            backup_type.as_str()
        ),
        (Some(ArchiveRetention::All), _) => "expire removes it when it next removes a full backup".to_owned(),
        _ => format!("expire never removes WAL with this configuration: set repo{key}-retention-archive"),
    }
}

/// Those that nothing will resume.
fn leftovers(repo: &Repo) -> Option<String> {
    let old = || repo.leftovers.iter().flatten().filter(|leftover| !leftover.is_newest);
    let oldest = old().next()?;
    let known: Option<u64> = old().map(|leftover| leftover.bytes).sum();
    let size = known.map_or_else(String::new, |bytes| format!(" ({})", human::bytes(bytes)));
    let backups = human::count(old().count(), "unfinished backup");
    Some(format!(
        "files of {backups}{size} have not been removed, the oldest from {}: run pgbackrest expire",
        human::line(&oldest.label, 60)
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::archive::Leftover;
    use super::super::super::examples::{backup, day, listed, repo};
    use super::super::super::snapshot::{Removal, RepoSettings};
    use super::*;

    /// Four of nine segments are older than the only backup.
    fn keeping(archive: Option<ArchiveRetention>, full: Option<Retention>, wal_bytes: u64) -> Repo {
        let settings =
            RepoSettings { retention_full: full, retention_archive: archive, ..RepoSettings::default() };
        let expiry = Expiry {
            now: Removal { wal_bytes: Some(wal_bytes), ..Removal::default() },
            after_backup: [].into(),
            aged: None,
            is_retention_reached: Some(true),
            overdue_since: None,
        };
        let repo = listed(repo(1, vec![backup("20260101-000000F", day(0), 5)]), 1..=9);
        Repo { settings: Some(settings), expiry: Some(Arc::new(expiry)), ..repo }
    }

    #[test]
    fn wal_that_no_backup_needs_has_a_reason_and_a_remedy() {
        let backups = |backup_type, count| Some(ArchiveRetention::Backups { backup_type, count });
        let (one, days) = (Some(Retention::Count(1)), Some(Retention::Days(7)));
        for (archive, full, wal_bytes, expected) in [
            (
                backups(BackupType::Full, 4),
                one,
                0,
                "retention-archive=4 is larger than repo1-retention-full=1",
            ),
            (backups(BackupType::Full, 4), days, 0, "once there are 4 backups"),
            (backups(BackupType::Incr, 9), one, 0, "repo1-retention-archive-type=incr"),
            (Some(ArchiveRetention::All), days, 0, "when it next removes a full backup"),
            (Some(ArchiveRetention::Forever), one, 0, "never removes WAL"),
            (backups(BackupType::Full, 1), one, 9, "the next expire removes it"),
        ] {
            let reported = sentences(&keeping(archive, full, wal_bytes));
            let [text] = &reported[..] else { panic!("{reported:?}") };
            assert!(text.starts_with("no backup needs 4.0 MiB of WAL, 44 % of the archive: "), "{text}");
            assert!(text.contains(expected), "{text}");
        }
        let known = keeping(backups(BackupType::Full, 4), one, 0);
        let with = |change: &dyn Fn(&mut Expiry)| {
            let mut expiry = known.expiry.as_deref().unwrap().clone();
            change(&mut expiry);
            sentences(&Repo { expiry: Some(Arc::new(expiry)), ..known.clone() })
        };
        assert!(with(&|expiry| expiry.is_retention_reached = Some(false)).is_empty(), "a young repository");
        assert_eq!(with(&|expiry| expiry.overdue_since = Some(day(1))).len(), 2);
        assert!(sentences(&listed(known.clone(), 4..=8)).is_empty(), "a fifth");
    }

    #[test]
    fn leftovers_that_nothing_resumes_are_reported() {
        let leftover = |label: &str, bytes, is_newest| Leftover { label: label.to_owned(), bytes, is_newest };
        let (old, older) = ("20251231-000000F", "20251230-000000F");
        let of = |leftovers| sentences(&Repo { leftovers: Some(leftovers), ..repo(1, vec![]) });
        assert!(of(vec![leftover(old, Some(1), true)]).is_empty());
        let reported = of(vec![leftover(older, Some(1 << 20), false), leftover(old, Some(1 << 20), false)]);
        let expected = "files of 2 unfinished backups (2.0 MiB) have not been removed, the oldest from 20251230-000000F: run \
                        pgbackrest expire";
        assert_eq!(reported, [expected]);
        let reported = of(vec![leftover(older, None, false)]);
        assert!(
            reported[0].starts_with("files of 1 unfinished backup have not been removed"),
            "{reported:?}"
        );
    }
}
