//! The points in time to which a cluster can be restored: proven by a listing of the WAL archive, otherwise derived from `info`.
//!
//! `info` reads two index files and the names of the first and the last WAL segment. It detects neither gaps in the WAL nor backups
//! whose files are missing, so a window derived from it is not verified.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;

use crate::pgbackrest::wal::{Lsn, WalSegment};

use super::archive::Continuity;
use super::snapshot::{Archive, Backup, Repo};

/// The period in which point-in-time recovery should work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecoveryWindow {
    /// Stop of the oldest backup that recovery can start from; if that is not proven, one on which WAL can be replayed.
    pub earliest: DateTime<Utc>,
    /// Stop of the backup from which every instant up to the latest can be restored. Unknown from `info` alone.
    pub continuous_start: Option<DateTime<Utc>>,
    /// If proven, when the repository received the last segment that can be reached without a gap, which is an upper bound of the
    /// last commit. Otherwise the stop of the newest backup that can be restored; WAL archived since reaches further, but `info`
    /// does not contain its time.
    pub latest: DateTime<Utc>,
    /// The WAL position that can be reached without a gap, if proven.
    pub latest_lsn: Option<Lsn>,
    /// Whether a listing of the repository proved that no WAL and no backup is missing in between.
    pub verified: bool,
}

impl RecoveryWindow {
    /// The start of the period in which every instant can be restored; if that is not proven, the earliest.
    #[must_use]
    pub fn start(&self) -> DateTime<Utc> {
        if self.verified { self.continuous_start.unwrap_or(self.latest) } else { self.earliest }
    }

    /// How far back every instant can be restored.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.latest - self.start()
    }

    /// The meaning of the latest instant. From `info` alone it is the end of a backup, and WAL may reach further; from a listing it
    /// is when the last segment arrived, and the last commit is earlier.
    #[must_use]
    pub const fn bound(&self) -> &'static str {
        if self.verified { "at most" } else { "at least" }
    }
}

/// What a listing proved, if everything that windows depend on was checked.
#[must_use]
pub fn proof(repo: &Repo) -> Option<&Continuity> {
    repo.wal.as_deref().filter(|wal| wal.is_proven())
}

/// The recovery window of the cluster that currently uses the stanza; None if none of its backups is known to be usable.
#[must_use]
pub fn window(repo: &Repo) -> Option<RecoveryWindow> {
    let knows_live = |wal: &&Continuity| wal.tied_timeline.is_none();
    let Some(wal) = proof(repo).filter(knows_live) else { return unverified(repo) };
    let restorable = || repo.dated_backups().filter(|backup| wal.restorable.contains(&backup.label));
    let path = wal.path.as_ref();
    let latest = path.and_then(|path| path.latest_at_most);
    Some(RecoveryWindow {
        earliest: wal.earliest?,
        continuous_start: path.and_then(|path| path.continuous_start),
        latest: latest.or_else(|| restorable().map(|backup| backup.stop).max())?,
        latest_lsn: path.and_then(|path| path.latest_lsn),
        verified: true,
    })
}

/// The window derived from `info` alone.
///
/// A backup counts if every backup that it depends on is listed, and the WAL that it needs to become consistent is between the
/// archive's first and last segment. Page checksum errors do not matter: such a backup can be restored, including the corruption of
/// the database.
///
/// A backup that was made while PostgreSQL was down needs no WAL. It can be restored as of its stop, so it counts for `latest`. The
/// position where WAL would continue is unknown, so it only counts for `earliest` if there are no backups with WAL. If there are
/// only such backups, both ends are the stop of the newest one.
///
/// Backups from before a `stanza-upgrade` do not count: they restore another major version or another cluster.
fn unverified(repo: &Repo) -> Option<RecoveryWindow> {
    let usable = usable(repo);
    let latest = usable.iter().map(|backup| backup.stop).max()?;
    let earliest = usable.iter().filter(|backup| !is_offline(backup)).map(|backup| backup.stop).min();
    let earliest = earliest.unwrap_or(latest);
    Some(RecoveryWindow { earliest, continuous_start: None, latest, latest_lsn: None, verified: false })
}

/// The backups on which WAL can be replayed, according to `info` alone.
pub(super) fn replayable(repo: &Repo) -> Vec<&Backup> {
    usable(repo).into_iter().filter(|backup| !is_offline(backup)).collect()
}

