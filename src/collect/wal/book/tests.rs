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

fn key(snapshot: &Snapshot) -> Key {
    (snapshot.stanzas[0].name.clone(), 1)
}

fn subject(snapshot: &Snapshot) -> Subject {
    Subject::of(&snapshot.stanzas[0], &snapshot.stanzas[0].repos[0]).unwrap()
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
    listing.backup_directories = Some(repo.backups.iter().map(|backup| backup.label.clone()).collect());
    listing
}

fn well(listing: Listing) -> Passed {
    Passed { listing, end: End::Whole }
}

fn failed(listing: Listing) -> Passed {
    let message = "it hangs".to_owned();
    Passed { listing, end: End::Failed(Failure { reason: FailureReason::Timeout, exit_code: None, message }) }
}

fn fill(book: &Book, mut snapshot: Snapshot, now: DateTime<Utc>) -> Snapshot {
    book.fill(&mut snapshot, TimeDelta::hours(1), now);
    snapshot
}

fn proof(snapshot: &Snapshot) -> Option<&Continuity> {
    snapshot.stanzas[0].repos[0].wal.as_deref()
}

#[test]
fn a_listing_is_judged_once_info_has_answered_after_it() {
    let (before, book) = (snapshot(Utc::now()), Book::default());
    let taken = book.put(key(&before), &subject(&before), well(listing(&before, None)), &before);
    assert_eq!(taken, (Change::None, false));
    let early = fill(&book, before.clone(), Utc::now());
    assert!(proof(&early).is_none());
    assert!(early.collection.wal[&before.stanzas[0].name].up);
    let after = fill(&book, snapshot(Utc::now()), Utc::now());
    let wal = proof(&after).unwrap();
    assert_eq!((wal.missing(), wal.restorable.len()), (0, 3));
    // It stays known while the repository is silent, until it is too old.
    assert!(proof(&fill(&book, before.clone(), Utc::now())).is_some());
    let much_later = Utc::now() + TimeDelta::hours(2);
    assert!(proof(&fill(&book, snapshot(much_later), much_later)).is_none());
}

#[test]
fn a_backup_that_came_meanwhile_waits_for_the_next_listing() {
    let mut before = snapshot(Utc::now());
    let newest = before.stanzas[0].repos[0].backups.pop().unwrap();
    let mut listing = listing(&before, Some(newest.wal_stop.unwrap().low));
    listing.backup_directories.as_mut().unwrap().remove(&newest.label);
    let book = Book::default();
    book.put(key(&before), &subject(&before), well(listing), &before);
    let after = fill(&book, snapshot(Utc::now()), Utc::now());
    let wal = proof(&after).unwrap();
    assert!(!wal.restorable.contains(&newest.label));
    assert_eq!((wal.unrestorable.wal, wal.unrestorable.directory), (0, Some(0)));
}

#[test]
fn a_backup_that_was_expired_meanwhile_is_not_missed() {
    let (before, book) = (snapshot(Utc::now()), Book::default());
    let oldest = before.stanzas[0].repos[0].backups[0].clone();
    let mut listing = listing(&before, None);
    listing.backup_directories = Some(BTreeSet::new());
    book.put(key(&before), &subject(&before), well(listing), &before);
    let mut after = snapshot(Utc::now());
    after.stanzas[0].repos[0].backups.retain(|backup| backup.label != oldest.label);
    let unrestorable = proof(&fill(&book, after, Utc::now())).unwrap().unrestorable;
    assert_eq!(unrestorable.directory, Some(2));
}

#[test]
fn what_is_missing_anew_asks_for_a_second_look() {
    let (before, book) = (snapshot(Utc::now()), Book::default());
    let hole = before.stanzas[0].repos[0].backups[1].wal_start.unwrap().low;
    let take =
        |without| book.put(key(&before), &subject(&before), well(listing(&before, without)), &before).1;
    assert!(!take(None));
    assert!(take(Some(hole)));
    assert!(!take(Some(hole)), "one more look is enough");
}

#[test]
fn a_pass_that_fails_leaves_the_last_proof() {
    let (before, book) = (snapshot(Utc::now()), Book::default());
    let take = |passed| book.put(key(&before), &subject(&before), passed, &before).0;
    assert_eq!(take(well(listing(&before, None))), Change::None);
    assert_eq!(take(failed(Listing::new(subject(&before).archive, Utc::now()))), Change::Failed);
    let told = fill(&book, snapshot(Utc::now()), Utc::now());
    assert_eq!(proof(&told).unwrap().missing(), 0);
    let health = &told.collection.wal[&before.stanzas[0].name];
    assert!(!health.up && health.last_success.is_some());
    assert_eq!(book.failure(&key(&before)).as_deref(), Some("it hangs"));
    assert_eq!(take(well(listing(&before, None))), Change::Recovered);
}

#[test]
fn a_pass_that_is_not_through_is_no_failure_and_no_proof() {
    let (before, book) = (snapshot(Utc::now()), Book::default());
    let passed = Passed { listing: listing(&before, None), end: End::Unfinished };
    assert_eq!(book.put(key(&before), &subject(&before), passed, &before).0, Change::None);
    let told = fill(&book, snapshot(Utc::now()), Utc::now());
    let health = &told.collection.wal[&before.stanzas[0].name];
    assert!(proof(&told).is_none() && health.up && health.last_success.is_none());
    assert!(book.before(&key(&before)).listing.is_some(), "the next pass goes on from there");
}

#[test]
fn what_is_gone_or_another_archive_proves_nothing() {
    let (before, book) = (snapshot(Utc::now()), Book::default());
    book.put(key(&before), &subject(&before), well(listing(&before, None)), &before);
    let mut upgraded = snapshot(Utc::now());
    upgraded.stanzas[0].repos[0].archives[0].id = "99-1".to_owned();
    assert!(proof(&fill(&book, upgraded, Utc::now())).is_none());
    book.retain(&Snapshot::default());
    assert!(book.before(&key(&before)).listing.is_none());
    assert!(fill(&book, snapshot(Utc::now()), Utc::now()).collection.wal.is_empty());
}

#[test]
fn an_archive_or_a_backup_that_is_new_is_not_waited_for() {
    let (now, book) = (snapshot(Utc::now()), Book::default());
    assert!(book.has_news(&now));
    let mut earlier = now.clone();
    let newest = earlier.stanzas[0].repos[0].backups.pop().unwrap();
    // However it ends: what fails is tried again when it is time.
    book.put(key(&earlier), &subject(&earlier), failed(listing(&earlier, None)), &earlier);
    assert!(!book.has_news(&earlier));
    assert!(book.has_news(&now), "{}", newest.label);
    book.put(key(&now), &subject(&now), well(listing(&now, None)), &now);
    assert!(!book.has_news(&now) && !book.has_news(&earlier));
    let mut upgraded = now.clone();
    upgraded.stanzas[0].repos[0].archives[0].id = "99-1".to_owned();
    assert!(book.has_news(&upgraded));
    let mut silent = upgraded;
    silent.stanzas[0].repos[0].state = RepoState::Timeout;
    assert!(!book.has_news(&silent), "it cannot be listed");
    // A stanza that was just made.
    let mut empty = now;
    let repo = &mut empty.stanzas[0].repos[0];
    (repo.archives[0].min, repo.archives[0].max) = (None, None);
    assert!(Book::default().has_news(&empty), "all WAL of the backups is gone");
    empty.stanzas[0].repos[0].backups.clear();
    assert!(!Book::default().has_news(&empty));
}
