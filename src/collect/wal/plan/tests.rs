//! What a scan lists.

use chrono::TimeDelta;

use super::*;
use crate::pgbackrest::archive::ArchiveId;
use crate::pgbackrest::repository::{Entry, parse_listing};
use crate::pgbackrest::stored_size::StoredSize;
use crate::pgbackrest::wal::SegmentSize;

const INTERVAL: Duration = Duration::from_mins(15);

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn archive(backups: &[&str], edges: &[&str]) -> Archive {
    Archive {
        id: ArchiveId::parse("15-1").unwrap(),
        has_wal: true,
        size: SegmentSize::DEFAULT,
        stored_size: StoredSize::default(),
        backup_ends: BTreeMap::new(),
        backups: backups.iter().map(|label| (*label).into()).collect(),
        edges: edges.iter().map(|name| DirectoryName::parse(name).unwrap()).collect(),
        marked: BTreeMap::new(),
        labels: backups.iter().map(|label| (*label).into()).collect(),
        may_run: false,
    }
}

fn entries(kind: &str, names: &[String]) -> Entries {
    let entry = |name: &String| format!(r#""{name}":{{"type":"{kind}","size":1048576,"time":1800000000}}"#);
    let all: Vec<String> = names.iter().map(entry).collect();
    parse_listing(format!("{{{}}}", all.join(",")).as_bytes()).unwrap()
}

fn directory(timeline: u32, high: u32) -> String {
    DirectoryName { timeline, high }.to_string()
}

/// Segments `first..=last` of a directory.
fn segments(name: DirectoryName, first: u32, last: u32) -> Entries {
    let file = |low: u32| format!("{name}{low:08X}-{}.gz", "a".repeat(40));
    entries("file", &(first..=last).map(file).collect::<Vec<_>>())
}

/// Makes a scan over an archive whose directories are full but for `partly`, and gives what was asked beside the two first.
fn run(
    scan: &mut ScanPlan,
    names: &[String],
    partly: &[(&str, u32, u32)],
    now: DateTime<Utc>,
) -> Vec<String> {
    assert_eq!(scan.next(), Some(ScanStep::Backups));
    scan.take(ScanStep::Backups, &entries("path", &["backup.info".to_owned()]), now).unwrap();
    assert_eq!(scan.next(), Some(ScanStep::Archive));
    scan.take(ScanStep::Archive, &entries("path", names), now).unwrap();
    let mut asked = Vec::new();
    let files = |name: DirectoryName| {
        let text = name.to_string();
        let (_, first, last) = partly.iter().find(|(partly, ..)| *partly == text).unwrap_or(&("", 0, 255));
        segments(name, *first, *last)
    };
    while let Some(step) = scan.next() {
        match step {
            ScanStep::Directory(name) => {
                scan.take(step, &files(name), now).unwrap();
                asked.push(name.to_string());
            }
            ScanStep::Directories => {
                let mut reader = scan.reader();
                for name in names {
                    read(&mut reader, name, &files(DirectoryName::parse(name).unwrap()), now);
                }
                let listed = reader.finish(true, now);
                asked.extend(listed.keys().map(ToString::to_string));
                scan.take_directories(listed);
            }
            _ => panic!("{step:?}"),
        }
    }
    asked
}

/// The entries of a directory, as a recursive listing contains them.
fn read(reader: &mut DirectoriesReader, name: &str, files: &Entries, now: DateTime<Utc>) {
    reader.take(name, Entry { kind: EntryKind::Path, size: None, time: None }, now);
    for (file, entry) in files {
        reader.take(&format!("{name}/{file}"), entry.clone(), now);
    }
}

/// A scan whose next step lists all of these directories at once.
fn at_once(names: &[String]) -> ScanPlan {
    let mut scan = ScanPlan::begin(None, &BTreeSet::new(), archive(&[], &[]), INTERVAL, at(0));
    while let Some(step) = scan.next() {
        match step {
            ScanStep::Backups => {
                scan.take(step, &entries("path", &["backup.info".to_owned()]), at(0)).unwrap();
            }
            ScanStep::Archive => scan.take(step, &entries("path", names), at(0)).unwrap(),
            _ => {
                assert_eq!(step, ScanStep::Directories);
                break;
            }
        }
    }
    scan
}

fn rest(scan: &mut ScanPlan) -> Vec<ScanStep> {
    std::iter::from_fn(|| scan.next()).collect()
}

fn again(listing: Listing, backups: &[&str], archive: Archive, now: DateTime<Utc>) -> ScanPlan {
    let labels = backups.iter().map(|label| (*label).into()).collect();
    ScanPlan::begin(Some(listing), &labels, archive, INTERVAL, now)
}

fn first(names: &[String], partly: &[(&str, u32, u32)]) -> Listing {
    let mut scan = ScanPlan::begin(None, &BTreeSet::new(), archive(&[], &[]), INTERVAL, at(0));
    assert_eq!(run(&mut scan, names, partly, at(0)), names);
    scan.into_listing()
}

#[test]
fn many_directories_are_listed_with_one_call() {
    let names: Vec<String> = (0..8).map(|high| directory(1, high)).collect();
    let mut scan = at_once(&names);
    let mut reader = scan.reader();
    // Files beside the directories, and directories that are not wanted, end the one before.
    for name in &names {
        read(&mut reader, name, &segments(DirectoryName::parse(name).unwrap(), 0, 255), at(1));
        for other in ["00000002.history", "0000000900000000", "0000000900000000/x", "a/b/c"] {
            reader.take(other, Entry { kind: EntryKind::File, size: Some(1), time: Some(at(0)) }, at(1));
        }
    }
    scan.take_directories(reader.finish(true, at(1)));
    assert_eq!(rest(&mut scan), []);
    let listing = scan.into_listing();
    let mut one_by_one = ScanPlan::begin(None, &BTreeSet::new(), archive(&[], &[]), INTERVAL, at(1));
    for name in names.iter().map(|name| DirectoryName::parse(name).unwrap()) {
        one_by_one.take(ScanStep::Directory(name), &segments(name, 0, 255), at(1)).unwrap();
    }
    assert!(listing.directories().eq(one_by_one.into_listing().directories()));
    // Fewer are listed one by one.
    let mut scan = ScanPlan::begin(None, &BTreeSet::new(), archive(&[], &[]), INTERVAL, at(0));
    scan.take(ScanStep::Archive, &entries("path", &names[..7]), at(0)).unwrap();
    assert!(!rest(&mut scan).contains(&ScanStep::Directories));
}

#[test]
fn what_one_call_did_not_list_completely_is_listed_again() {
    let names: Vec<String> = (0..9).map(|high| directory(1, high)).collect();
    let name = |high: u32| DirectoryName { timeline: 1, high };
    let mut scan = at_once(&names);
    let mut reader = scan.reader();
    for high in [0, 1, 2, 3] {
        read(&mut reader, &names[high as usize], &segments(name(high), 0, 9), at(1));
    }
    // In two parts; without times; more than a directory can hold; and cut off.
    read(&mut reader, &names[1], &segments(name(1), 10, 19), at(1));
    read(&mut reader, &names[1], &segments(name(1), 20, 29), at(1));
    reader.take(&names[4], Entry { kind: EntryKind::Path, size: None, time: None }, at(1));
    reader.take(
        &format!("{}/x", names[4]),
        Entry { kind: EntryKind::File, size: Some(1), time: None },
        at(1),
    );
    for number in 0..=(64 << 10) {
        let file = format!("{}/{number}", names[5]);
        reader.take(&file, Entry { kind: EntryKind::File, size: Some(1), time: Some(at(0)) }, at(1));
    }
    read(&mut reader, &names[6], &segments(name(6), 0, 9), at(1));
    scan.take_directories(reader.finish(false, at(1)));
    let listed: Vec<DirectoryName> = scan.listing.directories().map(|(name, _)| name).collect();
    assert_eq!(listed, [0, 2, 3].map(name));
    assert_eq!(rest(&mut scan), [1, 4, 5, 6, 7, 8].map(name).map(ScanStep::Directory));
}

#[test]
fn a_later_pass_looks_where_something_can_have_changed() {
    let names: Vec<String> = (0..50).map(|high| directory(1, high)).collect();
    let listing = first(&names, &[]);
    // The oldest and the newest; of the 50 one in turn, which is the oldest here.
    let mut scan = again(listing, &[], archive(&[], &[]), at(15));
    assert_eq!(run(&mut scan, &names, &[], at(15)), [names[0].clone(), names[49].clone()]);
    // A new directory has come; what was the newest may have grown until then.
    let mut more = names.clone();
    more.push(directory(1, 50));
    let mut scan = again(scan.into_listing(), &[], archive(&[], &[]), at(30));
    let asked = run(&mut scan, &more, &[], at(30));
    assert_eq!(asked, [&more[0], &more[1], &more[49], &more[50]].map(Clone::clone));
    // And is asked no more when that is known.
    let mut scan = again(scan.into_listing(), &[], archive(&[], &[]), at(45));
    assert_eq!(run(&mut scan, &more, &[], at(45)), [&more[0], &more[2], &more[50]].map(Clone::clone));
}

#[test]
fn everything_is_listed_again_within_a_day() {
    let names: Vec<String> = (0..500).map(|high| directory(1, high)).collect();
    let mut listing = first(&names, &[]);
    let mut calls = 0;
    for round in 1..=96 {
        let mut scan = again(listing, &[], archive(&[], &[]), at(15 * round));
        calls += run(&mut scan, &names, &[], at(15 * round)).len();
        listing = scan.into_listing();
    }
    assert!(listing.directories().all(|(_, facts)| facts.verified_at > at(0)));
    assert!(calls < 96 * 9, "{calls}");
}

#[test]
fn backups_that_come_or_go_have_the_directories_of_their_wal_listed() {
    let names: Vec<String> = (0..20).map(|high| directory(1, high)).collect();
    let listing = first(&names, &[]);
    let edges: Vec<&str> = [&names[7], &names[9]].map(String::as_str).to_vec();
    let with_backup = || archive(&["20260101-000000F"], &edges);
    let mut scan = again(listing, &[], with_backup(), at(15));
    let asked = run(&mut scan, &names, &[], at(15));
    assert_eq!(asked, [&names[0], &names[7], &names[9], &names[19]].map(Clone::clone));
    let mut scan = again(scan.into_listing(), &["20260101-000000F"], with_backup(), at(30));
    assert_eq!(run(&mut scan, &names, &[], at(30)), [&names[0], &names[1], &names[19]].map(Clone::clone));
}

#[test]
fn what_has_a_hole_is_listed_again() {
    let names: Vec<String> = (0..20).map(|high| directory(1, high)).collect();
    let partly = [(names[5].as_str(), 0, 254), (names[12].as_str(), 1, 255), (names[19].as_str(), 0, 7)];
    let mut scan = again(first(&names, &partly), &[], archive(&[], &[]), at(15));
    let asked = run(&mut scan, &names, &[], at(15));
    assert_eq!(asked, [&names[0], &names[5], &names[12], &names[19]].map(Clone::clone));
}

#[test]
fn each_timeline_has_a_newest_directory() {
    let names = [directory(1, 0), directory(1, 1), directory(2, 1), directory(2, 2), directory(3, 2)];
    let mut scan = again(first(&names, &[]), &[], archive(&[], &[]), at(15));
    let asked = run(&mut scan, &names, &[], at(15));
    assert_eq!(asked, [&names[0], &names[1], &names[3], &names[4]].map(Clone::clone));
}

#[test]
fn directories_and_histories_that_are_gone_are_forgotten() {
    let names = [directory(1, 0), directory(1, 1)];
    let mut listing = first(&names, &[]);
    listing.histories.insert(2, TimelineHistory::parse(2, "1\t0/3000110\n").unwrap());
    let mut scan = again(listing, &[], archive(&[], &[]), at(15));
    run(&mut scan, &names[1..], &[], at(15));
    let listing = scan.into_listing();
    assert!(listing.histories.is_empty());
    assert_eq!(listing.directories().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), names[1..]);
}

