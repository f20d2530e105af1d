//! Leases with several connections that can be broken individually, and their holders.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, Response};
use kube::client::Body;
use pgbackrest_keeper::kubernetes::lease::{Leadership, LeaseOptions, keep};
use pgbackrest_keeper::kubernetes::shard::Shard;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::web::PATIENCE;

/// Of the lease, by the clock of the test.
pub(super) const DURATION: Duration = Duration::from_secs(3);
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/keeper/leases";
/// The lease of a fleet that is not divided.
const LEASE: &str = "operator";

/// What a door does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    /// Takes them and never answers.
    Silent,
    /// Does what is asked for, and never answers.
    WritesSilently,
    Refuses(u16),
    /// As without the right to list leases.
    RefusesLists,
    /// Refuses one.
    RefusesOnce(u16),
    /// After every look somebody else writes.
    Meddles,
    MeddlesTwice,
    MeddlesOnce,
}

#[derive(Default)]
struct Store {
    leases: BTreeMap<String, Value>,
    version: u64,
    last_write: Option<Instant>,
    /// The shard of every keeper, and what it believes.
    believed: BTreeMap<String, (Shard, watch::Receiver<Leadership>)>,
    /// Names that came to a lease while somebody else believed to lead with it, and pairs that led at once.
    wrong: Vec<String>,
}

impl Store {
    fn put(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
        self.leases.insert(name, lease.clone());
        lease
    }

    /// The names of others that believe to lead, with their shards.
    fn other_leaders(&self, name: &str) -> Vec<(String, Shard)> {
        let others = self.believed.iter().filter(|(other, _)| *other != name);
        let leading = others.filter(|(_, (_, believed))| *believed.borrow() == Leadership::Leading);
        leading.map(|(name, (shard, _))| (name.clone(), *shard)).collect()
    }

    /// A keeper has begun to lead. Two may do so at once if they are shards of the same number.
    fn leads(&mut self, name: &str, own: Shard) {
        for (other, shard) in self.other_leaders(name) {
            if shard.total() != own.total() || shard == own {
                self.wrong.push(format!("{name} ({own}) beside {other} ({shard})"));
            }
        }
    }

    /// Writes as a keeper does.
    fn keeper_writes(&mut self, lease: Value) -> Value {
        if let Some(holder) = lease["spec"]["holderIdentity"].as_str() {
            let own = self.believed.get(holder).map(|(shard, _)| *shard);
            let leaders = self.other_leaders(holder).into_iter().filter(|(_, shard)| Some(*shard) == own);
            self.wrong.extend(leaders.map(|(name, _)| format!("{holder} while {name} leads")));
            self.last_write = Some(Instant::now());
        }
        self.put(lease)
    }

    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> Response<Body> {
        let sent = || serde_json::from_slice::<Value>(body).unwrap();
        if (method.as_str(), path) == ("GET", LEASES) {
            // Whatever is asked for: the keeper must not rely on labels alone.
            let all: Vec<&Value> = self.leases.values().collect();
            return ok(&json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": all}));
        }
        let name = match path.strip_prefix(LEASES) {
            Some("") => sent()["metadata"]["name"].as_str().unwrap().to_owned(),
            Some(rest) => rest.trim_start_matches('/').to_owned(),
            None => panic!("{method} {path}"),
        };
        match (method.as_str(), self.leases.get(&name)) {
            ("GET", Some(lease)) => ok(lease),
            ("GET" | "PUT", None) => status(404, "NotFound"),
            ("POST", None) => ok(&self.keeper_writes(sent())),
            ("POST", Some(_)) => status(409, "AlreadyExists"),
            ("PUT", Some(lease)) => {
                let sent = sent();
                if sent["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"] {
                    return ok(&self.keeper_writes(sent));
                }
                status(409, "Conflict")
            }
            _ => panic!("{method} {path}"),
        }
    }

    fn meddle(&mut self) {
        let Some(mut lease) = self.leases.get(LEASE).cloned() else { return };
        let annotations = &mut lease["metadata"]["annotations"];
        let before: u32 = annotations["meddled"].as_str().map_or(0, |count| count.parse().unwrap());
        annotations["meddled"] = json!((before + 1).to_string());
        self.put(lease);
    }
}

fn ok(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string().into_bytes()))
}

