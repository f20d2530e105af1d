//! A cluster whose pods hang, fail, are lost or away; and the loop in front of several.

mod files;
mod listing;

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::cluster::labels;
use crate::cluster::target::Pod;
use crate::collect::collection::History;
use crate::collect::settings::WalSettings;
use crate::fake_pods::{Asked, Does, FakePods, pod, primary_labels, ran};
use crate::metrics::Options;
use crate::source::pod::NoEnd;
use crate::state::snapshot::{FailureReason, Repo, RepoState, ScopeHealth};

/// Makes a command do again what it did at first.
const ANSWERS: [Does; 0] = [];

/// A primary and a replica for each cluster, and its repo host.
fn pods_of(clusters: &[&str]) -> FakePods<'static> {
    let settings = Settings::default();
    let of = |cluster: &&str| {
        [
            (format!("{cluster}-0"), primary_labels(cluster, &settings)),
            (format!("{cluster}-1"), labels::cluster_selector(cluster, &settings)),
            (format!("{cluster}-host"), labels::repo_host_selector(cluster, &settings)),
        ]
        .map(|(name, labels)| Pod { labels, ..pod(&name, &[]) })
    };
    FakePods::new(clusters.iter().flat_map(of).collect()).otherwise(|asked| {
        let said = match about(asked) {
            None => "pgBackRest 2.55.1\n".to_owned(),
            Some((repo, None)) => document(repo),
            Some((_, Some(path))) => listing::directory(path),
        };
        ran(0, said).into()
    })
}

/// The repository that a command is about, and what it lists there.
fn about(asked: &Asked) -> Option<(&str, Option<&str>)> {
    let repo = asked.command.iter().find_map(|word| word.strip_prefix("--repo="))?;
    Some((repo, asked.command.last().filter(|_| asked.command[1] == "repo-ls").map(String::as_str)))
}

/// What was asked of repositories since the last time.
fn questions(pods: &FakePods<'_>) -> Vec<String> {
    let asked = pods.take_asked();
    let question = |asked: &Asked| {
        let (repo, path) = about(asked)?;
        Some(format!("{} repo{repo} {}", asked.place, path.unwrap_or_default()).trim_end().to_owned())
    };
    let mut questions: Vec<String> = asked.iter().filter_map(question).collect();
    questions.sort();
    questions
}

fn document(repo: &str) -> String {
    format!(
        r#"[{{"name":"db","status":{{"code":0,"message":"ok","lock":{{"backup":{{"held":false}}}}}},
        "repo":[{{"key":{repo},"cipher":"none","status":{{"code":0,"message":"ok"}}}}],
        "db":[{{"id":1,"repo-key":{repo},"system-id":7,"version":"15"}}],
        "archive":[{{"id":"15-1","min":"000000010000000000000001","max":"000000010000000000000003",
        "database":{{"id":1,"repo-key":{repo}}}}}],
        "backup":[{{"label":"20260101-000000F","type":"full","database":{{"id":1,"repo-key":{repo}}},
        "timestamp":{{"start":1,"stop":2}},"info":{{"size":1,"delta":1,"repository":{{"size":1,"delta":1}}}}}}]}}]"#
    )
}

/// The first repository is on a volume.
fn subject() -> Subject {
    let repo = |key| AskedRepo { key, on_volume: key == 1, on_repo_host: key == 1, settings: None };
    Subject { instances: 2, repos: vec![repo(1), repo(2)], ..Subject::default() }
}

/// Collects from `ledger` again and again.
struct Case {
    fakes: FakePods<'static>,
    subject: Subject,
    shared: Shared,
    history: History,
    snapshot: Arc<Snapshot>,
    /// What was published before the last scan or the last answer.
    meanwhile: Mutex<Vec<Arc<Snapshot>>>,
}

impl Case {
    fn new(fakes: &FakePods<'static>) -> Self {
        Self::with_wal(fakes, None)
    }

    fn with_wal(fakes: &FakePods<'static>, wal: Option<WalSettings>) -> Self {
        let metrics = CollectionMetrics::in_pods().with_wal(wal.is_some());
        let pace = Pace { concurrency: 8, ..Pace::default() }.with_wal(wal);
        Self {
            fakes: fakes.clone(),
            subject: subject(),
            shared: Shared::new(pace, Arc::new(metrics)),
            history: History::default(),
            snapshot: Arc::default(),
            meanwhile: Mutex::default(),
        }
    }

