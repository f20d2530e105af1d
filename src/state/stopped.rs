//! Whether pgBackRest's commands are disabled by `pgbackrest stop`, on this host or in the pods of a cluster.
//!
//! `stop` creates a stop file in `lock-path`: `STANZA.stop`, or without `--stanza` `all.stop`. Each backup, archive-push, expire and
//! stanza command checks for both in the `lock-path` of its stanza, and exits with code 62 if one exists
//! (`lockStopTest` in `src/command/control/common.c` of pgBackRest, the same from 2.45 to 2.60). `info` and restores do not check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::archive::CLOCK_TOLERANCE;
use super::filter::UNLISTED;
use super::snapshot::{Snapshot, StopFile, StopScope};

/// The name of the stop file for all stanzas.
const ALL: &str = "all";

/// The stop files of each readable directory: when each was created, by its name without `.stop`.
pub type StopListing = BTreeMap<PathBuf, BTreeMap<String, DateTime<Utc>>>;

/// A host or pod where pgBackRest's commands run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopPlace {
    /// The pod; none on this host.
    pub pod: Option<Arc<str>>,
    pub listing: StopListing,
}

/// Writes into the snapshot which stanzas are stopped, if their `lock-path` is known and readable. A stop file in one place counts
/// even if another place is unreadable; a stanza is only reported as not stopped if all places are readable.
pub fn judge_into(
    snapshot: &mut Snapshot,
    places: &[StopPlace],
    lock_path: impl Fn(&StopPlace, &str) -> Option<PathBuf>,
    now: DateTime<Utc>,
) {
    for stanza in snapshot.stanzas.iter_mut().filter(|stanza| *stanza.name != *UNLISTED) {
        let of_place = |place| of_stanza(place, &lock_path(place, &stanza.name)?, &stanza.name, now);
        let known: Vec<Option<Vec<StopFile>>> = places.iter().map(of_place).collect();
        let is_whole = !known.is_empty() && known.iter().all(Option::is_some);
        let found: Vec<StopFile> = known.into_iter().flatten().flatten().collect();
        stanza.stop_files = (is_whole || !found.is_empty()).then_some(found);
    }
}

fn of_stanza(place: &StopPlace, directory: &Path, stanza: &str, now: DateTime<Utc>) -> Option<Vec<StopFile>> {
    let files = place.listing.get(directory)?;
    let found = |scope, name| {
        let since = Some(*files.get(name)?).filter(|made| *made <= now + CLOCK_TOLERANCE);
        Some(StopFile { scope, since, pod: place.pod.clone() })
    };
    // The stop file of a stanza with this name is that for all stanzas.
    let own = (stanza != ALL).then(|| found(StopScope::Stanza, stanza)).flatten();
    Some(own.into_iter().chain(found(StopScope::All, ALL)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::examples::{day, repo, stanza};
    use super::super::snapshot::Stanza;
    use super::*;

    fn judged(
        name: &str,
        listing: &[(&str, &[(&str, i64)])],
        lock_path: Option<&str>,
    ) -> Option<Vec<StopFile>> {
        judged_in(name, &[place(None, listing)], lock_path)
    }

    fn place(pod: Option<&str>, listing: &[(&str, &[(&str, i64)])]) -> StopPlace {
        let files =
            |files: &[(&str, i64)]| files.iter().map(|(name, at)| ((*name).to_owned(), day(*at))).collect();
        let listing = listing.iter().map(|(directory, found)| (directory.into(), files(found))).collect();
        StopPlace { pod: pod.map(Arc::from), listing }
    }

    fn judged_in(name: &str, places: &[StopPlace], lock_path: Option<&str>) -> Option<Vec<StopFile>> {
        let stanzas = vec![Stanza { name: Arc::from(name), ..stanza(vec![repo(1, vec![])]) }];
        let mut snapshot = Snapshot { stanzas, ..Snapshot::default() };
        judge_into(&mut snapshot, places, |_, _| lock_path.map(PathBuf::from), day(5));
        snapshot.stanzas.remove(0).stop_files
    }

    #[test]
    fn the_stop_files_of_its_own_lock_path_count() {
        let one = |scope, since| StopFile { scope, since: Some(day(since)), pod: None };
        let all: &[_] = &[("all", 2)];
        let both: &[_] = &[("all", 2), ("demo", 3), ("other", 4)];
        let listing = [("/locks", both), ("/apart", &[]), ("/all", all)];
        let of = |path| judged("demo", &listing, Some(path));
        assert_eq!(of("/locks"), Some(vec![one(StopScope::Stanza, 3), one(StopScope::All, 2)]));
        assert_eq!(of("/all"), Some(vec![one(StopScope::All, 2)]));
        assert_eq!(of("/apart"), Some(vec![]));
        assert_eq!(judged("all", &listing, Some("/locks")), Some(vec![one(StopScope::All, 2)]));
        // If the clock was ahead, the time is unknown, but the file still counts.
        let ahead = [("/locks", &[("demo", 9)][..])];
        let undated = StopFile { scope: StopScope::Stanza, since: None, pod: None };
        assert_eq!(judged("demo", &ahead, Some("/locks")), Some(vec![undated]));
    }

    #[test]
    fn without_a_configuration_or_a_listing_nothing_is_known() {
        let listing = [("/locks", &[("all", 2)][..])];
        assert_eq!(judged("demo", &listing, None), None);
        assert_eq!(judged("demo", &listing, Some("/unreadable")), None);
        assert_eq!(judged(UNLISTED, &listing, Some("/locks")), None);
    }

    #[test]
    fn nothing_is_stopped_if_nothing_is_in_any_place() {
        let stopped = || place(Some("ledger-0"), &[("/locks", &[("all", 2)])]);
        let free = || place(Some("ledger-host"), &[("/locks", &[])]);
        let unknown = || place(Some("ledger-host"), &[]);
        let of = |places: &[StopPlace]| judged_in("demo", places, Some("/locks"));
        let file = StopFile { scope: StopScope::All, since: Some(day(2)), pod: Some(Arc::from("ledger-0")) };
        for places in [[stopped(), free()], [unknown(), stopped()]] {
            assert_eq!(of(&places), Some(vec![file.clone()]));
        }
        assert_eq!(of(&[free(), free()]), Some(vec![]));
        assert_eq!(of(&[free(), unknown()]), None);
        assert_eq!(of(&[]), None);
    }
}
