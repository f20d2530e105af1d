//! The WAL archives of a cluster.

use super::*;

/// What a directory of every repository holds: a backup, and three segments of which one may be missing.
pub(super) fn directory(path: &str) -> String {
    let segment = |number: u32| {
        let name = format!("00000001000000000000000{number}-{}.gz", "a".repeat(40));
        format!(r#""{name}":{{"type":"file","size":16777216,"time":1767225600}}"#)
    };
    match path {
        "backup/db" => r#"{"backup.info":{"type":"file"},"20260101-000000F":{"type":"path"}}"#.to_owned(),
        "archive/db/15-1" => r#"{"0000000100000000":{"type":"path"}}"#.to_owned(),
        "archive/db/15-1/0000000100000000" => format!("{{{},{}}}", segment(1), segment(3)),
        _ => panic!("{path}"),
    }
}

fn listing(fakes: &FakePods<'static>) -> Case {
    let wal = WalSettings { interval: Duration::from_mins(15), timeout: Duration::from_mins(1) };
    Case::with_wal(fakes, Some(wal))
}

#[tokio::test]
async fn archives_are_listed_where_info_was_read_and_judged_at_the_next_look() {
    let fakes = pods_of(&["ledger"]);
    let mut case = listing(&fakes);
    let first = case.ask().await;
    assert!(repo(&first, 1).wal.is_none());
    let mut expected = Vec::new();
    for place in ["ledger-0/postgres repo2", "ledger-host/pgbackrest repo1"] {
        let paths = ["", " archive/db/15-1", " archive/db/15-1/0000000100000000", " backup/db"];
        expected.extend(paths.map(|path| format!("{place}{path}")));
    }
    assert_eq!(questions(&fakes), expected);
    assert!(case.meanwhile.lock().unwrap().len() == 1, "info is told before the archives are listed");

    let second = case.ask().await;
    assert_eq!(questions(&fakes), ["ledger-0/postgres repo2", "ledger-host/pgbackrest repo1"], "not due yet");
    for key in [1, 2] {
        let wal = repo(&second, key).wal.as_deref().unwrap();
        assert_eq!((wal.segments, wal.unrestorable.directory), (2, Some(0)));
    }
    assert!(second.collection.wal["db"].up);
}

#[tokio::test]
async fn a_listing_that_is_lost_is_joined_by_no_other_command() {
    let fakes = pods_of(&["ledger"]);
    fakes.when("repo-ls*--repo=2", [lost()]);
    let mut case = listing(&fakes);
    case.ask().await;
    questions(&fakes);
    let snapshot = case.ask().await;
    assert_eq!(questions(&fakes), ["ledger-host/pgbackrest repo1"]);
    assert_eq!(reason(&snapshot), Some(FailureReason::Lost));
    let health = &snapshot.collection.wal["db"];
    assert_eq!(health.failure.as_ref().map(|failure| failure.reason), Some(FailureReason::Lost));
    assert!(!health.up && repo(&snapshot, 1).wal.is_some());
}

#[tokio::test]
async fn a_repository_that_comes_later_is_listed_at_once() {
    let fakes = pods_of(&["ledger"]);
    fakes
        .when("ledger-0*--repo=2", [Does::EndAfter(Duration::ZERO, NoEnd::TimedOut(Duration::from_mins(1)))]);
    let mut case = listing(&fakes);
    case.ask().await;
    questions(&fakes);
    fakes.when("ledger-0*--repo=2", ANSWERS);
    case.ask().await;
    assert!(questions(&fakes).contains(&"ledger-0/postgres repo2 archive/db/15-1".to_owned()));
    assert!(repo(&*case.ask().await, 2).wal.is_some());
}

#[tokio::test]
async fn what_a_new_backup_proves_is_told_before_the_next_turn() {
    let fakes = pods_of(&["ledger"]);
    let day = Duration::from_hours(24);
    let case = Loop::new(Pace::new(day, None, 3, None).with_wal(listing(&fakes).shared.pace.wal));
    let polling = tokio::spawn(Arc::clone(&case.poller).run(fakes.clone()));
    case.poller.set(&Key::new("shop", "ledger"), subject());
    let proves = |snapshot: &Arc<Snapshot>| [1, 2].iter().all(|key| repo(snapshot, *key).wal.is_some());
    case.until(|| case.store.load().fleet.clusters.values().any(proves)).await;
    let asked = questions(&fakes);
    let looks = asked.iter().filter(|asked| asked.ends_with("repo1")).count();
    assert_eq!((looks, asked.len()), (2, 2 * 2 + 2 * 3), "{asked:?}");
    polling.abort();
}

#[test]
fn archives_are_listed_no_more_often_than_the_cluster_is_looked_at() {
    let wal = WalSettings { interval: Duration::from_mins(15), timeout: Duration::from_mins(1) };
    let pace = Pace::new(Duration::from_hours(2), None, 1, None).with_wal(Some(wal));
    assert_eq!(pace.wal, Some(WalSettings { interval: Duration::from_hours(2), ..wal }));
    assert_eq!(Pace::default().with_wal(Some(wal)).wal, Some(wal));
}

#[tokio::test]
async fn once_lists_and_judges_at_once() {
    let fakes = pods_of(&["ledger"]);
    let pace = listing(&fakes).shared.pace;
    let clusters = vec![(Key::new("shop", "ledger"), subject())];
    let known = once(&fakes, clusters, &Settings::default(), pace).await;
    assert!(repo(&known[0].1, 1).wal.is_some() && repo(&known[0].1, 2).wal.is_some());
}

#[tokio::test]
async fn a_collection_waits_for_the_scan_that_runs() {
    let fakes = pods_of(&["ledger"]);
    fakes.when("repo-ls*--repo=2", [Does::Hang]);
    let case = Loop::new(Pace::default().with_wal(listing(&fakes).shared.pace.wal));
    let polling = tokio::spawn(Arc::clone(&case.poller).run(fakes.clone()));
    let key = Key::new("shop", "ledger");
    case.poller.set(&key, subject());
    let mut asked = Vec::new();
    case.until_served(&["ledger"]).await;
    while !asked.contains(&"ledger-0/postgres repo2 backup/db".to_owned()) {
        asked.extend(questions(&fakes));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    case.poller.soon(&key);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let is_info = |asked: &String| asked.ends_with("repo1") || asked.ends_with("repo2");
    let infos: Vec<_> = questions(&fakes).into_iter().filter(is_info).collect();
    assert!(infos.is_empty(), "{infos:?}");
    polling.abort();
}