    async fn ask(&mut self) -> Arc<Snapshot> {
        let site = AllPods::new(self.fakes.clone(), Arc::default(), Arc::default());
        let (key, subject) = (Arc::new(Key::new("shop", "ledger")), Arc::new(self.subject.clone()));
        let (request, runners) = site.prepare(&self.shared, &key, &subject, Job::Collect).await;
        let caller = Caller { shared: &self.shared, key: &key, request: &request, runners: &runners };
        let publish = |snapshot: &Arc<Snapshot>| self.meanwhile.lock().unwrap().push(Arc::clone(snapshot));
        self.snapshot = caller.collect(&self.snapshot, &mut self.history, &publish).await.unwrap();
        if let Some(wal) = self.shared.pace.wal.filter(|_| self.history.listings.has_news(&self.snapshot)) {
            caller.scan(wal, &self.snapshot, &self.history.listings).await;
        }
        Arc::clone(&self.snapshot)
    }
}

fn lost() -> Does {
    Does::End(Err(NoEnd::Lost("reset".to_owned())))
}

fn not_started() -> Does {
    Does::End(Err(NoEnd::NotStarted("container not found".to_owned())))
}

fn repo(snapshot: &Snapshot, key: u32) -> &Repo {
    snapshot.stanza("db").unwrap().repo(key).unwrap()
}

fn scope(snapshot: &Snapshot) -> &ScopeHealth {
    &snapshot.collection.scopes["db"]
}

fn reason(snapshot: &Snapshot) -> Option<FailureReason> {
    scope(snapshot).failure.as_ref().map(|failure| failure.reason)
}

#[tokio::test]
async fn each_repository_is_asked_where_it_can_be_read() {
    let fakes = pods_of(&["ledger"]);
    let mut case = Case::new(&fakes);
    let snapshot = case.ask().await;
    assert_eq!(questions(&fakes), ["ledger-0/postgres repo2", "ledger-host/pgbackrest repo1"]);
    assert!(scope(&snapshot).up && snapshot.version.is_some());
    assert_eq!([1, 2].map(|key| repo(&snapshot, key).state), [RepoState::Ok; 2]);
    // The replica does when there is no primary, unless it is not ready either.
    fakes.change("ledger-0", |pod| pod.terminating = true);
    assert!(scope(&*case.ask().await).up);
    assert!(questions(&fakes).contains(&"ledger-1/postgres repo2".to_owned()));
    fakes.change("ledger-1", |pod| pod.ready = false);
    let snapshot = case.ask().await;
    assert_eq!(questions(&fakes), ["ledger-host/pgbackrest repo1"]);
    assert_eq!(reason(&snapshot), Some(FailureReason::NoPod));
    assert_eq!(repo(&snapshot, 1).state, RepoState::Ok);
}

#[tokio::test]
async fn what_is_backed_up_on_the_repo_host_is_asked_there_first() {
    let fakes = pods_of(&["ledger"]);
    let mut case = Case::new(&fakes);
    case.subject.repos[1].on_repo_host = true;
    assert!(scope(&*case.ask().await).up);
    assert_eq!(questions(&fakes), ["ledger-host/pgbackrest repo1", "ledger-host/pgbackrest repo2"]);
    fakes.change("ledger-host", |pod| pod.ready = false);
    let snapshot = case.ask().await;
    assert_eq!(questions(&fakes), ["ledger-0/postgres repo2"]);
    assert_eq!(repo(&snapshot, 2).state, RepoState::Ok);
}

