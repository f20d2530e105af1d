//! Problems found by listing the WAL archive, in sentences.

use super::super::archive::Unrestorable;
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

fn unrestorable(found: &Unrestorable) -> Option<String> {
    let directory = found.directory.unwrap_or(0);
    let reasons = [
        (found.wal, "without the WAL needed for consistency"),
        (directory, "without their files"),
        (found.reference, "depending on a backup that is gone"),
        (found.unknown, "whose WAL cannot be checked"),
    ];
    let told = reasons.into_iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> = told.map(|(number, why)| format!("{number} {why}")).collect();
    (!told.is_empty()).then(|| format!("backups that cannot be restored: {}", told.join(", ")))
}

fn segments(number: u64) -> String {
    let are = if number == 1 { "is" } else { "are" };
    format!("{} {are}", human::count(number, "WAL segment"))
}