fn status(code: u16, reason: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "as it was told to"});
    let mut response = ok(&status);
    *response.status_mut() = code.try_into().unwrap();
    response
}

/// The lease. Clones are the same one.
#[derive(Clone)]
pub(super) struct Election {
    store: watch::Sender<()>,
    inner: Arc<Mutex<Store>>,
}

impl Election {
    pub(super) fn new() -> Self {
        Self { store: watch::Sender::new(()), inner: Arc::new(Mutex::new(Store::default())) }
    }

    pub(super) fn keeper(&self, name: &str) -> Keeper {
        self.keeper_of(name, Shard::default())
    }

    pub(super) fn keeper_of(&self, name: &str, shard: Shard) -> Keeper {
        let door = Door::to(self.clone());
        let (sender, believed) = watch::channel(Leadership::Waiting);
        self.inner.lock().unwrap().believed.insert(name.to_owned(), (shard, believed.clone()));
        Keeper {
            client: door.client(),
            election: self.clone(),
            name: name.to_owned(),
            shard,
            door,
            sender: Some(sender),
            believed,
            stop: CancellationToken::new(),
            task: None,
        }
    }

    /// A keeper that has become the leader.
    pub(super) async fn leader(&self, name: &str) -> Keeper {
        let mut keeper = self.keeper(name);
        keeper.start();
        keeper.turns(&Leadership::Leading).await;
        keeper
    }

    pub(super) fn lease(&self) -> Option<Value> {
        self.inner.lock().unwrap().leases.get(LEASE).cloned()
    }

    pub(super) fn spec(&self) -> Value {
        self.lease().expect("a lease")["spec"].clone()
    }

    /// When a keeper last wrote a name.
    pub(super) fn last_write(&self) -> Instant {
        self.inner.lock().unwrap().last_write.expect("a write")
    }

    /// Waits for so many more answers that wrote something.
    pub(super) async fn written(&self, more: u64) {
        let until = self.inner.lock().unwrap().version + more;
        let mut changes = self.store.subscribe();
        let wait = changes.wait_for(|()| self.inner.lock().unwrap().version >= until);
        timeout(PATIENCE, wait).await.expect("more writes").unwrap();
    }

    /// Somebody writes the lease.
    pub(super) fn put(&self, spec: &Value) {
        self.inner.lock().unwrap().put(json!({"metadata": {"name": LEASE}, "spec": spec}));
    }

    pub(super) fn remove(&self) {
        self.inner.lock().unwrap().leases.remove(LEASE);
    }

    /// Whether there were two at any time.
    pub(super) fn judge(&self) {
        assert_eq!(self.inner.lock().unwrap().wrong, [""; 0]);
    }
}

/// The way of one keeper to the lease. No sockets, so that time can be a paused clock's.
pub(super) struct Door(Inside);

#[derive(Clone)]
struct Inside {
    election: Election,
    mode: watch::Sender<Mode>,
    looks: watch::Sender<usize>,
}

impl Door {
    fn to(election: Election) -> Self {
        Self(Inside { election, mode: watch::Sender::new(Mode::Open), looks: watch::Sender::new(0) })
    }

    fn client(&self) -> kube::Client {
        let inside = self.0.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let inside = inside.clone();
            async move { Ok::<_, Infallible>(pass(&inside, request).await) }
        });
        kube::Client::new(service, "keeper")
    }

    pub(super) fn set(&self, mode: Mode) {
        self.0.mode.send_replace(mode);
    }

    pub(super) fn looks(&self) -> usize {
        *self.0.looks.borrow()
    }

    pub(super) async fn is_open_again(&self) {
        let mut modes = self.0.mode.subscribe();
        timeout(PATIENCE, modes.wait_for(|mode| *mode == Mode::Open)).await.expect("requests").unwrap();
    }

    /// Waits for one more look.
    pub(super) async fn is_asked(&self) {
        let before = self.looks();
        let mut looks = self.0.looks.subscribe();
        timeout(PATIENCE, looks.wait_for(|now| *now > before)).await.expect("a look").unwrap();
    }
}

