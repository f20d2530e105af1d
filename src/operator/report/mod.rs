//! The last phase: reports to users in Events, in the status of the resource, and in metrics.
//!
//! Events are published when something changes. The status contains what was reported before a restart, so it is not
//! reported again. Failures to report are logged and counted, and have no other effect.

mod event;
mod history;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{DynamicObject, Resource};
use kube::runtime::events::{Recorder, Reporter as Instance};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cluster::finding::{Finding, Severity};
use crate::kubernetes::client::{CallError, CallFailure, call};
use crate::metrics::OperatorMetrics;
use crate::metrics::operator::Judgement;
use crate::state::jobs::RunResults;

use super::action::Action;
use super::apply::FIELD_MANAGER;
use super::mode::Mode;
use super::scope::{Key, postgresql};
use event::Notice;
use history::EventHistory;
pub use status::{BackupStatus, JobsStatus, Status};

/// The timeout of one call. Reporting must not delay other clusters.
const DEADLINE: Duration = Duration::from_secs(5);
/// Our keys in the status of the resource, whose values must be strings.
const STATUS: &str = "BackupStatus";
const MESSAGE: &str = "BackupMessage";
/// The `metadata.generation` that the status is about.
const GENERATION: &str = "BackupObservedGeneration";
/// How the newest jobs have ended.
const JOBS: &str = "BackupJobs";
/// When a job last succeeded.
const LAST_SUCCESS: &str = "BackupLastSuccess";
/// Kubernetes rejects longer names of reporters.
const LONGEST_INSTANCE: usize = 128;

/// The result of a reconcile.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Report<'a> {
    /// Everything that is wrong or risky, as far as the reconcile got.
    pub findings: &'a [Finding],
    /// How the jobs of the cluster have ended, if that is known.
    pub results: Option<&'a RunResults>,
    /// All actions.
    pub actions: &'a [Action],
    /// Nothing may be written for this resource: it has another controller, or is being deleted.
    pub hands_off: bool,
    /// All objects have been released, now or before.
    pub released: bool,
    /// Something is not done yet, and will be checked again soon.
    pub pending: bool,
    /// When certificates expire.
    pub expiries: &'a [(String, DateTime<Utc>)],
    /// Whether policies are met.
    pub policies: &'a [(&'static str, bool)],
    /// Why the reconcile failed, if it did.
    pub failure: Option<ReconcileFailure<'a>>,
}

/// Why a reconcile failed.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileFailure<'a> {
    pub phase: &'static str,
    /// One sentence without secrets; it may differ each time.
    pub message: &'a str,
}

/// Reports. A new one is created for each term of leadership: the status contains what another leader reported in
/// between.
pub struct Reporter {
    client: kube::Client,
    instance: Instance,
    metrics: Arc<OperatorMetrics>,
    mode: Mode,
    histories: Mutex<HashMap<Key, EventHistory>>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reporter").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Done,
    /// It would be rejected again.
    Refused,
    /// All other calls would fail too.
    Unavailable,
}

impl Reporter {
    /// `instance`: the pod's name.
    #[must_use]
    pub fn new(client: kube::Client, instance: &str, metrics: Arc<OperatorMetrics>) -> Self {
        let instance: String = instance.chars().take(LONGEST_INSTANCE).collect();
        let instance = Instance { controller: FIELD_MANAGER.to_owned(), instance: Some(instance) };
        Self { client, instance, metrics, mode: Mode::Manage, histories: Mutex::default() }
    }

    /// In mode observe, the status is not written.
    #[must_use]
    pub const fn in_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Reports one reconcile. There is one at a time for each resource.
    pub async fn report(&self, object: &DynamicObject, report: Report<'_>) {
        let Some((key, uid)) = Key::of(object).zip(object.metadata.uid.as_deref()) else { return };
        if report.hands_off {
            self.forget(&key.namespace, &key.name);
            return;
        }
        let before = PreviousStatus::of(object);
        let status = BackupStatus::of(&report).of_generation(object.metadata.generation).after(before);
        let history = self.histories.lock().remove(&key).filter(|history| history.uid == uid);
        let mut history = history.unwrap_or_else(|| EventHistory::restored(uid, before, &status, &report));
        let confirmed = history.ended(report.failure.is_some());
        self.measure(&key, &report, &status, confirmed);
        let is_irrelevant = status.status == Status::NotConfigured && before.status.is_none();
        if !is_irrelevant {
            let version = object.metadata.resource_version.as_deref();
            let is_news = confirmed && !before.is(&status) && !history.wrote(version, &status);
            if is_news
                && self.mode == Mode::Manage
                && self.write_status(&key, uid, &status).await == Sent::Done
            {
                history.has_written(version, &status);
            }
            let notices = history.notices(&report, confirmed, Instant::now());
            self.publish(object, &key, notices, &mut history).await;
        }
        self.histories.lock().insert(key, history);
    }

