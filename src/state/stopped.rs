//! Whether pgBackRest's commands are disabled on this host by `pgbackrest stop`.
//!
//! `stop` creates a stop file in `lock-path`: `STANZA.stop`, or without `--stanza` `all.stop`. Each backup, archive-push, expire and
//! stanza command checks for both in the `lock-path` of its stanza, and exits with code 62 if one exists
//! (`lockStopTest` in `src/command/control/common.c` of pgBackRest, the same from 2.45 to 2.60). `info` and restores do not check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::archive::CLOCK_TOLERANCE;
use super::filter::UNLISTED;
use super::snapshot::{Snapshot, StopFile, StopScope};

/// The name of the stop file for all stanzas.
const ALL: &str = "all";

/// The stop files of each readable directory: when each was created, by its name without `.stop`.
pub type StopListing = BTreeMap<PathBuf, BTreeMap<String, DateTime<Utc>>>;

/// Writes into the snapshot which stanzas are stopped, if their `lock-path` is known and readable.
pub fn judge_into(
    snapshot: &mut Snapshot,
    listing: &StopListing,
    lock_path: impl Fn(&str) -> Option<PathBuf>,
    now: DateTime<Utc>,
) {
    for stanza in &mut snapshot.stanzas {
        let directory = Some(&*stanza.name).filter(|name| *name != UNLISTED).and_then(&lock_path);
        stanza.stop_files = directory.and_then(|directory| of_stanza(listing, &directory, &stanza.name, now));
    }
}

fn of_stanza(
    listing: &StopListing,
    directory: &Path,
    stanza: &str,
    now: DateTime<Utc>,
) -> Option<Vec<StopFile>> {
    let files = listing.get(directory)?;
    let found = |scope, name| {
        let made = files.get(name)?;
        Some(StopFile { scope, since: Some(*made).filter(|made| *made <= now + CLOCK_TOLERANCE) })
    };
    // The stop file of a stanza with this name is that for all stanzas.
    let own = (stanza != ALL).then(|| found(StopScope::Stanza, stanza)).flatten();
    Some(own.into_iter().chain(found(StopScope::All, ALL)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::examples::{day, repo, stanza};
    use super::super::snapshot::Stanza;
    use super::*;

    fn judged(
        name: &str,
        listing: &[(&str, &[(&str, i64)])],
        lock_path: Option<&str>,
    ) -> Option<Vec<StopFile>> {
        let files =
            |files: &[(&str, i64)]| files.iter().map(|(name, at)| ((*name).to_owned(), day(*at))).collect();
        let listing = listing.iter().map(|(directory, found)| (directory.into(), files(found))).collect();
        let stanzas = vec![Stanza { name: Arc::from(name), ..stanza(vec![repo(1, vec![])]) }];
        let mut snapshot = Snapshot { stanzas, ..Snapshot::default() };
        judge_into(&mut snapshot, &listing, |_| lock_path.map(PathBuf::from), day(5));
        snapshot.stanzas.remove(0).stop_files
    }

    #[test]
    fn the_stop_files_of_its_own_lock_path_count() {
        let one = |scope, since| StopFile { scope, since: Some(day(since)) };
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
        let undated = StopFile { scope: StopScope::Stanza, since: None };
        assert_eq!(judged("demo", &ahead, Some("/locks")), Some(vec![undated]));
    }

    #[test]
    fn without_a_configuration_or_a_listing_nothing_is_known() {
        let listing = [("/locks", &[("all", 2)][..])];
        assert_eq!(judged("demo", &listing, None), None);
        assert_eq!(judged("demo", &listing, Some("/unreadable")), None);
        assert_eq!(judged(UNLISTED, &listing, Some("/locks")), None);
    }
}
