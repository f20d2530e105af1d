//! Problems found by listing the WAL archive, in sentences.

use chrono::TimeDelta;

use super::super::archive::{DefaultRestore, Unrestorable};
use super::super::human;
use super::super::snapshot::Repo;

/// The problems; none if the archive was not listed.
pub(super) fn sentences(repo: &Repo) -> Vec<String> {
    let Some(wal) = repo.wal.as_deref() else { return Vec::new() };
    let mut all = Vec::new();
    all.extend(unrestorable(&wal.unrestorable));
    match &wal.path {
        Some(path) => {
            if path.missing_new > 0 {
                let until = path.latest_at_most.map_or_else(
                    || "later commits cannot be restored".to_owned(),
                    |until| format!("nothing after {} can be restored", human::instant(until)),
                );
                all.push(format!(
                    "{} missing after the newest backup, {until}: take a full backup now",
                    segments(path.missing_new)
                ));
            }
            if path.missing_old > 0 {
                let until = path.continuous_start.map_or_else(String::new, |start| {
                    format!(": not every point in time before {} can be restored", human::instant(start))
                });
                all.push(format!("{} missing between backups{until}", segments(path.missing_old)));
            }
        }
        None if wal.segments > 0 => all.push(
            "the history file of the newest timeline is missing from the archive: the recovery window cannot be \
             proven"
                .to_owned(),
        ),
        None => {}
    }
    if wal.wrong_sizes > 0 {
        all.push(format!(
            "{} incomplete, judging by the file size, so recovery cannot use {}: check the storage, and take a full backup now",
            segments(wal.wrong_sizes),
            if wal.wrong_sizes == 1 { "it" } else { "them" },
        ));
    }
    all.extend(default_restore_sentence(repo));
    if wal.future > 0 {
        all.push(format!(
            "{} in the archive dated in the future, which is ignored: check the clock of the repository",
            count_are(wal.future, "file"),
        ));
    }
    if let Some(behind) = wal.clock_behind_seconds.filter(|behind| *behind != 0) {
        all.push(format!(
            "the clock of the repository is {} {} that of the PostgreSQL host",
            human::duration(TimeDelta::seconds(behind).abs()),
            if behind > 0 { "behind" } else { "ahead of" },
        ));
    }
    if wal.has_unreliable_times && wal.branches.len() > 1 {
        all.push(
            "the times of the WAL files contradict the backups, for example because files were copied or a clock was set: they do \
             not show when each timeline began"
                .to_owned(),
        );
    }
    if let Some((tied, live)) = wal.tied_timeline.zip(wal.live()) {
        all.push(format!(
            "timelines {tied} and {} received WAL in the same second, so it is uncertain which of them is live: run SELECT \
             pg_switch_wal() on the primary",
            live.timeline,
        ));
    }
    if wal.duplicates > 0 {
        let are = if wal.duplicates == 1 { "is" } else { "are" };
        all.push(format!(
            "{} {are} in the archive with different contents, which pgBackRest refuses to restore: check whether two \
             clusters archive to this stanza",
            human::count(wal.duplicates, "WAL segment"),
        ));
    }
    all
}

fn unrestorable(backups: &Unrestorable) -> Option<String> {
    let directory = backups.directory.unwrap_or(0);
    let reasons = [
        (backups.wal, "without the WAL needed for consistency"),
        (directory, "without their files"),
        (backups.reference, "depending on a missing backup"),
        (backups.unknown, "whose WAL cannot be checked"),
    ];
    let found = reasons.into_iter().filter(|(number, _)| *number > 0);
    let found: Vec<String> = found.map(|(number, why)| format!("{number} {why}")).collect();
    (!found.is_empty()).then(|| format!("backups that cannot be restored: {}", found.join(", ")))
}

/// Why `pgbackrest restore` without options does not lead to the live branch, and what to do instead.
#[must_use]
pub fn default_restore_sentence(repo: &Repo) -> Option<String> {
    let wal = repo.wal.as_deref()?;
    let live = wal.live()?.timeline;
    let remedy = format!("restore with --target-timeline={live}, and take a full backup");
    match wal.default_restore? {
        DefaultRestore::Live => None,
        DefaultRestore::Fails { latest } => Some(format!(
            "a plain pgbackrest restore fails, because the newest backup does not lead to timeline {latest}, the latest in the \
             archive: {remedy}"
        )),
        DefaultRestore::BackupAlone => Some(
            "a plain pgbackrest restore replays no WAL, because the newest backup was made while PostgreSQL was down: restore with \
             --type=default, and take an online backup"
                .to_owned(),
        ),
        DefaultRestore::Other { timeline } => Some(format!(
            "a plain pgbackrest restore ends on timeline {timeline}, not on the live timeline {live}: {remedy}"
        )),
    }
}

fn segments(number: u64) -> String {
    count_are(number, "WAL segment")
}

fn count_are(number: u64, what: &str) -> String {
    let are = if number == 1 { "is" } else { "are" };
    format!("{} {are}", human::count(number, what))
}
