//! An API server in memory, for faults that the real one rarely produces. It supports what is needed for writing objects: UIDs, versions, server-side apply with and without force, merge patches, conditions on deletion.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    /// Such as `/apis/batch/v1/namespaces/shop/cronjobs/a`.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn writes(&self) -> bool {
        self.method != Method::GET && !self.query.contains("dryRun")
    }

    pub(super) fn forces(&self) -> bool {
        self.query.contains("force=true")
    }
}

/// What happens instead of what should.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// `kind: Status` with this code, reason and message.
    Status(u16, &'static str, &'static str),
    /// The request is taken and never answered.
    Silence,
    /// Somebody makes this object first; then the request goes on.
    After(Value),
}

type Judge = dyn Fn(&Seen) -> Option<Fault> + Send + Sync;

/// The server. Clones are the same one.
#[derive(Clone)]
pub(super) struct Api {
    state: Arc<Mutex<State>>,
}

struct State {
    seen: Vec<Seen>,
    objects: BTreeMap<String, Value>,
    judge: Arc<Judge>,
    version: u64,
}

impl Api {
    pub(super) fn new() -> Self {
        let state =
            State { seen: Vec::new(), objects: BTreeMap::new(), judge: Arc::new(|_| None), version: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What goes wrong from now on.
    pub(super) fn judge(&self, judge: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) {
        self.state.lock().unwrap().judge = Arc::new(judge);
    }

    /// What was asked since the last time.
    pub(super) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(super) fn put(&self, path: &str, object: Value) {
        self.state.lock().unwrap().put(path, object);
    }

    pub(super) fn put_and_get(&self, path: &str, object: Value) -> Value {
        self.state.lock().unwrap().put(path, object)
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(super) fn objects(&self) -> Vec<Value> {
        self.state.lock().unwrap().objects.values().cloned().collect()
    }

    pub(super) fn remove(&self, path: &str) {
        self.state.lock().unwrap().objects.remove(path);
    }

    pub(super) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().to_owned();
        let seen = Seen {
            method: head.method,
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() },
        };
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.seen.push(seen.clone());
            (state.judge.clone())(&seen)
        };
        match fault {
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Status(code, reason, message)) => return status(code, reason, message),
            Some(Fault::After(object)) => self.put(&seen.path, object),
            None => {}
        }
        let content =
            head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        match (seen.method.as_str(), content) {
            ("GET", _) => state.read(&seen),
            ("POST", _) => state.create(&seen),
            ("DELETE", _) => state.delete(&seen),
            ("PATCH", "application/apply-patch+yaml") => state.apply(&seen),
            ("PATCH", "application/merge-patch+json") => state.merge(&seen),
            _ => status(405, "MethodNotAllowed", "not known here"),
        }
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let version = self.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if object["metadata"].get("uid").is_none() {
            object["metadata"]["uid"] = json!(format!("uid-{version}"));
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn read(&self, seen: &Seen) -> Response<Body> {
        if let Some(object) = self.objects.get(&seen.path) {
            return ok(object);
        }
        let plural = seen.path.matches('/').count();
        let is_list = plural == if seen.path.starts_with("/api/") { 5 } else { 6 };
        if !is_list {
            return status(404, "NotFound", "there is no such object");
        }
        let inside = format!("{}/", seen.path);
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&inside))
            .map(|(_, object)| object)
            .collect();
        ok(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
    }

    fn create(&mut self, seen: &Seen) -> Response<Body> {
        let path = format!("{}/{}", seen.path, seen.body["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&path) {
            return status(409, "AlreadyExists", "there is one");
        }
        ok(&self.put(&path, seen.body.clone()))
    }

    fn delete(&mut self, seen: &Seen) -> Response<Body> {
        let Some(object) = self.objects.get(&seen.path) else {
            return status(404, "NotFound", "there is no such object");
        };
        let uid = &seen.body["preconditions"]["uid"];
        if !uid.is_null() && uid != &object["metadata"]["uid"] {
            return status(409, "Conflict", "the UID in the precondition is another one");
        }
        let object = self.objects.remove(&seen.path).unwrap();
        ok(&object)
    }

    fn apply(&mut self, seen: &Seen) -> Response<Body> {
        let uid = &seen.body["metadata"]["uid"];
        let existing = self.objects.get(&seen.path).cloned();
        match &existing {
            _ if uid.is_null() => {}
            None => return status(409, "Conflict", "uid mismatch: no existing object was found"),
            Some(object) if object["metadata"]["uid"] != *uid => {
                return status(422, "Invalid", "metadata.uid: Invalid value: field is immutable");
            }
            Some(_) => {}
        }
        if existing.is_some() && !seen.forces() {
            return status(409, "Conflict", "conflict with \"somebody\"");
        }
        let before = existing.unwrap_or_else(|| json!({"metadata": {"generation": 0}}));
        let mut after = before.clone();
        overlay(&mut after, &seen.body);
        if after["spec"] != before["spec"] {
            after["metadata"]["generation"] =
                json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        if after == before {
            return ok(&before);
        }
        if seen.query.contains("dryRun") {
            return ok(&after);
        }
        ok(&self.put(&seen.path, after))
    }

    fn merge(&mut self, seen: &Seen) -> Response<Body> {
        let Some(mut object) = self.objects.get(&seen.path).cloned() else {
            return status(404, "NotFound", "there is no such object");
        };
        let version = &seen.body["metadata"]["resourceVersion"];
        if !version.is_null() && version != &object["metadata"]["resourceVersion"] {
            return status(409, "Conflict", "the object has been modified");
        }
        overlay(&mut object, &seen.body);
        ok(&self.put(&seen.path, object))
    }
}

/// As a merge patch: maps are merged, `null` removes, everything else replaces.
fn overlay(onto: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *onto = patch.clone();
        return;
    };
    if !onto.is_object() {
        *onto = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            onto.as_object_mut().unwrap().remove(key);
        } else {
            overlay(&mut onto[key], value);
        }
    }
}

fn ok(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string().into_bytes()))
}

fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": message});
    let mut response = ok(&status);
    *response.status_mut() = code.try_into().unwrap();
    response
}
