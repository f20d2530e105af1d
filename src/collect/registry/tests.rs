//! When jobs are due.

use futures_util::FutureExt as _;

use super::*;
use crate::metrics::Options;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// With one cluster, whose jobs are repeated every hour.
fn registry() -> (Arc<Registry>, Key) {
    let store = Arc::new(Store::new(Arc::new(Options::default())).unwrap());
    let (registry, key) = (Arc::new(Registry::new(store)), Key::new("shop", "ledger"));
    registry.set(&key, Subject::default());
    (registry, key)
}

fn next(registry: &Arc<Registry>) -> Result<Turn, Option<Instant>> {
    registry.next(|_, _| HOUR)
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_is_planned_while_it_runs_is_repeated() {
    let ((registry, key), now) = (registry(), Instant::now());
    let turn = next(&registry).unwrap();
    assert_eq!((turn.job, next(&registry).unwrap_err()), (Job::Collect, None));
    registry.plan(&key, Job::Collect, now);
    assert_eq!(next(&registry).unwrap_err(), None, "it never runs twice at once");
    drop(turn);
    drop(next(&registry).unwrap());
    assert_eq!(next(&registry).unwrap_err(), Some(now + HOUR));
}

#[tokio::test(start_paused = true)]
async fn the_soonest_plan_counts() {
    let ((registry, key), now) = (registry(), Instant::now());
    drop(next(&registry).unwrap());
    for (planned, due) in [(2 * HOUR, HOUR), (2 * MINUTE, 2 * MINUTE), (3 * MINUTE, 2 * MINUTE)] {
        registry.plan(&key, Job::Collect, now + planned);
        assert_eq!(next(&registry).unwrap_err(), Some(now + due));
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_runs_beside_collections_and_has_its_own_next_time() {
    let ((registry, key), now) = (registry(), Instant::now());
    let collection = next(&registry).unwrap();
    collection.plan(Job::Scan, now);
    let mut scan = next(&registry).unwrap();
    assert_eq!(scan.job, Job::Scan);
    registry.plan(&key, Job::Scan, now);
    scan.next = now + MINUTE;
    drop((collection, scan));
    assert_eq!(next(&registry).unwrap_err(), Some(now + MINUTE));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_back_is_another() {
    let (registry, key) = registry();
    let turn = next(&registry).unwrap();
    registry.remove(&key);
    registry.set(&key, Subject::default());
    assert!(turn.state().is_none());
    turn.report(&Arc::default());
    turn.end_collection(History::default());
    let again = next(&registry).unwrap();
    assert!(!again.state().unwrap().history.listings.has_news(&Snapshot::default()));
    registry.publish(Utc::now()).unwrap();
    assert!(registry.store.load().fleet.clusters.is_empty(), "what was known of it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn what_a_collection_reports_is_published_once() {
    let (registry, key) = registry();
    let has_news = || registry.has_news.notified().now_or_never().is_some();
    for is_first in [true, false] {
        registry.plan(&key, Job::Collect, Instant::now());
        let turn = next(&registry).unwrap();
        turn.report(&Arc::default());
        assert!(has_news());
        turn.end_collection(History::default());
        assert_eq!(has_news(), is_first, "the end of the first is news: all is ready");
    }
}