/// The backups that count for [`unverified`].
fn usable(repo: &Repo) -> Vec<&Backup> {
    let Some(database_id) = repo.current_database_id() else { return Vec::new() };
    let archived =
        repo.archives.iter().find(|archive| archive.database_id == database_id).and_then(archived_range);
    complete_backups(&repo.backups)
        .into_iter()
        .filter(|backup| backup.database_id == database_id && !repo.is_in_future(backup))
        .filter(|backup| can_become_consistent(backup, archived))
        .collect()
}

/// The backups whose `prior` is listed, and the prior of that, down to a full backup.
fn complete_backups(backups: &[Backup]) -> Vec<&Backup> {
    // A label starts with that of its full backup, followed by its own time, so each sorts after those that it depends on.
    let mut by_label: Vec<&Backup> = backups.iter().collect();
    by_label.sort_by(|one, other| one.label.cmp(&other.label));
    let mut complete: HashMap<&str, bool> = HashMap::with_capacity(by_label.len());
    by_label.retain(|backup| {
        let is_complete = match backup.prior.as_deref() {
            Some(prior) => complete.get(prior).copied().unwrap_or(false),
            None => true,
        };
        complete.insert(&backup.label, is_complete);
        is_complete
    });
    by_label
}

fn archived_range(archive: &Archive) -> Option<(WalSegment, WalSegment)> {
    let segment = |name: &Option<String>| name.as_deref().and_then(WalSegment::parse);
    Some((segment(&archive.min)?, segment(&archive.max)?))
}

fn can_become_consistent(backup: &Backup, archived: Option<(WalSegment, WalSegment)>) -> bool {
    if is_offline(backup) {
        return true;
    }
    // Names compare as pgBackRest compares them: by timeline first.
    match (backup.wal_start, backup.wal_stop, archived) {
        (Some(start), Some(stop), Some((min, max))) => min <= start && stop <= max,
        _ => false,
    }
}

