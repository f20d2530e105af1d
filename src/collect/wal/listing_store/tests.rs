//! What of a listing may be judged, and when.

use super::*;
use crate::pgbackrest::{archive::ArchiveId, archive::DirectoryName, info, sanitize};
use crate::state::archive::{DirectoryFacts, Expected, ListedFile};
use crate::state::assemble;
use crate::state::snapshot::{FailureReason, RepoState};

/// One repository with a full, a diff and an incr backup, read at a time.
fn snapshot(read_at: DateTime<Utc>) -> Snapshot {
    let text = include_bytes!("../../../../fixtures/info/2.60.0/one_repo_full_diff_incr.json");
    let cleaned = sanitize::clean(text);
    let document = info::parse(&cleaned.text).unwrap();
    let stanzas = document.stanzas().map(|stanza| assemble::stanza(stanza, read_at)).collect();
    Snapshot { stanzas, ..Snapshot::default() }
}

fn key(snapshot: &Snapshot) -> ArchiveKey {
    (snapshot.stanzas[0].name.clone(), 1)
}

fn archive(snapshot: &Snapshot) -> Archive {
    Archive::of(&snapshot.stanzas[0], &snapshot.stanzas[0].repos[0]).unwrap()
}

/// All that `info` names from archive min to max is there, but for one segment where that is said.
fn listing(snapshot: &Snapshot, without: Option<u32>) -> Listing {
    let repo = &snapshot.stanzas[0].repos[0];
    let archive = &repo.archives[0];
    let range = wal_range::range(&snapshot.stanzas[0], repo).unwrap();
    let directory = DirectoryName { timeline: range.min.timeline, high: range.min.high };
    let lows = (range.min.low..=range.max.low).filter(|low| Some(*low) != without);
    let names: Vec<String> = lows.map(|low| format!("{directory}{low:08X}-{}.gz", "a".repeat(40))).collect();
    let now = Utc::now();
    let files = names.iter().map(|name| ListedFile { name, size: 1 << 20, modified: now });
    let mut listing = Listing::new(ArchiveId::parse(&archive.id).unwrap(), now);
    listing.replace_directory(directory, DirectoryFacts::of(directory, files, now, &Expected::default()));
    listing.backup_directories = Some(repo.backups.iter().map(|backup| backup.label.to_string()).collect());
    listing
}

fn well(listing: Listing) -> ScanResult {
    ScanResult { listing, end: ScanEnd::Complete }
}

fn failed(listing: Listing) -> ScanResult {
    let message = "it hangs".to_owned();
    ScanResult {
        listing,
        end: ScanEnd::Failed(Failure { reason: FailureReason::Timeout, exit_code: None, message }),
    }
}

fn fill(store: &ListingStore, mut snapshot: Snapshot, now: DateTime<Utc>) -> Snapshot {
    store.judge_into(&mut snapshot, TimeDelta::hours(1), now);
    snapshot
}

fn proof(snapshot: &Snapshot) -> Option<&Continuity> {
    snapshot.stanzas[0].repos[0].wal.as_deref()
}

#[test]
fn a_listing_is_judged_once_info_has_answered_after_it() {
    let (before, store) = (snapshot(Utc::now()), ListingStore::default());
    let taken = store.put(key(&before), &archive(&before), well(listing(&before, None)));
    assert_eq!(taken, Change::None);
    let early = fill(&store, before.clone(), Utc::now());
    assert!(proof(&early).is_none());
    assert!(early.collection.wal[&before.stanzas[0].name].up);
    let after = fill(&store, snapshot(Utc::now()), Utc::now());
    let wal = proof(&after).unwrap();
    assert_eq!((wal.missing(), wal.restorable.len()), (0, 3));
    assert!(!store.take_more_missing());
    // It stays known while the repository is silent, until it is too old.
    assert!(proof(&fill(&store, before.clone(), Utc::now())).is_some());
    let much_later = Utc::now() + TimeDelta::hours(2);
    assert!(proof(&fill(&store, snapshot(much_later), much_later)).is_none());
}

#[test]
fn a_backup_that_came_meanwhile_waits_for_the_next_listing() {
    let mut before = snapshot(Utc::now());
    let newest = before.stanzas[0].repos[0].backups.pop().unwrap();
    let mut listing = listing(&before, Some(newest.wal_stop.unwrap().low));
    listing.backup_directories.as_mut().unwrap().remove(&*newest.label);
    let store = ListingStore::default();
    store.put(key(&before), &archive(&before), well(listing));
    let after = fill(&store, snapshot(Utc::now()), Utc::now());
    let wal = proof(&after).unwrap();
    assert!(!wal.restorable.contains(&newest.label));
    assert_eq!((wal.unrestorable.wal, wal.unrestorable.directory), (0, Some(0)));
}