async fn pass(inside: &Inside, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body: Bytes = body.collect().await.unwrap().to_bytes();
    let lists = head.method == Method::GET && head.uri.path() == LEASES;
    let looks = head.method == Method::GET && !lists;
    if looks {
        inside.looks.send_modify(|count| *count += 1);
    }
    let mode = *inside.mode.borrow();
    let (next, answers) = match mode {
        Mode::WritesSilently => (mode, looks || lists),
        Mode::RefusesLists if lists => return status(403, "Forbidden"),
        Mode::Silent => return std::future::pending().await,
        Mode::Refuses(code) => return status(code, "Trouble"),
        Mode::RefusesOnce(code) => {
            inside.mode.send_replace(Mode::Open);
            return status(code, "Trouble");
        }
        Mode::MeddlesTwice if looks => (Mode::MeddlesOnce, true),
        Mode::MeddlesOnce if looks => (Mode::Open, true),
        Mode::Open | Mode::RefusesLists | Mode::Meddles | Mode::MeddlesOnce | Mode::MeddlesTwice => {
            (mode, true)
        }
    };
    let answer = {
        let mut store = inside.election.inner.lock().unwrap();
        let answer = store.answer(&head.method, head.uri.path(), &body);
        if looks && matches!(mode, Mode::Meddles | Mode::MeddlesOnce | Mode::MeddlesTwice) {
            store.meddle();
        }
        answer
    };
    inside.election.store.send_replace(());
    if next != mode {
        inside.mode.send_replace(next);
    }
    if answers { answer } else { std::future::pending().await }
}

/// A process that keeps the lease through its door.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) shard: Shard,
    pub(super) door: Door,
    client: kube::Client,
    election: Election,
    sender: Option<watch::Sender<Leadership>>,
    believed: watch::Receiver<Leadership>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(&mut self) {
        let options = LeaseOptions {
            namespace: "keeper".to_owned(),
            name: LEASE.to_owned(),
            shard: self.shard,
            identity: self.name.clone(),
            duration: DURATION,
        };
        let sender = self.sender.take().expect("started once");
        let (election, name, shard) = (self.election.clone(), self.name.clone(), self.shard);
        let mut believed = sender.subscribe();
        tokio::spawn(async move {
            while believed.wait_for(|now| *now == Leadership::Leading).await.is_ok() {
                election.inner.lock().unwrap().leads(&name, shard);
                if believed.wait_for(|now| *now != Leadership::Leading).await.is_err() {
                    return;
                }
            }
        });
        self.task = Some(tokio::spawn(keep(self.client.clone(), options, sender, self.stop.clone())));
    }

    pub(super) fn state(&self) -> Leadership {
        self.believed.borrow().clone()
    }

    pub(super) async fn turns(&mut self, state: &Leadership) {
        let turned = timeout(PATIENCE, self.believed.wait_for(|now| now == state)).await.is_ok();
        assert!(turned, "{} is {:?}, and never {state:?}", self.name, self.believed.borrow());
    }

    /// Waits until it knows who leads.
    pub(super) async fn settles(&mut self) {
        let settled = timeout(PATIENCE, self.believed.wait_for(|now| *now != Leadership::Waiting)).await;
        assert!(settled.is_ok(), "{} never knows", self.name);
    }

    /// All that it turns to from now on.
    pub(super) fn record_changes(&self) -> JoinHandle<Vec<Leadership>> {
        let mut believed = self.believed.clone();
        believed.mark_unchanged();
        tokio::spawn(async move {
            let mut changes = Vec::new();
            while believed.changed().await.is_ok() {
                changes.push(believed.borrow_and_update().clone());
            }
            changes
        })
    }

    /// Asks it to end, and waits for that.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        self.task.take().expect("it was started").await.unwrap();
    }

    /// Ends it on the spot, as a crash does.
    pub(super) async fn dies(&mut self) {
        let task = self.task.take().expect("it was started");
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        // What a dead process believed does not count.
        self.election.inner.lock().unwrap().believed.remove(&self.name);
    }
}