#[tokio::test]
async fn a_primary_that_takes_no_command_is_stood_in_for() {
    let fakes = pods_of(&["ledger"]);
    fakes.when("ledger-0*--repo=2", [not_started()]);
    let mut case = Case::new(&fakes);
    assert!(scope(&*case.ask().await).up);
    let both = ["ledger-0/postgres repo2", "ledger-1/postgres repo2", "ledger-host/pgbackrest repo1"];
    assert_eq!(questions(&fakes), both);
    fakes.when("ledger-1*--repo=2", [not_started()]);
    assert_eq!(reason(&*case.ask().await), Some(FailureReason::Spawn));
    // Nothing was started, so nothing has to be waited for.
    questions(&fakes);
    case.ask().await;
    assert_eq!(questions(&fakes), both);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_hangs_hides_no_other() {
    let fakes = pods_of(&["ledger"]);
    fakes.when(
        "ledger-0*--repo=2",
        [Does::EndAfter(Duration::from_secs(3), NoEnd::TimedOut(Duration::from_mins(1)))],
    );
    let mut case = Case::new(&fakes);
    let snapshot = case.ask().await;
    let meanwhile = case.meanwhile.lock().unwrap().clone();
    assert_eq!(repo(&meanwhile[0], 1).backups.len(), 1, "told while the other one hangs");
    assert!(meanwhile[0].collection.scopes.is_empty(), "whether it answers as a whole is not known yet");
    assert_eq!((scope(&snapshot).up, reason(&snapshot)), (false, Some(FailureReason::Timeout)));
    assert_eq!(repo(&snapshot, 2).state, RepoState::Timeout);
    // It is asked again, as its command has ended.
    questions(&fakes);
    fakes.when("ledger-0*--repo=2", ANSWERS);
    assert!(scope(&*case.ask().await).up);
}

#[tokio::test]
async fn a_lost_command_is_not_joined_by_another() {
    let fakes = pods_of(&["ledger"]);
    fakes.when("ledger-0*--repo=2", [lost()]);
    let mut case = Case::new(&fakes);
    assert_eq!(reason(&*case.ask().await), Some(FailureReason::Lost));
    fakes.when("ledger-0*--repo=2", ANSWERS);
    questions(&fakes);
    for _ in 0..3 {
        let snapshot = case.ask().await;
        assert_eq!(
            (questions(&fakes), reason(&snapshot)),
            (vec!["ledger-host/pgbackrest repo1".to_owned()], Some(FailureReason::Lost))
        );
    }
}

#[tokio::test]
async fn without_its_repo_host_a_repository_keeps_its_facts() {
    let fakes = pods_of(&["ledger"]);
    let mut case = Case::new(&fakes);
    let read_at = repo(&*case.ask().await, 1).collected_at;
    fakes.change("ledger-host", |pod| pod.ready = false);
    let snapshot = case.ask().await;
    let aged = repo(&snapshot, 1);
    assert_eq!((aged.backups.len(), aged.collected_at, aged.state), (1, read_at, RepoState::Other));
    assert!(!scope(&snapshot).up && scope(&snapshot).last_success.is_some());
    assert!(repo(&snapshot, 2).collected_at > read_at);
}

#[tokio::test]
async fn a_fleet_is_asked_once() {
    let fakes = pods_of(&["ledger"]);
    let clusters = ["orders", "ledger"].map(|name| (Key::new("shop", name), subject())).to_vec();
    let known = once(&fakes, clusters, &Settings::default(), Pace::default()).await;
    let told: Vec<_> = known.iter().map(|(key, snapshot)| (key.to_string(), scope(snapshot).up)).collect();
    assert_eq!(told, [("shop/orders".to_owned(), false), ("shop/ledger".to_owned(), true)]);
    assert!(known[0].1.stanzas.is_empty() && scope(&known[0].1).failure.is_some());
}

struct Loop {
    store: Arc<Store>,
    poller: Arc<FleetCollector>,
}

impl Loop {
    fn new(pace: Pace) -> Self {
        let store = Arc::new(Store::new(Arc::new(Options { compat: false, ..Options::default() })).unwrap());
        let metrics = Arc::new(CollectionMetrics::in_pods());
        let poller = FleetCollector::new(Arc::clone(&store), Arc::default(), pace, metrics);
        Self { store, poller: Arc::new(poller) }
    }

    fn served(&self) -> Vec<String> {
        self.store.load().fleet.clusters.keys().map(|key| key.name.clone()).collect()
    }

    async fn until_served(&self, names: &[&str]) {
        self.until(|| self.served() == names).await;
    }

    async fn until(&self, is_served: impl Fn() -> bool) {
        for _ in 0..6000 {
            if is_served() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not what was expected: {:?}", self.store.load().fleet);
    }
}

#[tokio::test]
async fn clusters_come_and_go_and_one_that_hangs_holds_up_no_other() {
    let fakes = pods_of(&["hangs", "ledger", "orders"]);
    fakes.when("hangs-0*--repo=2", [Does::Hang]);
    fakes.when("hangs-host*--repo=1", [Does::Hang]);
    let case = Loop::new(Pace { concurrency: 3, ..Pace::default() });
    let key = |name| Key::new("shop", name);
    let term = case.poller.term();
    let polling = tokio::spawn(Arc::clone(&case.poller).run(fakes.clone()));
    for name in ["hangs", "ledger", "orders"] {
        case.poller.set(&key(name), subject());
    }
    case.until_served(&["ledger", "orders"]).await;
    // The cluster that hangs may be asked after the others were served.
    let mut asked = questions(&fakes).len();
    while asked < 6 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        asked += questions(&fakes).len();
    }
    assert_eq!(asked, 6);
    case.poller.set(&key("ledger"), subject());
    case.poller.remove(&key("orders"));
    case.until_served(&["ledger"]).await;
    assert!(questions(&fakes).is_empty(), "what did not change is asked at its turn");
    case.poller.soon(&key("ledger"));
    while questions(&fakes).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(term);
    assert!(case.served().is_empty(), "at the end of a term nothing is told");
    polling.abort();
    let _ = polling.await;
    assert!(case.served().is_empty());
}