#[test]
fn a_backup_that_was_expired_meanwhile_is_not_missed() {
    let (before, store) = (snapshot(Utc::now()), ListingStore::default());
    let oldest = before.stanzas[0].repos[0].backups[0].clone();
    let mut listing = listing(&before, None);
    listing.backup_directories = Some(BTreeSet::new());
    store.put(key(&before), &archive(&before), well(listing));
    let mut after = snapshot(Utc::now());
    after.stanzas[0].repos[0].backups.retain(|backup| backup.label != oldest.label);
    let unrestorable = proof(&fill(&store, after, Utc::now())).unwrap().unrestorable;
    assert_eq!(unrestorable.directory, Some(2));
}

#[test]
fn what_is_missing_anew_asks_for_a_second_scan() {
    let (before, store) = (snapshot(Utc::now()), ListingStore::default());
    let hole = before.stanzas[0].repos[0].backups[1].wal_start.unwrap().low;
    let take = |without| {
        store.put(key(&before), &archive(&before), well(listing(&before, without)));
        fill(&store, snapshot(Utc::now()), Utc::now());
        store.take_more_missing()
    };
    assert!(!take(None));
    assert!(take(Some(hole)));
    assert!(!take(Some(hole)), "one more scan is enough");
}

#[test]
fn a_scan_that_fails_leaves_the_last_proof() {
    let (before, store) = (snapshot(Utc::now()), ListingStore::default());
    let take = |result| store.put(key(&before), &archive(&before), result);
    assert_eq!(take(well(listing(&before, None))), Change::None);
    assert_eq!(take(failed(Listing::new(archive(&before).id, Utc::now()))), Change::Failed);
    let told = fill(&store, snapshot(Utc::now()), Utc::now());
    assert_eq!(proof(&told).unwrap().missing(), 0);
    let health = &told.collection.wal[&before.stanzas[0].name];
    assert!(!health.up && health.last_success.is_some());
    assert_eq!(store.failure(&key(&before)).as_deref(), Some("it hangs"));
    assert_eq!(take(well(listing(&before, None))), Change::Recovered);
}

#[test]
fn an_unfinished_scan_is_no_failure_and_no_proof() {
    let (before, store) = (snapshot(Utc::now()), ListingStore::default());
    let result = ScanResult { listing: listing(&before, None), end: ScanEnd::Unfinished };
    assert_eq!(store.put(key(&before), &archive(&before), result), Change::None);
    let told = fill(&store, snapshot(Utc::now()), Utc::now());
    let health = &told.collection.wal[&before.stanzas[0].name];
    assert!(proof(&told).is_none() && health.up && health.last_success.is_none());
    assert!(store.previous(&key(&before)).0.is_some(), "the next scan resumes there");
}

#[test]
fn what_is_gone_or_another_archive_proves_nothing() {
    let (before, store) = (snapshot(Utc::now()), ListingStore::default());
    store.put(key(&before), &archive(&before), well(listing(&before, None)));
    let mut upgraded = snapshot(Utc::now());
    upgraded.stanzas[0].repos[0].archives[0].id = "99-1".to_owned();
    assert!(proof(&fill(&store, upgraded, Utc::now())).is_none());
    store.retain(&Snapshot::default());
    assert!(store.previous(&key(&before)).0.is_none());
    assert!(fill(&store, snapshot(Utc::now()), Utc::now()).collection.wal.is_empty());
}

#[test]
fn an_archive_or_a_backup_that_is_new_is_not_waited_for() {
    let (now, store) = (snapshot(Utc::now()), ListingStore::default());
    assert!(store.has_news(&now));
    let mut earlier = now.clone();
    let newest = earlier.stanzas[0].repos[0].backups.pop().unwrap();
    // However it ends: what fails is tried again when it is time.
    store.put(key(&earlier), &archive(&earlier), failed(listing(&earlier, None)));
    assert!(!store.has_news(&earlier));
    assert!(store.has_news(&now), "{}", newest.label);
    store.put(key(&now), &archive(&now), well(listing(&now, None)));
    assert!(!store.has_news(&now) && !store.has_news(&earlier));
    let mut upgraded = now.clone();
    upgraded.stanzas[0].repos[0].archives[0].id = "99-1".to_owned();
    assert!(store.has_news(&upgraded));
    let mut silent = upgraded;
    silent.stanzas[0].repos[0].state = RepoState::Timeout;
    assert!(!store.has_news(&silent), "it cannot be listed");
    // A stanza that was just made.
    let mut empty = now;
    let repo = &mut empty.stanzas[0].repos[0];
    (repo.archives[0].min, repo.archives[0].max) = (None, None);
    assert!(ListingStore::default().has_news(&empty), "all WAL of the backups is gone");
    empty.stanzas[0].repos[0].backups.clear();
    assert!(!ListingStore::default().has_news(&empty));
}