#[test]
fn histories_are_read_once_and_broken_ones_left_out() {
    let mut scan = ScanPlan::begin(None, &BTreeSet::new(), archive(&[], &[]), INTERVAL, at(0));
    let mut top = entries("path", &[directory(3, 0)]);
    top.extend(entries("file", &["00000002.history".to_owned(), "00000003.history".to_owned()]));
    scan.take(ScanStep::Archive, &top, at(0)).unwrap();
    let histories: Vec<ScanStep> = std::iter::from_fn(|| scan.next()).collect();
    assert!(histories.contains(&ScanStep::History(2)) && histories.contains(&ScanStep::History(3)));
    scan.take_history(2, b"1\t0/3000110\n");
    scan.take_history(3, b"nonsense");
    let mut scan = again(scan.into_listing(), &[], archive(&[], &[]), at(15));
    scan.take(ScanStep::Archive, &top, at(15)).unwrap();
    let asked: Vec<ScanStep> = std::iter::from_fn(|| scan.next()).collect();
    assert!(!asked.contains(&ScanStep::History(2)) && asked.contains(&ScanStep::History(3)));
}

#[test]
fn what_cannot_be_there_is_not_believed() {
    let none = entries("path", &[]);
    let mut scan = ScanPlan::begin(None, &BTreeSet::new(), archive(&[], &[]), INTERVAL, at(0));
    assert!(scan.take(ScanStep::Backups, &none, at(0)).unwrap_err().message.contains("backup.info"));
    assert!(
        scan.take(ScanStep::Archive, &none, at(0)).unwrap_err().message.contains("info reports segments")
    );
    let without_wal = Archive { has_wal: false, ..archive(&[], &[]) };
    let mut scan = ScanPlan::begin(None, &BTreeSet::new(), without_wal, INTERVAL, at(0));
    assert!(scan.take(ScanStep::Archive, &none, at(0)).is_ok());
    let name = DirectoryName { timeline: 1, high: 0 };
    let sizeless = parse_listing(br#"{"x":{"type":"file"}}"#).unwrap();
    assert!(scan.take(ScanStep::Directory(name), &sizeless, at(0)).is_err());
}

#[test]
fn another_archive_begins_anew() {
    let listing = first(&[directory(1, 0)], &[]);
    let upgraded = Archive { id: ArchiveId::parse("16-2").unwrap(), ..archive(&[], &[]) };
    let scan = ScanPlan::begin(Some(listing), &BTreeSet::new(), upgraded, INTERVAL, at(15));
    assert_eq!(scan.into_listing().directories().count(), 0);
}

#[test]
fn questions_lie_below_the_stanza() {
    let archive = ArchiveId::parse("15-1").unwrap();
    let path = |step: ScanStep| step.path("demo", &archive).unwrap().to_string();
    assert_eq!(path(ScanStep::Backups), "backup/demo");
    assert_eq!(path(ScanStep::Archive), "archive/demo/15-1");
    assert_eq!(path(ScanStep::History(10)), "archive/demo/15-1/0000000A.history");
    let name = DirectoryName { timeline: 1, high: 2 };
    assert_eq!(path(ScanStep::Directory(name)), "archive/demo/15-1/0000000100000002");
    assert_eq!(ScanStep::Backups.path("../x", &archive), None);
}

#[test]
fn directories_without_a_backup_are_measured_once() {
    let [backup, old, new] = ["20260102-000000F", "20260101-000000F", "20260103-000000F"];
    let names = ["backup.info", "latest", backup, old, new].map(str::to_owned);
    let measured = |before: Listing, names: &[String], may_run: bool| {
        let archive = Archive { may_run, has_wal: false, ..archive(&[backup], &[]) };
        let mut scan = again(before, &[backup], archive, at(15));
        let mut labels = Vec::new();
        while let Some(step) = scan.next() {
            match step {
                ScanStep::Leftover(label) => {
                    labels.push(label.to_string());
                    let files = ["pg_data/base/1.gz", "bundle/1"].map(str::to_owned);
                    scan.take(step, &entries("file", &files), at(15)).unwrap();
                }
                ScanStep::Backups => scan.take(step, &entries("path", names), at(15)).unwrap(),
                _ => scan.take(step, &Entries::new(), at(15)).unwrap(),
            }
        }
        (labels, scan.into_listing())
    };
    let (labels, listing) = measured(Listing::new(ArchiveId::parse("15-1").unwrap(), at(0)), &names, true);
    assert_eq!(
        (labels, &listing.leftover_bytes),
        (vec![old.to_owned()], &[(old.to_owned(), Some(2 << 20))].into())
    );
    let (labels, listing) = measured(listing, &names, false);
    assert_eq!(labels, [new]);
    let (labels, listing) = measured(listing, &names[..3], false);
    assert!(labels.is_empty() && listing.leftover_bytes.is_empty(), "{labels:?}");
}