fn is_offline(backup: &Backup) -> bool {
    // Names that are not WAL segments must not count as absent.
    backup.wal_start.is_none() && backup.wal_stop.is_none() && backup.lsn_start.is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::examples::{archive, backup, database, day, listed, offline, repo};
    use super::*;

    const FULL: &str = "20260101-000000F";

    fn window_of(backups: Vec<Backup>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        window(&repo(1, backups)).map(|window| (window.earliest, window.latest))
    }

    #[test]
    fn the_window_spans_the_usable_backups() {
        let incr = backup("20260101-000000F_20260102-000000I", day(1), 9);
        let found = window(&repo(1, vec![backup(FULL, day(0), 3), incr])).unwrap();
        assert_eq!(
            found,
            RecoveryWindow {
                earliest: day(0),
                continuous_start: None,
                latest: day(1),
                latest_lsn: None,
                verified: false
            }
        );
        assert_eq!(found.length(), Duration::days(1));
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known() {
        assert_eq!(window_of(vec![]), None);
        let mut without_wal = repo(1, vec![backup(FULL, day(0), 3)]);
        without_wal.archives = vec![archive(1, "", "")];
        assert_eq!(window(&without_wal), None);
        without_wal.archives = vec![archive(1, "garbage", "000000010000000000000020")];
        assert_eq!(window(&without_wal), None);
        without_wal.archives.clear();
        assert_eq!(window(&without_wal), None);
    }

    #[test]
    fn backups_outside_the_archived_wal_do_not_count() {
        let too_old = backup(FULL, day(0), 0);
        let good = backup("20260102-000000F", day(1), 5);
        let too_new = backup("20260103-000000F", day(2), 0x21);
        assert_eq!(window_of(vec![too_old, good, too_new]), Some((day(1), day(1))));
    }

    #[test]
    fn a_broken_chain_does_not_count() {
        let orphan = backup("20251201-000000F_20260101-000000D", day(0), 3);
        let mut on_orphan = backup("20251201-000000F_20260102-000000I", day(1), 4);
        on_orphan.prior = Some(orphan.label.clone());
        assert_eq!(window_of(vec![orphan.clone(), on_orphan.clone()]), None);
        let good = backup("20260103-000000F", day(2), 5);
        assert_eq!(window_of(vec![orphan, on_orphan, good]), Some((day(2), day(2))));
    }

    #[test]
    fn the_wal_of_a_prior_backup_is_not_needed() {
        let full = backup(FULL, day(0), 0);
        let incr = backup("20260101-000000F_20260102-000000I", day(1), 9);
        assert_eq!(window_of(vec![full, incr]), Some((day(1), day(1))));
    }

    #[test]
    fn offline_backups_are_instants() {
        let first = offline(FULL, day(0));
        let last = offline("20260105-000000F", day(4));
        let online = backup("20260103-000000F", day(2), 5);
        assert_eq!(window_of(vec![first.clone(), last.clone()]), Some((day(4), day(4))));
        assert_eq!(window_of(vec![first, online, last]), Some((day(2), day(4))));
    }

    #[test]
    fn backups_of_an_earlier_cluster_do_not_count() {
        let mut upgraded = repo(1, vec![backup(FULL, day(0), 3)]);
        upgraded.databases.push(database(2, 78));
        upgraded.archives.push(archive(2, "000000010000000000000001", "000000010000000000000004"));
        assert_eq!(window(&upgraded), None);
        let mut own = backup("20260102-000000F", day(1), 2);
        own.database_id = 2;
        upgraded.backups.push(own);
        assert_eq!(window(&upgraded).map(|window| window.earliest), Some(day(1)));
    }

    #[test]
    fn page_errors_do_not_shrink_the_window() {
        let mut corrupt = backup(FULL, day(0), 3);
        corrupt.error = Some(true);
        assert_eq!(window_of(vec![corrupt]), Some((day(0), day(0))));
    }

    #[test]
    fn a_listing_proves_the_window() {
        let both = || repo(1, vec![backup(FULL, day(3), 3), backup("20260106-000000F", day(6), 6)]);
        let whole = window(&listed(both(), 1..=9)).unwrap();
        let expected = RecoveryWindow {
            earliest: day(3),
            continuous_start: Some(day(3)),
            latest: day(9),
            latest_lsn: Lsn::parse("0/A000000"),
            verified: true,
        };
        assert_eq!((whole, whole.length()), (expected, Duration::days(6)));
        // A hole between the backups, and one after them.
        let holed = window(&listed(both(), [1, 2, 3, 5, 6, 7, 9])).unwrap();
        assert_eq!((holed.earliest, holed.start(), holed.latest), (day(3), day(6), day(7)));
    }

    #[test]
    fn that_nothing_can_be_restored_is_proven_too() {
        let lost = listed(repo(1, vec![backup(FULL, day(3), 3)]), [1, 2, 4]);
        assert_eq!((window(&lost), proof(&lost).is_some()), (None, true));
        assert!(lost.wal.as_ref().unwrap().restorable.is_empty());
        // Without the proof the names of the first and the last segment are all there is to go by.
        let unlisted = Repo { wal: None, ..lost };
        assert_eq!(window(&unlisted).map(|window| window.verified), Some(false));
    }

    #[test]
    fn instants_alone_are_no_window() {
        let offline = listed(repo(1, vec![offline(FULL, day(1)), offline("20260105-000000F", day(4))]), []);
        assert_eq!(window(&offline).map(|window| window.verified), Some(false), "no WAL, no path");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn more_backups_never_shrink_the_window(
            made in prop::collection::vec((0_i64..1000, 0_u32..0x28, any::<bool>()), 1..12)
        ) {
            let mut backups: Vec<Backup> = Vec::new();
            let mut before: Option<RecoveryWindow> = None;
            for (number, (at, segment, is_offline)) in made.into_iter().enumerate() {
                let label = format!("20260101-{number:06}F");
                backups.push(if is_offline { offline(&label, day(at)) } else { backup(&label, day(at), segment) });
                let now = window(&repo(1, backups.clone()));
                if let (Some(before), Some(now)) = (before, now) {
                    prop_assert!(now.latest >= before.latest);
                    prop_assert!(now.earliest <= now.latest);
                    // The first backup with WAL ends the time of single instants.
                    let was_instant = before.earliest == before.latest;
                    prop_assert!(was_instant || now.earliest <= before.earliest);
                }
                prop_assert!(before.is_none() || now.is_some());
                before = now;
            }
        }
    }
}