    /// The resource was deleted, or has another controller.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.metrics.forget(namespace, name);
        self.histories.lock().remove(&Key::new(namespace, name));
    }

    fn measure(&self, key: &Key, report: &Report<'_>, status: &BackupStatus, confirmed: bool) {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        match report.failure {
            None => self.metrics.judged(namespace, name, judgement(report, status)),
            // Findings from before the failure are incomplete.
            Some(_) if confirmed => {
                self.metrics.fails(namespace, name, status.status.as_str(), status.lines.clone());
            }
            Some(_) => {}
        }
    }

    async fn publish(
        &self,
        object: &DynamicObject,
        key: &Key,
        notices: Vec<Notice>,
        history: &mut EventHistory,
    ) {
        // A recorder treats Events with the same reason as repetitions, whatever they contain, and would drop all
        // notes but the first. A new one does not.
        let recorder = Recorder::new(self.client.clone(), self.instance.clone());
        let about = object.object_ref(&postgresql());
        for notice in notices {
            let what = format!("publish Event {}", notice.event.reason);
            let sent = call(what, DEADLINE, recorder.publish(&notice.event, &about)).await;
            match self.sent(key, "event", sent.err()) {
                Sent::Done | Sent::Refused => history.has_published(notice),
                Sent::Unavailable => return,
            }
        }
    }

    async fn write_status(&self, key: &Key, uid: &str, status: &BackupStatus) -> Sent {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &postgresql());
        let mut keys =
            BTreeMap::from([(STATUS, json!(status.status.as_str())), (MESSAGE, json!(status.message))]);
        // What is not known stays as it is.
        keys.extend(status.generation.map(|generation| (GENERATION, json!(generation.to_string()))));
        // Null removes the key.
        keys.extend(status.jobs_are_known.then(|| (JOBS, json!(status.jobs.map(JobsStatus::as_str)))));
        keys.extend(status.last_success.as_ref().map(|at| (LAST_SUCCESS, json!(at))));
        // With its UID, so that a resource that was recreated does not get the status of its predecessor.
        let patch = json!({"metadata": {"uid": uid}, "status": keys});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let written = call("patch status", DEADLINE, api.patch_status(&key.name, &params, &patch)).await;
        self.sent(key, "status", written.err())
    }

    /// Logs and counts an error.
    fn sent(&self, key: &Key, what: &'static str, error: Option<CallError>) -> Sent {
        let Some(error) = error else { return Sent::Done };
        self.metrics.publish_failed(what, error.failure.as_str());
        let (namespace, pg_cluster) = (&*key.namespace, &*key.name);
        tracing::warn!(namespace, pg_cluster, what, %error, "Failed to publish Event or status");
        match error.failure {
            CallFailure::NotFound
            | CallFailure::AlreadyExists
            | CallFailure::Conflict
            | CallFailure::Invalid
            | CallFailure::Other => Sent::Refused,
            CallFailure::Forbidden
            | CallFailure::Throttled
            | CallFailure::Unavailable
            | CallFailure::Timeout
            | CallFailure::Transport => Sent::Unavailable,
        }
    }
}

/// The current status of the resource.
#[derive(Debug, Clone, Copy, Default)]
struct PreviousStatus<'a> {
    status: Option<&'a str>,
    message: Option<&'a str>,
    generation: Option<&'a str>,
    jobs: Option<&'a str>,
    last_success: Option<&'a str>,
}

impl<'a> PreviousStatus<'a> {
    fn of(object: &'a DynamicObject) -> Self {
        let text = |key: &str| object.data.get("status")?.get(key).and_then(Value::as_str);
        Self {
            status: text(STATUS),
            message: text(MESSAGE),
            generation: text(GENERATION),
            jobs: text(JOBS),
            last_success: text(LAST_SUCCESS),
        }
    }

    /// Whether nothing needs to be written.
    fn is(&self, status: &BackupStatus) -> bool {
        let generation = status.generation.map(|generation| generation.to_string());
        self.says(status)
            && (generation.is_none() || self.generation == generation.as_deref())
            && (!status.jobs_are_known || self.jobs == status.jobs.map(JobsStatus::as_str))
            && status.last_success.as_deref().is_none_or(|at| self.last_success == Some(at))
    }

    /// A failure of the same phase is the same, although the message of a server may differ each time.
    fn says(&self, status: &BackupStatus) -> bool {
        let message = self.message.unwrap_or_default();
        self.status == Some(status.status.as_str())
            && match &status.failing {
                Some(failing) => message.starts_with(failing),
                None => self.message == Some(status.message.as_str()),
            }
    }
}

fn judgement(report: &Report<'_>, status: &BackupStatus) -> Judgement {
    let mut findings = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| finding.severity != Severity::NotChecked) {
        *findings.entry((finding.severity.as_str(), finding.code.word)).or_default() += 1;
    }
    Judgement {
        ok: !report.findings.iter().any(Finding::is_error),
        status: status.status.as_str(),
        lines: status.lines.clone(),
        findings,
        policies: report.policies.to_vec(),
        expiries: report.expiries.to_vec(),
    }
}
